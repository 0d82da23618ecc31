"""`penstock audit verify` tells whether the audit is whole."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from penstock.engine.records import AuditEntry
from penstock.ledgers import LEDGER_FILE
from penstock.storage.ledger import open_sqlite_ledger


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Give a data folder whose ledger has an audit of five entries."""

    async def fill() -> None:
        async with open_sqlite_ledger(tmp_path / "data" / LEDGER_FILE) as ledger:
            await ledger.commit([AuditEntry(n, "ada", "did", f"it:{n}", {}) for n in range(5)])

    trio.run(fill)
    return tmp_path / "data"


def edit(data_dir: Path, statement: str) -> None:
    with closing(sqlite3.connect(data_dir / LEDGER_FILE)) as db:
        db.executescript(
            "DROP TRIGGER audit_entries_unchanged; DROP TRIGGER audit_entries_kept;" + statement
        )


def test_a_whole_audit_holds(run: Any, data_dir: Path) -> None:
    """Exit code 0, and the last link to note; which holds the next time, too."""
    ran = run("audit", "verify", "--data-dir", str(data_dir))
    assert ran.code == 0, ran
    assert "5 entries" in ran.out
    noted = ran.out.split()[-1]
    ran = run("audit", "verify", "--data-dir", str(data_dir), "--noted", noted, "--json")
    assert (ran.code, json.loads(ran.out)["holds"]) == (0, True)


@pytest.mark.parametrize(
    ("statement", "link"),
    [
        ("UPDATE audit_entries SET actor = 'eve' WHERE link = 3", 3),
        ("DELETE FROM audit_entries WHERE link = 2", 2),
        ("DELETE FROM audit_entries WHERE link = 5", 5),
    ],
)
def test_an_edit_is_found(run: Any, data_dir: Path, statement: str, link: int) -> None:
    """Exit code 1, and the link where it breaks."""
    edit(data_dir, statement)
    ran = run("audit", "verify", "--data-dir", str(data_dir), "--json")
    assert (ran.code, json.loads(ran.out)["break_at"]) == (1, link)
    assert f"breaks at link {link}" in run("audit", "verify", "--data-dir", str(data_dir)).out


def test_a_cut_end_is_found_by_what_was_noted(run: Any, data_dir: Path) -> None:
    """Who cuts the end off and mends the chain's own account cannot mend a note."""
    noted = run("audit", "verify", "--data-dir", str(data_dir)).out.split()[-1]
    edit(
        data_dir,
        "DELETE FROM audit_entries WHERE link > 3; UPDATE audit_chain SET links = 3,"
        " hash = (SELECT hash FROM audit_entries WHERE link = 3)",
    )
    assert run("audit", "verify", "--data-dir", str(data_dir)).code == 0
    ran = run("audit", "verify", "--data-dir", str(data_dir), "--noted", noted)
    assert (ran.code, "link 4" in ran.out) == (1, True)


@pytest.mark.parametrize("noted", ["", "5", "x:y", "5:" + "g" * 64])
def test_what_is_no_note_is_refused(run: Any, data_dir: Path, noted: str) -> None:
    """One line, exit code 2."""
    ran = run("audit", "verify", "--data-dir", str(data_dir), "--noted", noted)
    assert (ran.code, "--noted" in ran.err) == (2, True)


def test_without_a_ledger_it_makes_none(run: Any, tmp_path: Path) -> None:
    """Looking creates nothing."""
    ran = run("audit", "verify", "--data-dir", str(tmp_path / "none"))
    assert (ran.code, "there is no ledger" in ran.err) == (2, True)
    assert not (tmp_path / "none").exists()
