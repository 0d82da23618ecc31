"""The whole motion of one recording: repetitions, rests, sway, and the way in and out again.

Theory of operation
-------------------
Repetition counters err most on what is not a repetition. So a patient walks in, stoops (to set the
phone up), and takes the starting position, and after the last repetition does the same backwards::

    settled   0 ........ 0.4 ............. 0.75 ........ 1
              walks in, with a gait | stoops | settles into the starting position

The pose at a moment is a blend of poses, each of joint angles, so limbs keep their lengths.
"""

from dataclasses import dataclass, replace

import numpy as np

from penstock.bench.exercises import standing
from penstock.bench.skeleton import Floats, Pose, place
from penstock.bench.tempo import Schedule, Sway, draw_sway, ease, plan
from penstock.bench.traits import Traits

_SWAYING = 9  # the trunk, and hip, knee, arm and elbow of both sides
_STEPS_HERTZ = 0.9
_WALK_METRES = 1.3
_STOOP_DEGREES = 48.0


@dataclass(frozen=True, eq=False, slots=True)
class Motion:
    """A patient's body at any times of a recording."""

    traits: Traits
    schedule: Schedule
    sway: Sway

    def points(self, times: Floats) -> Floats:
        """Give times x 33 x (forward, left, up) in metres. Times are in seconds."""
        traits, schedule = self.traits, self.schedule
        pose = traits.kind.pose(schedule.bend(times), traits.body)
        pose = self._rested(pose, schedule.resting(times))
        settled = schedule.settled(times)
        down = ease((settled - 0.6) / 0.4)
        pose = _walking_in(settled, times).blend(pose, down)
        # To the floor and up again it goes by way of a crouch.
        crouch = 4 * down * (1 - down) if traits.kind.lying else np.zeros_like(down)
        sway = self.sway(times)
        pose = replace(
            pose,
            trunk=pose.trunk + sway[0],
            hip=pose.hip + 85 * crouch + sway[1:3],
            knee=np.abs(pose.knee + 105 * crouch + sway[3:5]),
            arm=pose.arm + sway[5:7],
            elbow=np.abs(pose.elbow + sway[7:9]),
        )
        return place(pose, traits.body)

    def _rested(self, pose: Pose, resting: Floats) -> Pose:
        kind = self.traits.kind
        if kind.rest is not None:
            return pose.blend(kind.rest(resting.size), resting)
        # Arms and trunk are loosened, no more: nobody leaves the chair or the mat.
        return replace(
            pose,
            trunk=pose.trunk + (0 if kind.lying else 6) * resting,
            hip=pose.hip + (0 if kind.lying else 6) * resting,
            elbow=pose.elbow + 35 * resting,
        )


def draw_motion(traits: Traits, seconds: float, random: np.random.Generator) -> Motion:
    """Draw the motion of a recording of that length."""
    sway = draw_sway(random, _SWAYING, traits.sway_degrees)
    return Motion(traits, plan(traits, seconds, random), sway)


def _walking_in(settled: Floats, times: Floats) -> Pose:
    walks = 1 - ease((settled - 0.3) / 0.1)
    stoops = np.sin(np.pi * np.clip((settled - 0.35) / 0.4, 0, 1)) ** 2
    turn = 2 * np.pi * _STEPS_HERTZ * times
    stride = walks * np.stack([np.sin(turn), -np.sin(turn)])
    lifted = walks * np.stack([1 + np.cos(turn), 1 - np.cos(turn)])
    pose = standing(
        times.size, knee=5 + 22 * lifted + 25 * stoops, trunk=3 + _STOOP_DEGREES * stoops
    )
    return replace(
        pose,
        hip=pose.hip + 18 * stride - 14 * lifted,
        arm=pose.arm + 6 * walks + 25 * stoops,
        ahead=-_WALK_METRES * (1 - ease(settled / 0.4)),
    )
