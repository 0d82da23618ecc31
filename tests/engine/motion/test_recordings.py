"""Real people, counted by experts: counts, bounds and ranges, with frames missing and without."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from penstock.engine.motion.metrics import metrics
from penstock.engine.motion.motion import NO_MOTION, advance
from penstock.engine.motion.signals import measure

FOLDER = Path(__file__).parents[4] / "shared" / "motion"
FILES = sorted(FOLDER.glob("*.npz"))
BURST_MS = 2000
pytestmark = pytest.mark.skipif(not FILES, reason=f"no recordings in {FOLDER}")


class _Recording(NamedTuple):
    times: Any
    values: Any
    repetitions: int
    exercise: str
    bounds: Any
    fps: float


def _read(path: Path) -> _Recording:
    with np.load(path) as file:
        world = str(file["coords"]) == "metres3d"
        points = np.ascontiguousarray(file["landmarks"])
        times = file["timestamp_ms"].astype(np.int64)
        return _Recording(
            times,
            measure(points, float(file["aspect"]), world=world),
            int(file["rep_count"]),
            str(file["exercise"]),
            file["rep_bounds"] * float(np.median(np.diff(times))),
            1000 / float(np.median(np.diff(times))),
        )


RECORDINGS = {path.stem: _read(path) for path in FILES}
everyone = pytest.mark.parametrize("name", RECORDINGS)


def _figures(one: _Recording, kept: Any, *, named: bool) -> dict[str, Any]:
    motion = NO_MOTION.told(world=True, exercise=one.exercise if named else None)
    times, values = one.times[kept], one.values[kept]
    return metrics(advance([motion], [len(times)], times, values)[0])


def _without(one: _Recording, share: float, kind: str, seed: int) -> Any:
    """Tell the frames that are left when that share is lost at random places."""
    random = np.random.default_rng(seed)
    frames = len(one.times)
    left = np.ones(frames, np.bool_)
    length = {"frames": 1, "batches": 10, "bursts": round(BURST_MS / 1000 * one.fps)}[kind]
    while (missing := round(share * frames) - int((~left).sum())) > 0:
        start = int(random.integers(max(1, frames - length + 1)))
        if kind == "batches":
            start -= start % length
        left[start : start + min(length, missing)] = False
    return left


@everyone
@pytest.mark.parametrize("named", [True, False])
def test_the_count_is_the_experts(name: str, *, named: bool) -> None:
    """Every recording is counted exactly, with its exercise named and without."""
    one = RECORDINGS[name]
    figures = _figures(one, slice(None), named=named)
    assert figures["session_metrics"]["rep_count"] == one.repetitions


@pytest.mark.parametrize("kind", ["frames", "batches", "bursts"])
@pytest.mark.parametrize(("share", "exact"), [(0.05, 0.99), (0.2, 0.95)])
def test_lost_frames_seldom_cost_a_count(share: float, exact: float, kind: str) -> None:
    """With frames missing nearly every recording is still counted exactly, and within one."""
    differences = [
        _figures(one, _without(one, share, kind, seed), named=True)["session_metrics"]["rep_count"]
        - one.repetitions
        for one in RECORDINGS.values()
        for seed in range(3)
    ]
    assert np.mean([difference == 0 for difference in differences]) >= exact
    assert np.mean([abs(difference) <= 1 for difference in differences]) >= 0.98


def test_bounds_are_near_the_experts() -> None:
    """Where a repetition begins and ends is within 300 ms of the experts' cuts, in the median."""
    errors = []
    for one in RECORDINGS.values():
        if not len(one.bounds):
            continue
        found = _figures(one, slice(None), named=True)["rep_metrics"]
        for repetition, (start, end) in zip(found, one.bounds, strict=True):
            errors += [abs(repetition["start_ms"] - start), abs(repetition["end_ms"] - end)]
    assert np.median(errors) < 300


@everyone
def test_five_percent_cost_no_three_degrees(name: str) -> None:
    """The usual range of a repetition stays within three degrees when 5 % of frames are lost."""
    one = RECORDINGS[name]
    whole = _figures(one, slice(None), named=True)["session_metrics"]
    for kind in ("frames", "batches", "bursts"):
        less = _figures(one, _without(one, 0.05, kind, 1), named=True)["session_metrics"]
        assert less["working_joint"] == whole["working_joint"]
        if less["rep_count"] > less["rep_count_partial"]:
            assert abs(less["rep_range_median_deg"] - whole["rep_range_median_deg"]) < 3


def test_a_range_is_right_or_null() -> None:
    """With bursts of frames missing, the ranges that are told are those of the whole recording."""
    off = []
    for one in RECORDINGS.values():
        whole = _figures(one, slice(None), named=True)["rep_metrics"]
        for seed in range(3):
            for told in _figures(one, _without(one, 0.05, "bursts", seed), named=True)[
                "rep_metrics"
            ]:
                if told["range_deg"] is None or told["partial"]:
                    continue
                real = min(whole, key=lambda other: abs(other["turn_ms"] - told["turn_ms"]))
                off.append(abs(told["range_deg"] - real["range_deg"]))
    assert len(off) > 100
    assert np.percentile(off, 99) < 3


@everyone
def test_a_beginning_that_is_missing_takes_its_repetitions_along(name: str) -> None:
    """A recording that is cut in the midst counts those that begin after it, or one more."""
    one = RECORDINGS[name]
    if not len(one.bounds):
        return
    for share in (0.21, 0.47):
        begin = share * one.times[-1]
        kept = one.times >= begin
        count = _figures(one, kept, named=True)["session_metrics"]["rep_count"]
        after = int((one.bounds[:, 0] >= begin - 150).sum())
        assert after <= count <= after + 1


@pytest.mark.parametrize("faster", [0.6, 1.6])
@everyone
def test_tempo_does_not_change_the_count(name: str, faster: float) -> None:
    """The same movement done faster or slower is counted alike."""
    one = RECORDINGS[name]
    stretched = one._replace(times=(one.times / faster).astype(np.int64))
    figures = _figures(stretched, slice(None), named=True)
    assert figures["session_metrics"]["rep_count"] == one.repetitions
