"""What a player tells of itself: the eleven kinds of media events, and what they may carry.

A field means the same in whatever event it comes, so all of them stand in one class, and a field
that was not told is None. Which kind may carry which, and within which bounds, is the business of
the surface that reads them; here they are already sound.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid5

EVENT_VERSION = 1
# Thirty minutes of exercise with a heartbeat every ten seconds are some 300 events. What comes to
# more than this is a client in a loop.
MAX_SESSION_EVENTS = 4096
# A client may keep its events while it has no network, and its clock may be wrong: but not so far
# that nobody could say which day an event belongs to.
MAX_AHEAD_MS = 24 * 3600 * 1000
MAX_BEHIND_MS = 7 * 24 * 3600 * 1000

# Names the ids that are made of an event's key.
_EVENT_IDS = UUID("a5f4c0de-6f0b-5d53-9c55-0d6f1c7a11e5")


class MediaKind(StrEnum):
    """What happened. Of events in the same millisecond, the one further up happened first."""

    SESSION_START = "session_start"
    QUALITY_CHANGE = "quality_change"
    PLAY = "play"
    SEEK = "seek"
    HEARTBEAT = "heartbeat"
    MILESTONE = "milestone"
    BUFFERING_START = "buffering_start"
    BUFFERING_END = "buffering_end"
    PAUSE = "pause"
    ERROR = "error"
    SESSION_END = "session_end"


RANKS = {kind: rank for rank, kind in enumerate(MediaKind)}


class MediaType(StrEnum):
    """What is played."""

    VIDEO = "video"
    AUDIO = "audio"


class ConnectionType(StrEnum):
    """How the client is connected: the words of browsers' Network Information, and 5g."""

    WIFI = "wifi"
    ETHERNET = "ethernet"
    CELLULAR = "cellular"
    SLOW_2G = "slow-2g"
    G2 = "2g"
    G3 = "3g"
    G4 = "4g"
    G5 = "5g"
    BLUETOOTH = "bluetooth"
    WIMAX = "wimax"
    NONE = "none"
    OTHER = "other"
    UNKNOWN = "unknown"


class EndReason(StrEnum):
    """Why the playback ended, in the client's words."""

    COMPLETED = "completed"
    ABANDONED = "abandoned"
    ERROR = "error"


@dataclass(slots=True, frozen=True)
class MediaData:
    """What an event carries. Names without a unit are the contract's; the comments tell theirs."""

    # Of any event. `elapsed_ms` is on the clock of the pose frames: since the session's start.
    elapsed_ms: float | None = None
    position_seconds: float | None = None
    # How the session began.
    total_duration_seconds: float | None = None
    ttfb_ms: float | None = None
    video_load_time_ms: float | None = None
    cdn_response_time_ms: float | None = None
    startup_time_ms: float | None = None
    heartbeat_interval_ms: float | None = None
    # The network.
    connection_type: ConnectionType | None = None
    effective_bandwidth: float | None = None  # megabits a second
    rtt_ms: float | None = None
    # The rendition. Bitrates are bits a second, resolutions like "720p" or "1280x720".
    initial_bitrate: float | None = None
    initial_resolution: str | None = None
    bitrate: float | None = None
    top_bitrate: float | None = None
    from_bitrate: float | None = None
    to_bitrate: float | None = None
    from_resolution: str | None = None
    to_resolution: str | None = None
    # The player.
    playing: bool | None = None
    playback_rate: float | None = None
    buffer_length_ms: float | None = None
    buffer_starved: bool | None = None
    dropped_frames: int | None = None
    # How long it took: a stall that is over, or the wait after a seek.
    duration_ms: float | None = None
    latency_ms: float | None = None
    from_seconds: float | None = None
    to_seconds: float | None = None
    percent: float | None = None
    # What went wrong, and how it ended.
    error_code: str | None = None
    error_message: str | None = None
    fatal: bool | None = None
    reason: EndReason | None = None

    def plain(self) -> dict[str, Any]:
        """Give what was told as JSON-ready values."""
        values = ((name, getattr(self, name)) for name in DATA_FIELDS)
        return {name: value for name, value in values if value is not None}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises TypeError or ValueError."""
        values = dict(plain)
        if "connection_type" in values:
            values["connection_type"] = ConnectionType(values["connection_type"])
        if "reason" in values:
            values["reason"] = EndReason(values["reason"])
        return cls(**values)


DATA_FIELDS = tuple(field.name for field in fields(MediaData))
NO_DATA = MediaData()


class EventKey(NamedTuple):
    """What makes an event the same as another one of its session."""

    kind: MediaKind
    at_ms: int


@dataclass(slots=True, frozen=True)
class MediaEvent:
    """One event. `at_ms` is when it happened, on the client's clock; `received_ms` is on ours."""

    session_id: str
    media_id: str
    media_type: MediaType
    kind: MediaKind
    at_ms: int
    received_ms: int
    data: MediaData = NO_DATA

    @property
    def key(self) -> EventKey:
        """Say which event of its session it is: another with this key is the same one again."""
        return EventKey(self.kind, self.at_ms)

    @property
    def event_id(self) -> str:
        """Give its id. The same event, sent again, has the same."""
        return str(uuid5(_EVENT_IDS, f"{self.session_id}/{self.kind}/{self.at_ms}"))

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return {
            "v": EVENT_VERSION,
            "session_id": self.session_id,
            "media_id": self.media_id,
            "media_type": self.media_type.value,
            "event": self.kind.value,
            "at_ms": self.at_ms,
            "received_ms": self.received_ms,
            "data": self.data.plain(),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises KeyError, TypeError or ValueError."""
        if plain["v"] != EVENT_VERSION:
            raise ValueError(f"media event version {plain['v']}, not {EVENT_VERSION}")
        return cls(
            plain["session_id"],
            plain["media_id"],
            MediaType(plain["media_type"]),
            MediaKind(plain["event"]),
            plain["at_ms"],
            plain["received_ms"],
            MediaData.from_plain(plain["data"]),
        )


def most_before(kind: MediaKind) -> int:
    """Say with how many events a session is full for this kind; the last place is for an end."""
    return MAX_SESSION_EVENTS - (kind is not MediaKind.SESSION_END)


class OutOfReach(NamedTuple):
    """Why a client's time cannot be taken, and by how much it may differ from ours."""

    detail: str
    limit_ms: int


def out_of_reach(at_ms: int, now_ms: int) -> OutOfReach | None:
    """Say what is wrong with a client's time beside the server's; None if it may be."""
    if at_ms > now_ms + MAX_AHEAD_MS:
        detail = f"must be at most {MAX_AHEAD_MS // 3_600_000} hours after the server's time"
        return OutOfReach(detail, MAX_AHEAD_MS)
    if at_ms < now_ms - MAX_BEHIND_MS:
        detail = f"must be at most {MAX_BEHIND_MS // 86_400_000} days before the server's time"
        return OutOfReach(detail, MAX_BEHIND_MS)
    return None
