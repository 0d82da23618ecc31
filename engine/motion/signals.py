"""What is followed over time: the joints' angles, and how high hands and hips are.

Theory of operation
-------------------
A joint's angle in a picture is that of its shadow: a squat seen from the front hardly bends the
knee's shadow, and then folds it suddenly. Heights do not have that fault. So next to the angles
there are two heights a side, in percent of the trunk's length in the same frame: how far the ankle
is below the hips, and the wrist above the shoulder. They find repetitions; they are not reported as
degrees.

With the upper arm at the side, a forearm turns about the upright and no limb meets another at
another angle. So its direction is taken against the line of the shoulders as well: 0 degrees at
right angles to it, 90 outward, -90 across the body. In a picture that line has no length from the
side, so there it is the one across the trunk; and what points to the camera looks short, so there
a forearm is half as long as the trunk at least (0.146 and 0.288 of the stature, Drillis and Contini
1966).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.joints import (
    ANKLE,
    FOOT,
    HIP,
    LEAST_VISIBILITY,
    LIMBS,
    MEETINGS,
    SHOULDER,
    WRIST,
)
from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS

Floats = npt.NDArray[np.float32]

LEAST_PERSON_VISIBILITY: Final = 0.5
_FARTHEST = 1e6

# Beside the joints' own: of the forearm alone, which turns where the elbow keeps its angle.
_MEETINGS = MEETINGS | {"forearm_elevation": ("trunk", "forearm", 0.0)}
ROTATION: Final = "forearm_rotation"
_HEIGHTS = ("leg_height", "wrist_height")
SIDES: Final = ("left", "right")

# What has a left and a right, in the order of the columns; the trunk's lean comes last.
SIDED: Final = (*_MEETINGS, ROTATION, *_HEIGHTS)
LEAN: Final = "trunk_lean"
SIGNALS: Final = (*(f"{name}_{side}" for name in SIDED for side in SIDES), LEAN)
# Angles that a clinician knows by name: their ranges are reported.
REPORTED: Final = tuple(name for name in _MEETINGS if name != "forearm_elevation")
ANGLES: Final = frozenset((*_MEETINGS, ROTATION, LEAN))

_BOTH = (0, 1)
_LIMB_ENDS = [(LIMBS[name][0] + side, LIMBS[name][1] + side) for name in LIMBS for side in _BOTH]
_NEEDED = sorted({landmark for ends in _LIMB_ENDS for landmark in ends})
_BEGINNINGS = np.array([_NEEDED.index(beginning) for beginning, _ in _LIMB_ENDS])
_ENDS = np.array([_NEEDED.index(end) for _, end in _LIMB_ENDS])
_NAMES = list(LIMBS)
_FIRST = np.array([2 * _NAMES.index(a) + s for a, _, _ in _MEETINGS.values() for s in _BOTH])
_SECOND = np.array([2 * _NAMES.index(b) + s for _, b, _ in _MEETINGS.values() for s in _BOTH])
_TAKEN_OFF = np.array(
    [[off] for _, _, off in (*_MEETINGS.values(), ("", "", 0.0)) for _ in _BOTH], np.float32
)
_COLUMNS = np.concatenate([np.array(_NEEDED) * LANDMARK_VALUES + value for value in (0, 1, 3, 2)])
_HIPS, _SHOULDERS, _ANKLES, _WRISTS = (
    np.array([_NEEDED.index(landmark + side) for side in _BOTH])
    for landmark in (HIP, SHOULDER, ANKLE, WRIST)
)
_FOREARMS = np.array([2 * _NAMES.index("forearm") + side for side in _BOTH])
# The left shoulder is at the picture's right of who faces it, and the line goes from right to left.
_OUTWARD = np.array([[1], [-1]], np.float32)
_FOREARM_OF_TRUNK = np.float32(0.5)
# Feet come and go at the picture's edge; the person is judged by the rest.
_BODY = np.array([at for at, landmark in enumerate(_NEEDED) if landmark < FOOT])
_DEGREES = np.float32(180 / np.pi)
# A trunk seen end on has no length to measure by.
_MOST_PERCENT = np.float32(300)
_PASS_FRAMES = 1024
_UNSEEN = np.float32(np.nan)


def measure(
    points: npt.NDArray[np.float32],
    aspect: float | npt.NDArray[np.float32] = 1.0,
    *,
    world: bool = False,
) -> Floats:
    """Give frames x SIGNALS: degrees, and percent for heights; NaN where it is not tracked.

    `points` are frames x 33 x (x, y, z, visibility); `aspect` is that of all frames or of each.
    """
    frames = len(points)
    found = np.empty((frames, len(SIGNALS)), np.float32)
    aspects = np.broadcast_to(np.asarray(aspect, np.float32), frames)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for at in range(0, frames, _PASS_FRAMES):
            part = slice(at, at + _PASS_FRAMES)
            found[part] = _one_pass(points[part], aspects[part], world=world).T
    return found


def _one_pass(points: npt.NDArray[np.float32], aspects: Floats, *, world: bool) -> Floats:
    needed = len(_NEEDED)
    rows = points.reshape(len(points), LANDMARKS * LANDMARK_VALUES).T[
        _COLUMNS if world else _COLUMNS[: 3 * needed]
    ]
    x, y, visibility, z = (rows[at * needed : (at + 1) * needed] for at in range(4))
    seen = (visibility >= LEAST_VISIBILITY) & (np.abs(x) < _FARTHEST) & (np.abs(y) < _FARTHEST)
    # The mean of what is seen, so that a person of whom half is outside the picture is one.
    there = seen[_BODY]
    sure = np.where(there, visibility[_BODY], np.float32(0)).sum(axis=0)
    seen &= sure >= np.float32(LEAST_PERSON_VISIBILITY) * there.sum(axis=0, dtype=np.float32)
    if world:
        seen &= np.abs(z) < _FARTHEST
    else:
        x *= aspects
        z = np.zeros((1, 1), np.float32)
    x = np.where(seen, x, _UNSEEN)
    found = np.empty((len(SIGNALS), len(points)), np.float32)
    limb_x, limb_y = x[_ENDS] - x[_BEGINNINGS], y[_ENDS] - y[_BEGINNINGS]
    ax, ay, bx, by = limb_x[_FIRST], limb_y[_FIRST], limb_x[_SECOND], limb_y[_SECOND]
    across, along = ax * by - ay * bx, ax * bx + ay * by
    limb_z = z[_ENDS] - z[_BEGINNINGS] if world else z
    if world:
        az, bz = limb_z[_FIRST], limb_z[_SECOND]
        along += az * bz
        across = np.sqrt(across**2 + (ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2)
    # y points down. A landmark that is not seen has a NaN in x alone, so every height takes x in.
    hips_x, hips_y = _middle(x, _HIPS), _middle(y, _HIPS)
    trunk_x, trunk_y = hips_x - _middle(x, _SHOULDERS), hips_y - _middle(y, _SHOULDERS)
    aside = np.abs(trunk_x)
    if world:
        aside = np.hypot(aside, _middle(z, _HIPS) - _middle(z, _SHOULDERS))
    trunk = np.hypot(aside, trunk_y)
    heights = len(_FIRST) + len(_BOTH)
    arm_x, arm_y = limb_x[_FOREARMS], limb_y[_FOREARMS]
    length = arm_x**2 + arm_y**2
    if world:
        arm_z = limb_z[_FOREARMS]
        length += arm_z**2
        (line_x, line_y, line_z) = (np.subtract(*rows[_SHOULDERS]) for rows in (x, y, z))
        outward = (arm_x * line_x + arm_y * line_y + arm_z * line_z) * _OUTWARD
        outward /= np.sqrt(line_x**2 + line_y**2 + line_z**2)
    else:
        outward = (arm_x * trunk_y - arm_y * trunk_x) * _OUTWARD / trunk
        length = np.maximum(length, (_FOREARM_OF_TRUNK * trunk) ** 2)
    aslant = np.sqrt(np.maximum(length - outward**2, 0))
    found[:heights] = np.arctan2(
        np.concatenate((np.abs(across), outward)), np.concatenate((along, aslant))
    )
    found[:heights] *= _DEGREES
    found[:heights] -= _TAKEN_OFF
    ankles = y[_ANKLES] + 0 * x[_ANKLES] - hips_y
    wrists = y[_SHOULDERS] + 0 * x[_SHOULDERS] + 0 * x[_WRISTS] - y[_WRISTS]
    percent = np.concatenate((ankles, wrists)) * (100 / trunk)
    np.clip(percent, -_MOST_PERCENT, _MOST_PERCENT, out=found[heights:-1])
    found[-1] = np.arctan2(aside, trunk_y) * _DEGREES
    return found


def _middle(rows: Floats, sides: npt.NDArray[np.intp]) -> Floats:
    left, right = rows[sides]
    middle: Floats = (left + right) / 2
    return middle
