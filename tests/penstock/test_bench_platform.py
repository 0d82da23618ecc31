"""`penstock bench platform` measures lookups and either ledger."""

import json
from pathlib import Path
from typing import Any

from maxmind_stand_in import write_database


def test_lookups_and_both_ledgers_are_measured(
    run: Any, postgres_server: Any, tmp_path: Path
) -> None:
    """Each kind of lookup and of entry has a row; a database that holds a ledger is refused."""
    write_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": "RO"})
    few = ("--seconds", "0.1", "--networks", "100", "--geo", str(tmp_path / "geo.mmdb"))
    with postgres_server.database() as name:
        database = ("--database-url", postgres_server.url(name))
        for where in ((), database):
            ran = run("bench", "platform", "--json", *few, *where)
            assert ran.code == 0, ran.err
            found = json.loads(ran.out)
            assert len(found["lookups"]) == 5
            assert all(row["per_second"] > 0 for row in found["lookups"])
            kinds = {(row["kind"], row["submitters"]) for row in found["entries"]}
            assert len(kinds) == 9
            assert all(row["per_second"] > 0 < row["p99_ms"] for row in found["entries"])
        again = run("bench", "platform", *few, *database)
    assert (again.code, "holds a ledger" in again.err) == (2, True)
