"""The benchmark of runs, small: every figure is there, and refusals are no figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.bench.errors import BenchError
from penstock.bench.runs import RunsPlan, documented_queries, make_run, measure_runs

SMALL = "--connections 4 --rounds 1 --duration 0.8 --batch 5 --rows 300 --asked 2 --quiet"


def test_every_measurement_is_made(tmp_path: Path) -> None:
    """Posts, batches, the peer, each documented query; a table for people, JSON for programs."""
    target = tmp_path / "runs.json"
    command = [sys.executable, "-m", "penstock", "bench", "runs", *SMALL.split()]
    command += ["--json", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert ran.returncode == 0, ran.stderr
    assert "one run a post" in ran.stdout
    assert "times the peer" in ran.stdout
    document = json.loads(target.read_bytes())
    assert document["kind"] == "runs"
    assert document["ratio_to_peer"] > 0
    for what in ("posts", "peer", "batches"):
        (one,) = document[what]
        assert one["runs_per_second"] > 0
        assert 0 < one["p50_ms"] <= one["p99_ms"]
    by_name = {one["query"]: one for one in document["queries"]}
    assert by_name.keys() > documented_queries(300).keys()
    assert by_name["newest 1000"]["runs"] == 300
    assert by_name["offset, at the end"]["runs"] == 100
    assert by_name["filters that nothing passes"]["runs"] == 0
    assert all(one["p50_ms"] <= one["p99_ms"] <= one["max_ms"] for one in by_name.values())


def test_a_service_that_does_not_take_runs_is_told() -> None:
    """Figures of refusals would be good ones."""
    plan = RunsPlan(
        rounds=1, seconds=0.5, rows=0, peer=False, settings={"runs_rate_limit_enabled": "true"}
    )
    with pytest.raises(BenchError, match="429"):
        measure_runs(plan, lambda _: None)


def test_made_up_runs_differ() -> None:
    """No two of a load are duplicates, also not of single posts and batches."""
    assert make_run(1)["event_id"] != make_run(2)["event_id"] != make_run(2, 1)["event_id"]
