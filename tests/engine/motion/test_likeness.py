"""What is another motion than the exercise is told by what the rest of the body does."""

import numpy as np

from motion_sets import Frames, bent, clock, figures, squats
from penstock.engine.motion.signals import LEAN, SIGNALS, Floats

STARTS = [8000 + 3000 * n for n in range(8)]
TIMES = clock(36)


def _set_up(other: dict[str, float], start: int) -> tuple[Frames, Floats]:
    """Give a set with one more bend of the knees, during which other signals move otherwise."""
    values = squats(bent(TIMES, STARTS, 2400))
    extra = bent(TIMES, [start], 2400)
    values += squats(extra) - squats(0 * extra)
    for n, signal in enumerate(SIGNALS):
        joint = signal.removesuffix("_left").removesuffix("_right")
        values[:, n] += np.float32(other.get(joint, 0.0)) * extra
    return TIMES, values


def test_another_motion_of_the_same_joint_is_not_counted() -> None:
    """Stooping to the phone bends the knees as far, but arms and trunk tell it apart."""
    for start in (2000, 33_000):
        found = figures(*_set_up({"shoulder_elevation": 120, "elbow_flexion": 90, LEAN: 60}, start))
        assert found["session_metrics"]["rep_count"] == len(STARTS)


def test_the_same_motion_elsewhere_is_not_counted() -> None:
    """A bend of the knees with the body turned over, before a set, is no repetition of it."""
    times, values = _set_up({}, 2000)
    away = np.clip((6500 - times) / 1000, 0, 1).astype(np.float32)
    for n, signal in enumerate(SIGNALS):
        if signal == LEAN or signal.startswith(("shoulder", "forearm", "wrist")):
            values[:, n] += 120 * away
    assert figures(times, values)["session_metrics"]["rep_count"] == len(STARTS)


def test_one_more_of_the_same_is_counted() -> None:
    """A repetition long before the others that is like them belongs to them."""
    found = figures(*_set_up({}, 2000))
    assert found["session_metrics"]["rep_count"] == len(STARTS) + 1
    assert found["rep_metrics"][0]["confidence"] == "high"


def test_depth_alone_tells_nothing() -> None:
    """A shallow repetition at the end of a set, of half the depth, is one."""
    values = squats(bent(TIMES, STARTS, 2400) + 0.5 * bent(TIMES, [32_000], 2400))
    assert figures(TIMES, values)["session_metrics"]["rep_count"] == len(STARTS) + 1
