"""The bodies of media events and of the session's end, with the contract's fields. Pure."""

from datetime import UTC, datetime
from typing import Any

import orjson

# What a player tells between its first and its last event. Heartbeats come between all others.
_PLAYING = (
    "play",
    "heartbeat",
    "heartbeat",
    "milestone",
    "pause",
    "play",
    "heartbeat",
    "buffering_start",
    "buffering_end",
    "quality_change",
    "heartbeat",
    "seek",
    "heartbeat",
)
_DURATION_SECONDS = 120.5
_MEDIA_ID = "9c1f0a5e-0000-4000-8000-000000000001"


def event_name(number: int, *, last: bool) -> str:
    """Name a session's event: it begins and ends once, and plays, with hitches, in between."""
    if number == 0:
        return "session_start"
    return "session_end" if last else _PLAYING[(number - 1) % len(_PLAYING)]


def event_body(
    number: int, *, last: bool, session_id: str, made_unix: float, played_seconds: float
) -> bytes:
    """Make the JSON of one media event."""
    name = event_name(number, last=last)
    return orjson.dumps(
        {
            "event": name,
            "session_id": session_id,
            "media_id": _MEDIA_ID,
            "media_type": "video",
            "timestamp": timestamp(made_unix),
            "data": _data(name, played_seconds % _DURATION_SECONDS),
        }
    )


def end_body(*, ended_unix: float, frames_attempted: int) -> bytes:
    """Make the JSON of a session's end."""
    return orjson.dumps(
        {
            "ended_at": timestamp(ended_unix),
            "client_status": "completed",
            "exercise_id": _MEDIA_ID,
            "total_frames_attempted": frames_attempted,
        }
    )


def timestamp(unix: float) -> str:
    """Write an instant as a browser does: UTC, with milliseconds."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _data(name: str, position: float) -> dict[str, Any]:
    place = {"current_time_seconds": round(position, 3)}
    if name == "session_start":
        return {
            "total_duration_seconds": _DURATION_SECONDS,
            "ttfb_ms": 340,
            "video_load_time_ms": 1200,
            "cdn_response_time_ms": 280,
            "connection_type": "wifi",
            "effective_bandwidth": 12.5,
            "rtt_ms": 45,
            "initial_bitrate": 2_500_000,
            "initial_resolution": "720p",
        }
    if name == "milestone":
        return place | {"percent": int(100 * position / _DURATION_SECONDS) // 25 * 25}
    if name == "buffering_end":
        return place | {"buffering_duration_ms": 420}
    if name == "quality_change":
        return place | {"from_resolution": "720p", "to_resolution": "480p"}
    if name == "seek":
        return {"from_seconds": round(position, 3), "to_seconds": round(position / 2, 3)}
    return place
