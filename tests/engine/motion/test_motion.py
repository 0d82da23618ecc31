"""A session's motion: the same however frames came, small, and ready to go on elsewhere."""

from functools import cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.bench.patients import Exercise, Traits, record
from penstock.engine.motion.metrics import metrics
from penstock.engine.motion.motion import (
    NO_MOTION,
    Motion,
    advance,
    conclude,
    dumped,
    gaps,
    loaded,
)
from penstock.engine.motion.signals import SIGNALS, measure


@cache
def _session(seconds: int, exercise: Exercise = Exercise.SQUAT) -> tuple[Any, Any, int]:
    traits = Traits(exercise=exercise, lost_share=0.05, rest_seconds=10)
    found = record(traits, seconds=seconds, seed=2)
    values = measure(found.landmarks.copy(), found.aspect)
    return found.timestamps_ms.astype(np.int64), values, len(found.truth.repetitions)


def _folded(times: Any, values: Any, begun: Motion = NO_MOTION) -> Motion:
    return advance([begun], [len(times)], times, values)[0]


@given(st.lists(st.integers(1, 130), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_batches_do_not_matter(sizes: list[int]) -> None:
    """The state after some frames is equal however they were cut, and by way of bytes too."""
    times, values, _ = _session(90)
    motion, at = NO_MOTION, 0
    for size in [*sizes, len(times)]:
        part = slice(at, at + size)
        if len(times[part]):
            motion = loaded(dumped(_folded(times[part], values[part], motion)))
        at += size
    assert motion == _folded(times, values)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_frames_are_used_once(data: st.DataObject) -> None:
    """What is repeated, or comes after later frames, changes nothing."""
    times, values, _ = _session(20)
    motion = NO_MOTION
    newest = 0
    for at in range(0, len(times), 20):
        again = data.draw(st.integers(0, newest))
        for start in (at, again):
            part = slice(start, min(start + 20, max(at + 20, newest)))
            motion = _folded(times[part], values[part], motion)
        newest = at + 20
    assert motion == _folded(times, values)


def test_a_gap_behind_a_frame_that_is_left_out_is_listed() -> None:
    """A gap is as long as nothing was used, however frames were cut, also after too dense ones."""
    times = np.array([0, 100, 130, 710, 740, 1310, 1400, 1450, 2045, 9000], np.int64)
    values = np.zeros((len(times), len(SIGNALS)), np.float32)
    for cuts in combinations(range(1, len(times)), 2):
        motion = NO_MOTION
        for start, end in pairwise((0, *cuts, len(times))):
            motion = _folded(times[start:end], values[start:end], motion)
        assert gaps(motion.folded) == [(100, 710), (1400, 2045), (2045, 9000)]


def test_many_sessions_at_once_are_as_each_alone() -> None:
    """Whatever is turned beside it, of any age or exercise, a state is that of its own frames."""
    kinds = (Exercise.SQUAT, Exercise.SHOULDER_ABDUCTION, Exercise.SIT_TO_STAND)
    sessions = [_session(seconds, kind)[:2] for kind in kinds for seconds in (90, 240)]
    motions, at = [NO_MOTION] * len(sessions), 0
    while live := [n for n, (times, _) in enumerate(sessions) if at < len(times)]:
        parts = [[one[at : at + 50] for one in sessions[n]] for n in live]
        times, values = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
        sizes = [len(part[0]) for part in parts]
        found = advance([motions[n] for n in live], sizes, times, values)
        for n, motion in zip(live, found, strict=True):
            motions[n] = motion
        at += 50
    assert motions == [_folded(*session) for session in sessions]


def test_asking_changes_nothing() -> None:
    """A state gives its figures at any moment and goes on as if nobody had asked."""
    times, values, _ = _session(60)
    half = len(times) // 2
    first = _folded(times[:half], values[:half])
    before = metrics(first)
    assert metrics(first) == before
    assert _folded(times[half:], values[half:], first) == _folded(times, values)


@pytest.mark.parametrize("exercise", [Exercise.SQUAT, Exercise.SHOULDER_ABDUCTION])
def test_a_long_session_is_counted_within_bounds(exercise: Exercise) -> None:
    """Ten minutes of sets are counted to within one, in a state of at most 32 KiB."""
    times, values, truth = _session(600, exercise)
    motion = NO_MOTION.told(world=False, exercise=exercise.value)
    largest = 0
    for at in range(0, len(times), 100):
        motion = _folded(times[at : at + 100], values[at : at + 100], motion)
        largest = max(largest, len(dumped(motion)))
    found = metrics(motion)
    assert abs(found["session_metrics"]["rep_count"] - truth) <= 1
    assert motion.folded.settled.number > 0
    assert largest <= 32 * 1024
    numbers = [one["rep_number"] for one in found["rep_metrics"]]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == found["session_metrics"]["rep_count"]


def test_nothing_is_told_of_nothing() -> None:
    """Without frames, or with frames of nobody, every figure that would need them is null."""
    for values in (np.zeros((0, len(SIGNALS))), np.full((30, len(SIGNALS)), np.nan)):
        times = np.arange(len(values), dtype=np.int64) * 100
        motion = _folded(times, values.astype(np.float32)) if len(values) else NO_MOTION
        figures = metrics(motion)["session_metrics"]
        assert figures["rep_count"] == 0
        assert figures["rep_range_median_deg"] is None
        assert figures["working_joint"] is None
        assert figures["confidence"] == "low"
        assert conclude(motion).repetitions == ()


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    """What is no motion raises a ValueError, and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever it is
        loaded(data)
