"""What is measured of a body does not depend on where, how large and which way round it is."""

from typing import Any

import numpy as np
import pytest

from penstock.bench.patients import Exercise, Traits, record
from penstock.engine.motion.joints import JOINTS, joint_angles
from penstock.engine.motion.signals import LEAN, SIGNALS, measure

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
