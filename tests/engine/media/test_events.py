import orjson
import pytest
from hypothesis import given

from media_session import any_event, told
from penstock.engine.media.events import (
    MAX_AHEAD_MS,
    MAX_BEHIND_MS,
    MAX_SESSION_EVENTS,
    MediaEvent,
    MediaKind,
    most_before,
    out_of_reach,
)


@given(any_event())
def test_an_event_survives_the_ledger(event: MediaEvent) -> None:
    """What is written as JSON and read again is the same event."""
    assert MediaEvent.from_plain(orjson.loads(orjson.dumps(event.plain()))) == event


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"event": "rewind"},
        {"media_type": "smell"},
        {"data": {"colour": 1}},
        {"data": {"connection_type": "string"}},
    ],
)
def test_a_foreign_value_is_no_event(change: dict[str, object]) -> None:
    """What another version wrote is not taken for something else."""
    with pytest.raises((TypeError, ValueError)):
        MediaEvent.from_plain(told("play", 0).plain() | change)


def test_the_same_event_has_the_same_id() -> None:
    """Sent again, even with other data, it is answered with the id that it had."""
    once, again = told("play", 5, position_seconds=1.0), told("play", 5)
    assert once.event_id == again.event_id
    others = {told("pause", 5).event_id, told("play", 6).event_id}
    assert len(others | {once.event_id}) == 3


def test_the_last_place_is_for_an_end() -> None:
    """A session that has been flooded can still be ended, once."""
    assert most_before(MediaKind.HEARTBEAT) == MAX_SESSION_EVENTS - 1
    assert most_before(MediaKind.SESSION_END) == MAX_SESSION_EVENTS


def test_a_clock_may_be_wrong_within_reach() -> None:
    """The bounds belong to what is taken, and beyond them the limit is named."""
    now = 1_780_000_000_000
    assert out_of_reach(now + MAX_AHEAD_MS, now) is None
    assert out_of_reach(now - MAX_BEHIND_MS, now) is None
    ahead, behind = (
        out_of_reach(now + MAX_AHEAD_MS + 1, now),
        out_of_reach(now - MAX_BEHIND_MS - 1, now),
    )
    assert ahead is not None
    assert (ahead.limit_ms, "24 hours" in ahead.detail) == (MAX_AHEAD_MS, True)
    assert behind is not None
    assert (behind.limit_ms, "7 days" in behind.detail) == (MAX_BEHIND_MS, True)
