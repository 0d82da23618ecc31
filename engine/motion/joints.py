"""The angles of the joints, frame by frame, for any number of frames in one pass.

Theory of operation
-------------------
A joint's angle is the angle between the two limbs that meet in it: `atan2(|a x b|, a . b)` for the
limbs' directions a and b, which is exact near 0 and near 180 degrees, where arccos is not. Image
coordinates are fractions of the picture's width and height, so x is stretched by the picture's
aspect first, and the angle is that of the picture; world coordinates give the angle in space.

A frame says nothing of any other, so frames of many sessions can go through together: at a few
frames a session that is where the time goes otherwise. A landmark that the tracker is not sure of,
or that is not finite, makes the angles that need it NaN; nothing is guessed.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS

Angles = npt.NDArray[np.float32]

# No picture and no room has such coordinates, and their products are still finite.
_FARTHEST = 1e6
# Below this visibility a landmark's place is a guess of the tracker (the default of Sports2D).
LEAST_VISIBILITY: Final = 0.3

SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE, FOOT = 11, 13, 15, 23, 25, 27, 31

# From a limb's beginning to its end; the left side's landmarks, the right side's are one higher.
LIMBS = {
    "upper_arm": (SHOULDER, ELBOW),
    "forearm": (ELBOW, WRIST),
    "trunk": (SHOULDER, HIP),
    "thigh": (HIP, KNEE),
    "shank": (KNEE, ANKLE),
    "foot": (ANKLE, FOOT),
}
# Which limbs meet, and what is taken off the angle between their directions. Limbs in line, each
# from its beginning to its end, make 0: a flexion. An elevation is the angle at a common beginning,
# and a foot at a right angle to its shank is at 0.
MEETINGS = {
    "knee_flexion": ("thigh", "shank", 0.0),
    "elbow_flexion": ("upper_arm", "forearm", 0.0),
    "hip_flexion": ("trunk", "thigh", 0.0),
    "shoulder_elevation": ("trunk", "upper_arm", 0.0),
    "ankle_dorsiflexion": ("shank", "foot", 90.0),
}

# The columns of `joint_angles`.
JOINTS: Final = tuple(f"{name}_{side}" for name in MEETINGS for side in ("left", "right"))

_SIDES = (0, 1)
_LIMB_ENDS = [(LIMBS[name][0] + side, LIMBS[name][1] + side) for name in LIMBS for side in _SIDES]
_NEEDED = sorted({landmark for ends in _LIMB_ENDS for landmark in ends})
_BEGINNINGS = np.array([_NEEDED.index(beginning) for beginning, _ in _LIMB_ENDS])
_ENDS = np.array([_NEEDED.index(end) for _, end in _LIMB_ENDS])
_NAMES = list(LIMBS)
_FIRST = np.array([2 * _NAMES.index(a) + side for a, _, _ in MEETINGS.values() for side in _SIDES])
_SECOND = np.array([2 * _NAMES.index(b) + side for _, b, _ in MEETINGS.values() for side in _SIDES])
_TAKEN_OFF = np.array([[off] for _, _, off in MEETINGS.values() for _ in _SIDES], np.float32)
# The values of a frame that are needed: all x, all y, all visibilities, all z.
_COLUMNS = np.concatenate([np.array(_NEEDED) * LANDMARK_VALUES + value for value in (0, 1, 3, 2)])
_DEGREES = np.float32(180 / np.pi)
# What fits into a core's own cache; more frames at once take twice as long each.
_PASS_FRAMES = 1024


def joint_angles(
    points: npt.NDArray[np.float32],
    aspect: float | npt.NDArray[np.float32] = 1.0,
    *,
    world: bool = False,
) -> Angles:
    """Give the angles in degrees, frames x JOINTS, NaN where a landmark is not tracked.

    `points` are frames x 33 x (x, y, z, visibility); `aspect`, width over height, is that of all
    frames or of each.
    """
    frames = len(points)
    angles = np.empty((frames, len(JOINTS)), np.float32)
    aspects = np.broadcast_to(np.asarray(aspect, np.float32), frames)
    # What is not tracked is NaN already, whatever its other products come to.
    with np.errstate(invalid="ignore", over="ignore"):
        for at in range(0, frames, _PASS_FRAMES):
            part = slice(at, at + _PASS_FRAMES)
            angles[part] = _one_pass(points[part], aspects[part], world=world).T
    return angles


def _one_pass(
    points: npt.NDArray[np.float32], aspects: npt.NDArray[np.float32], *, world: bool
) -> Angles:
    # Landmarks first, frames last: every step then runs along the frames.
    needed = len(_NEEDED)
    rows = points.reshape(len(points), LANDMARKS * LANDMARK_VALUES).T[
        _COLUMNS if world else _COLUMNS[: 3 * needed]
    ]
    x, y, visibility, z = (rows[at * needed : (at + 1) * needed] for at in range(4))
    seen = (visibility >= LEAST_VISIBILITY) & (np.abs(x) < _FARTHEST) & (np.abs(y) < _FARTHEST)
    if world:
        seen &= np.abs(z) < _FARTHEST
    else:
        x *= aspects
    x[~seen] = np.nan
    limb_x, limb_y = x[_ENDS] - x[_BEGINNINGS], y[_ENDS] - y[_BEGINNINGS]
    ax, ay, bx, by = limb_x[_FIRST], limb_y[_FIRST], limb_x[_SECOND], limb_y[_SECOND]
    across, along = ax * by - ay * bx, ax * bx + ay * by
    if world:
        limb_z = z[_ENDS] - z[_BEGINNINGS]
        az, bz = limb_z[_FIRST], limb_z[_SECOND]
        along += az * bz
        across = np.sqrt(across**2 + (ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2)
    angles: Angles = np.arctan2(np.abs(across), along) * _DEGREES - _TAKEN_OFF
    return angles
