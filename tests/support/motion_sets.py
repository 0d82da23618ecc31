"""Sets whose truth is a formula: minimum-jerk ways of the knees, and hips and trunk with them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.metrics import metrics
from penstock.engine.motion.motion import NO_MOTION, Concluded, Motion, advance, conclude
from penstock.engine.motion.signals import LEAN, SIGNALS, Floats

Frames = npt.NDArray[np.int64]
# How far each signal goes with the knees.
_WITH_KNEES = {"knee_flexion": 1.0, "hip_flexion": 0.8, "leg_height": -0.5, LEAN: 0.3}


def clock(seconds: float, fps: float = 10.0) -> Frames:
    """Give the times of so many seconds of frames."""
    return (np.arange(round(seconds * fps)) * 1000 / fps).astype(np.int64)


def bent(times: Frames, starts_ms: list[int], length_ms: int) -> npt.NDArray[np.float64]:
    """Give how far the knees are, 0 to 1: a way out and a way back from each start."""
    share = np.zeros(len(times))
    for start in starts_ms:
        done = np.clip((times - start) / length_ms * 2, 0, 2)
        way = np.minimum(done, 2 - done)
        share += way**3 * (10 - 15 * way + 6 * way**2)
    return share


def squats(share: npt.NDArray[np.float64], degrees: float = 90.0) -> Floats:
    """Give the signals of someone whose knees are that far bent."""
    values = np.zeros((len(share), len(SIGNALS)), np.float32)
    for n, signal in enumerate(SIGNALS):
        joint = signal.removesuffix("_left").removesuffix("_right")
        values[:, n] = 10 + degrees * _WITH_KNEES.get(joint, 0.0) * share
    return values


def folded(times: Frames, values: Floats, exercise: str | None = "squat") -> Motion:
    """Fold all frames in."""
    begun = NO_MOTION.told(world=False, exercise=exercise)
    return advance([begun], [len(times)], times, values)[0]


def concluded(times: Frames, values: Floats, exercise: str | None = "squat") -> Concluded:
    """Count all frames."""
    return conclude(folded(times, values, exercise))


def figures(times: Frames, values: Floats, exercise: str | None = "squat") -> dict[str, Any]:
    """Give the figures of all frames."""
    return metrics(folded(times, values, exercise))
