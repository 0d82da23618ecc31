"""`penstock bench media` measures either ledger: events as they come, and every statistic."""

import json
from pathlib import Path
from typing import Any


def test_both_ledgers_are_measured(run: Any, postgres_server: Any, tmp_path: Path) -> None:
    """Each number of submitters and each statistic has its figures; nothing is left in a folder."""
    with postgres_server.database() as name:
        database = ("--database-url", postgres_server.url(name))
        for where in (("--folder", str(tmp_path)), database):
            given = ("--seconds", "0.1", "--sessions", "720", "--json")
            ran = run("bench", "media", *given, *where)
            assert ran.code == 0, ran.err
            measured = json.loads(ran.out)
            assert [row["submitters"] for row in measured["events"]] == [1, 16, 256]
            for row in measured["events"]:
                assert row["entries_per_second"] >= row["commits_per_second"] > 0
            names = [row["statistic"] for row in measured["statistics"]]
            assert len(set(names)) == len(names) == 16
            assert all(0 < row["p50_ms"] <= row["worst_ms"] for row in measured["statistics"])
        assert list(tmp_path.iterdir()) == []
        again = run("bench", "media", *database)
    assert again.code == 2
    assert "holds a ledger" in again.err
