"""The turbine: frames that are on disk become motion, those of many sessions in one pass.

NumPy costs as much for one session's ten frames as for the frames of fifty sessions, and a session
seldom has more than ten at a time. So chunks are fed here as the writer settles them, and the
turbine turns once for each of the writer's groups. Nothing waits in between.
"""

from collections.abc import Callable, Sequence

import numpy as np

from penstock.engine.inbox import Arrival
from penstock.engine.motion.motion import Motion, advance
from penstock.engine.motion.signals import Floats, measure
from penstock.engine.sidecar import ASSUMED_ASPECT, NO_META, Coordinates
from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS

Folded = Callable[[Motion], None]


class Turbine:
    """What was fed since the last turn."""

    def __init__(self) -> None:
        self._fed: list[tuple[Motion, Sequence[Arrival], Folded]] = []

    def feed_nowait(self, motion: Motion, arrivals: Sequence[Arrival], folded: Folded) -> None:
        """Have `folded` called at the next turn, with the motion after these frames."""
        self._fed.append((motion, arrivals, folded))

    def turn_nowait(self) -> None:
        """Work off what was fed, in its order."""
        fed, self._fed = self._fed, []
        if fed:
            found = moved([(motion, arrivals) for motion, arrivals, _ in fed])
            for (_, _, folded), motion in zip(fed, found, strict=True):
                folded(motion)


def moved(parts: Sequence[tuple[Motion, Sequence[Arrival]]]) -> list[Motion]:
    """Give each motion after its frames. No part is without frames."""
    arrivals = [arrival for _, part in parts for arrival in part]
    sizes = [sum([arrival.batch.frame_count for arrival in part]) for _, part in parts]
    stamps = b"".join([arrival.batch.timestamp_block for arrival in arrivals])
    times = np.frombuffer(stamps, "<u4").astype(np.int64)
    return advance([_told(*part) for part in parts], sizes, times, measured(arrivals))


def _told(motion: Motion, arrivals: Sequence[Arrival]) -> Motion:
    for arrival in arrivals:
        meta = arrival.meta
        world = meta.coords is Coordinates.WORLD
        if world != motion.folded.world or meta.exercise is not None:
            motion = motion.told(world=world, exercise=meta.exercise)
    return motion


def measured(arrivals: Sequence[Arrival]) -> Floats:
    """Give frames x SIGNALS of some batches."""
    joined = b"".join([arrival.batch.landmark_block for arrival in arrivals])
    points = np.frombuffer(joined, "<f4").reshape(-1, LANDMARKS, LANDMARK_VALUES)
    if all(arrival.meta is NO_META for arrival in arrivals):
        return measure(points, ASSUMED_ASPECT)
    counts = [arrival.frame_count for arrival in arrivals]
    aspects = np.repeat(np.array([a.meta.aspect for a in arrivals], np.float32), counts)
    values = measure(points, aspects)
    world = np.repeat([a.meta.coords is Coordinates.WORLD for a in arrivals], counts)
    if world.any():
        values[world] = measure(points[world], world=True)
    return values
