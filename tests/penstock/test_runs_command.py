"""`penstock runs import` and `export`, on a file as the other service writes it."""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from penstock.runs_import import MisfitError, run_of_row

_SCHEMA = """
CREATE TABLE agent_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE, run_id TEXT NOT NULL,
    schema_version INTEGER DEFAULT 7, created_at TEXT DEFAULT (datetime('now')),
    updated_at TEXT DEFAULT (datetime('now')), start_time TEXT NOT NULL, end_time TEXT,
    agent_name TEXT NOT NULL, agent_owner TEXT, job_type TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'running', items_failed INTEGER DEFAULT 0, duration_ms INTEGER,
    git_commit_source TEXT, git_commit_author TEXT, metrics_json TEXT, context_json TEXT,
    api_posted INTEGER DEFAULT 0
);
"""
ROW: dict[str, Any] = {
    "event_id": "e1",
    "run_id": "r1",
    "agent_name": "a",
    "job_type": "j",
    "start_time": "2026-01-05T18:40:27Z",
    "created_at": "2026-01-05 18:40:30",
    "updated_at": "2026-01-06 00:00:00.5",
    "agent_owner": "owner",
    "status": "failed",
    "git_commit_source": "llm",
    "git_commit_author": "ada",
    "metrics_json": '{"tokens": 1}',
    "context_json": "{broken",
    "api_posted": 1,
    "items_failed": 2,
}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(_SCHEMA)
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            db.execute(f"INSERT INTO agent_runs ({names}) VALUES ({marks})", tuple(row.values()))
        db.commit()


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "telemetry.sqlite"
    more = [
        ROW
        | {
            "event_id": f"m{number}",
            "created_at": f"2026-02-01T00:{number // 60:02}:{number % 60:02}Z",
            "context_json": None,
        }
        for number in range(1100)
    ]
    _write(path, [ROW, *more])
    return path


def test_import_again_and_export(run: Any, old_file: Path, tmp_path: Path) -> None:
    """All rows arrive with every field; the second time all are known; out come all of them."""
    where = ("--data-dir", str(tmp_path / "data"))
    first = run("runs", "import", str(old_file), "--json", *where)
    assert first.code == 0, first
    counts = json.loads(first.out)
    assert counts == {
        "rows": 1101,
        "imported": 1101,
        "known": 0,
        "unfit": 0,
        "found": 1101,
        "verified": True,
        "misfits": [],
    }
    again = json.loads(run("runs", "import", str(old_file), "--json", *where).out)
    assert (again["imported"], again["known"], again["verified"]) == (0, 1101, True)

    target = tmp_path / "runs.ndjson"
    assert run("runs", "export", "--output", str(target), *where).code == 0
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["event_id"] for line in lines] == [f"m{n}" for n in range(1099, -1, -1)] + ["e1"]
    old = lines[-1]
    assert old["created_at"] == "2026-01-05T18:40:30+00:00"
    assert old["updated_at"] == "2026-01-06T00:00:00.5+00:00"
    assert (old["status"], old["agent_owner"], old["api_posted"]) == ("failure", "owner", True)
    assert (old["git_commit_source"], old["git_commit_author"]) == ("llm", "ada")
    assert (old["items_failed"], old["duration_ms"]) == (2, 0)
    assert old["metrics_json"] == {"tokens": 1}
    assert old["context_json"] == "{broken"
    assert old["context_json_parse_error"]
    assert not list(tmp_path.glob("*.part"))

    table = tmp_path / "runs.csv"
    assert run("runs", "export", "--format", "csv", "--output", str(table), *where).code == 0
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 1101
    assert rows[-1]["context_json"] == "{broken"
    assert rows[-1]["metrics_json"] == '{"tokens":1}'
    assert rows[-1]["api_posted"] == "true"


def test_an_import_that_was_cut_short_goes_on(run: Any, old_file: Path, tmp_path: Path) -> None:
    """What a first attempt brought is known to the second, which brings the rest."""
    part = tmp_path / "part.sqlite"
    with closing(sqlite3.connect(old_file)) as db:
        db.execute(f"ATTACH '{part}' AS part")
        db.execute("CREATE TABLE part.agent_runs AS SELECT * FROM agent_runs LIMIT 500")
        db.commit()
    where = ("--json", "--data-dir", str(tmp_path / "data"))
    assert json.loads(run("runs", "import", str(part), *where).out)["imported"] == 500
    whole = json.loads(run("runs", "import", str(old_file), *where).out)
    assert (whole["imported"], whole["known"], whole["verified"]) == (601, 500, True)


def test_rows_that_are_no_runs_are_told(run: Any, tmp_path: Path) -> None:
    """Each by its number and why; the others are imported, and the exit code is 1."""
    path = tmp_path / "odd.sqlite"
    rows = [
        ROW | {"event_id": "good"},
        ROW | {"event_id": "late", "start_time": "whenever"},
        ROW | {"event_id": "odd", "status": "paused"},
        ROW | {"event_id": "less", "items_failed": -1},
        ROW | {"event_id": "x" * 300},
        ROW | {"event_id": None, "run_id": "before there were event ids"},
    ]
    _write(path, rows)
    done = run("runs", "import", str(path), "--json", "--data-dir", str(tmp_path / "data"))
    assert done.code == 1
    counts = json.loads(done.out)
    assert (counts["rows"], counts["imported"], counts["unfit"]) == (6, 2, 4)
    assert counts["verified"] is True
    assert [line.partition(":")[0] for line in counts["misfits"]] == [
        f"row {n}" for n in (2, 3, 4, 5)
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"no database at all, but long enough to be looked at" * 50, "not a database"),
        (b"", "no file of runs"),
    ],
)
def test_a_file_that_is_none_is_refused(
    run: Any, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """In one line, with exit code 2."""
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    done = run("runs", "import", str(path), "--data-dir", str(tmp_path / "data"))
    assert (done.code, len(done.lines)) == (2, 1)
    assert words in done.lines[0]


def test_an_export_needs_a_ledger_and_a_format(run: Any, tmp_path: Path) -> None:
    """No empty ledger is made by asking for what is in it."""
    where = ("--data-dir", str(tmp_path / "none"))
    done = run("runs", "export", *where)
    assert (done.code, len(done.lines)) == (2, 1)
    assert "no ledger" in done.lines[0]
    assert not (tmp_path / "none").exists()
    assert run("runs", "export", "--format", "xml", *where).code == 2


def test_moments_of_every_writing() -> None:
    """With a zone as they are; without one, SQLite's own, in UTC."""
    for text, moment in {
        "2026-01-05T18:40:27Z": "2026-01-05T18:40:27Z",
        "2026-01-05 18:40:27+02:00": "2026-01-05T18:40:27+02:00",
        "2026-01-05 18:40:27": "2026-01-05T18:40:27+00:00",
        "2026-01-05T18:40:27.5": "2026-01-05T18:40:27.5+00:00",
    }.items():
        assert run_of_row(ROW | {"start_time": text}, 0.0).start_time == moment
    with pytest.raises(MisfitError, match="start_time"):
        run_of_row(ROW | {"start_time": "2026"}, 0.0)
