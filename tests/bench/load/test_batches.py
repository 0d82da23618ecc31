"""The batches of a run: enough, in order of time from run to run, and small enough to be sent."""

import pytest

from penstock.bench.errors import BenchError
from penstock.bench.load.batches import batches_for
from penstock.bench.report.models import LoadPlan
from penstock.engine.wire import decode


def plan(*, frames: int = 2, seconds: float = 10.0, interval: float = 1.0) -> LoadPlan:
    return LoadPlan(
        sessions=5,
        ramp_seconds=1,
        seconds=seconds,
        interval_seconds=interval,
        jitter=0.1,
        frames_a_batch=frames,
        connections=4,
        reconnect_share=0,
        offline_seconds=0,
        hostile_share=0,
        media=False,
        ends=False,
        processes=1,
        seed=1,
    )


def test_times_go_forward_over_all_batches_of_a_session() -> None:
    """No session of usual length sends a frame that the service would count as repeated."""
    library = batches_for(plan(seconds=70), first_batch=20)
    newest = -1
    for number in range(20 + 72):
        batch = decode(library.member(3, number))
        assert batch.frame_count == 2
        assert batch.timestamps_ms[0] > newest
        newest = batch.timestamps_ms[-1]


def test_runs_of_one_search_share_their_batches() -> None:
    """Later batches at another pace are the same ones, with the same times."""
    assert batches_for(plan()) is batches_for(plan(interval=3.0), first_batch=30)


def test_a_batch_that_no_body_can_hold_is_refused() -> None:
    """Too many frames a batch are told with how many can be sent."""
    with pytest.raises(BenchError, match=r"take \d+ frames at most"):
        batches_for(plan(frames=300))
