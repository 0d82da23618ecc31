"""Fewer points of some lines, such that they look the same: every bucket keeps its extremes.

The lines share their times. Time is cut into even buckets, and of each the points stay at which a
line is at its lowest or its highest. What is left out lies between two points that are there, in
time and in height.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.signals import Floats


def kept_points(times_ms: npt.NDArray[np.int64], lines: Floats, most: int) -> npt.NDArray[np.int64]:
    """Give the numbers of at most so many points to keep, rising; all where there are no more.

    `lines` are points x lines, NaN where a line has no point. The first and the last point stay.
    """
    points, width = lines.shape
    if points <= most:
        return np.arange(points)
    buckets = max(1, (most - 2) // (2 * width))
    begin, end = int(times_ms[0]), int(times_ms[-1])
    bucket = (times_ms - begin) * buckets // (end - begin + 1)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    kept: list[Any] = [[0, points - 1]]
    for line in lines.T:
        for sign in (1, -1):
            heights = np.where(np.isnan(line), np.inf, sign * line)
            least = np.minimum.reduceat(heights, starts)
            sizes = np.diff(starts, append=points)
            at_least = np.flatnonzero((heights == np.repeat(least, sizes)) & np.isfinite(heights))
            # The first of each bucket that is at its least.
            kept.append(at_least[np.flatnonzero(np.diff(bucket[at_least], prepend=-1))])
    return np.unique(np.concatenate(kept)).astype(np.int64)
