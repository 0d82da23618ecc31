"""The exercises: how a whole body moves when its main joint goes through some degrees.

An exercise takes the bend, the degrees that the primary joint of each side has left its starting
position, and gives the pose of everything else. So the main joint decides, and the rest follows as
it does in people: a squat leans the trunk forward, a lunge bends the other knee as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np

from penstock.bench.skeleton import FLAT_FOOT_DEGREES, LEFT, RIGHT, Floats, Pose, Proportions

Side = Literal["left", "right", "both"]
Working = Side | Literal["alternating"]


class Exercise(StrEnum):
    """What a patient can be doing."""

    SQUAT = "squat"
    SIT_TO_STAND = "sit_to_stand"
    SHOULDER_ABDUCTION = "shoulder_abduction"
    STRAIGHT_LEG_RAISE = "straight_leg_raise"
    LUNGE = "lunge"
    PUSH_UP = "push_up"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed about an exercise. `degrees` is a usual range, within the possible ones."""

    primary_joint: str
    working: tuple[Working, ...]
    degrees: float
    least_degrees: float
    most_degrees: float
    lying: bool
    pose: Callable[[Floats, Proportions], Pose]
    # Between two sets, where it is not the starting position.
    rest: Callable[[int], Pose] | None = None


def standing(frames: int, *, knee: float | Floats = 5.0, trunk: float | Floats = 3.0) -> Pose:
    """Give a person who stands, or stoops, with flat feet."""
    return _pose(frames, knee=knee, trunk=trunk, tilt=2.0)


def _pose(
    frames: int,
    *,
    trunk: float | Floats = 0.0,
    knee: float | Floats = 5.0,
    tilt: float | Floats = 0.0,
    hip: float | Floats | None = None,
    ankle: float | Floats | None = None,
    arm: float | Floats = 10.0,
    arm_plane: float | Floats = 60.0,
    elbow: float | Floats = 14.0,
    elbow_roll: float | Floats | None = None,
    hold: Floats | None = None,
) -> Pose:
    # `tilt` is how far the shank leans forward over the foot; hips and ankles follow from it.
    if hip is None:
        hip = np.asarray(knee) - tilt + trunk
    if ankle is None:
        ankle = FLAT_FOOT_DEGREES + np.asarray(knee) - hip + trunk
    if elbow_roll is None:
        # The forearm bends forward, whatever plane the upper arm is in.
        elbow_roll = -np.asarray(arm_plane)
    if hold is None:
        hold = np.broadcast_to(np.array([[0.5], [0.5], [0.0]]), (3, frames))
    return Pose(
        hip=_sided(hip, frames),
        knee=_sided(knee, frames),
        ankle=_sided(ankle, frames),
        arm=_sided(arm, frames),
        arm_plane=_sided(arm_plane, frames),
        elbow=_sided(elbow, frames),
        elbow_roll=_sided(elbow_roll, frames),
        hold=hold,
        trunk=np.broadcast_to(np.asarray(trunk, float), frames),
        ahead=np.zeros(frames),
    )


def _sided(degrees: float | Floats, frames: int) -> Floats:
    return np.broadcast_to(np.asarray(degrees, float), (2, frames))


def _squat(bend: Floats, _body: Proportions) -> Pose:
    knee, both = 5 + bend, bend.mean(axis=0)
    # The arms reach forward to keep the balance.
    return _pose(
        both.size,
        trunk=3 + 0.36 * both,
        knee=knee,
        tilt=2 + 0.2 * knee,
        arm=12 + 0.6 * both,
        arm_plane=35.0,
    )


def _sit_to_stand(bend: Floats, _body: Proportions) -> Pose:
    knee = np.maximum(92 - bend, 1)
    # The trunk swings forward on the way, and is nearly upright at both ends.
    risen = np.clip(bend.mean(axis=0) / 87, 0, 1)
    return _pose(
        risen.size,
        trunk=4 + 34 * np.sin(np.pi * risen),
        knee=knee,
        tilt=0.12 * knee,
        arm=25 - 13 * risen,
        arm_plane=20.0,
        elbow=50 - 35 * risen,
    )


def _shoulder_abduction(bend: Floats, _body: Proportions) -> Pose:
    return _pose(bend.shape[1], trunk=2.0, knee=4.0, tilt=1.0, arm=8 + bend, arm_plane=84.0)


def _straight_leg_raise(bend: Floats, _body: Proportions) -> Pose:
    frames = bend.shape[1]
    hips = np.broadcast_to(np.array([[0.0], [0.0], [1.0]]), (3, frames))
    knee = 6 + 0.08 * bend
    return _pose(frames, trunk=-90.0, hip=6 + bend, knee=knee, ankle=-12.0, hold=hips)


def _lunge(bend: Floats, _body: Proportions) -> Pose:
    other = bend[::-1]
    trunk = 4 + 0.06 * bend.sum(axis=0)
    thigh = 2 + 0.9 * bend - 0.12 * other
    # The hind foot keeps its place. Between two lunges the feet are side by side, and both do.
    ahead = (bend + 1) / (bend.sum(axis=0) + 2)
    hold = np.stack([ahead[RIGHT], ahead[LEFT], np.zeros(trunk.size)])
    return _pose(
        trunk.size,
        trunk=trunk,
        hip=thigh + trunk,
        knee=5 + bend + 0.85 * other,
        ankle=FLAT_FOOT_DEGREES + 3 + 0.1 * bend + 0.2 * other,
        arm=20.0,
        elbow=60.0,
        hold=hold,
    )


def _push_up(bend: Floats, body: Proportions) -> Pose:
    # Seen from the side, ankles and hands stay, so the bent elbows tell how far the body has come
    # down: a triangle of ankle, hand and shoulder whose third side is the arm.
    elbow = 12 + bend
    straight = body.upper_arm + body.forearm
    line = body.trunk + body.thigh + body.shank
    apart = np.sqrt(line**2 - straight**2)
    arm = _third_side(body.upper_arm, body.forearm, elbow)
    reach = arm.mean(axis=0)
    slope = np.arccos(np.clip((line**2 + apart**2 - reach**2) / (2 * line * apart), -1, 1))
    # From the shoulder to the hand, along the body's line and at a right angle to it.
    along = (apart * np.cos(slope) - line) / reach
    down = apart * np.sin(slope) / reach
    # The arm is a triangle as well; its elbow points half to the feet and half to the side.
    inner = np.arccos(
        np.clip((body.upper_arm**2 + arm**2 - body.forearm**2) / (2 * body.upper_arm * arm), -1, 1)
    )
    to_hand = np.stack([np.stack([along, along]), np.stack([down, down]), np.zeros(arm.shape)])
    half = np.sqrt(0.5)
    to_elbow = np.stack([-half * to_hand[1], half * to_hand[0], np.full(arm.shape, half)])
    upper = to_hand * np.cos(inner) + to_elbow * np.sin(inner)
    lower = np.radians(elbow) - inner
    forearm = to_hand * np.cos(lower) - to_elbow * np.sin(lower)
    raised = np.arccos(np.clip(-upper[0], -1, 1))
    plane = np.arctan2(upper[2], upper[1])
    in_plane = forearm[1] * np.cos(plane) + forearm[2] * np.sin(plane)
    rising = forearm[0] * np.sin(raised) + in_plane * np.cos(raised)
    across = forearm[2] * np.cos(plane) - forearm[1] * np.sin(plane)
    return _pose(
        reach.size,
        trunk=90 - np.degrees(slope),
        hip=4.0,
        knee=4.0,
        ankle=5.0,
        arm=np.degrees(raised),
        arm_plane=np.degrees(plane),
        elbow=elbow,
        elbow_roll=np.degrees(np.arctan2(across, rising)),
    )


def _third_side(a: float, b: float, flexion: Floats) -> Floats:
    return np.sqrt(a**2 + b**2 + 2 * a * b * np.cos(np.radians(flexion)))


def _kneeling(frames: int) -> Pose:
    return _pose(frames, trunk=4.0, hip=8.0, knee=94.0, ankle=-55.0)


_ONE_SIDE: tuple[Working, ...] = ("right", "left", "alternating")

# The first way of working is the usual one.
KINDS: Final = {
    Exercise.SQUAT: Kind("knee_flexion", ("both",), 90, 20, 130, lying=False, pose=_squat),
    Exercise.SIT_TO_STAND: Kind(
        "knee_flexion", ("both",), 85, 20, 90, lying=False, pose=_sit_to_stand
    ),
    Exercise.SHOULDER_ABDUCTION: Kind(
        "shoulder_elevation",
        ("both", *_ONE_SIDE),
        110,
        15,
        150,
        lying=False,
        pose=_shoulder_abduction,
    ),
    Exercise.STRAIGHT_LEG_RAISE: Kind(
        "hip_flexion", _ONE_SIDE, 60, 15, 95, lying=True, pose=_straight_leg_raise
    ),
    Exercise.LUNGE: Kind("knee_flexion", _ONE_SIDE, 85, 20, 110, lying=False, pose=_lunge),
    Exercise.PUSH_UP: Kind(
        "elbow_flexion", ("both",), 80, 20, 110, lying=True, pose=_push_up, rest=_kneeling
    ),
}
