"""`penstock bench ledger` measures either ledger, and leaves alone one that is in use."""

import json
from pathlib import Path
from typing import Any

import pytest


def test_both_ledgers_are_measured(run: Any, postgres_server: Any, tmp_path: Path) -> None:
    """For each number of submitters a row; a database that now holds a ledger is refused."""
    with postgres_server.database() as name:
        database = ("--database-url", postgres_server.url(name))
        for where in (("--folder", str(tmp_path)), database):
            ran = run("bench", "ledger", "--seconds", "0.1", "--json", *where)
            assert ran.code == 0, ran.err
            rows = json.loads(ran.out)
            assert [row["submitters"] for row in rows] == [1, 16, 256]
            for row in rows:
                assert row["finals_per_second"] >= row["commits_per_second"] > 0
                assert row["p99_ms"] >= row["p50_ms"] > 0
        assert list(tmp_path.glob("penstock-ledger-*")) == []
        again = run("bench", "ledger", *database)
    assert again.code == 2
    assert "holds a ledger" in again.err


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@host/name", "postgresql://u:hunter2@127.0.0.1:1/x"]
)
def test_a_database_that_cannot_be_used_is_told_in_a_line(run: Any, url: str) -> None:
    """Of another kind or not there: one line, without the password."""
    ran = run("bench", "ledger", "--database-url", url)
    assert ran.code == 2
    assert len(ran.lines) == 1
    assert "database" in ran.err
    assert "hunter2" not in ran.err


def test_the_doctor_looks_at_the_database(run: Any, postgres_server: Any) -> None:
    """What it is, what is dangerous about it, and what is wrong with it if it cannot be used."""

    def findings(url: str) -> list[Any]:
        ran = run("doctor", "--json", "--database-url", url, PENSTOCK_PORT="0")
        return [found for found in json.loads(ran.out) if found["check"] == "database"]

    with postgres_server.database() as name:
        well, fsync = findings(postgres_server.url(name))
        assert (well["state"], fsync["state"]) == ("ok", "warning")
        assert "the next start takes" in well["seen"]
        above = findings(postgres_server.url(name, role="postgres"))
        assert any("BYPASSRLS" in found["seen"] and found["advice"] for found in above)
    (gone,) = findings(postgres_server.url(name))
    assert gone["state"] == "problem"
    assert "no such database" in gone["seen"]
