"""Where signals turn: all extremes whose swings are above a floor, of many rows at once.

Theory of operation
-------------------
A row is one signal of one session. Its turning points are what remains when the smallest swing is
taken out again and again (its two ends, or the outer one at a row's edge) until every swing reaches
the row's floor: the simplification by persistence, which has one result whatever the order. So
swings that are the smallest of their neighbourhood can go all at once, and a few rounds do.

A row's last turning point is provisional: the next samples may go on beyond it. All before it are
final, as the swing away from them has reached the floor. That is what lets a row be continued from
its last two points alone.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


def turning_points(values: Floats, rows: Places, floors: Floats) -> Places:
    """Give the places of the turning points in `values`, whose rows follow one another.

    A row in which no swing reaches its floor gives its least and its greatest value, or its only
    one.
    """
    places = _extremes(values, rows)
    while True:
        value, row = values[places], rows[places]
        together = row[1:] == row[:-1]
        swing = np.abs(np.diff(value))
        swing[~together] = np.inf
        before = np.concatenate(([np.inf], swing[:-1])).astype(np.float32)
        after = np.concatenate((swing[1:], [np.inf])).astype(np.float32)
        # Of equal neighbours the later one goes, so that no two neighbours ever go together.
        small = (swing < floors[row[:-1]]) & (swing <= before) & (swing < after)
        first, last = np.isinf(before), np.isinf(after)
        small &= ~(first & last)
        if not small.any():
            return places
        going = np.zeros(len(places), np.bool_)
        going[:-1] |= small & ~last
        going[1:] |= small & ~first
        places = places[~going]


def _extremes(values: Floats, rows: Places) -> Places:
    # Of a plateau the first sample, and of each run up or down its end.
    new_row = np.ones(len(values), np.bool_)
    new_row[1:] = rows[1:] != rows[:-1]
    changed = new_row.copy()
    changed[1:] |= values[1:] != values[:-1]
    places = np.flatnonzero(changed)
    value, begins = values[places], new_row[places]
    rising = value[1:] > value[:-1]
    kept = begins.copy()
    kept[:-1] |= begins[1:]
    kept[-1:] = True
    kept[1:-1] |= rising[1:] != rising[:-1]
    return places[kept]
