"""The points of many signals behind one another, and the turns that are found among them.

A row is one signal of one session: its last final turn and its provisional one, as its tail keeps
them, then its samples of this block. All that is asked of a point (when, how long unseen, how far
to the next) is answered for all rows in one array operation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.signals import SIGNALS, Floats
from penstock.engine.motion.turns import (
    NEAR_DEGREES,
    NEAR_SHARE,
    TURN,
    Column,
    Records,
    Times,
    records,
)
from penstock.engine.motion.zigzag import turning_points

_ROWS = len(SIGNALS)


@dataclass(slots=True, frozen=True, eq=False)
class Swings:
    """What a block gave: final turns of all sessions in order, and how many each session has.

    `rows` are the turns' rows (session x SIGNALS + signal), `leave_ms` and `arrive_ms` their times.
    """

    turns: Records
    rows: npt.NDArray[np.intp]
    leave_ms: Times
    arrive_ms: Times


def nearness(swing: Floats) -> Floats:
    """Give how near to a turn is near, where the swing from or to it is so large."""
    return np.maximum(np.float32(NEAR_DEGREES), np.float32(NEAR_SHARE) * np.abs(swing))


class Line:
    """All rows' points behind one another: a row's a and b, then its samples that were seen."""

    __slots__ = (
        "blinds", "column", "gaps", "old", "place", "row", "session", "speed", "times", "value"
    )  # fmt: skip

    def __init__(
        self, old: Records, samples: Floats, speeds: Floats, seen: npt.NDArray[np.bool_]
    ) -> None:
        rows, width = len(samples), samples.shape[1] + 2
        there = np.empty((rows, width), np.bool_)
        there[:, 0], there[:, 1], there[:, 2:] = old["points"] > 1, old["points"] > 0, seen
        values = np.empty((rows, width), np.float32)
        values[:, 0], values[:, 1], values[:, 2:] = old["a"], old["b"], samples
        fast = np.empty((rows, width), np.float32)
        fast[:, 0], fast[:, 1], fast[:, 2:] = old["b_speed"], old["open_speed"], speeds
        places = np.flatnonzero(there)
        self.value, self.speed = values.ravel()[places], fast.ravel()[places]
        self.row = np.repeat(np.arange(rows), there.sum(axis=1))
        # 0 is a, 1 is b, and 2 the first sample.
        self.column = places - self.row * width
        self.old = old

    def when(
        self, times: Times, session: Column, place: Column, gaps: Times, blinds: Times
    ) -> None:
        """Take what tells of times and gaps: by sessions, and by the places of broken rows."""
        self.times, self.session, self.place = times, session, place
        self.gaps, self.blinds = gaps, blinds

    def at(self, where: Column) -> Column:
        """Tell the times of points."""
        row, column = self.row[where], self.column[where]
        sample = self.times[self.session[row], np.maximum(column - 2, 0)]
        old = self.old
        return np.where(
            column > 1, sample, np.where(column == 1, old["b_ms"][row], old["a_ms"][row])
        )

    def blind(self, where: Column) -> Column:
        """Tell for how long the rows were not seen, from their beginning up to these points."""
        row, column = self.row[where], self.column[where]
        old, place = self.old, self.place[row]
        found = old["blind"][row].astype(np.int64)
        if self.blinds.size:
            told = self.blinds[place, np.maximum(column - 2, 0)]
            found = np.where(place >= 0, told, found)
        return np.where(
            column > 1, found, np.where(column == 1, old["b_blind"][row], old["a_blind"][row])
        )

    def gap(self, where: Column) -> Column:
        """Tell the longer of the gaps beside points."""
        row, column = self.row[where], self.column[where]
        old = self.old
        found = np.where(column == 1, old["b_gap"][row], 0).astype(np.int64)
        if not self.gaps.size:
            return found
        place = self.place[row]
        left = self.gaps[place, np.maximum(column - 2, 0)]
        found = np.where((column > 1) & (place >= 0), left, found)
        after = np.minimum(where + 1, len(self.row) - 1)
        right = self.gaps[place, np.maximum(self.column[after] - 2, 0)]
        # b has its next sample here only when it was the newest one.
        beside = (place >= 0) & (self.row[after] == row) & (after != where) & (column > 0)
        beside &= (column > 1) | (old["b_ms"][row] == old["newest_ms"][row])
        return np.maximum(found, np.where(beside, right, 0))

    def swings(self, new: Records, floors: Floats, numbers: npt.NDArray[np.intp]) -> Swings:
        """Find the turns, write what goes on into the new tails, give what is final.

        `numbers` are the rows' own.
        """
        if not len(self.row):
            nothing = np.zeros(0, np.int64)
            return Swings(np.zeros(0, TURN), nothing.astype(np.intp), nothing, nothing)
        places = turning_points(self.value, self.row, floors)
        row = self.row[places]
        count = len(places)
        follows = np.zeros(count, np.bool_)  # the place before it is of the same row
        follows[1:] = row[1:] == row[:-1]
        ends = np.ones(count, np.bool_)  # the last of its row
        ends[:-1] = ~follows[1:]
        value, at, blind, gap = (
            self.value[places],
            self.at(places),
            self.blind(places),
            self.gap(places),
        )
        ways = self._ways(places, follows, at, blind)
        swing = np.zeros(count, np.float32)  # away from it
        swing[:-1] = np.abs(np.diff(value))
        swing[ends] = 0
        told = (self.column[places] == 0) & (self.old["final"][row] > 0)
        final = np.flatnonzero(~ends & (swing >= floors[row]) & ~told)
        # What goes on: the last two of each row.
        last = np.flatnonzero(ends)
        at_row = row[last]
        two = follows[last]
        a = np.maximum(last - 1, 0)
        new["points"][at_row] = 1 + two
        new["a_ms"][at_row] = np.where(two, at[a], 0)
        new["a"][at_row] = np.where(two, value[a], 0)
        new["a_blind"][at_row] = np.where(two, blind[a], 0)
        new["final"][at_row] = two & (swing[a] >= floors[at_row])
        for name, found in (
            ("b_ms", at),
            ("b", value),
            ("b_leave", ways.leave),
            ("b_leave_blind", ways.leave_blind),
            ("b_arrive", ways.arrive),
            ("b_arrive_blind", ways.arrive_blind),
            ("b_blind", blind),
            ("b_speed", ways.speed),
            ("b_gap", gap),
            ("q_ms", ways.out),
            ("q_blind", ways.out_blind),
            ("open_speed", ways.out_speed),
        ):
            new[name][at_row] = found[last]
        np.add.at(new["path"], row[final], swing[final])
        before = np.where(follows, np.concatenate(([0], blind[:-1])), blind)
        return Swings(
            records(
                numbers[row[final]] % _ROWS,
                at[final],
                value[final],
                ways.leave[final],
                ways.arrive[final],
                ways.leave_blind[final],
                ways.arrive_blind[final],
                blind[final],
                before[final],
                gap[final],
                ways.speed[final],
            ),
            numbers[row[final]],
            ways.leave[final],
            ways.arrive[final],
        )

    def _ways(
        self, places: Column, follows: npt.NDArray[np.bool_], at: Column, blind: Column
    ) -> "_Ways":
        """Find when each turn was left for the next, and when the next was come near to."""
        old, far = self.old, len(self.row)
        everywhere = np.arange(far, dtype=np.int32)
        lengths = np.diff(places, append=far)
        # Samples before a row's first turn belong to no way; they would go to the row before.
        turns = np.arange(len(places))
        way = np.repeat(turns, lengths)
        if places[0]:
            way = np.concatenate((np.zeros(places[0], np.intp), way))
        value = self.value[places]
        own = self.row == self.row[places][way]
        own[: places[0]] = False
        # How far it is to the next turn; where that is not known, how far it was from the last.
        swing = np.diff(value, append=np.float32(0))
        ends = ~np.append(follows[1:], False)
        swing[ends] = np.where(follows, np.diff(value, prepend=np.float32(0)), 0)[ends]
        within = nearness(swing)
        near = np.abs(self.value - value[way]) <= within[way]
        near &= own
        left = np.maximum.reduceat(np.where(near, everywhere, np.int32(0)), places)
        # The points a and b stand for samples of earlier blocks.
        column, row = self.column[left], self.row[left]
        out = np.where(
            column > 1,
            self.at(left),
            np.where(column == 1, old["q_ms"][row], old["b_leave"][row]),
        )
        out_blind = np.where(
            column > 1,
            self.blind(left),
            np.where(column == 1, old["q_blind"][row], old["b_leave_blind"][row]),
        )
        out_speed = np.maximum.reduceat(np.where(own, self.speed, np.float32(0)), places)
        goal = np.append(value[1:], np.inf).astype(np.float32)
        near = np.abs(self.value - goal[way]) <= within[way]
        near &= own
        near &= everywhere > left[way]
        came = np.minimum.reduceat(np.where(near, everywhere, np.int32(far)), places)
        came = np.minimum(came, np.append(places[1:], far))
        into = np.where(follows, np.concatenate((places[:1], came[:-1])), places)
        stands = follows & (self.column[into] == 1)
        row = self.row[into]
        return _Ways(
            _into(out, at, follows),
            _into(out_blind, blind, follows),
            np.where(stands, old["b_arrive"][row], self.at(into)),
            np.where(stands, old["b_arrive_blind"][row], self.blind(into)),
            _into(out_speed, np.zeros(len(places), np.float32), follows),
            out,
            out_blind,
            out_speed,
        )


@dataclass(slots=True, frozen=True, eq=False)
class _Ways:
    """By turns: when the way into each began and came near, its speed; then the way out of it."""

    leave: Times
    leave_blind: Times
    arrive: Times
    arrive_blind: Times
    speed: Floats
    out: Times
    out_blind: Times
    out_speed: Floats


def _into(out: Column, alone: Column, follows: npt.NDArray[np.bool_]) -> Column:
    return np.where(follows, np.concatenate((out[:1], out[:-1])), alone)
