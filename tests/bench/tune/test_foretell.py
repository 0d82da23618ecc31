from pathlib import Path
from typing import Any

import pytest

from penstock.bench.errors import BenchError
from penstock.bench.report.models import (
    LoadPlan,
    LoadRun,
    PressureRun,
    PressureStep,
    Report,
    Second,
    SessionLosses,
)
from penstock.bench.tune.foretell import foretold, load_of, main, policy_of, seen
from penstock.engine.policy import DEFAULT_POLICY

PLAN = LoadPlan(
    sessions=100, ramp_seconds=2, seconds=20, interval_seconds=1.0, jitter=0.1, frames_a_batch=10,
    connections=None, reconnect_share=0.0, offline_seconds=0.0, hostile_share=0.0, media=False,
    ends=False, processes=1, seed=1,
)  # fmt: skip
LOSSES = SessionLosses(
    sessions=100, frames_due=20_000, frames_lost=10_000, unfair_share=0.0, share_min=0.5,
    share_median=0.5, share_p95=0.5, share_max=0.5, gap_median_ms=0, gap_p95_ms=0, gap_max_ms=0,
    shares=[],
)  # fmt: skip


def _second(at: int, taken: int, refused: int) -> Second:
    return Second(
        at=at, planned=100, sent=taken + refused, answered=taken + refused,
        outcomes={"202": taken, "429 policy_refused": refused}, p50_ms=None, p99_ms=None,
        max_ms=None, backlog=0, lag_ms=0.0, server_cpu_share=None, server_rss_bytes=None,
        harness_cpu_share=0.1,
    )  # fmt: skip


def _run(**changes: Any) -> LoadRun:
    usual: dict[str, Any] = {
        "plan": PLAN, "seconds": [_second(at, 40, 20) for at in range(22)], "latency": {},
        "outcomes": {"pose": {"202": 900, "429 policy_refused": 400, "withheld": 500,
                              "given up": 100}},
        "answered_a_second": 1.0, "frames_sent": 1000, "frames_accepted": 1000,
        "batches_unanswered": 0, "cpu_us_a_batch": None, "rss_first_bytes": None,
        "rss_peak_bytes": None, "rss_last_bytes": None, "harness_cpu_share": 0.1,
        "interrupted": False, "reconciliation": [], "losses": LOSSES,
        "server_frames": {"shed policy_thinned": 200},
    }  # fmt: skip
    return LoadRun(**(usual | changes))


def test_the_load_is_read_off_the_run() -> None:
    """A hundred a second were due, forty were taken and twenty refused at a little more each."""
    assert load_of(_run()) == pytest.approx(100 / (40 + 1.1 * 20))


def test_what_was_seen_is_in_shares_of_what_was_due() -> None:
    """Each way of losing frames has its share."""
    assert seen(_run()) == (0.5, 0.01, 0.2, 0.25, 0.05)


def test_the_model_is_given_the_same_clients() -> None:
    """Below the capacity it foretells no loss, above it what is lost is all of the causes."""
    assert foretold(_run(), DEFAULT_POLICY, 0.6).all == 0
    lost = foretold(_run(), DEFAULT_POLICY, 2.0)
    assert lost.all == pytest.approx(sum(lost[1:]))
    assert 0.5 < lost.all < 0.9


def test_the_policy_is_the_one_that_the_report_names() -> None:
    """Knobs among the facts are those of the service that was measured."""
    facts = {"policy keep_every": "3", "policy inbox_mode": "drop_oldest", "cores": "1"}
    found = policy_of(facts)
    assert (found.keep_every, found.inbox_mode) == (3, "drop_oldest")
    assert policy_of({}) == DEFAULT_POLICY


def test_a_report_gives_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each load has two lines, one of what was seen and one of what is foretold."""
    step = PressureStep(times=1, batches_a_second=100, run=_run())
    report = Report(
        kind="pressure", made_at="", command="", machine={}, server={}, faults=[],
        pressure=PressureRun(capacity=100, capacity_found=False, steps=[step]),
    )  # fmt: skip
    (tmp_path / "r.json").write_text(report.model_dump_json(by_alias=True))
    main(tmp_path / "r.json")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["seen", "foretold"]
    assert lines[2].split()[2:] == ["50.0", "1.0", "20.0", "25.0", "5.0"]


def test_what_tells_nothing_is_an_error() -> None:
    """A run without a whole second, without answers or without losses cannot be compared."""
    for run in (_run(seconds=[]), _run(seconds=[_second(5, 0, 0)])):
        with pytest.raises(BenchError, match="not known"):
            load_of(run)
    with pytest.raises(BenchError, match="what was lost"):
        seen(_run(losses=None))
