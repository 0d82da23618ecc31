from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_session import SESSION, SKEW_MS, START_MS, any_session, few, good_session, told
from penstock.engine.media.clock import Anchor
from penstock.engine.media.events import ConnectionType, EndReason, MediaEvent, MediaType
from penstock.engine.media.metrics import (
    MAX_STALLS,
    MediaMetrics,
    MediaStatus,
    media_metrics,
)
from penstock.engine.media.playback import Stall


def figures(*events: MediaEvent, closed: bool = False) -> MediaMetrics:
    """Make the figures of events, of which there are some."""
    found = media_metrics(events, closed=closed)
    assert found is not None
    return found


def test_a_whole_session_has_every_figure() -> None:
    """Each number of a session that was made by hand is what was put into it."""
    found = figures(*good_session())
    weighted = (2e6 * 11_000 + 1e6 * (24_000 - 14_000 + 4000) + 4e6 * 25_000) / 50_000
    assert replace(found, experience=None, time_weighted_bitrate_bps=0) == MediaMetrics(
        session_id=SESSION,
        media_id="squat",
        media_type=MediaType.VIDEO,
        status=MediaStatus.COMPLETED,
        events=18,
        first_received_unix_ms=START_MS + SKEW_MS,
        last_received_unix_ms=START_MS + 56_000 + SKEW_MS,
        clock_anchor=Anchor.ELAPSED,
        clock_zero_unix_ms=START_MS - 2000,
        clock_skew_ms=SKEW_MS,
        connection_type=ConnectionType.WIFI,
        effective_bandwidth_mbps=12.5,
        rtt_ms=45.0,
        ttfb_ms=340.0,
        load_time_ms=1200.0,
        cdn_response_time_ms=280.0,
        startup_time_ms=800.0,
        time_to_first_frame_ms=1000,
        total_duration_seconds=60.0,
        watch_time_seconds=50.0,
        completion_percent=100.0,
        completed=True,
        exited_before_start=False,
        rebuffer_count=2,
        rebuffer_duration_ms=3000,
        rebuffer_ratio=3 / 53,
        # On the pose frames' clock, which was at 2 s when the player began.
        stalls=(Stall(14_000, 16_000, inferred=False), Stall(42_000, 43_000, inferred=False)),
        stalls_left_out=0,
        average_bitrate_bps=7e6 / 3,
        time_weighted_bitrate_bps=0,
        top_bitrate_bps=4_000_000.0,
        switches_up=1,
        switches_down=1,
        seek_count=1,
        seek_latency_ms=120.0,
        error_count=1,
        errored=False,
        heartbeat_count=4,
        heartbeats_missed=0,
        dropped_frames=7,
        unpaired_events=0,
        experience=None,  # type: ignore[arg-type]
    )
    assert found.time_weighted_bitrate_bps == pytest.approx(weighted)
    assert found.experience.score == 51.9


@given(st.permutations(good_session()), st.lists(st.sampled_from(good_session())))
def test_order_and_duplicates_do_not_matter(
    events: list[MediaEvent], again: list[MediaEvent]
) -> None:
    """However the network mixes and repeats a session's events, its figures are the same."""
    assert media_metrics(events + again) == media_metrics(good_session())


@few
@given(any_session, st.data())
def test_nor_do_they_with_events_that_make_no_sense(
    events: list[MediaEvent], data: st.DataObject
) -> None:
    """The figures are a function of the set of events, whatever is among them."""
    again = data.draw(st.lists(st.sampled_from(events), max_size=10))
    assert media_metrics(data.draw(st.permutations(events + again))) == media_metrics(events)


@few
@given(any_session, st.integers(-(10**9), 10**9))
def test_a_wrong_clock_changes_nothing_but_itself(events: list[MediaEvent], by: int) -> None:
    """A client whose clock is off has the figures of one whose clock is right."""
    right = figures(*events)
    wrong = figures(*(replace(event, at_ms=event.at_ms + by) for event in events))
    assert wrong == replace(
        right,
        clock_zero_unix_ms=right.clock_zero_unix_ms + by,
        clock_skew_ms=right.clock_skew_ms - by,
    )


@few
@given(events=any_session, closed=st.booleans())
def test_no_figure_is_beyond_what_it_can_be(events: list[MediaEvent], *, closed: bool) -> None:
    """Whatever comes, shares are shares, times are not negative, and JSON can hold it."""
    found = figures(*events, closed=closed)
    assert found.watch_time_seconds >= 0
    assert found.rebuffer_duration_ms >= 0
    assert found.rebuffer_ratio is None or 0 <= found.rebuffer_ratio <= 1
    assert found.completion_percent is None or 0 <= found.completion_percent <= 100
    assert found.experience.score is None or 0 <= found.experience.score <= 100
    assert not (closed and found.status is MediaStatus.ACTIVE)
    assert orjson.loads(orjson.dumps(found.plain())) == found.plain()


def test_without_events_there_are_no_figures() -> None:
    """A session without a player is not one that failed to play."""
    assert media_metrics([]) is None


@pytest.mark.parametrize(
    ("events", "closed", "status", "exited"),
    [
        ([told("session_start", 0)], False, MediaStatus.ACTIVE, None),
        ([told("session_start", 0)], True, MediaStatus.ABANDONED, True),
        ([told("session_start", 0), told("session_end", 9)], False, MediaStatus.ABANDONED, True),
        ([told("play", 0)], False, MediaStatus.ACTIVE, False),
        ([told("play", 0), told("session_end", 9)], False, MediaStatus.ABANDONED, False),
        # It has come to the end, and the patient may yet play it again.
        ([told("play", 0), told("milestone", 9, percent=100.0)], False, MediaStatus.ACTIVE, False),
        ([told("play", 0), told("milestone", 9, percent=95.0)], True, MediaStatus.COMPLETED, False),
        ([told("play", 0), told("milestone", 9, percent=94.0)], True, MediaStatus.ABANDONED, False),
        (
            [told("play", 0), told("session_end", 9, reason=EndReason.COMPLETED)],
            False,
            MediaStatus.COMPLETED,
            False,
        ),
        ([told("session_end", 0), told("play", 9)], False, MediaStatus.ACTIVE, False),
    ],
)
def test_what_became_of_it(
    events: list[MediaEvent],
    *,
    closed: bool,
    status: MediaStatus,
    exited: bool | None,
) -> None:
    """Active until an end comes or the session closes; then completed or abandoned."""
    found = figures(*events, closed=closed)
    assert (found.status, found.exited_before_start) == (status, exited)


@pytest.mark.parametrize(
    ("data", "errored"), [({}, True), ({"fatal": True}, True), ({"fatal": False}, False)]
)
def test_an_error_is_fatal_unless_it_says_otherwise(data: dict[str, Any], *, errored: bool) -> None:
    """A player that only says that it failed has failed."""
    found = figures(told("play", 0), told("error", 5, **data))
    assert (found.errored, found.error_count) == (errored, 1)
    assert (found.experience.score == 0) is errored


def test_another_medium_adds_to_the_times_and_not_to_the_completion() -> None:
    """A warm-up that was watched to its end does not complete the exercise after it."""
    found = figures(
        told("session_start", 0, total_duration_seconds=100.0),
        told("play", 0),
        told("pause", 10_000, position_seconds=10.0),
        told("play", 20_000, media_id="lunge"),
        told("session_end", 50_000, media_id="lunge", position_seconds=100.0),
    )
    assert (found.completion_percent, found.watch_time_seconds) == (10.0, 40.0)


def test_startup_falls_back_to_the_load_time() -> None:
    """The contract's own example knows no startup time, but how long the video took to load."""
    found = figures(told("session_start", 0, video_load_time_ms=1200.0))
    assert (found.startup_time_ms, found.time_to_first_frame_ms) == (1200.0, None)


def test_a_play_before_the_start_tells_no_first_frame() -> None:
    """A time that would be negative is not known."""
    found = figures(told("play", 0), told("session_start", 500))
    assert found.time_to_first_frame_ms is None


def test_no_latency_is_not_an_unknown_one() -> None:
    """A seek into the buffer takes no time, and a player that cannot tell says nothing."""
    assert figures(told("seek", 0, latency_ms=0.0)).seek_latency_ms == 0
    assert figures(told("seek", 0)).seek_latency_ms is None


def test_the_stalls_that_are_told_are_the_longest() -> None:
    """However many there were, the figures count all, and the list is bounded and in order."""
    events = [told("play", 0), told("session_end", 1_000_000)]
    for index in range(MAX_STALLS + 10):
        length = 100 + index
        events += [
            told("buffering_start", 1000 * (index + 1)),
            told("buffering_end", 1000 * (index + 1) + length),
        ]
    found = figures(*events)
    assert (found.rebuffer_count, len(found.stalls)) == (MAX_STALLS + 10, MAX_STALLS)
    assert found.stalls_left_out == 10
    assert found.stalls[0] == Stall(11_000, 11_110, inferred=False)
    assert list(found.stalls) == sorted(found.stalls)
    assert found.rebuffer_duration_ms == sum(100 + index for index in range(MAX_STALLS + 10))
