"""`penstock bench sync` measures what it says, on a ledger of its own."""

import json
from typing import Any


def test_it_measures_batches_and_reads(run: Any) -> None:
    """Each size with each number of senders, then batches and every read of what was loaded."""
    ran = run("bench", "sync", "--seconds", "0.1", "--summaries", "40", "--asked", "3", "--json")
    assert ran.code == 0, ran.err
    measured = json.loads(ran.out)
    sizes = [(row["records"], row["senders"]) for row in measured["batches"]]
    assert sizes == [(1, 1), (1, 8), (100, 1), (100, 8), (500, 1), (500, 8)]
    assert all(row["batches_per_second"] > 0 for row in measured["batches"])
    assert all(row["p50_ms"] <= row["p99_ms"] <= row["worst_ms"] for row in measured["timings"])
    rows = {row["what"]: row["rows"] for row in measured["timings"]}
    assert rows["all_time by total"] == 1
    assert rows["all_time by provider"] == 3
    assert rows["daily by apart"] == 0


def test_a_url_that_is_none_is_told(run: Any) -> None:
    """In one line, before anything is opened."""
    ran = run("bench", "sync", "--database-url", "mysql://x")
    assert ran.code == 2
    assert "--database-url" in ran.err
