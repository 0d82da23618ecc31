"""What became of a session's frames, second by second of its own time.

Frames that are in the file have their times. The others are known by their counts: each header of
the file says what had become of how many until then. What came between two headers is placed where
the loss map has lost frames for that reason, beside those that were kept of a thinned batch, and
else evenly between the frames around it. So the sums are exact, and the places as good as can be
known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.engine.losses import Span
from penstock.engine.outcomes import Outcome, Reason, Tally

Times = npt.NDArray[np.int64]

# An hour of seconds. Longer sessions get wider bins: nobody sees more on a page.
MAX_BINS = 3600


class Fate(StrEnum):
    """What became of frames, as a page shows it."""

    TAKEN = "taken"
    THINNED = "thinned"
    REFUSED = "refused"
    LOST = "lost"
    UNSENT = "unsent"


def fate_of(reason: Reason) -> Fate:
    """Give what a reason means to somebody who looks at a session."""
    if reason is Reason.POLICY_THINNED:
        return Fate.THINNED
    return {
        Outcome.AGGREGATED: Fate.TAKEN,
        Outcome.REFUSED: Fate.REFUSED,
        Outcome.SHED: Fate.LOST,
        Outcome.LOST: Fate.LOST,
        Outcome.UNSENT: Fate.UNSENT,
    }[reason.outcome]


class Standing(NamedTuple):
    """What a session's counts were when its newest frame was this one; None before the first."""

    newest_ms: int | None
    tally: Tally


@dataclass(slots=True, frozen=True)
class FrameBins:
    """Counts by bins of whole seconds, from the session's own second `first_second` on."""

    first_second: int
    bin_seconds: int
    counts: Mapping[Fate, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Say how many bins there are."""
        return len(self.counts[Fate.TAKEN])


def frame_bins(
    times_ms: Times, standings: Sequence[Standing], last: Tally, spans: Sequence[Span]
) -> FrameBins:
    """Count frames by seconds: those of `times_ms`, and those that the counts tell of.

    `standings` are in order; `last` is how the counts ended.
    """
    moments = [at for span in spans for at in span[:2]]
    if len(times_ms):
        moments += (int(times_ms.min()), int(times_ms.max()))
    if not moments:
        return FrameBins(0, 1, dict.fromkeys(Fate, ()))
    begin, end = min(moments), max(moments)
    first = begin // 1000
    width = -(-(end // 1000 - first + 1) // MAX_BINS)
    size = (end // 1000 - first) // width + 1
    counts = {fate: np.zeros(size, np.int64) for fate in Fate}
    counts[Fate.TAKEN] += np.bincount((times_ms // 1000 - first) // width, minlength=size)
    newest = int(times_ms.max()) if len(times_ms) else begin
    for stretch in _stretches(begin, newest, end, standings, last):
        of_reason = [span for span in spans if span.reason is stretch.reason]
        places = _places(stretch, of_reason)
        if stretch.reason is Reason.POLICY_THINNED:
            places = _beside(stretch, times_ms) or places
        bins = sorted({(at // 1000 - first) // width for at in places})
        for place, at in enumerate(bins):
            share = stretch.frames * (place + 1) // len(bins) - stretch.frames * place // len(bins)
            counts[fate_of(stretch.reason)][at] += share
    return FrameBins(first, width, {fate: tuple(found.tolist()) for fate, found in counts.items()})


class _Stretch(NamedTuple):
    """Between these times so many frames ended for a reason."""

    begin_ms: int
    end_ms: int
    reason: Reason
    frames: int


def _stretches(
    begin: int, newest: int, end: int, standings: Sequence[Standing], last: Tally
) -> Iterator[_Stretch]:
    """Tell apart what ended, other than well, before each header and behind the last."""
    # A header is written with the frames behind its newest one, and what it counts that the header
    # before does not was offered together with those.
    begins = [begin if at is None else at for at, _ in standings] + [newest]
    told: dict[Reason, int] = {}
    for number, tally in enumerate([*(tally for _, tally in standings), last]):
        until = begins[number + 1] if number + 1 < len(begins) else end
        for reason, count in (*tally.ended.items(), *tally.unsent.items()):
            more = count - told.get(reason, 0)
            # A process that died may have told of more than the next one knew.
            if more > 0 and reason.outcome is not Outcome.AGGREGATED:
                told[reason] = count
                yield _Stretch(begins[number], max(begins[number], until), reason, more)


def _beside(stretch: _Stretch, times_ms: Times) -> list[int]:
    """Give the times of frames that were kept: those that thinning took were between them."""
    inside = (times_ms > stretch.begin_ms) & (times_ms <= stretch.end_ms)
    found: list[int] = times_ms[inside].tolist()
    return found


def _places(stretch: _Stretch, spans: Sequence[Span]) -> list[int]:
    """Give a time in each second where the frames may have been lost."""
    begin, end = stretch.begin_ms, stretch.end_ms
    parts = [
        (max(begin, span.start_ms), min(end, span.end_ms))
        for span in spans
        if span.start_ms <= end and span.end_ms >= begin
    ]
    if not parts:
        # What was turned away while the frames before it still waited for their header.
        later = [(span.start_ms, span.end_ms) for span in spans if span.start_ms > end]
        parts = [min(later, default=(begin, end))]
    found: list[int] = []
    for start, stop in parts:
        found += range(start, stop, 1000)
        found.append(stop)
    return found
