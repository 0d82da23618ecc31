"""What is a repetition and what is not, on patients whose truth is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from penstock.bench.patients import Exercise, Traits, record
from penstock.engine.motion.exercises import guide
from penstock.engine.motion.metrics import Account, metrics
from penstock.engine.motion.motion import BEGUN_ANEW, NO_MOTION, advance
from penstock.engine.motion.signals import measure

EXACT = [one for one in Exercise if one is not Exercise.SIT_TO_STAND]


def _figures(
    traits: Traits, *, seed: int = 1, named: bool = True, kept: Any = None, **more: Any
) -> tuple[dict[str, Any], int]:
    found = record(traits, seconds=60, seed=seed)
    times, points = found.timestamps_ms.astype(np.int64), found.landmarks
    if kept is not None:
        times, points = times[kept(times)], points[kept(times)]
    name = traits.exercise.value if named else None
    motion = more.pop("begun", NO_MOTION).told(world=False, exercise=name)
    values = measure(points, found.aspect)
    moved = advance([motion], [len(times)], times, values)[0]
    return metrics(moved, **more), len(found.truth.repetitions)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("exercise", EXACT)
def test_a_set_is_counted_without_walking_in_and_out(exercise: Exercise, *, named: bool) -> None:
    """Set-up, put-down and the rest after the set are not repetitions."""
    found, truth = _figures(Traits(exercise=exercise), named=named)
    assert found["session_metrics"]["rep_count"] == truth


def test_pauses_are_no_repetitions() -> None:
    """Long pauses after most repetitions, with frames lost in them, add nothing."""
    traits = Traits(exercise=Exercise.SHOULDER_ABDUCTION, pause_chance=0.8)
    found, truth = _figures(traits, kept=lambda times: (times // 1000) % 9 != 0)
    assert found["session_metrics"]["rep_count"] == truth


def test_fatigue_is_counted_and_told() -> None:
    """A range that shrinks by half is counted to the end, and its trend has the right sign."""
    traits = Traits(exercise=Exercise.SHOULDER_ABDUCTION, fatigue_range=0.5, fatigue_tempo=0.4)
    found, truth = _figures(traits)
    session = found["session_metrics"]
    assert session["rep_count"] == truth
    assert session["fatigue_range_change_pct"] < -20
    assert session["fatigue_seconds_change_pct"] > 10


@pytest.mark.parametrize(
    ("working", "side"),
    [("left", "left"), ("right", "right"), ("both", "both"), ("alternating", "alternating")],
)
def test_the_working_side_is_named(working: Any, side: str) -> None:
    """One side's work is not halved by the other, and symmetry is told of both sides only."""
    traits = Traits(exercise=Exercise.SHOULDER_ABDUCTION, working=working, yaw_degrees=0)
    found, truth = _figures(traits)
    session = found["session_metrics"]
    assert session["rep_count"] == truth
    assert session["working_side"] == side
    assert (session["symmetry_index_pct"] is None) == (side != "both")
    assert session["rep_range_median_deg"] > 80


def test_asymmetry_has_its_sign() -> None:
    """The index is positive when the right side goes further."""
    traits = Traits(exercise=Exercise.SHOULDER_ABDUCTION, yaw_degrees=0)
    for asymmetry in (-0.3, 0.3):
        found, _ = _figures(replace(traits, asymmetry=asymmetry))
        index = found["session_metrics"]["symmetry_index_pct"]
        assert index == pytest.approx(100 * asymmetry, abs=12)


def test_what_nobody_saw_is_counted_and_says_so() -> None:
    """Two seconds without frames cost no repetition, and its figures are null."""
    traits = Traits(exercise=Exercise.SHOULDER_ABDUCTION, between_seconds=0.1, hold_seconds=0)
    found, truth = _figures(traits, kept=lambda times: (times < 17_000) | (times > 20_200))
    session = found["session_metrics"]
    assert session["rep_count"] == truth
    assert session["rep_count_unseen"] >= 1
    unseen = [one for one in found["rep_metrics"] if not one["seen"]]
    assert unseen
    assert all(one["range_deg"] is None and one["confidence"] == "low" for one in unseen)
    assert session["confidence"] != "high"


def test_the_ledger_s_account_is_passed_on() -> None:
    """Counts, reasons of gaps and what the client reports stand beside the figures."""
    account = Account(600, 540, 40, 20, {}, {"rep_count": 12})
    found, _ = _figures(Traits(), account=account)
    session = found["session_metrics"]
    assert session["frames_shed"] == 40
    assert session["completeness_ratio"] == 0.9
    assert session["client_reported"] == {"rep_count": 12}
    assert any("10% of the frames are missing" in why for why in session["confidence_reasons"])


def test_a_motion_that_began_anew_says_so() -> None:
    """Figures of a part of the session are never shown as those of all of it."""
    found, _ = _figures(Traits(), begun=BEGUN_ANEW)
    assert found["session_metrics"]["motion_from_start"] is False
    assert found["session_metrics"]["confidence"] == "low"


@pytest.mark.parametrize("name", ["Deep squat", "deep-squat", "SQUAT (goblet)", "deep_squat_2"])
def test_a_name_is_understood_however_it_is_spelled(name: str) -> None:
    """The words in a name decide, whatever is around them."""
    found = guide(name)
    assert found is not None
    assert found.signals[0] == "knee_flexion"
    assert found.lowers


@pytest.mark.parametrize("name", [None, "", "warm up", "??"])
def test_a_name_that_says_nothing_is_no_guide(name: str | None) -> None:
    """An unknown exercise is counted from the movement."""
    assert guide(name) is None
