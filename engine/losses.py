"""Where on a session's own time its frames were lost, and why: what the gap map's reasons are from.

Counts are kept elsewhere, and exactly. This is a sketch beside them: a bounded list of spans, the
shortest of which give way when there are too many.
"""

from typing import Any, NamedTuple

from penstock.engine.outcomes import REASONS, Reason
from penstock.engine.timeline import GAP_MS

MAX_SPANS = 32


class Span(NamedTuple):
    """A time whose frames were lost, for this reason."""

    start_ms: int
    end_ms: int
    reason: Reason


class LossMap:
    """The spans of one session. The tuple is shared with checkpoints and never changed."""

    __slots__ = ("_newest_ms", "_noted", "_told", "spans")

    def __init__(self, spans: tuple[Span, ...] = (), newest_ms: int | None = None) -> None:
        self.spans = spans
        self._newest_ms = newest_ms
        self._noted: Reason | None = None
        self._told: Reason | None = None

    def arrived(self, first_ms: int, last_ms: int) -> None:
        """Learn of a batch that was accepted: what was noted before it lies in front of it.

        What was told with it lies in front of its end, and perhaps goes on behind it.
        """
        if self._newest_ms is not None:
            if self._noted is not None and first_ms > self._newest_ms:
                self.place(self._newest_ms, first_ms, self._noted)
            if self._told is not None and last_ms > self._newest_ms:
                self.place(self._newest_ms, last_ms, self._told)
        elif self._told is not None:
            self.place(first_ms, last_ms, self._told)
        self._noted, self._told = self._told, None
        self._newest_ms = last_ms

    def note(self, reason: Reason) -> None:
        """Learn of frames lost whose times nobody has read."""
        self._noted = reason

    def tell(self, reason: Reason) -> None:
        """Learn, with a batch that arrives, of frames that its client could not make or send."""
        self._told = reason

    def place(self, start_ms: int, end_ms: int, reason: Reason) -> None:
        """Learn of frames lost from their first time to their last."""
        spans = list(self.spans)
        if spans and spans[-1].reason is reason and start_ms - spans[-1].start_ms >= 0:
            last = spans[-1]
            if start_ms - last.end_ms <= GAP_MS:
                spans[-1] = Span(last.start_ms, max(last.end_ms, end_ms), reason)
                self.spans = tuple(spans)
                return
        spans.append(Span(start_ms, end_ms, reason))
        if len(spans) > MAX_SPANS:
            spans.remove(min(spans, key=lambda span: span.end_ms - span.start_ms))
        self.spans = tuple(spans)


def reasons_of(spans: tuple[Span, ...], gaps: list[tuple[int, int]]) -> dict[int, str]:
    """Name for each gap, by its beginning, the reason that explains most of it."""
    found = {}
    for start, end in gaps:
        # A gap reaches from a frame that is there to the next one: a lost batch lies within, if
        # only with one frame. What ends where the gap begins was sent again and has arrived.
        shares: dict[Reason, int] = {}
        for span in spans:
            if span.start_ms < end and span.end_ms > start:
                shared = min(end, span.end_ms) - max(start, span.start_ms)
                shares[span.reason] = shares.get(span.reason, 0) + shared + 1
        if shares:
            found[start] = max(shares, key=lambda reason: shares[reason]).value
    return found


def plain_spans(spans: tuple[Span, ...]) -> list[list[Any]]:
    """Give JSON-ready values."""
    return [[span.start_ms, span.end_ms, span.reason.value] for span in spans]


def read_spans(rows: list[list[Any]]) -> tuple[Span, ...]:
    """Rebuild from `plain_spans`; a foreign value raises KeyError, TypeError or ValueError."""
    return tuple(Span(start, end, REASONS[reason]) for start, end, reason in rows)
