from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from media_session import START_MS, any_session, few, told
from penstock.engine.media.clock import Anchor, Course, course_of
from penstock.engine.media.events import MediaEvent


def course(events: Iterable[MediaEvent]) -> Course:
    """Order events of which there are some."""
    found = course_of(events)
    assert found is not None
    return found


def test_without_events_there_is_no_course() -> None:
    """Nothing is not a session of length 0."""
    assert course_of([]) is None


@few
@given(any_session, st.data())
def test_arrival_does_not_matter(events: list[MediaEvent], data: st.DataObject) -> None:
    """Any order of arrival, and any event sent again, gives the same course."""
    again = data.draw(st.lists(st.sampled_from(events), max_size=10))
    shuffled = data.draw(st.permutations(events + again))
    assert course_of(shuffled) == course_of(events)


@few
@given(any_session)
def test_each_key_is_there_once(events: list[MediaEvent]) -> None:
    """Of the events with one kind and time, just one is left, and it is one that came first."""
    first: dict[tuple[str, int], int] = {}
    for event in events:
        known = first.get(event.key)
        first[event.key] = event.received_ms if known is None else min(known, event.received_ms)
    placed = course(events).placed
    assert len(placed) == len(first)
    assert {event.key: event.received_ms for _, event in placed} == first


@few
@given(any_session)
def test_the_course_is_in_order(events: list[MediaEvent]) -> None:
    """No event stands before one that happened earlier."""
    times = [at for at, _ in course(events).placed]
    assert times == sorted(times)


def test_of_conflicting_twins_the_first_received_counts() -> None:
    """A client that sends other data under the same key does not rewrite what was stored."""
    stored = told("play", 0, position_seconds=1.0)
    later = replace(told("play", 0, position_seconds=9.0), received_ms=stored.received_ms + 1)
    assert [one.event for one in course([later, stored]).placed] == [stored]


def test_elapsed_fixes_the_clock_to_the_pose_frames() -> None:
    """Events without `elapsed_ms` stand where those with it say that zero is."""
    events = [
        told("session_start", 0),
        told("play", 1000, elapsed_ms=31_000.4),
        told("pause", 2500),
    ]
    found = course(events)
    assert found.anchor is Anchor.ELAPSED
    assert found.zero_unix_ms == START_MS - 30_000
    assert [at for at, _ in found.placed] == [30_000, 31_000, 32_500]


def test_a_clock_that_is_set_meanwhile_changes_nothing() -> None:
    """With `elapsed_ms` on all events, the wall clock may jump as it likes."""
    steady = [told("play", 0, elapsed_ms=0.0), told("pause", 5000, elapsed_ms=5000.0)]
    jumped = [steady[0], replace(steady[1], at_ms=steady[1].at_ms - 3_600_000)]
    assert [at for at, _ in course(jumped).placed] == [at for at, _ in course(steady).placed]


def test_without_elapsed_the_start_is_zero() -> None:
    """The first `session_start` is the beginning, and what was before it is before zero."""
    found = course([told("play", 700), told("session_start", 200), told("error", 100)])
    assert (found.anchor, found.zero_unix_ms) == (Anchor.SESSION_START, START_MS + 200)
    assert [at for at, _ in found.placed] == [-100, 0, 500]


def test_without_a_start_the_first_event_is_zero() -> None:
    """Even of a session whose beginning was lost the course is known, and how."""
    found = course([told("pause", 900), told("play", 400)])
    assert (found.anchor, found.zero_unix_ms) == (Anchor.FIRST_EVENT, START_MS + 400)


def test_the_skew_is_the_least_difference() -> None:
    """One fast trip tells what the clocks differ by; slow ones tell nothing."""
    fast, slow = told("play", 0), told("pause", 100)
    events = [
        replace(fast, received_ms=fast.at_ms - 5000),
        replace(slow, received_ms=slow.at_ms + 90_000),
    ]
    assert course(events).skew_ms == -5000


def test_events_of_one_millisecond_have_an_order_of_their_own() -> None:
    """A start comes before what it starts, and an end after what it ends."""
    kinds = ["session_end", "heartbeat", "play", "session_start", "buffering_start", "pause"]
    found = [event.kind.value for _, event in course(told(kind, 0) for kind in kinds).placed]
    assert found == [
        "session_start",
        "play",
        "heartbeat",
        "buffering_start",
        "pause",
        "session_end",
    ]
