"""What a page draws of one session: its frames by seconds, its gaps, the working joint's angle.

Pure, and bounded whatever the session's length: everything here is made for a page of a few hundred
points across.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.extremes import kept_points
from penstock.engine.frame_bins import FrameBins, Standing, Times, frame_bins
from penstock.engine.losses import Span, reasons_of
from penstock.engine.motion.metrics import rep_metrics
from penstock.engine.motion.motion import Motion, conclude
from penstock.engine.motion.signals import ANGLES, SIGNALS, Floats
from penstock.engine.outcomes import Tally
from penstock.engine.timeline import GAP_MS

MOST_POINTS = 1500
MOST_GAPS = 200
# What is shown of who has not moved.
_USUAL_JOINT = "knee_flexion"
# Replays of more than this, some four hours, are read with the command line's tool.
MOST_REPLAY_BYTES = 64 << 20
# As many as nine hours of a usual camera's. A client that means harm puts two thousand frames into
# one small batch: of so many, the file's size says nothing of what reading it takes.
MOST_REPLAY_FRAMES = 500_000


class Gap(NamedTuple):
    """A time without frames. `reason` is what explains most of it, "" where nothing is known."""

    start_ms: int
    end_ms: int
    reason: str


class RepMark(NamedTuple):
    """A repetition on the time axis, by its number from 1 on."""

    number: int
    start_ms: int
    turn_ms: int
    end_ms: int
    side: str
    degrees: float | None
    seen: bool


@dataclass(slots=True, frozen=True)
class AngleCurve:
    """The working joint over time, a line a side; None where it was not seen, also within gaps."""

    joint: str
    counted: bool
    unit: str
    times_ms: tuple[int, ...]
    lines: Mapping[str, tuple[float | None, ...]]


@dataclass(slots=True, frozen=True)
class KeptFrames:
    """What a session's file holds, as the reader of replays gives it. Times may come twice."""

    times_ms: Times
    values: Floats
    standings: tuple[Standing, ...]
    spans: tuple[Span, ...]
    motion: Motion
    file_bytes: int
    damage_count: int


@dataclass(slots=True, frozen=True)
class SessionPicture:
    """Everything that is drawn. `gap_count` is of all gaps; the longest are told."""

    bins: FrameBins
    gaps: tuple[Gap, ...]
    gap_count: int
    curve: AngleCurve
    repetitions: tuple[RepMark, ...]
    frames: int
    file_bytes: int
    damage_count: int


@dataclass(slots=True, frozen=True)
class Now:
    """What is known of a session beside its file: its counts, and the loss map of one in memory."""

    identity: SessionIdentity
    tally: Tally
    spans: tuple[Span, ...] = ()


class PictureError(Exception):
    """There is no picture of this session; `detail` says to an operator why. `later`: try again."""

    def __init__(self, detail: str, *, later: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.later = later


class Pictures(Protocol):
    """Who makes pictures of stored sessions."""

    async def of(self, now: Now, *, older_will_do: bool = False) -> "Made":
        """Read the session's file or blob and make its picture; PictureError.

        Where an older one will do, it is given as long as making pictures has had its share.
        """
        ...


class Made(NamedTuple):
    """A picture, when it was made, and how many seconds of a core that took."""

    picture: SessionPicture
    made_unix: float
    seconds: float


def picture_of(kept: KeptFrames, now: Now) -> SessionPicture:
    """Make the picture of what is kept of a session."""
    # Each time once and forward, as they were counted.
    times, first = np.unique(kept.times_ms, return_index=True)
    values = kept.values[first]
    spans = now.spans or kept.spans
    stamps: list[int] = times.tolist()
    gaps = [(a, b) for a, b in pairwise(stamps) if b - a > GAP_MS]
    longest = sorted(sorted(gaps, key=lambda gap: gap[0] - gap[1])[:MOST_GAPS])
    reasons = reasons_of(spans, longest)
    found = conclude(kept.motion)
    counted = found.counted is not None and bool(found.repetitions)
    joint = found.counted.joint if found.counted is not None else _USUAL_JOINT
    marks = tuple(
        RepMark(told["rep_number"], one.start_ms, one.turn_ms, one.end_ms, one.side,
                None if one.partly else one.degrees, one.seen)
        for one, told in zip(found.repetitions, rep_metrics(found), strict=True)
    )  # fmt: skip
    return SessionPicture(
        frame_bins(times, kept.standings, now.tally, spans),
        tuple(Gap(start, end, reasons.get(start, "")) for start, end in longest),
        len(gaps),
        _curve(joint, times, values, longest, counted=counted),
        marks,
        len(times),
        kept.file_bytes,
        kept.damage_count,
    )


def _curve(
    joint: str, times: Times, values: Floats, gaps: Sequence[tuple[int, int]], *, counted: bool
) -> AngleCurve:
    sides = (("left", f"{joint}_left"), ("right", f"{joint}_right"), ("middle", joint))
    columns = {side: SIGNALS.index(name) for side, name in sides if name in SIGNALS}
    unit = "degrees" if joint in ANGLES else "percent of the trunk"
    if not len(times):
        return AngleCurve(joint, counted, unit, (), dict.fromkeys(columns, ()))
    lines = values[:, list(columns.values())]
    kept = kept_points(times, lines, MOST_POINTS - len(gaps))
    # A point of nothing inside each gap parts the lines there.
    parted = np.array([(start + end) // 2 for start, end in gaps], np.int64)
    stamps = np.concatenate((times[kept], parted))
    heights = np.concatenate((lines[kept], np.full((len(gaps), len(columns)), np.nan)))
    order = np.argsort(stamps, kind="stable")
    drawn: list[list[Any]] = np.round(heights[order].astype(np.float64), 1).T.tolist()
    return AngleCurve(
        joint,
        counted,
        unit,
        tuple(stamps[order].tolist()),
        {
            side: tuple(None if height != height else height for height in line)  # noqa: PLR0124 - not a number
            for side, line in zip(columns, drawn, strict=True)
        },
    )
