"""What is kept of a session's motion between frames, as plain bytes that can go on elsewhere.

All parts are bytes: a state never changes and is shared by whoever has it, and a checkpoint is a
copy for nothing.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from penstock.engine.motion.exercises import guide
from penstock.engine.motion.packing import packed, unpacked
from penstock.engine.motion.repetition import STORED_BYTES
from penstock.engine.motion.signals import SIGNALS
from penstock.engine.motion.turns import TAIL, TURN, Records, new_tails

MOTION_VERSION: Final = 2
WIDTH: Final = len(SIGNALS)
# A frame's values are kept as tenths in two bytes each.
FRAME_BYTES: Final = 2 * WIDTH
TIME_BYTES: Final = 4

_ANKLE: Final = "ankle_dorsiflexion"
# The joint of each signal.
JOINTS: Final = tuple(name.removesuffix("_left").removesuffix("_right") for name in SIGNALS)
_ANKLES = sum(1 << n for n, joint in enumerate(JOINTS) if joint == _ANKLE)
# Ankles follow the knees; alone they count only where the exercise is one of them.
_AT_FIRST = (1 << WIDTH) - 1 - _ANKLES

# So many turns at a time are packed.
LOOSE_TURNS: Final = 120

GAP: Final = np.dtype([("start_ms", "<u4"), ("end_ms", "<u4")])


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
    """What blocks have become. `anew` says that earlier frames of the session are not in it.

    The log is `older` turns, so many, packed, and then `turns`.
    """

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
    older: bytes = b""
    older_number: int = 0

    @property
    def number(self) -> int:
        """Tell how many turns are in the log."""
        return self.older_number + len(self.turns) // TURN.itemsize

    def log(self) -> Records:
        """Give all turns of the log."""
        own = unpacked(self.older) + self.turns if self.older else self.turns
        return np.frombuffer(own, TURN)

    def with_log(self, turns: Records) -> "Folded":
        """Give the state with these turns in its log."""
        return self._replace(turns=turns.tobytes(), older=b"", older_number=0)

    def compact(self) -> "Folded":
        """Give the state with its turns packed, when they are many."""
        if len(self.turns) < LOOSE_TURNS * TURN.itemsize:
            return self
        older = self.older + packed(self.turns)
        return self._replace(turns=b"", older=older, older_number=self.number)


class Motion(NamedTuple):
    """The state: frames that wait for their block, and what came of those before."""

    times: bytes = b""
    frames: bytes = b""
    folded: Folded = Folded(new_tails().tobytes())

    @property
    def newest_ms(self) -> int | None:
        """Give the time of the newest frame."""
        return int.from_bytes(self.times[-TIME_BYTES:], "little") if self.times else None

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


def dumped(motion: Motion) -> bytes:
    """Give the state as bytes."""
    folded = motion.folded
    parts = (
        motion.times,
        motion.frames,
        folded.tails,
        folded.turns,
        folded.older,
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
            folded.older_number,
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
        times, frames, tails, turns, older, gaps, told = parts
        frames_number, first, world, exercise, gap_number, anew, followed, older_number = plain[
            "folded"
        ]
        joint, sign, until, number, cut, unseen = plain["settled"]
        settled = Settled(joint, sign, until, number, cut, unseen, told)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a motion state: {error}") from None
    sound = (
        at == len(data)
        and len(tails) == WIDTH * TAIL.itemsize
        and len(turns) % TURN.itemsize == 0
        and len(unpacked(older)) == older_number * TURN.itemsize
        and len(gaps) % GAP.itemsize == 0
        and len(told) % STORED_BYTES == 0
        and len(frames) // FRAME_BYTES == len(times) // TIME_BYTES
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
        older,
        older_number,
    )
    return Motion(times, frames, folded)


def gaps(folded: Folded) -> list[tuple[int, int]]:
    """Give beginning and end of the gaps that are listed, in milliseconds."""
    found: npt.NDArray[Any] = np.frombuffer(folded.gaps, GAP)
    return [(int(a), int(b)) for a, b in found.tolist()]
