"""A session's motion: frames folded in as they come, in a state that is small and never changes.

Theory of operation
-------------------
::

    frames -> pending (up to BLOCK_FRAMES) -> a block, with those of other sessions -> turns, tails
                                                     too many turns -> settled repetitions

Blocks are cut by the frames' number, never by the batches', so the state after some frames is the
same however they came. Frames that are repeated or out of order are left out, as are frames so
dense that they add nothing. `state` is what is kept, and `log` what happens when turns are many.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from penstock.engine.motion.counting import Counted
from penstock.engine.motion.log import bounded, counted_in, unsettled
from penstock.engine.motion.repetition import Repetition, restored
from penstock.engine.motion.signals import Floats
from penstock.engine.motion.smoothness import smooth
from penstock.engine.motion.state import (
    BEGUN_ANEW,
    FRAME_BYTES,
    GAP,
    NO_MOTION,
    TIME_BYTES,
    WIDTH,
    Folded,
    Motion,
    dumped,
    gaps,
    loaded,
)
from penstock.engine.motion.turning import Block, turn
from penstock.engine.motion.turns import TAIL, TURN, UNKNOWN, Records, Times, last_turns
from penstock.engine.timeline import GAP_MS

# What the rest of the service takes from here.
__all__ = [
    "BEGUN_ANEW",
    "NO_MOTION",
    "Concluded",
    "Folded",
    "Motion",
    "advance",
    "conclude",
    "dumped",
    "gaps",
    "loaded",
]

BLOCK_FRAMES: Final = 64
# Above some 16 frames a second, frames add nothing to a joint's angle but bytes.
LEAST_APART_MS: Final = 60
# A block begins with the two frames that the one before ended with.
_CARRIED = 2
_MAX_GAPS: Final = 64
_NEVER = -(1 << 40)
_NO_TIME = bytes(TIME_BYTES)
_BITS = 1 << np.arange(WIDTH)


def advance(
    motions: Sequence[Motion], sizes: Sequence[int], times: Times, values: Floats
) -> list[Motion]:
    """Fold frames of many sessions: of each so many of `times` and of the rows of `values`."""
    starts = np.cumsum([0, *sizes[:-1]])
    newest = _newest(motions)
    before = np.empty_like(times)
    before[1:] = times[:-1]
    before[starts] = newest
    apart = times - before
    closest = np.minimum.reduceat(apart, starts).tolist()
    farthest = np.maximum.reduceat(apart, starts).tolist()
    frames = _packed(values)
    stamps = times.astype("<u4").tobytes()
    found = []
    for number, (motion, start, size) in enumerate(
        zip(motions, starts.tolist(), sizes, strict=True)
    ):
        own_times = stamps[start * TIME_BYTES : (start + size) * TIME_BYTES]
        own_frames = frames[start * FRAME_BYTES : (start + size) * FRAME_BYTES]
        waiting_times, waiting_frames, folded = motion
        if closest[number] < LEAST_APART_MS:
            own_times, own_frames = _thinned(int(newest[number]), own_times, own_frames)
        # Between frames of which the one before was left out there is more than was seen here.
        if farthest[number] > GAP_MS - LEAST_APART_MS and own_times:
            folded = _with_gaps(folded, int(newest[number]), own_times)
        found.append(Motion(waiting_times + own_times, waiting_frames + own_frames, folded))
    full = [n for n, motion in enumerate(found) if len(motion.times) >= TIME_BYTES * BLOCK_FRAMES]
    while full:
        for n, motion in zip(full, _ground([found[n] for n in full]), strict=True):
            found[n] = motion
        full = [n for n in full if len(found[n].times) >= TIME_BYTES * BLOCK_FRAMES]
    return found


def _newest(motions: Sequence[Motion]) -> Times:
    """Give the time of each one's newest frame, _NEVER where there was none."""
    ends = [motion.times[-TIME_BYTES:] for motion in motions]
    found = np.frombuffer(b"".join([end or _NO_TIME for end in ends]), "<u4").astype(np.int64)
    found[[number for number, end in enumerate(ends) if not end]] = _NEVER
    return found


def _packed(values: Floats) -> bytes:
    tenths = np.rint(values * 10)
    tenths[~np.isfinite(tenths)] = UNKNOWN
    return tenths.astype("<i2").tobytes()


def _unpacked(frames: bytes) -> Floats:
    tenths = np.frombuffer(frames, "<i2").astype(np.float32)
    tenths[tenths == UNKNOWN] = np.nan
    tenths /= 10
    return tenths.reshape(-1, WIDTH)


def _thinned(newest: int, times: bytes, frames: bytes) -> tuple[bytes, bytes]:
    kept = []
    for place, at in enumerate(np.frombuffer(times, "<u4").tolist()):
        if at - newest >= LEAST_APART_MS:
            kept.append(place)
            newest = at
    rows = np.frombuffer(frames, "<i2").reshape(-1, WIDTH)
    return np.frombuffer(times, "<u4")[kept].tobytes(), rows[kept].tobytes()


def _with_gaps(folded: Folded, newest: int, times: bytes) -> Folded:
    at = np.frombuffer(times, "<u4").tolist()
    gaps = [
        (a, b) for a, b in zip([newest, *at], at, strict=False) if a != _NEVER and b - a > GAP_MS
    ]
    room = _MAX_GAPS - len(folded.gaps) // GAP.itemsize
    return folded._replace(
        gaps=folded.gaps + np.array(gaps[:room], GAP).tobytes() if room > 0 else folded.gaps,
        gap_number=folded.gap_number + len(gaps),
    )


def _block(motions: Sequence[Motion], frames: int) -> Block:
    times = np.frombuffer(
        b"".join([motion.times[: frames * TIME_BYTES] for motion in motions]), "<u4"
    )
    values = _unpacked(b"".join([motion.frames[: frames * FRAME_BYTES] for motion in motions]))
    return Block(
        times.reshape(len(motions), frames).astype(np.int64),
        values.reshape(len(motions), frames, WIDTH),
        np.array([motion.folded.frames == 0 for motion in motions]),
        (np.array([motion.folded.followed for motion in motions])[:, None] & _BITS) != 0,
    )


def _tails(motions: Sequence[Motion]) -> Records:
    joined = b"".join([motion.folded.tails for motion in motions])
    return np.frombuffer(joined, TAIL).reshape(len(motions), WIDTH)


def _ground(motions: Sequence[Motion]) -> list[Motion]:
    """Work off the first block of each; all have one."""
    block = _block(motions, BLOCK_FRAMES)
    tails, swings, samples = turn(_tails(motions), block)
    smooth(swings, tails, samples, block.times)
    bounds = np.searchsorted(swings.rows, np.arange(len(motions) + 1) * WIDTH).tolist()
    turns = swings.turns.tobytes()
    rest = BLOCK_FRAMES - _CARRIED
    found = []
    for number, motion in enumerate(motions):
        folded = motion.folded
        own = turns[bounds[number] * TURN.itemsize : bounds[number + 1] * TURN.itemsize]
        first = int(block.times[number, 0]) if folded.first_ms is None else folded.first_ms
        folded = Folded(
            tails[number].tobytes(),
            folded.turns + own,
            folded.frames + (rest if folded.frames else BLOCK_FRAMES),
            first,
            *folded[4:],
        )
        times, frames = motion.times[rest * TIME_BYTES :], motion.frames[rest * FRAME_BYTES :]
        found.append(Motion(times, frames, bounded(folded)))
    return found


class Concluded(NamedTuple):
    """A state with all its frames folded, and what they count to."""

    folded: Folded
    newest_ms: int | None
    counted: Counted | None
    repetitions: tuple[Repetition, ...]


def conclude(motion: Motion) -> Concluded:
    """Count as if nothing came after the newest frame. The state stays as it is."""
    folded = motion.folded
    last: Records | None = None
    waiting = len(motion.times) // TIME_BYTES
    if waiting > (_CARRIED if folded.frames else 0):
        block = _block([motion], waiting)
        if waiting >= _CARRIED:
            tails, swings, samples = turn(_tails([motion]), block, ends=True)
            smooth(swings, tails, samples, block.times)
            folded = folded._replace(
                tails=tails.tobytes(), turns=folded.turns + swings.turns.tobytes()
            )
        first = int(block.times[0, 0]) if folded.first_ms is None else folded.first_ms
        new = waiting - (_CARRIED if folded.frames else 0)
        folded = folded._replace(frames=folded.frames + new, first_ms=first)
    last = last_turns(np.frombuffer(folded.tails, TAIL))
    counted = counted_in(folded, last)
    found = restored(folded.settled.told)
    if counted is not None:
        found += unsettled(folded, counted)
    return Concluded(folded, motion.newest_ms, counted, tuple(found))
