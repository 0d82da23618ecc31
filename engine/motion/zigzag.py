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
Rows = npt.NDArray[np.int32] | npt.NDArray[np.intp]


def turning_points(values: Floats, rows: Rows, floors: Floats) -> Places:
    """Give the places of the turning points in `values`, whose rows follow one another.

    A row in which no swing reaches its floor gives its least and its greatest value, or its only
    one.
    """
    places = _extremes(values, rows)
    value, row = values[places], rows[places]
    floor = floors[row]
    while True:
        # The swing into each point, and one behind the last; at a row's edge above all others.
        swing = np.empty(len(places) + 1, np.float32)
        np.abs(value[1:] - value[:-1], out=swing[1:-1])
        swing[np.flatnonzero(row[1:] != row[:-1]) + 1] = np.inf
        swing[0] = swing[-1] = np.inf
        before, own, after = swing[:-2], swing[1:-1], swing[2:]
        # Of equal neighbours the later one goes, so that no two neighbours ever go together.
        small = np.flatnonzero((own < floor[:-1]) & (own <= before) & (own < after))
        # It goes with both its ends, at a row's edge with the outer one; alone in its row it stays.
        first, last = np.isinf(before[small]), np.isinf(after[small])
        going = np.concatenate((small[~last], small[~first] + 1))
        if not len(going):
            return places
        left = np.ones(len(places), np.bool_)
        left[going] = False
        stay = np.flatnonzero(left)
        places, value, row, floor = places[stay], value[stay], row[stay], floor[stay]


def _extremes(values: Floats, rows: Rows) -> Places:
    # Of a plateau the first sample, and of each run up or down its end.
    begins = np.empty(len(values), np.bool_)
    begins[:1] = True
    np.not_equal(rows[1:], rows[:-1], out=begins[1:])
    changed = begins.copy()
    changed[1:] |= values[1:] != values[:-1]
    places = np.flatnonzero(changed)
    value, begins = values[places], begins[places]
    rising = value[1:] > value[:-1]
    kept = begins.copy()
    kept[:-1] |= begins[1:]
    kept[-1:] = True
    kept[1:-1] |= rising[1:] != rising[:-1]
    return places[np.flatnonzero(kept)]
