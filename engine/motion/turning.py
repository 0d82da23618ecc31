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

Blocks are cut by the frames' number and by nothing else, so the result depends on the sequence of
frames alone.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.line import POINTS, Line, Rows, Swings, Table, nearness
from penstock.engine.motion.signals import SIGNALS, Floats
from penstock.engine.motion.turns import FLOOR_DEGREES, Records, Times

# Where the signal is noisier than that, so many standard deviations of its noise are.
_FLOOR_NOISES = 3.0
# Frames further apart than this say nothing of what was between them.
BLIND_MS: Final = 350
# What is taken as seen on both sides of such a gap.
_SEEN_MS = 100

_ROWS = len(SIGNALS)


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

    def smoothed(self, *, ends: bool) -> "_Smoothed":
        """Take the noise out of the samples, and tell how much it was.

        The newest frame has no neighbour yet and waits, unless the session `ends`.
        """
        sessions, frames, _ = self.values.shape
        rows = sessions * _ROWS
        # Frames first, so that every step runs along the rows of all sessions.
        values = self.values.transpose(1, 0, 2).reshape(frames, rows)
        times = self.times.T
        dense = np.diff(times, axis=0) <= BLIND_MS
        alone = ~(dense[:-1] & dense[1:])
        before, middle, after = values[:-2], values[1:-1], values[2:]
        around = before + after
        around *= np.float32(0.5)
        if alone.any():
            around.reshape(-1, sessions, _ROWS)[alone] = np.nan
        off = np.abs(middle - around)
        known = np.isfinite(off)
        unknown = ~known
        span = (times[2:] - times[:-2]).astype(np.float32)
        speed = np.abs(after - before)
        speed *= np.repeat(1000 / span, _ROWS, axis=1)
        np.copyto(speed, 0, where=unknown)
        smooth = around
        smooth += middle
        smooth *= np.float32(0.5)
        np.copyto(smooth, middle, where=unknown)
        # A row's a and b come in front of its samples.
        samples = np.full((rows, POINTS + frames - 1 + ends), np.nan, np.float32)
        speeds = np.zeros_like(samples)
        inner = slice(POINTS + 1, POINTS + frames - 1)
        samples[:, inner], speeds[:, inner] = smooth.T, speed.T
        first = np.where(np.repeat(self.fresh, _ROWS), values[0], np.float32(np.nan))
        samples[:, POINTS] = low = high = first
        if ends:
            samples[:, -1] = values[-1]
            low, high = np.fmin(first, values[-1]), np.fmax(first, values[-1])
        return _Smoothed(
            samples,
            speeds,
            np.fmin(low, np.fmin.reduce(smooth, axis=0, initial=np.nan)),
            np.fmax(high, np.fmax.reduce(smooth, axis=0, initial=np.nan)),
            np.fmax(off, 0).sum(axis=0, dtype=np.float64),
            known.sum(axis=0, dtype=np.uint32),
        )


@dataclass(slots=True, frozen=True, eq=False)
class _Smoothed:
    """Samples and their speeds by rows, with POINTS columns left free; the rest by rows alone.

    `noise` is the sum of so many, `noises`, distances of samples from their neighbours' middle.
    """

    values: Floats
    speeds: Floats
    low: Floats
    high: Floats
    noise: npt.NDArray[np.float64]
    noises: npt.NDArray[np.uint32]


def turn(tails: Records, block: Block, *, ends: bool = False) -> tuple[Records, Swings, Floats]:
    """Go on from the tails (sessions, SIGNALS); give the new ones, the turns, and the samples."""
    old: Any = tails.reshape(-1)
    new = old.copy()
    smoothed = block.smoothed(ends=ends)
    low, high = smoothed.low, smoothed.high
    samples = smoothed.values[:, POINTS:]
    times = block.times[:, : samples.shape[1]]
    new["least"] = np.fmin(old["least"], low)
    new["greatest"] = np.fmax(old["greatest"], high)
    followed = block.followed.reshape(-1)
    new["noise"] += smoothed.noise * followed
    new["noises"] += smoothed.noises * followed
    seen = np.isfinite(samples)
    new["seen"] += seen.sum(axis=1, dtype=np.uint32) * followed
    unseen = _unseen(old, new, seen, times, np.flatnonzero(followed))
    deviation = new["noise"] / np.maximum(new["noises"], 1)
    floors = np.maximum(FLOOR_DEGREES, _FLOOR_NOISES * deviation).astype(np.float32)
    quiet = _quiet(old, low, high, floors) & followed
    quiet[unseen.rows] = False
    _rest(old, new, np.flatnonzero(quiet), samples, smoothed.speeds[:, POINTS:], times)
    table = _table(old, np.flatnonzero(followed & ~quiet), smoothed, times, unseen)
    swings = Line(old, table).swings(new, floors)
    return new.reshape(tails.shape), swings, samples


def _table(old: Records, rows: Rows, smoothed: _Smoothed, times: Times, unseen: "_Unseen") -> Table:
    values, speeds = smoothed.values[rows], smoothed.speeds[rows]
    points = old["points"][rows]
    values[:, 0] = np.where(points > 1, old["a"][rows], np.nan)
    values[:, 1] = np.where(points > 0, old["b"][rows], np.nan)
    speeds[:, 0], speeds[:, 1] = old["b_speed"][rows], old["open_speed"][rows]
    at = np.empty(values.shape, np.int64)
    at[:, 0], at[:, 1], at[:, POINTS:] = old["a_ms"][rows], old["b_ms"][rows], times[rows // _ROWS]
    blind = np.empty(values.shape, np.int64)
    blind[:] = old["blind"][rows, None]
    blind[:, 0], blind[:, 1] = old["a_blind"][rows], old["b_blind"][rows]
    gap = np.zeros(values.shape, np.int64)
    gap[:, 1] = old["b_gap"][rows]
    # Rows that were not seen now and then are among those that turn.
    own = np.searchsorted(rows, unseen.rows)
    gap[own, POINTS:], blind[own, POINTS:] = unseen.gap, unseen.blind
    return Table(rows, values, speeds, at, blind, gap)


def _quiet(old: Records, low: Floats, high: Floats, floors: Floats) -> npt.NDArray[np.bool_]:
    """Tell the rows that stay near their provisional turn: most do, most of the time."""
    a, b = old["a"], old["b"]
    with np.errstate(invalid="ignore"):
        waits = np.where(b > a, (high <= b) & (b - low < floors), (low >= b) & (high - b < floors))
        within = (low >= np.minimum(a, b)) & (high <= np.maximum(a, b))
    return np.asarray((old["points"] > 1) & np.where(old["final"] > 0, waits, within))


def _rest(
    old: Records, new: Records, rows: Rows, samples: Floats, speeds: Floats, times: Times
) -> None:
    """Go on in rows that are quiet: all that changes is when they were last near, and how fast."""
    if not len(rows):
        return
    within = nearness(old["b"][rows] - old["a"][rows])
    close = np.abs(samples[rows] - old["b"][rows, None]) <= within[:, None]
    newest = close.shape[1] - 1 - close[:, ::-1].argmax(axis=1)
    any_close = close.any(axis=1)
    new["q_ms"][rows] = np.where(any_close, times[rows // _ROWS, newest], old["q_ms"][rows])
    new["q_blind"][rows] = np.where(any_close, old["blind"][rows], old["q_blind"][rows])
    new["open_speed"][rows] = np.maximum(old["open_speed"][rows], speeds[rows].max(axis=1))


@dataclass(slots=True, frozen=True, eq=False)
class _Unseen:
    """Of rows that have gaps: the gap before each sample, and all that was blind up to it."""

    rows: Rows
    gap: Times
    blind: Times


def _unseen(
    old: Records, new: Records, seen: npt.NDArray[np.bool_], times: Times, followed: Rows
) -> _Unseen:
    there, session = seen[followed], followed // _ROWS
    newest_ms = old["newest_ms"][followed]
    # Most rows never miss two samples running, and then no gap is longer than BLIND_MS; the first
    # column is empty when there was a block before.
    missing = ~there[:, 1:]
    longest = 1 + missing.any(axis=1)
    widest = np.diff(times, axis=1).max(axis=1)[session]
    before_ms = np.where(newest_ms < 0, 0, times[session, 0] - newest_ms)
    whole = (before_ms + longest * widest <= BLIND_MS) & there[:, -1]
    whole &= ~(missing[:, 1:] & missing[:, :-1]).any(axis=1)
    new["newest_ms"][followed] = times[session, -1]
    broken = np.flatnonzero(~whole)
    there, rows, newest_ms = there[broken], followed[broken], newest_ms[broken, None]
    at = times[session[broken]]
    newest = np.maximum.accumulate(np.where(there, at, newest_ms), axis=1)
    before = np.concatenate((newest_ms, newest[:, :-1]), axis=1)
    gap = at - before
    gap *= there & (before >= 0) & (gap > BLIND_MS)
    blind = np.cumsum(np.maximum(gap - _SEEN_MS, 0), axis=1) + old["blind"][rows, None]
    new["newest_ms"][rows], new["blind"][rows] = newest[:, -1], blind[:, -1]
    return _Unseen(rows, gap, blind)
