"""The patient's body: joint angles in, 33 landmarks in metres out, limbs of constant length.

Theory of operation
-------------------
Everything is placed in the patient's own axes (forward, left, up) from unit directions times the
lengths of limbs, so no pose can stretch a limb. The trunk's pitch turns the plane in which hips and
knees bend: 0 is upright, 90 face down, -90 on the back.

::

    trunk t -> thigh (hip flexion from -t) -> shank (knee flexion) -> foot (dorsiflexion)
            -> upper arm (elevation from -t, in a plane 0 before .. 90 beside the body) -> forearm

The body then stands on the floor: its lowest landmark is at height 0, and the point that a pose
holds still (a mix of the ankles and the hips) is where the patient is.

The order of the landmarks and the triplets of the angles are those of BlazePose, as the engine
reads them; they are written anew here, so that what is measured is not measured by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LANDMARKS: Final = 33
LEFT: Final = 0
RIGHT: Final = 1
SIDES: Final = ("left", "right")
# Of the left side; the right side's are one higher.
SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE, HEEL, FOOT = 11, 13, 15, 23, 25, 27, 29, 31
PINKY, INDEX, THUMB = 17, 19, 21

# A flat foot's landmark points this far below the horizontal, as seen from the ankle.
FLAT_FOOT_DEGREES: Final = -20.0
# Feet stand a little wider than the hips.
_SPREAD = np.radians(4.0)
# Forward, to the left and up from the middle of the shoulders, as shares of the head's height.
_HEAD = {
    0: (0.55, 0.0, 0.85),
    1: (0.48, 0.08, 1.0),
    2: (0.47, 0.14, 1.0),
    3: (0.44, 0.2, 1.0),
    4: (0.48, -0.08, 1.0),
    5: (0.47, -0.14, 1.0),
    6: (0.44, -0.2, 1.0),
    7: (0.1, 0.33, 0.93),
    8: (0.1, -0.33, 0.93),
    9: (0.46, 0.12, 0.65),
    10: (0.46, -0.12, 0.65),
}
# Along the forearm and across it, as shares of the hand's length.
_HAND = {PINKY: (0.9, -0.35), INDEX: (1.0, 0.15), THUMB: (0.45, 0.4)}
_TRIPLETS = {
    "knee_flexion": (HIP, KNEE, ANKLE),
    "elbow_flexion": (SHOULDER, ELBOW, WRIST),
    "hip_flexion": (SHOULDER, HIP, KNEE),
    "shoulder_elevation": (HIP, SHOULDER, ELBOW),
    "ankle_dorsiflexion": (KNEE, ANKLE, FOOT),
}


@dataclass(frozen=True, slots=True)
class Proportions:
    """Lengths in metres, from joint to joint. The defaults are those of a height of 1.72 m."""

    trunk: float = 0.495
    shoulder_width: float = 0.36
    hip_width: float = 0.2
    upper_arm: float = 0.3
    forearm: float = 0.25
    hand: float = 0.09
    thigh: float = 0.42
    shank: float = 0.42
    foot: float = 0.17
    head: float = 0.22

    def scaled(self, factors: Mapping[str, float]) -> "Proportions":
        """Give the body with each named length multiplied."""
        return Proportions(
            **{f.name: getattr(self, f.name) * factors.get(f.name, 1.0) for f in fields(self)}
        )


@dataclass(frozen=True, eq=False, slots=True)
class Pose:
    """Angles in degrees, frame by frame: (frames,) for the body, (2, frames) for left and right."""

    hip: Floats
    knee: Floats
    ankle: Floats
    arm: Floats
    arm_plane: Floats
    elbow: Floats
    # About the upper arm: 0 bends the elbow the way in which the arm rises.
    elbow_roll: Floats
    # Shares of the left ankle, the right ankle and the hips in the point that stays in its place.
    hold: Floats
    trunk: Floats
    # Metres ahead of the patient's place.
    ahead: Floats

    def blend(self, other: "Pose", share: Floats) -> "Pose":
        """Give the pose that share of the way to the other one."""
        return Pose(
            *(
                (1 - share) * getattr(self, f.name) + share * getattr(other, f.name)
                for f in fields(self)
            )
        )


def place(pose: Pose, body: Proportions) -> Floats:
    """Give frames x 33 x (forward, left, up) in metres."""
    points = np.empty((pose.trunk.size, LANDMARKS, 3))
    trunk, front = _plane(pose.trunk)
    side_axis = np.array([0.0, 1.0, 0.0])
    shoulders = body.trunk * trunk
    for landmark, (forward, left, up) in _HEAD.items():
        across = left * side_axis
        points[:, landmark] = shoulders + body.head * (forward * front + across + up * trunk)
    for side, outward in ((LEFT, side_axis), (RIGHT, -side_axis)):
        hip = np.broadcast_to(body.hip_width / 2 * outward, trunk.shape)
        shoulder = shoulders + body.shoulder_width / 2 * outward
        _place_leg(points, pose, body, side, (hip, trunk, front, outward))
        _place_arm(points, pose, body, side, (shoulder, trunk, front, outward))
    held = np.stack(
        [points[:, ANKLE + LEFT, 0], points[:, ANKLE + RIGHT, 0], np.zeros(len(points))]
    )
    points[..., 0] += (pose.ahead - (pose.hold * held).sum(axis=0))[:, np.newaxis]
    points[..., 2] -= points[..., 2].min(axis=1, keepdims=True)
    return points


def body_angles(points: Floats) -> dict[str, Floats]:
    """Measure every joint of both sides, and the trunk's lean, in the patient's own axes."""
    angles = {}
    for name, triplet in _TRIPLETS.items():
        for side, told in enumerate(SIDES):
            start, middle, end = (points[:, at + side] for at in triplet)
            a, b = start - middle, end - middle
            across = np.linalg.norm(np.cross(a, b), axis=1)
            included = np.degrees(np.arctan2(across, (a * b).sum(axis=1)))
            angles[f"{name}_{told}"] = _reading(name, included)
    spine = points[:, SHOULDER : SHOULDER + 2].mean(axis=1) - points[:, HIP : HIP + 2].mean(axis=1)
    level = np.hypot(spine[:, 0], spine[:, 1])
    angles["trunk_lean"] = np.degrees(np.arctan2(level, spine[:, 2]))
    return angles


def _reading(name: str, included: Floats) -> Floats:
    match name:
        case "shoulder_elevation":
            return included
        case "ankle_dorsiflexion":
            return 90 - included
        case _:
            return 180 - included


def _plane(pitch: Floats) -> tuple[Floats, Floats]:
    # The trunk's direction, from the hips up, and the way that the chest faces.
    turned = np.radians(pitch)
    sin, cos, none = np.sin(turned), np.cos(turned), np.zeros_like(turned)
    return np.stack([sin, none, cos], axis=1), np.stack([cos, none, -sin], axis=1)


def _bent(first: Floats, second: Floats, degrees: Floats) -> tuple[Floats, Floats]:
    # Turn two perpendicular directions, the first one toward the second.
    turned = np.radians(degrees)[:, np.newaxis]
    sin, cos = np.sin(turned), np.cos(turned)
    return first * cos + second * sin, second * cos - first * sin


_Root = tuple[Floats, Floats, Floats, Floats]


def _place_leg(points: Floats, pose: Pose, body: Proportions, side: int, root: _Root) -> None:
    hip, trunk, front, outward = root
    thigh, ahead = _bent(-trunk, front, pose.hip[side])
    thigh = thigh * np.cos(_SPREAD) + outward * np.sin(_SPREAD)
    shank, instep = _bent(thigh, ahead, -pose.knee[side])
    foot, sole = _bent(instep, -shank, pose.ankle[side])
    points[:, HIP + side] = hip
    points[:, KNEE + side] = knee = hip + body.thigh * thigh
    points[:, ANKLE + side] = ankle = knee + body.shank * shank
    points[:, FOOT + side] = ankle + body.foot * foot
    points[:, HEEL + side] = ankle - body.foot * (0.15 * foot + 0.38 * sole)


def _place_arm(points: Floats, pose: Pose, body: Proportions, side: int, root: _Root) -> None:
    shoulder, trunk, front, outward = root
    plane, across = _bent(front, np.broadcast_to(outward, front.shape), pose.arm_plane[side])
    upper, rising = _bent(-trunk, plane, pose.arm[side])
    bending, palm = _bent(rising, across, pose.elbow_roll[side])
    forearm, _ = _bent(upper, bending, pose.elbow[side])
    points[:, SHOULDER + side] = shoulder
    points[:, ELBOW + side] = elbow = shoulder + body.upper_arm * upper
    points[:, WRIST + side] = wrist = elbow + body.forearm * forearm
    for landmark, (along, off) in _HAND.items():
        points[:, landmark + side] = wrist + body.hand * (along * forearm + off * palm)
