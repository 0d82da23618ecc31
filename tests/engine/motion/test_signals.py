"""What is measured of a body does not depend on where, how large and which way round it is."""

from typing import Any

import numpy as np
import pytest

from penstock.bench.patients import Exercise, Traits, record
from penstock.engine.motion.joints import JOINTS, joint_angles
from penstock.engine.motion.metrics import metrics
from penstock.engine.motion.motion import NO_MOTION, advance
from penstock.engine.motion.signals import LEAN, ROTATION, SIGNALS, Floats, measure

_LEFT = [n for n, name in enumerate(SIGNALS) if name.endswith("_left")]
_RIGHT = [n for n, name in enumerate(SIGNALS) if name.endswith("_right")]


def _body(**options: Any) -> Any:
    return record(Traits(exercise=Exercise.LUNGE), seconds=8, seed=1, **options)


def _close(found: Any, expected: Any, within: float = 0.05) -> None:
    np.testing.assert_allclose(found, expected, atol=within, equal_nan=True)


def test_angles_are_those_of_the_joints() -> None:
    """The angles among the signals are those that `joint_angles` gives."""
    body = _body()
    found = measure(body.landmarks, body.aspect)
    columns = [SIGNALS.index(name) for name in JOINTS]
    _close(found[:, columns], joint_angles(body.landmarks, body.aspect))


@pytest.mark.parametrize("world", [False, True])
def test_place_and_size_do_not_matter(*, world: bool) -> None:
    """Moved and scaled, a body gives the same values."""
    body = _body(coords="world" if world else "image")
    moved = body.landmarks.copy()
    moved[..., :3] = moved[..., :3] * 0.5 + 0.2
    _close(
        measure(moved, body.aspect, world=world),
        measure(body.landmarks, body.aspect, world=world),
    )


def test_a_mirror_swaps_the_sides() -> None:
    """Mirrored landmarks with their names swapped give the other side's values."""
    body = _body()
    mirrored = body.landmarks.copy()
    mirrored[..., 0] = 1 - mirrored[..., 0]
    pairs = np.arange(33)
    pairs[11:] = [n + 1 if n % 2 else n - 1 for n in range(11, 33)]
    found = measure(mirrored[:, pairs], body.aspect)
    expected = measure(body.landmarks, body.aspect)
    _close(found[:, _LEFT], expected[:, _RIGHT])
    _close(found[:, _RIGHT], expected[:, _LEFT])
    _close(found[:, SIGNALS.index(LEAN)], expected[:, SIGNALS.index(LEAN)])


def test_a_turn_about_the_vertical_does_not_matter_in_the_world() -> None:
    """Whoever turns round goes through the same angles in space."""
    body = _body(coords="world")
    turned = body.landmarks.copy()
    cos, sin = np.cos(0.7), np.sin(0.7)
    x, z = body.landmarks[..., 0], body.landmarks[..., 2]
    turned[..., 0], turned[..., 2] = cos * x + sin * z, cos * z - sin * x
    _close(measure(turned, world=True), measure(body.landmarks, world=True), 0.2)


def test_what_is_not_sure_is_not_measured() -> None:
    """A landmark below its threshold, or not finite, and a person who is not there, give NaN."""
    body = _body().landmarks.copy()
    body[..., 3] = 0.9
    body[0, 25, 3] = 0.29
    body[1, 25, 0] = np.inf
    body[2, :, 3] = 0.4
    found = measure(body)
    knee, other = SIGNALS.index("knee_flexion_left"), SIGNALS.index("elbow_flexion_right")
    assert np.isnan(found[:2, knee]).all()
    assert np.isfinite(found[:2, other]).all()
    assert np.isnan(found[2]).all()


def _rotating(degrees: Floats) -> Floats:
    """Stand with the left elbow bent, and turn that forearm: 0 to the camera, 90 outward."""
    points = np.zeros((len(degrees), 33, 4), np.float32)
    points[..., 3] = 0.9
    for landmark, x, y in (
        (0, 0.0, -0.25), (11, 0.2, 0.0), (13, 0.2, 0.28), (15, 0.2, 0.28), (23, 0.12, 0.5),
        (25, 0.12, 0.9), (27, 0.12, 1.3), (29, 0.12, 1.35), (31, 0.12, 1.35),
    ):  # fmt: skip
        points[:, landmark, :2] = x, y
        if landmark:
            points[:, landmark + 1, :2] = -x, y
    points[:, 31:, 2] = -0.1
    points[:, 16, 1] += 0.25
    turn = np.radians(degrees)
    points[:, 15, 0] += 0.25 * np.sin(turn)
    points[:, 15, 2] -= 0.25 * np.cos(turn)
    return points


@pytest.mark.parametrize("world", [False, True])
def test_a_forearm_turns_about_the_upright(*, world: bool) -> None:
    """With the upper arm at the side, the angle to the line of shoulders is the forearm's turn."""
    turned = np.linspace(-85, 85, 35, dtype=np.float32)
    found = measure(_rotating(turned), world=world)
    _close(found[:, SIGNALS.index(f"{ROTATION}_left")], turned, 0.1)
    # The other one hangs down all the while.
    _close(found[:, SIGNALS.index(f"{ROTATION}_right")], 0, 0.1)


@pytest.mark.parametrize("world", [False, True])
@pytest.mark.parametrize("exercise", [None, "shoulder_external_rotation"])
def test_rotations_with_the_arm_at_the_side_are_counted(
    *, world: bool, exercise: str | None
) -> None:
    """Seven turns of a forearm are seven repetitions of that side, and their range is its turn."""
    times = np.arange(0, 30_000, 100)
    phase = np.clip((times - 1000) / 4000, 0, 7)
    degrees = (-40 + 45 * (1 - np.cos(2 * np.pi * phase))).astype(np.float32)
    motion = NO_MOTION.told(world=world, exercise=exercise)
    values = measure(_rotating(degrees), world=world)
    found = metrics(advance([motion], [len(times)], times, values)[0])["session_metrics"]
    assert found["rep_count"] == 7
    assert found["counted_by"] == ROTATION
    assert found["working_side"] == "left"
    assert found["rep_range_median_deg"] == pytest.approx(90, abs=3)
