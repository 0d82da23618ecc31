"""Plausible patients: what a tracker reports of someone exercising, and the truth behind it.

Theory of operation
-------------------
::

    Traits -> Motion (joint angles -> a body in metres) -> Camera (a picture) -> tracker's errors
                       └-> Truth: angles and repetitions, before any error

Who the patient is comes from `Traits`, given or drawn; the details of one recording come from its
seed. Equal arguments give the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from penstock.bench.camera import camera_of, centred
from penstock.bench.exercises import Exercise, Side
from penstock.bench.skeleton import SIDES, Floats, Proportions, body_angles
from penstock.bench.tempo import Planned
from penstock.bench.tracker import Sight, track
from penstock.bench.traits import Traits, draw_traits
from penstock.bench.whole_motion import Motion, draw_motion

__all__ = [
    "Coords",
    "Exercise",
    "Proportions",
    "Recording",
    "Repetition",
    "Traits",
    "Truth",
    "draw_traits",
    "record",
]

Coords = Literal["image", "world"]

# Above it, jittered frames could fall on one millisecond.
_MOST_FPS: Final = 240.0


@dataclass(frozen=True, slots=True)
class Repetition:
    """One repetition as it really was. `turn_ms` is the middle of the hold at the far end.

    `range_degrees` is what the primary joint went through, of both sides the mean. A partial one
    was cut by the recording's beginning or end: its times and its range are those of the part
    inside.
    """

    start_ms: float
    turn_ms: float
    end_ms: float
    range_degrees: float
    side: Side
    partial: bool


@dataclass(frozen=True, eq=False, slots=True)
class Truth:
    """What really happened. `angles` has, by names such as `knee_flexion_left`, degrees a frame."""

    exercise: Exercise
    primary_joint: str
    repetitions: tuple[Repetition, ...]
    angles: Mapping[str, Floats]


@dataclass(frozen=True, eq=False, slots=True)
class Recording:
    """What a client would send: frames x 33 x (x, y, z, visibility), and when they were taken."""

    landmarks: npt.NDArray[np.float32]
    timestamps_ms: npt.NDArray[np.uint32]
    coords: Coords
    aspect: float
    resolution: tuple[int, int]
    truth: Truth


def record(
    traits: Traits, *, seconds: float, fps: float = 10.0, seed: int, coords: Coords = "image"
) -> Recording:
    """Record the patient for that long.

    World coordinates are metres from the middle of the hips, x to the right of the picture, y down
    and z away from the camera, level with the floor.
    """
    if not 0 < fps <= _MOST_FPS:
        raise ValueError(f"fps is above 0 and at most {_MOST_FPS:g}, not {fps:g}")
    frames = round(seconds * fps)
    if frames < 1:
        raise ValueError(f"{seconds:g} s at {fps:g} fps hold no frame")
    seeds = np.random.SeedSequence(seed).spawn(7)
    timestamps = _camera_clock(traits, frames, fps, np.random.default_rng(seeds[0]))
    times = timestamps / 1000
    motion = draw_motion(traits, frames / fps, np.random.default_rng(seeds[1]))
    points = motion.points(times)
    camera = camera_of(traits)
    turned = camera.turned(points)
    picture = camera.picture(turned)
    if coords == "world":
        across = camera.metres_across
        sight = Sight(centred(turned), picture, times, (0.0, 0.0, 0.0), (across, across, across))
    else:
        sight = Sight(picture, picture, times, (0.5, 0.5, 0.0), (1.0, traits.aspect, 1.0))
    truth = Truth(
        traits.exercise, traits.kind.primary_joint, _repetitions(motion), body_angles(points)
    )
    landmarks = track(sight, traits, seeds[2:])
    return Recording(landmarks, timestamps, coords, traits.aspect, traits.resolution, truth)


def _camera_clock(
    traits: Traits, frames: int, fps: float, random: np.random.Generator
) -> npt.NDArray[np.uint32]:
    interval = 1000 / fps
    # Two frames in a row stay at least a millisecond apart, also when both are rounded.
    most = min(traits.cadence_jitter * interval, (interval - 1.5) / 2)
    late = random.uniform(-most, most, frames)
    # The clock starts with the first frame.
    late[0] = 0
    return np.rint(np.arange(frames) * interval + late).astype(np.uint32)


def _repetitions(motion: Motion) -> tuple[Repetition, ...]:
    planned = motion.schedule.repetitions
    if not planned:
        return ()
    seconds = motion.schedule.seconds
    times = np.array([(r.start, (r.arrives + r.leaves) / 2, r.end) for r in planned])
    inside = times.clip(0, seconds)
    angles = body_angles(motion.points(inside.ravel()))
    joint = motion.traits.kind.primary_joint
    by_side = np.stack([angles[f"{joint}_{side}"].reshape(-1, 3) for side in SIDES])
    ranges = by_side.max(axis=2) - by_side.min(axis=2)
    return tuple(
        Repetition(
            start_ms=float(inside[at, 0] * 1000),
            turn_ms=float(inside[at, 1] * 1000),
            end_ms=float(inside[at, 2] * 1000),
            range_degrees=_range(repetition, ranges[:, at]),
            side=repetition.side,
            partial=bool((inside[at] != times[at]).any()),
        )
        for at, repetition in enumerate(planned)
    )


def _range(planned: Planned, ranges: Floats) -> float:
    both = planned.side == "both"
    return float(ranges.mean() if both else ranges[SIDES.index(planned.side)])
