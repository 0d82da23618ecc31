from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import pytest

from penstock.bench.errors import BenchError
from penstock.bench.tune import run as module
from penstock.bench.tune.result import Point
from penstock.bench.tune.run import TunePlan, look, tune
from penstock.bench.tune.state import StateError
from penstock.bench.tune.takes import PatientSource, RecordingSource, TakeError, cut, shortened
from penstock.bench.tune.workers import some_workers

Make = Callable[..., TunePlan]
Run = Callable[..., list[Point]]


def _untold(_what: str, _done: int, _total: int) -> None:
    pass


class Stopped(Exception):  # noqa: N818  as a signal would be
    """The tuning is interrupted."""


def test_points_are_by_policy_and_load_and_follow_from_the_plan(
    make_plan: Make, run_plan: Run
) -> None:
    """Equal plans give equal points; below the capacity there is neither loss nor error."""
    points = run_plan(make_plan())
    assert [(one.policy, one.load) for one in points] == [(0, 0.5), (0, 1.5), (1, 0.5), (1, 1.5)]
    assert points == run_plan(make_plan(), "again")
    for one in points:
        if one.load == 0.5:
            assert one.lost_share.value == one.repetitions.high == one.gap_longest_ms == 0
            assert one.exact_share.value == 1
        else:
            assert one.lost_share.value > 0.2
            assert one.lost_share.low <= one.lost_share.value <= one.lost_share.high
        causes = (one.thinned_share, one.refused_share, one.withheld_share, one.given_up_share)
        assert sum(causes) == pytest.approx(one.lost_share.value)


def test_two_processes_find_the_same(make_plan: Make, run_plan: Run) -> None:
    """How many processes work on it changes nothing of the result."""
    plan = make_plan(seeds=(1,))
    assert run_plan(plan, "two", jobs=2) == run_plan(plan, "one")


@pytest.mark.parametrize(("step", "at"), [("_model", 3), ("_measure", 2)])
def test_a_stopped_tuning_goes_on_where_it_was(
    make_plan: Make, run_plan: Run, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    """Interrupted in either step and run again, it does the rest, and ends as if it never was."""
    whole = run_plan(make_plan(), "whole")
    works: Callable[..., Any] = getattr(module, step)
    calls: list[int] = []

    def stops(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise Stopped
        return works(*arguments)

    monkeypatch.setattr(module, step, stops)
    with pytest.raises(Stopped):
        run_plan(make_plan())
    assert run_plan(make_plan()) == whole
    total = len(make_plan().runs) if step == "_model" else 3
    # The interrupted one was not kept, so it is done once more, and nothing else is.
    assert len(calls) == total + 1


def test_another_plan_does_not_go_on_with_it(make_plan: Make, run_plan: Run) -> None:
    """A folder with the state of something else is refused, and left as it is."""
    run_plan(make_plan(seeds=(1,)))
    with pytest.raises(StateError, match="something else"):
        run_plan(make_plan(seeds=(2,)))


def test_two_tunings_do_not_work_in_one_folder(
    make_plan: Make, run_plan: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is at work, a second one is told so."""
    plan = make_plan(seeds=(1,), loads=(0.5,))
    works = module._model

    def meanwhile(*arguments: Any) -> Any:
        with some_workers(1) as workers, pytest.raises(StateError, match="at work"):
            tune(look(plan, workers, _untold), tmp_path / "tuning", workers, _untold)
        return works(*arguments)

    monkeypatch.setattr(module, "_model", meanwhile)
    run_plan(plan)


def test_what_cannot_be_used_is_left_out_and_told(make_plan: Make, tmp_path: Path) -> None:
    """One damaged file costs itself; where nothing is left, that is an error."""
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"PK")
    sources = (RecordingSource(damaged), PatientSource(1, 1))
    with some_workers(1) as workers:
        looked = look(make_plan(sources=sources), workers, _untold)
        assert [one.name for one in looked.sources] == ["patient 1 of seed 1"]
        assert len(looked.left_out) == 1
        assert "damaged.npz" in looked.left_out[0]
        with pytest.raises(BenchError, match="none of the sessions"):
            look(make_plan(sources=sources[:1]), workers, _untold)
        with pytest.raises(BenchError, match="there is no session"):
            look(make_plan(sources=()), workers, _untold)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"landmarks": None}, "no array named"),
        ({"landmarks": np.zeros((3, 33, 3), np.float32)}, "landmarks has the shape"),
        ({"timestamp_ms": np.array([3, 2, 1])}, "must not fall"),
        ({"timestamp_ms": np.array([-1, 2, 3])}, "nor leave"),
        ({"aspect": 0.0}, "aspect is 0"),
        ({"aspect": "wide"}, "no motion recording"),
    ],
)
def test_a_recording_that_is_none_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """What is wrong with a file is told in one line that names it."""
    arrays: dict[str, Any] = {
        "landmarks": np.zeros((3, 33, 4), np.float32),
        "timestamp_ms": np.array([0, 100, 200]),
        "coords": "image2d",
        "aspect": 1.5,
    }
    arrays = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(tmp_path / "one.npz", **arrays)
    with pytest.raises(TakeError, match=words) as refused:
        RecordingSource(tmp_path / "one.npz").read(60.0)
    assert "one.npz" in str(refused.value)


def test_batches_are_cut_by_the_second() -> None:
    """What a second has seen goes out together, whatever the pace and the pauses."""
    assert cut(np.array([50, 550, 1049, 1050, 4000])) == (3, 1, 1)


def test_of_a_long_session_the_beginning_is_taken() -> None:
    """It is cut behind a whole batch, and a first batch is kept however long it is."""
    take = PatientSource(1, 0).read(30.0)
    assert len(shortened(take, 10.0).sizes) == 10
    assert shortened(take, 60.0) is take
    assert len(shortened(take, 0.1).sizes) == 1


def test_memory_does_not_grow_with_the_sessions(make_plan: Make, run_plan: Run) -> None:
    """Only one session's frames are held at a time: twice the sessions are not twice as much."""
    alive = peak = 0

    class Counted(PatientSource):
        """A patient whose take says when it is gone."""

        def read(self, longest_seconds: float) -> Any:
            nonlocal alive, peak
            take = super().read(longest_seconds)
            alive += 1
            peak = max(peak, alive)
            finalize(take.values, gone)
            return take

    def gone() -> None:
        nonlocal alive
        alive -= 1

    run_plan(make_plan(sources=tuple(Counted(1, n) for n in range(6)), loads=(1.5,), seeds=(1,)))
    assert alive <= 1
    assert peak <= 2
