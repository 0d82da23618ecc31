"""Rows of samples behind one another, and the swings that they make.

A row is one signal of one session. In front of a block's samples stand the two points that the
block before left open: `a`, the last turn that is final, and `b`, the newest and provisional one.
Rows are tables while they are looked up, and one long line of what was seen while it is scanned.
"""

from dataclasses import dataclass
from typing import Any, Final

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

# The columns of a row before its first sample: those of `a` and of `b`.
POINTS: Final = 2

Rows = npt.NDArray[np.intp]


def nearness(swing: Floats) -> Floats:
    """Give how near to a turn is near, where the swing from or to it is so large."""
    return np.maximum(np.float32(NEAR_DEGREES), np.float32(NEAR_SHARE) * np.abs(swing))


@dataclass(slots=True, frozen=True, eq=False)
class Swings:
    """What a block gave: final turns of all sessions in order, and how many each session has.

    `rows` are the turns' rows (session x SIGNALS + signal), `leave_ms` and `arrive_ms` their times.
    """

    turns: Records
    rows: Rows
    leave_ms: Times
    arrive_ms: Times


@dataclass(slots=True, frozen=True, eq=False)
class Table:
    """Some rows' points, column by column: a, b, then the block's samples.

    `rows` says which of the tails they are. A value is NaN where nothing was seen. `at` are times,
    `blind` for how long the row was not seen from its beginning up to a point, and `gap` how long
    the gap before it was.
    """

    rows: Rows
    value: Floats
    speed: Floats
    at: Times
    blind: Times
    gap: Times


class Line:
    """All points of a table that were seen."""

    __slots__ = ("old", "place", "row", "rows", "speed", "table", "value")

    def __init__(self, old: Records, table: Table) -> None:
        self.old: Any = old
        self.table = table
        self.rows = table.rows
        there = np.isfinite(table.value)
        # Where each point is in the table, and in which of its rows.
        self.place = np.flatnonzero(there)
        numbers = np.arange(len(there), dtype=np.int32)
        self.row = np.repeat(numbers, np.count_nonzero(there, axis=1))
        self.value = table.value.ravel()[self.place]
        self.speed = table.speed.ravel()[self.place]

    def _gap(self, where: Column, column: Column, row: Rows) -> Times:
        """Tell the longer of the gaps beside points."""
        gap = self.table.gap.ravel()
        after = np.minimum(where + 1, len(self.row) - 1)
        # b has its next sample here only when it was the newest one; a never has.
        newest = self.old["b_ms"][row] == self.old["newest_ms"][row]
        beside = (self.row[after] == self.row[where]) & (after != where)
        beside &= (column >= POINTS) | ((column == 1) & newest)
        return np.maximum(gap[self.place[where]], np.where(beside, gap[self.place[after]], 0))

    def swings(self, new: Records, floors: Floats) -> Swings:
        """Find the turns, write what goes on into the new tails, give what is final.

        `floors` are those of the tails.
        """
        if not len(self.row):
            nothing = np.zeros(0, np.int64)
            return Swings(np.zeros(0, TURN), nothing.astype(np.intp), nothing, nothing)
        places = turning_points(self.value, self.row, floors[self.rows])
        own = self.row[places]
        count = len(places)
        follows = np.zeros(count, np.bool_)  # the place before it is of the same row
        np.equal(own[1:], own[:-1], out=follows[1:])
        ends = np.ones(count, np.bool_)  # the last of its row
        np.logical_not(follows[1:], out=ends[:-1])
        at, blind, column, row = self._told(places)
        value, gap = self.value[places], self._gap(places, column, row)
        ways = self._ways(places, follows, ends, at, blind)
        swing = np.zeros(count, np.float32)  # away from it
        np.abs(value[1:] - value[:-1], out=swing[:-1])
        swing[ends] = 0
        reached = swing >= floors[row]
        final = np.flatnonzero(reached & ~ends & ((column > 0) | (self.old["final"][row] == 0)))
        # What goes on: the last two of each row.
        last = np.flatnonzero(ends)
        at_row = row[last]
        two = follows[last]
        a = np.maximum(last - 1, 0)
        new["points"][at_row] = 1 + two
        new["a_ms"][at_row] = np.where(two, at[a], 0)
        new["a"][at_row] = np.where(two, value[a], 0)
        new["a_blind"][at_row] = np.where(two, blind[a], 0)
        new["final"][at_row] = two & reached[a]
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
        # In their order and without a field's stride, which is far quicker.
        path = new["path"].copy()
        np.add.at(path, row[final], swing[final])
        new["path"] = path
        before = np.where(follows, np.concatenate(([0], blind[:-1])), blind)
        leave, arrive, numbers = ways.leave[final], ways.arrive[final], row[final]
        return Swings(
            records(
                numbers % len(SIGNALS),
                at[final],
                value[final],
                leave,
                arrive,
                ways.leave_blind[final],
                ways.arrive_blind[final],
                blind[final],
                before[final],
                gap[final],
                ways.speed[final],
            ),
            numbers,
            leave,
            arrive,
        )

    def _ways(
        self,
        places: Column,
        follows: npt.NDArray[np.bool_],
        ends: npt.NDArray[np.bool_],
        at: Times,
        blind: Times,
    ) -> "_Ways":
        """Find when each turn was left for the next, and when the next was come near to."""
        far = len(self.row)
        until = np.append(places[1:], far)
        lengths = until - places
        # Samples before a row's first turn belong to no way; they would go to the row before.
        lengths[0] += places[0]
        own = self.row == np.repeat(self.row[places], lengths)
        own[: places[0]] = False
        value = self.value[places]
        # How far it is to the next turn; where that is not known, how far it was from the last.
        step = np.diff(value)
        swing = np.append(step, np.float32(0))
        swing[ends] = np.where(follows, np.append(np.float32(0), step), 0)[ends]
        within = nearness(swing)
        span = np.repeat(within, lengths)
        close = np.abs(self.value - np.repeat(value, lengths)) <= span
        close &= own
        upwards = np.arange(far, dtype=np.int32)
        left = np.maximum.reduceat(close * upwards, places)
        out_speed = np.maximum.reduceat(self.speed * own, places)
        close = (
            np.abs(self.value - np.repeat(np.append(value[1:], np.float32(np.inf)), lengths))
            <= span
        )
        close &= own
        close &= upwards > np.repeat(left, lengths)
        # The first that is near is the one with the most behind it.
        came = far - np.maximum.reduceat(close * (far - upwards), places)
        came = np.minimum(came, until)
        into = np.where(follows, np.concatenate((places[:1], came[:-1])), places)
        out, out_blind = self._left(left)
        arrive, arrive_blind = self._came(into, follows)
        return _Ways(
            _into(out, at, follows),
            _into(out_blind, blind, follows),
            arrive,
            arrive_blind,
            _into(out_speed, np.zeros(len(places), np.float32), follows),
            out,
            out_blind,
            out_speed,
        )

    def _left(self, where: Column) -> tuple[Times, Times]:
        """Tell when these points were, each the last near its turn; then what was blind by then."""
        at, blind, column, row = self._told(where)
        open_ = np.flatnonzero(column < POINTS)
        newest, row, old = column[open_] == 1, row[open_], self.old
        at[open_] = np.where(newest, old["q_ms"][row], old["b_leave"][row])
        blind[open_] = np.where(newest, old["q_blind"][row], old["b_leave_blind"][row])
        return at, blind

    def _came(self, where: Column, follows: npt.NDArray[np.bool_]) -> tuple[Times, Times]:
        """Tell the same of points that are each the first near its turn."""
        at, blind, column, row = self._told(where)
        newest = np.flatnonzero(follows & (column == 1))
        row = row[newest]
        at[newest], blind[newest] = self.old["b_arrive"][row], self.old["b_arrive_blind"][row]
        return at, blind

    def _told(self, where: Column) -> tuple[Times, Times, Column, Rows]:
        """Give points' times, what was blind up to them, their columns and their rows."""
        place, number = self.place[where], self.row[where]
        column = place - number * self.table.value.shape[1]
        at, blind = self.table.at.ravel()[place], self.table.blind.ravel()[place]
        return at, blind, column, self.rows[number]


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
