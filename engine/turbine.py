"""The turbine: frames that are on disk become motion, those of many sessions in one pass.

NumPy costs as much for one session's ten frames as for the frames of fifty sessions, and a session
seldom has more than ten at a time. So chunks are fed here as the writer settles them, and the
turbine turns once for each of the writer's groups. Nothing waits in between.
"""

from collections.abc import Callable, Sequence

import numpy as np

from penstock.engine.inbox import Arrival
from penstock.engine.motion.joints import Angles, joint_angles
from penstock.engine.motion.reach import Degrees, part_degrees
from penstock.engine.sidecar import ASSUMED_ASPECT, NO_META, Coordinates
from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS

Folded = Callable[[Degrees], None]


class Turbine:
    """What was fed since the last turn."""

    def __init__(self) -> None:
        self._fed: list[tuple[Sequence[Arrival], Folded]] = []

    def feed_nowait(self, arrivals: Sequence[Arrival], folded: Folded) -> None:
        """Have `folded` called at the next turn, with the degrees of these frames' reach."""
        self._fed.append((arrivals, folded))

    def turn_nowait(self) -> None:
        """Work off what was fed, in its order."""
        fed, self._fed = self._fed, []
        if fed:
            found = reaches([arrivals for arrivals, _ in fed])
            for (_, folded), degrees in zip(fed, found, strict=True):
                folded(degrees)


def reaches(parts: Sequence[Sequence[Arrival]]) -> Degrees:
    """Give the degrees of the reach of each part's frames. No part is empty."""
    arrivals = [arrival for part in parts for arrival in part]
    sizes = [sum(arrival.frame_count for arrival in part) for part in parts]
    starts = np.cumsum([0, *sizes[:-1]])
    return part_degrees(_angles(arrivals), starts)


def _angles(arrivals: Sequence[Arrival]) -> Angles:
    joined = b"".join([arrival.batch.landmark_block for arrival in arrivals])
    points = np.frombuffer(joined, "<f4").reshape(-1, LANDMARKS, LANDMARK_VALUES)
    if all(arrival.meta is NO_META for arrival in arrivals):
        return joint_angles(points, ASSUMED_ASPECT)
    counts = [arrival.frame_count for arrival in arrivals]
    aspects = np.repeat(np.array([a.meta.aspect for a in arrivals], np.float32), counts)
    angles = joint_angles(points, aspects)
    world = np.repeat([a.meta.coords is Coordinates.WORLD for a in arrivals], counts)
    if world.any():
        angles[world] = joint_angles(points[world], world=True)
    return angles
