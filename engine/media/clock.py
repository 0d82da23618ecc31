"""One session's events in the order in which they happened, on the clock of its pose frames.

Events arrive in any order, some of them twice, stamped by a clock that may be wrong. Every figure
is made of the whole set of a session's events, so that the order of arrival cannot matter:

- Two events with one key (kind and time) are one. The first that was received counts.
- An event's place is its `elapsed_ms` where it has one: that clock is the pose frames', and does
  not jump. Otherwise it is its time less the *zero*, the session clock's beginning in the client's
  time.
- The zero follows from the event with the smallest `elapsed_ms`. Without any, it is the first
  `session_start`; without that, the first event. `anchor` says which: only with `elapsed` do pose
  gaps and stalls share one clock for certain.
- What the client's clock is off by cancels out, since only differences are used. `skew_ms` tells
  it: the least of (received less happened) is the difference of the clocks and the fastest trip.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import orjson

from penstock.engine.media.events import RANKS, EventKey, MediaEvent, MediaKind


class Anchor(StrEnum):
    """What the session's clock is fixed to."""

    ELAPSED = "elapsed"
    SESSION_START = "session_start"
    FIRST_EVENT = "first_event"


class Placed(NamedTuple):
    """An event and when it happened, on the session's clock."""

    at_ms: int
    event: MediaEvent


@dataclass(slots=True, frozen=True)
class Course:
    """A session's events in order; there is at least one."""

    placed: tuple[Placed, ...]
    anchor: Anchor
    zero_unix_ms: int
    skew_ms: int


def course_of(events: Iterable[MediaEvent]) -> Course | None:
    """Set one session's events in order, duplicates once. None of none."""
    distinct: dict[EventKey, MediaEvent] = {}
    for event in events:
        key = event.key
        known = distinct.get(key)
        if known is None or _before(event, known):
            distinct[key] = event
    if not distinct:
        return None
    once = list(distinct.values())
    anchor, zero = _zero(once)
    placed = [Placed(_place(event, zero), event) for event in once]
    placed.sort(key=lambda one: (one.at_ms, RANKS[one.event.kind], one.event.at_ms))
    skew = min(event.received_ms - event.at_ms for event in once)
    return Course(tuple(placed), anchor, zero, skew)


def _before(event: MediaEvent, known: MediaEvent) -> bool:
    if event.received_ms != known.received_ms:
        return event.received_ms < known.received_ms
    # Received at once: which one counts must not depend on anything but the two.
    return event != known and _written(event) < _written(known)


def _written(event: MediaEvent) -> bytes:
    return orjson.dumps(event.plain(), option=orjson.OPT_SORT_KEYS)


def _zero(events: list[MediaEvent]) -> tuple[Anchor, int]:
    told = [
        (round(event.data.elapsed_ms), event.at_ms)
        for event in events
        if event.data.elapsed_ms is not None
    ]
    if told:
        elapsed, at = min(told)
        return Anchor.ELAPSED, at - elapsed
    starts = [event.at_ms for event in events if event.kind is MediaKind.SESSION_START]
    if starts:
        return Anchor.SESSION_START, min(starts)
    return Anchor.FIRST_EVENT, min(event.at_ms for event in events)


def _place(event: MediaEvent, zero: int) -> int:
    elapsed = event.data.elapsed_ms
    return event.at_ms - zero if elapsed is None else round(elapsed)
