"""A session's motion: frames folded in as they come, in a state that is small and never changes.

Theory of operation
-------------------
::

    frames -> pending (up to BLOCK_FRAMES) -> a block, with those of other sessions -> turns, tails
                                                     too many turns -> settled repetitions

Blocks are cut by the frames' number, never by the batches', so the state after some frames is the
same however they came. Frames that are repeated or out of order are left out, as are frames so
dense that they add nothing. All parts are bytes: a state is shared by whoever has it, and a
checkpoint is a copy for nothing.

The log of turns is bounded. When it is full for the first time, the joints that can be the working
one are known by what they went through, and only those are followed from then on. When it is full
again, the older repetitions are settled: they are told once and for all, their turns are forgotten,
and the working joint is decided.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from penstock.engine.motion.counting import Counted, count
from penstock.engine.motion.exercises import WEIGHTS, guide
from penstock.engine.motion.repetition import (
    STORED_BYTES,
    Repetition,
    repetitions,
    restored,
    stored,
)
from penstock.engine.motion.signals import SIDES, SIGNALS, Floats
from penstock.engine.motion.smoothness import smooth
from penstock.engine.motion.track import Track, track
from penstock.engine.motion.block import Block, turn
from penstock.engine.motion.turns import TAIL, TURN, UNKNOWN, Records, Times, last_turns, new_tails
from penstock.engine.timeline import GAP_MS

MOTION_VERSION: Final = 1
BLOCK_FRAMES: Final = 64
# Above some 16 frames a second, frames add nothing to a joint's angle but bytes.
LEAST_APART_MS: Final = 60
# A block begins with the two frames that the one before ended with.
_CARRIED = 2
MAX_TURNS: Final = 480
# From so many on, only the joints that can be the working one are followed.
_MANY_TURNS: Final = 300
_MAX_SETTLED: Final = 96
# Of more settled repetitions the first ones and the last ones are kept: fatigue compares those.
_FIRST_SETTLED: Final = 32
# Joints that are followed on when the log is full, and when the working one is decided.
_CANDIDATES: Final = 3
_DECIDED: Final = 2
# What stays in the log when repetitions are settled, so that the tempo stays known.
_LEFT_OPEN = 4
_BEFORE_MS = 500
_MAX_GAPS: Final = 64
_WIDTH = len(SIGNALS)
_FRAME_BYTES = 2 * _WIDTH
_TIME_BYTES = 4
_NEVER = -(1 << 40)
_BITS = 1 << np.arange(_WIDTH)

_ANKLE: Final = "ankle_dorsiflexion"
# The joint of each signal.
_JOINTS = tuple(name.removesuffix("_left").removesuffix("_right") for name in SIGNALS)

_ANKLES = sum(1 << n for n, joint in enumerate(_JOINTS) if joint == _ANKLE)
# Ankles follow the knees; alone they count only where the exercise is one of them.
_AT_FIRST = (1 << _WIDTH) - 1 - _ANKLES

_GAP = np.dtype([("start_ms", "<u4"), ("end_ms", "<u4")])


class Settled(NamedTuple):
    """Repetitions that are told for good: the count of all, the figures of the outer ones."""

    joint: str | None = None
    sign: int = 0
    until_ms: int = -1
    number: int = 0
    cut: int = 0
    unseen: int = 0
    told: bytes = b""


class Folded(NamedTuple):
    """What blocks have become. `anew` says that earlier frames of the session are not in it."""

    tails: bytes
    turns: bytes = b""
    frames: int = 0
    first_ms: int | None = None
    world: bool = False
    exercise: str | None = None
    gaps: bytes = b""
    gap_number: int = 0
    settled: Settled = Settled()
    anew: bool = False
    followed: int = _AT_FIRST


class Motion(NamedTuple):
    """The state: frames that wait for their block, and what came of those before."""

    times: bytes = b""
    frames: bytes = b""
    folded: Folded = Folded(new_tails().tobytes())

    @property
    def newest_ms(self) -> int | None:
        """Give the time of the newest frame."""
        return int.from_bytes(self.times[-_TIME_BYTES:], "little") if self.times else None

    def told(self, *, world: bool, exercise: str | None) -> "Motion":
        """Give the state with what the client says of its frames."""
        folded = self.folded
        if folded.world == world and (exercise is None or folded.exercise == exercise):
            return self
        named = folded.exercise if exercise is None else exercise
        found = guide(named)
        ankles = _ANKLES if found and _ANKLE in found.signals else 0
        folded = folded._replace(world=world, exercise=named, followed=folded.followed | ankles)
        return self._replace(folded=folded)


NO_MOTION: Final = Motion()
# Of a session whose earlier frames are not known here.
BEGUN_ANEW: Final = Motion(folded=NO_MOTION.folded._replace(anew=True))


def advance(
    motions: Sequence[Motion], sizes: Sequence[int], times: Times, values: Floats
) -> list[Motion]:
    """Fold frames of many sessions: of each so many of `times` and of the rows of `values`."""
    starts = np.cumsum([0, *sizes[:-1]])
    newest = [_NEVER if motion.newest_ms is None else motion.newest_ms for motion in motions]
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
        own_times = stamps[start * _TIME_BYTES : (start + size) * _TIME_BYTES]
        own_frames = frames[start * _FRAME_BYTES : (start + size) * _FRAME_BYTES]
        if closest[number] < LEAST_APART_MS:
            own_times, own_frames = _thinned(newest[number], own_times, own_frames)
        folded = motion.folded
        if farthest[number] > GAP_MS - LEAST_APART_MS and own_times:
            folded = _with_gaps(folded, newest[number], own_times)
        found.append(Motion(motion.times + own_times, motion.frames + own_frames, folded))
    full = [n for n, motion in enumerate(found) if len(motion.times) >= _TIME_BYTES * BLOCK_FRAMES]
    while full:
        for n, motion in zip(full, _ground([found[n] for n in full]), strict=True):
            found[n] = motion
        full = [n for n in full if len(found[n].times) >= _TIME_BYTES * BLOCK_FRAMES]
    return found


def _packed(values: Floats) -> bytes:
    tenths = np.rint(values * 10)
    tenths[~np.isfinite(tenths)] = UNKNOWN
    return tenths.astype("<i2").tobytes()


def _unpacked(frames: bytes) -> Floats:
    tenths = np.frombuffer(frames, "<i2").astype(np.float32)
    tenths[tenths == UNKNOWN] = np.nan
    tenths /= 10
    return tenths.reshape(-1, _WIDTH)


def _thinned(newest: int, times: bytes, frames: bytes) -> tuple[bytes, bytes]:
    kept = []
    for place, at in enumerate(np.frombuffer(times, "<u4").tolist()):
        if at - newest >= LEAST_APART_MS:
            kept.append(place)
            newest = at
    rows = np.frombuffer(frames, "<i2").reshape(-1, _WIDTH)
    return np.frombuffer(times, "<u4")[kept].tobytes(), rows[kept].tobytes()


def _with_gaps(folded: Folded, newest: int, times: bytes) -> Folded:
    at = np.frombuffer(times, "<u4").tolist()
    gaps = [
        (a, b) for a, b in zip([newest, *at], at, strict=False) if a != _NEVER and b - a > GAP_MS
    ]
    room = _MAX_GAPS - len(folded.gaps) // _GAP.itemsize
    return folded._replace(
        gaps=folded.gaps + np.array(gaps[:room], _GAP).tobytes() if room > 0 else folded.gaps,
        gap_number=folded.gap_number + len(gaps),
    )


def _block(motions: Sequence[Motion], frames: int) -> Block:
    times = np.frombuffer(
        b"".join([motion.times[: frames * _TIME_BYTES] for motion in motions]), "<u4"
    )
    values = _unpacked(b"".join([motion.frames[: frames * _FRAME_BYTES] for motion in motions]))
    return Block(
        times.reshape(len(motions), frames).astype(np.int64),
        values.reshape(len(motions), frames, _WIDTH),
        np.array([motion.folded.frames == 0 for motion in motions]),
        (np.array([motion.folded.followed for motion in motions])[:, None] & _BITS) != 0,
    )


def _tails(motions: Sequence[Motion]) -> Records:
    joined = b"".join([motion.folded.tails for motion in motions])
    return np.frombuffer(joined, TAIL).reshape(len(motions), _WIDTH)


def _ground(motions: Sequence[Motion]) -> list[Motion]:
    """Work off the first block of each; all have one."""
    block = _block(motions, BLOCK_FRAMES)
    tails, swings, samples = turn(_tails(motions), block)
    smooth(swings, tails, samples, block.times)
    bounds = np.searchsorted(swings.rows, np.arange(len(motions) + 1) * _WIDTH).tolist()
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
        if len(folded.turns) > _MANY_TURNS * TURN.itemsize:
            folded = _bounded(folded)
        found.append(
            Motion(motion.times[rest * _TIME_BYTES :], motion.frames[rest * _FRAME_BYTES :], folded)
        )
    return found


# Keeping the log within its bounds.


def _bounded(folded: Folded) -> Folded:
    if folded.followed.bit_count() > len(SIDES) * _CANDIDATES:
        return _following(folded, _candidates(folded)[:_CANDIDATES])
    if len(folded.turns) <= MAX_TURNS * TURN.itemsize:
        return folded
    turns: Any = np.frombuffer(folded.turns, TURN)
    followed = (folded.followed >> turns["signal"].astype(np.int64)) & 1 > 0
    if followed.all():
        return _settle(folded)
    return folded._replace(turns=turns[followed].tobytes())


def _following(folded: Folded, joints: Sequence[str]) -> Folded:
    return folded._replace(
        followed=sum(1 << n for n, joint in enumerate(_JOINTS) if joint in joints)
    )


def _candidates(folded: Folded) -> list[str]:
    """Give the joints that may be the working one, those with the most energy first."""
    told = guide(folded.exercise)
    names = told.signals if told else tuple(WEIGHTS)
    turns: Any = np.frombuffer(folded.turns, TURN)
    order = np.argsort(turns["signal"], kind="stable")
    signal, value = turns["signal"][order], turns["value"][order].astype(np.float64)
    swing = np.where(signal[1:] == signal[:-1], np.diff(value) / 10, 0)
    energy = np.bincount(signal[1:], swing**2, minlength=_WIDTH).tolist()
    best = dict.fromkeys(names, 0.0)
    for joint, own in zip(_JOINTS, energy, strict=True):
        if joint in best:
            best[joint] = max(best[joint], own * WEIGHTS.get(joint, 0.5) ** 2)
    return sorted(best, key=lambda joint: -best[joint])


def _settle(folded: Folded) -> Folded:
    turns: Any = np.frombuffer(folded.turns, TURN)
    counted = _counted(folded, last=None)
    found = [] if counted is None else _new(folded, counted)
    if counted is None or len(found) <= _LEFT_OPEN:
        # Noise that hardly holds a repetition: the older half is let go.
        middle = np.sort(turns["at_ms"])[len(turns) // 2]
        return folded._replace(turns=turns[turns["at_ms"] >= middle].tobytes())
    done, left = found[:-_LEFT_OPEN], found[-_LEFT_OPEN:]
    before = folded.settled
    told = before.told + stored(done)
    if len(told) > _MAX_SETTLED * STORED_BYTES:
        told = (
            told[: _FIRST_SETTLED * STORED_BYTES]
            + told[(_FIRST_SETTLED - _MAX_SETTLED) * STORED_BYTES :]
        )
    keep = turns["at_ms"] >= found[-min(len(found), 2 * _LEFT_OPEN)].start_ms - _BEFORE_MS
    others = [counted.angle, *_candidates(folded)]
    others = [joint for joint in others if joint != counted.joint]
    folded = folded._replace(
        turns=turns[keep].tobytes(),
        settled=Settled(
            counted.joint,
            counted.sign,
            (done[-1].turn_ms + left[0].turn_ms) // 2,
            before.number + len(done),
            before.cut + sum(one.cut for one in done),
            before.unseen + sum(not one.seen for one in done),
            told,
        ),
    )
    return _following(folded, [counted.joint, *others[: _DECIDED - 1]])


def _new(folded: Folded, counted: Counted) -> list[Repetition]:
    until = folded.settled.until_ms
    return [one for one in repetitions(counted) if one.turn_ms > until]


# What the state says.


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
    waiting = len(motion.times) // _TIME_BYTES
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
    counted = _counted(folded, last)
    found = restored(folded.settled.told)
    if counted is not None:
        found += _new(folded, counted)
    return Concluded(folded, motion.newest_ms, counted, tuple(found))


def tracks(folded: Folded, last: Records | None) -> dict[str, Track]:
    """Give the tracks of all signals that turned, with the turns that are not final as the last."""
    turns: Any = np.frombuffer(folded.turns, TURN)
    if last is not None:
        turns = np.concatenate((turns, last))
    tails: Any = np.frombuffer(folded.tails, TAIL)
    order = np.argsort(turns["signal"], kind="stable")
    turns = turns[order]
    bounds = np.searchsorted(turns["signal"], np.arange(_WIDTH + 1)).tolist()
    return {
        name: track(
            turns[bounds[n] : bounds[n + 1]],
            int(tails["q_ms"][n]),
            followed=bool(folded.followed >> n & 1),
        )
        for n, name in enumerate(SIGNALS)
        if bounds[n + 1] - bounds[n] > 1
    }


def _counted(folded: Folded, last: Records | None) -> Counted | None:
    joint, sign = folded.settled.joint, folded.settled.sign
    return count(
        tracks(folded, last),
        guide(folded.exercise),
        None if joint is None else (joint, sign),
        whole=last is not None and joint is None,
    )


# Going on elsewhere.


def dumped(motion: Motion) -> bytes:
    """Give the state as bytes."""
    folded = motion.folded
    parts = (
        motion.times,
        motion.frames,
        folded.tails,
        folded.turns,
        folded.gaps,
        folded.settled.told,
    )
    plain = {
        "v": MOTION_VERSION,
        "parts": [len(part) for part in parts],
        "folded": [
            folded.frames,
            folded.first_ms,
            folded.world,
            folded.exercise,
            folded.gap_number,
            folded.anew,
            folded.followed,
        ],
        "settled": folded.settled[:6],
    }
    head = orjson.dumps(plain)
    return b"".join((len(head).to_bytes(4, "little"), head, *parts))


def loaded(data: bytes) -> Motion:
    """Read what `dumped` gave; ValueError for anything else."""
    length = int.from_bytes(data[:4], "little")
    try:
        plain = orjson.loads(data[4 : 4 + length])
        if plain["v"] != MOTION_VERSION:
            raise ValueError(f"motion version {plain['v']}, not {MOTION_VERSION}")
        at, parts = 4 + length, []
        for size in plain["parts"]:
            parts.append(data[at : at + size])
            at += size
        times, frames, tails, turns, gaps, told = parts
        frames_number, first, world, exercise, gap_number, anew, followed = plain["folded"]
        joint, sign, until, number, cut, unseen = plain["settled"]
        settled = Settled(joint, sign, until, number, cut, unseen, told)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a motion state: {error}") from None
    sound = (
        at == len(data)
        and len(tails) == _WIDTH * TAIL.itemsize
        and len(turns) % TURN.itemsize == 0
        and len(gaps) % _GAP.itemsize == 0
        and len(told) % STORED_BYTES == 0
        and len(frames) // _FRAME_BYTES == len(times) // _TIME_BYTES
    )
    if not sound:
        raise ValueError("not a motion state: its parts do not fit")
    folded = Folded(
        tails,
        turns,
        frames_number,
        first,
        world,
        exercise,
        gaps,
        gap_number,
        settled,
        anew,
        followed,
    )
    return Motion(times, frames, folded)


def gaps(folded: Folded) -> list[tuple[int, int]]:
    """Give beginning and end of the gaps that are listed, in milliseconds."""
    found: npt.NDArray[Any] = np.frombuffer(folded.gaps, _GAP)
    return [(int(a), int(b)) for a, b in found.tolist()]
