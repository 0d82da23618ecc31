"""When the medium played, and when it stood still though it should have played.

Both are stretches of the session's clock, found in one pass over the events in order. What is
missing among them is made up for, and what was made up says so (`inferred`):

- *A `play` that is missing.* A heartbeat that says `playing`, or one that says nothing and comes
  before anything else told, shows that it plays.
- *A `pause` or `session_end` that is missing.* Time counts from event to event, so nothing is
  counted after the last. In a session with heartbeats, a silence of more than three intervals
  counts as one interval; a stall that the client itself began and ended is no silence.
- *A `buffering_end` that is missing.* The stall ends with the next event which shows that it is
  over, at the latest with the last event.
- *A `buffering_start` that is missing.* With `duration_ms` the end tells when it was; without, it
  is counted as unpaired and nothing else.
- *A second `buffering_start`* with nothing in between is the same stall, told twice.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from penstock.engine.media.clock import Placed
from penstock.engine.media.events import MediaEvent, MediaKind

# What the Portal's player uses, and clients that do not say otherwise.
HEARTBEAT_INTERVAL_MS = 10_000
_SILENT_INTERVALS = 3


class Stretch(NamedTuple):
    """A stretch of the session's clock."""

    start_ms: int
    end_ms: int


class Stall(NamedTuple):
    """A stretch without progress. `inferred`: one of its ends was not told."""

    start_ms: int
    end_ms: int
    inferred: bool


@dataclass(slots=True, frozen=True)
class Playback:
    """What became of a session's time.

    `spans` is when it should have played, `stalls` the part of them when it did not, `stall_count`
    how many stalls these come from (a pause splits one). `heartbeats_missed` is None where none
    were to be expected.
    """

    spans: tuple[Stretch, ...]
    stalls: tuple[Stall, ...]
    stall_count: int
    watched: tuple[Stretch, ...]
    heartbeats_missed: int | None
    unpaired: int


class Stretches:
    """How much time lies in a set of stretches up to a moment, found without a pass over them."""

    __slots__ = ("_ends", "_starts", "_sums", "total_ms")

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        """Take stretches in order that do not overlap."""
        self._starts = [stretch.start_ms for stretch in stretches]
        self._ends = [stretch.end_ms for stretch in stretches]
        lengths = (stretch.end_ms - stretch.start_ms for stretch in stretches)
        self._sums = [0, *accumulate(lengths)]
        self.total_ms = self._sums[-1]

    def before(self, at_ms: int) -> int:
        """Give the milliseconds of the stretches that lie before a moment."""
        index = bisect_right(self._starts, at_ms)
        if not index:
            return 0
        return self._sums[index] - max(0, self._ends[index - 1] - at_ms)


def playback_of(placed: Sequence[Placed]) -> Playback:
    """Find out when the medium played and when it stalled."""
    told, unpaired = _stalls(placed)
    spans, missed = _spans(placed, told)
    stalls, count = _within(told, spans)
    return Playback(spans, stalls, count, _less(spans, stalls), missed, unpaired)


class _Pairing:
    """Pairs the starts and ends of buffering, event by event."""

    __slots__ = ("_again", "_over", "_start", "stalls", "unpaired")

    def __init__(self) -> None:
        self.stalls: list[Stall] = []
        self.unpaired = 0
        self._start: int | None = None
        # When the stall had to be over by, as far as other events tell.
        self._over: int | None = None
        # The last start that was no new one.
        self._again: int | None = None

    def begin(self, at: int) -> None:
        """Take a start."""
        if self._start is not None and self._over is None:
            self._again = at
            return
        self._infer()
        self._start = at

    def end(self, at: int, duration_ms: float | None) -> None:
        """Take an end, and how long the client says that it was."""
        began = None if duration_ms is None else at - round(duration_ms)
        if self._over is not None and began is not None and began >= self._over:
            # It is another stall's end: that one's start is missing, and this one's end.
            self._infer()
        if self._start is not None:
            self.stalls.append(Stall(self._start, at, inferred=False))
        elif began is not None:
            earliest = self.stalls[-1].end_ms if self.stalls else began
            self.stalls.append(Stall(max(began, earliest), at, inferred=True))
        else:
            self.unpaired += 1
        # An end and a start in one millisecond: the next stall follows at once.
        self._start = at if self._again == at else None
        self._over = self._again = None

    def progress(self, at: int) -> None:
        """Take an event which shows that no stall is under way."""
        if self._start is not None and self._over is None:
            self._over = at

    def close(self, at: int) -> None:
        """Take the time of the last event."""
        self.progress(at)
        self._infer()

    def _infer(self) -> None:
        if self._start is not None and self._over is not None:
            self.stalls.append(Stall(self._start, self._over, inferred=True))
        self._start = self._over = self._again = None


def _stalls(placed: Sequence[Placed]) -> tuple[list[Stall], int]:
    """Give the stalls in order, and how many ends told nothing."""
    pairing = _Pairing()
    for at, event in placed:
        if event.kind is MediaKind.BUFFERING_START:
            pairing.begin(at)
        elif event.kind is MediaKind.BUFFERING_END:
            pairing.end(at, event.data.duration_ms)
        elif _shows_progress(event):
            pairing.progress(at)
    pairing.close(placed[-1].at_ms)
    return pairing.stalls, pairing.unpaired


def _shows_progress(event: MediaEvent) -> bool:
    """Say whether no stall can be under way after this event."""
    match event.kind:
        case MediaKind.HEARTBEAT:
            return event.data.playing is not False
        case MediaKind.ERROR:
            return event.data.fatal is not False
        case MediaKind.PLAY | MediaKind.MILESTONE | MediaKind.PAUSE | MediaKind.SESSION_END:
            return True
        case _:
            return False


def _interval(placed: Sequence[Placed]) -> int | None:
    """Give how often heartbeats are to come; None for a client that sends none."""
    for _, event in placed:
        if event.data.heartbeat_interval_ms is not None:
            return round(event.data.heartbeat_interval_ms)
    beats = any(event.kind is MediaKind.HEARTBEAT for _, event in placed)
    return HEARTBEAT_INTERVAL_MS if beats else None


def _spans(
    placed: Sequence[Placed], stalls: Sequence[Stall]
) -> tuple[tuple[Stretch, ...], int | None]:
    """Find when it should have played, and how many heartbeats did not come meanwhile."""
    interval = _interval(placed)
    told = Stretches([Stretch(*stall[:2]) for stall in stalls if not stall.inferred])
    spans: list[Stretch] = []
    missed = 0
    since: int | None = None
    known = False  # whether anything has said if it plays
    last = beat = 0
    for at, event in placed:
        if since is not None and interval is not None:
            # Told stalls are looked at in a silence only, which is rare.
            silence = at - last
            if (
                silence > _SILENT_INTERVALS * interval
                and told.before(at) - told.before(last) < silence
            ):
                spans.append(Stretch(since, last + interval))
                since = at
            if event.kind is MediaKind.HEARTBEAT:
                missed += _missed(beat, at, interval)
                beat = at
        says = _says_playing(event, known=known)
        if says is not None:
            known = True
            if says and since is None:
                since = beat = at
            elif not says and since is not None:
                spans.append(Stretch(since, at))
                missed += 0 if interval is None else _missed(beat, at, interval)
                since = None
        last = at
    if since is not None:
        spans.append(Stretch(since, last))
        missed += 0 if interval is None else _missed(beat, last, interval)
    return tuple(spans), None if interval is None else missed


def _says_playing(event: MediaEvent, *, known: bool) -> bool | None:
    match event.kind:
        case MediaKind.PLAY:
            return True
        case MediaKind.PAUSE | MediaKind.SESSION_END:
            return False
        case MediaKind.ERROR:
            return None if event.data.fatal is False else False
        case MediaKind.HEARTBEAT:
            silent = None if known else True
            return silent if event.data.playing is None else event.data.playing
        case _:
            return None


def _missed(beat: int, at: int, interval: int) -> int:
    """Count the heartbeats that were due in between; one may be late by half an interval."""
    return max(0, (at - beat + interval // 2) // interval - 1)


def _within(stalls: Sequence[Stall], spans: Sequence[Stretch]) -> tuple[tuple[Stall, ...], int]:
    """Cut the stalls to the spans; say how many are left."""
    pieces: list[Stall] = []
    count = first = 0
    for stall in stalls:
        while first < len(spans) and spans[first].end_ms < stall.start_ms:
            first += 1
        before = len(pieces)
        for index in range(first, len(spans)):
            span = spans[index]
            if span.start_ms > stall.end_ms:
                break
            start, end = max(stall.start_ms, span.start_ms), min(stall.end_ms, span.end_ms)
            # Where a stall and a span merely touch, it did not stall while it should have played.
            if start < end or (stall.start_ms == stall.end_ms and span.start_ms < start):
                pieces.append(Stall(start, end, stall.inferred))
        count += len(pieces) > before
    return tuple(pieces), count


def _less(spans: Sequence[Stretch], stalls: Sequence[Stall]) -> tuple[Stretch, ...]:
    """Give what is left of the spans without the stalls in them."""
    left: list[Stretch] = []
    index = 0
    for start, end in spans:
        at = start
        while index < len(stalls) and stalls[index].end_ms <= end:
            if stalls[index].start_ms > at:
                left.append(Stretch(at, stalls[index].start_ms))
            at = stalls[index].end_ms
            index += 1
        if at < end:
            left.append(Stretch(at, end))
    return tuple(left)
