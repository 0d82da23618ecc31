"""Media events for tests: one by one, as whole sessions, and as anything that may come."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from penstock.engine.media.events import (
    ConnectionType,
    EndReason,
    MediaData,
    MediaEvent,
    MediaKind,
    MediaType,
)

SESSION = "550e8400-e29b-41d4-a716-446655440000"
# The client's clock at the session's start, and what the server's is ahead of it.
START_MS = 1_780_000_000_000
SKEW_MS = 250


def told(kind: str, at_ms: int, *, media_id: str = "squat", **data: Any) -> MediaEvent:
    """Make an event at a time after the session's start."""
    at = START_MS + at_ms
    return MediaEvent(
        SESSION,
        media_id,
        MediaType.VIDEO,
        MediaKind(kind),
        at,
        at + SKEW_MS,
        MediaData(**data),
    )


def good_session() -> list[MediaEvent]:
    """Give a minute of video with two stalls, a pause, a seek and two switches."""
    return [
        told(
            "session_start",
            0,
            elapsed_ms=2000,
            total_duration_seconds=60.0,
            ttfb_ms=340.0,
            video_load_time_ms=1200.0,
            cdn_response_time_ms=280.0,
            connection_type=ConnectionType.WIFI,
            effective_bandwidth=12.5,
            rtt_ms=45.0,
            initial_bitrate=2_000_000.0,
            top_bitrate=4_000_000.0,
            heartbeat_interval_ms=10_000.0,
        ),
        told("play", 1000, startup_time_ms=800.0),
        told("heartbeat", 11_000, playing=True, position_seconds=10.0),
        told("buffering_start", 12_000),
        told("buffering_end", 14_000, duration_ms=2000.0),
        told("quality_change", 14_000, to_bitrate=1_000_000.0),
        told("heartbeat", 21_000, playing=True, position_seconds=18.0),
        told("pause", 24_000, position_seconds=21.0),
        told("seek", 25_000, to_seconds=30.0, latency_ms=120.0),
        told("play", 26_000),
        told("quality_change", 30_000, to_bitrate=4_000_000.0),
        told("heartbeat", 36_000, playing=True, position_seconds=40.0),
        told("buffering_start", 40_000),
        told("buffering_end", 41_000),
        told("error", 43_000, error_code="subtitle", fatal=False),
        told("heartbeat", 46_000, playing=True, position_seconds=50.0, dropped_frames=7),
        told("milestone", 50_000, percent=90.0),
        told("session_end", 56_000, position_seconds=60.0, reason=EndReason.COMPLETED),
    ]


_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "elapsed_ms": st.integers(0, 60_000).map(float),
    "position_seconds": st.integers(0, 120).map(float),
    "total_duration_seconds": st.integers(1, 120).map(float),
    "ttfb_ms": st.integers(0, 2000).map(float),
    "video_load_time_ms": st.integers(0, 2000).map(float),
    "startup_time_ms": st.integers(0, 2000).map(float),
    "heartbeat_interval_ms": st.just(1000.0),
    "connection_type": st.sampled_from(ConnectionType),
    "initial_bitrate": st.integers(0, 5).map(float),
    "bitrate": st.integers(0, 5).map(float),
    "top_bitrate": st.integers(0, 5).map(float),
    "from_bitrate": st.integers(0, 5).map(float),
    "to_bitrate": st.integers(0, 5).map(float),
    "from_resolution": st.sampled_from(["240p", "1280x720"]),
    "to_resolution": st.sampled_from(["240p", "1280x720"]),
    "playing": st.booleans(),
    "duration_ms": st.integers(0, 5000).map(float),
    "percent": st.integers(0, 100).map(float),
    "fatal": st.booleans(),
    "reason": st.sampled_from(EndReason),
}
# A few fields of any event, whether or not its kind has them.
_DATA = st.lists(
    st.sampled_from(sorted(_FIELDS)).flatmap(lambda name: st.tuples(st.just(name), _FIELDS[name])),
    max_size=3,
).map(dict)


@st.composite
def any_event(draw: st.DrawFn) -> MediaEvent:
    """Draw an event that says whatever it may, sensible or not."""
    at = START_MS + draw(st.integers(-2000, 60_000))
    return MediaEvent(
        SESSION,
        draw(st.sampled_from(["squat", "lunge"])),
        draw(st.sampled_from(MediaType)),
        draw(st.sampled_from(MediaKind)),
        at,
        at + draw(st.integers(-3000, 3000)),
        MediaData(**draw(_DATA)),
    )


# Sessions are costly to draw.
few = settings(max_examples=50)
any_session = st.lists(any_event(), min_size=1, max_size=20)
