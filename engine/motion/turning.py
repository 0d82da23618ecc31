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

from penstock.engine.motion.line import Line, Swings, nearness
from penstock.engine.motion.signals import SIGNALS, Floats
from penstock.engine.motion.turns import FLOOR_DEGREES, Column, Records, Times

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
    line = Line(old[active], own[active], fast[active], seen[active])
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


def _rest(
    old: Records,
    new: Records,
    rows: npt.NDArray[np.intp],
    samples: Floats,
    speeds: Floats,
    times: Times,
) -> None:
    within = nearness(old["b"][rows] - old["a"][rows])
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
