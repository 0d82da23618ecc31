"""Joint angles against poses whose angles are known, and against plain arithmetic."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.motion.joints import JOINTS, joint_angles

# Three landmarks of each left joint, the joint in the middle, and what its value is of the angle
# that they enclose.
TRIPLETS = {
    "knee_flexion_left": (23, 25, 27, lambda included: 180 - included),
    "elbow_flexion_left": (11, 13, 15, lambda included: 180 - included),
    "hip_flexion_left": (11, 23, 25, lambda included: 180 - included),
    "shoulder_elevation_left": (23, 11, 13, lambda included: included),
    "ankle_dorsiflexion_left": (25, 27, 31, lambda included: 90 - included),
}


def _included(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    return math.degrees(math.acos(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))))


@pytest.mark.parametrize("world", [False, True])
@given(seed=st.integers(0, 2**32 - 1), aspect=st.floats(0.3, 3))
@settings(max_examples=50, deadline=None)
def test_angles_are_those_of_the_triplets(world: bool, seed: int, aspect: float) -> None:  # noqa: FBT001
    """Each column is the angle that its three landmarks enclose, left and right."""
    points = np.random.default_rng(seed).uniform(0, 1, (3, 33, 4)).astype(np.float32)
    points[..., 3] = 1
    angles = joint_angles(points, aspect, world=world)
    stretch = np.array([1, 1, 1] if world else [aspect, 1, 0])
    for name, (a, b, c, value) in TRIPLETS.items():
        for side, offset in (("left", 0), ("right", 1)):
            column = angles[:, JOINTS.index(name.replace("left", side))]
            for frame in range(3):
                pa, pb, pc = (points[frame, n + offset, :3] * stretch for n in (a, b, c))
                expected = value(_included(pa - pb, pc - pb))
                assert column[frame] == pytest.approx(expected, abs=0.2)


def test_an_angle_is_exact_where_a_limb_is_straight() -> None:
    """Near 0 and 180 degrees, where an arccos loses half its digits, a tenth of a degree counts."""
    points = np.zeros((1, 33, 4), np.float32)
    points[..., 3] = 1
    points[0, 23, :2], points[0, 25, :2] = (0.5, 0.2), (0.5, 0.5)
    bend = math.radians(0.1)
    points[0, 27, :2] = 0.5 + 0.3 * math.sin(bend), 0.5 + 0.3 * math.cos(bend)
    assert joint_angles(points)[0, JOINTS.index("knee_flexion_left")] == pytest.approx(
        0.1, abs=0.01
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, 2e6])
@pytest.mark.parametrize("value", [0, 1])
def test_a_landmark_that_is_no_place_makes_its_joints_unknown(bad: float, value: int) -> None:
    """A coordinate that is not finite, or absurd, gives NaN for the joints that need it alone."""
    points = np.random.default_rng(1).uniform(0.1, 0.9, (2, 33, 4)).astype(np.float32)
    points[..., 3] = 1
    points[0, 25, value] = bad
    angles = joint_angles(points)
    unknown = {name for name, angle in zip(JOINTS, angles[0], strict=True) if np.isnan(angle)}
    assert unknown == {"knee_flexion_left", "hip_flexion_left", "ankle_dorsiflexion_left"}
    assert np.isfinite(angles[1]).all()


def test_a_landmark_that_the_tracker_doubts_is_not_used() -> None:
    """Below a visibility of 0.3 a landmark's joints are unknown; at 0.3 they are not."""
    points = np.random.default_rng(1).uniform(0.1, 0.9, (2, 33, 4)).astype(np.float32)
    points[..., 3] = 0.3
    points[0, 14, 3] = 0.29
    angles = joint_angles(points)
    assert np.isnan(angles[0, JOINTS.index("elbow_flexion_right")])
    assert np.isfinite(angles[1]).all()


def test_any_number_of_frames_is_one_answer() -> None:
    """Frames are measured alike alone and in thousands, also none at all."""
    points = np.random.default_rng(2).uniform(0, 1, (2500, 33, 4)).astype(np.float32)
    aspects = np.linspace(0.5, 2, 2500, dtype=np.float32)
    angles = joint_angles(points, aspects)
    assert angles.shape == (2500, len(JOINTS))
    for at in (0, 1023, 1024, 2499):
        alone = joint_angles(points[at : at + 1], float(aspects[at]))
        np.testing.assert_allclose(angles[at : at + 1], alone, atol=1e-3)
    assert joint_angles(points[:0]).shape == (0, len(JOINTS))
