"""The signals of many sessions, a block of frames at a time, reduced to where they turn.

Theory of operation
-------------------
::

    block of frames -> light smoothing -> turning points -> final turns, for the session's log
                                                  └-> tails: what the next block needs to go on

A repetition is a swing out and a swing back, so between its turns a signal holds nothing that a
count needs. For each turn the log keeps, besides its time and value, when the swing into it left
the turn before (`leave`), when it came near (`arrive`), how fast it went, and for how long the
signal was not seen on the way.

Blocks are cut by the frames' number and by nothing else, so
the result depends on the sequence of frames alone.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.signals import SIGNALS, Floats
from penstock.engine.motion.turns import TURN, Column, Records, Times, records
from penstock.engine.motion.zigzag import turning_points

# Changes of a joint's angle in one camera's picture below about this are noise.
FLOOR_DEGREES: Final = 10.0
# Where the signal is noisier than that, so many standard deviations of its noise are.
_FLOOR_NOISES = 3.0
# Frames further apart than this say nothing of what was between them.
BLIND_MS: Final = 350
# What is taken as seen on both sides of such a gap.
_SEEN_MS = 100
# Nearer than this to a turn's value the signal has not left it, or has arrived.
NEAR_DEGREES: Final = FLOOR_DEGREES / 2
# Or than this share of the swing, as larger ones are noisier in what comes before and after.
NEAR_SHARE: Final = 0.1

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


@dataclass(slots=True, frozen=True, eq=False)
class Block:
    """Frames of some sessions, as many of each: times (sessions, frames), values (.., SIGNALS).

    The first two are those that the block before ended with, unless the session is `fresh`. Turns
    are looked for in the signals that are `followed` (sessions, SIGNALS).
    """

    times: Times
    values: Floats
    fresh: npt.NDArray[np.bool_]
    followed: npt.NDArray[np.bool_]

    def smoothed(self, *, ends: bool) -> tuple[Floats, Floats, Floats, npt.NDArray[np.uint32]]:
        """Give by rows: samples, their speeds, the sum of noise and how many it is the sum of.

        The newest frame has no neighbour yet and waits, unless the session `ends`.
        """
        sessions, frames, _ = self.values.shape
        values = self.values.transpose(0, 2, 1)
        apart = np.diff(self.times, axis=1)
        dense = (apart[:, :-1] <= BLIND_MS) & (apart[:, 1:] <= BLIND_MS)
        before, middle, after = values[..., :-2], values[..., 1:-1], values[..., 2:]
        with np.errstate(invalid="ignore"):
            around = (before + after) / 2
            around[~np.broadcast_to(dense[:, None], around.shape)] = np.nan
            off = np.abs(middle - around)
            known = np.isfinite(off)
            off[~known] = 0
            span = (self.times[:, 2:] - self.times[:, :-2]).astype(np.float32)
            speed = np.abs(after - before) * (1000 / span)[:, None]
            speed[~known] = 0
            samples = np.full((sessions, _ROWS, frames - 1 + ends), np.nan, np.float32)
            samples[..., 1 : frames - 1] = np.where(known, (middle + around) / 2, middle)
        samples[self.fresh, :, 0] = values[self.fresh, :, 0]
        speeds = np.zeros_like(samples)
        speeds[..., 1 : frames - 1] = speed
        if ends:
            samples[..., -1] = values[..., -1]
        rows = sessions * _ROWS
        return (
            samples.reshape(rows, -1),
            speeds.reshape(rows, -1),
            off.sum(axis=-1, dtype=np.float64).reshape(rows),
            known.sum(axis=-1, dtype=np.uint32).reshape(rows),
        )


def turn(tails: Records, block: Block, *, ends: bool = False) -> tuple[Records, Swings, Floats]:
    """Go on from the tails (sessions, SIGNALS); give the new ones, the turns, and the samples."""
    all_new: Any = tails.reshape(-1).copy()
    samples, speeds, noise, noises = block.smoothed(ends=ends)
    times = block.times[:, : samples.shape[1]]
    low, high = np.fmin.reduce(samples, axis=1), np.fmax.reduce(samples, axis=1)
    all_new["least"] = np.fmin(all_new["least"], low)
    all_new["greatest"] = np.fmax(all_new["greatest"], high)
    followed = np.flatnonzero(block.followed.reshape(-1))
    old: Records = all_new[followed]
    new = old.copy()
    new["noise"] += noise[followed]
    new["noises"] += noises[followed]
    own, fast = samples[followed], speeds[followed]
    seen = np.isfinite(own)
    session = followed // _ROWS
    place, unseen = _unseen(old, new, seen, times, session)
    new["seen"] += seen.sum(axis=1, dtype=np.uint32)
    deviation = new["noise"] / np.maximum(new["noises"], 1)
    floors = np.maximum(FLOOR_DEGREES, _FLOOR_NOISES * deviation).astype(np.float32)
    quiet = _quiet(old, low[followed], high[followed], floors) & (place < 0)
    _rest(old, new, np.flatnonzero(quiet), own, fast, times[session[quiet]])
    active = np.flatnonzero(~quiet)
    moving = new[active]
    line = _Line(old[active], own[active], fast[active], seen[active])
    line.when(times, session[active], place[active], *unseen)
    swings = line.swings(moving, floors[active], followed[active])
    new[active] = moving
    all_new[followed] = new
    return all_new.reshape(tails.shape), swings, samples


def _quiet(old: Records, low: Floats, high: Floats, floors: Floats) -> npt.NDArray[np.bool_]:
    """Tell the rows that stay near their provisional turn: most do, most of the time."""
    a, b = old["a"], old["b"]
    with np.errstate(invalid="ignore"):
        waits = np.where(b > a, (high <= b) & (b - low < floors), (low >= b) & (high - b < floors))
        within = (low >= np.minimum(a, b)) & (high <= np.maximum(a, b))
    return np.asarray((old["points"] > 1) & np.where(old["final"] > 0, waits, within))


def _near(swing: Floats) -> Floats:
    return np.maximum(np.float32(NEAR_DEGREES), np.float32(NEAR_SHARE) * np.abs(swing))


def _rest(
    old: Records,
    new: Records,
    rows: npt.NDArray[np.intp],
    samples: Floats,
    speeds: Floats,
    times: Times,
) -> None:
    within = _near(old["b"][rows] - old["a"][rows])
    near = np.abs(samples[rows] - old["b"][rows, None]) <= within[:, None]
    newest = near.shape[1] - 1 - near[:, ::-1].argmax(axis=1)
    any_near = near.any(axis=1)
    new["q_ms"][rows] = np.where(any_near, times[np.arange(len(rows)), newest], old["q_ms"][rows])
    new["q_blind"][rows] = np.where(any_near, old["blind"][rows], old["q_blind"][rows])
    new["open_speed"][rows] = np.maximum(old["open_speed"][rows], speeds[rows].max(axis=1))


def _unseen(
    old: Records,
    new: Records,
    seen: npt.NDArray[np.bool_],
    times: Times,
    session: npt.NDArray[np.intp],
) -> tuple[Column, tuple[Times, Times]]:
    """Give the gap before each sample, and all that was blind up to it, of rows that have gaps.

    The first array tells by a row's number where it is in the other two; -1 is nowhere.
    """
    # Most rows miss so few samples that no gap can be longer than BLIND_MS, wherever they are; the
    # first column is empty when there was a block before.
    widest = np.diff(times, axis=1).max(axis=1)[session]
    missing = seen.shape[1] - 1 - seen[:, 1:].sum(axis=1)
    newest_ms = old["newest_ms"]
    before_ms = np.where(newest_ms < 0, 0, times[session, 0] - newest_ms)
    whole = (before_ms + (missing + 1) * widest <= BLIND_MS) & seen[:, -1]
    new["newest_ms"] = times[session, -1]
    broken = np.flatnonzero(~whole)
    there, own = seen[broken], old[broken]
    at = times[session[broken]]
    newest = np.maximum.accumulate(np.where(there, at, -1), axis=1)
    np.maximum(newest, own["newest_ms"][:, None], out=newest)
    before = np.concatenate((own["newest_ms"][:, None], newest[:, :-1]), axis=1)
    gap = np.where(there & (before >= 0), at - before, 0)
    gap[gap <= BLIND_MS] = 0
    blind = np.cumsum(np.maximum(gap - _SEEN_MS, 0), axis=1) + own["blind"][:, None]
    new["newest_ms"][broken], new["blind"][broken] = newest[:, -1], blind[:, -1]
    place = np.full(len(old), -1)
    place[broken] = np.arange(len(broken))
    return place, (gap, blind)


class _Line:
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
        within = _near(swing)
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
