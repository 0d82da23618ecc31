"""A session's media figures: all of its events in, one value out.

Pure, and a function of the set of events: neither their order nor how often one was sent matters.
Every figure has its unit in its name. What nobody told, or what cannot be known from what came, is
None and not a guess. docs/reference/media-events.md defines each figure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from penstock.engine.media.clock import Anchor, Course, Placed, course_of
from penstock.engine.media.events import (
    ConnectionType,
    EndReason,
    MediaData,
    MediaEvent,
    MediaKind,
    MediaType,
)
from penstock.engine.media.playback import Playback, Stall, playback_of
from penstock.engine.media.renditions import Renditions, renditions_of
from penstock.engine.media.score import SCORE_VERSION, Experience, Watching, experience_of

METRICS_VERSION = 1
# The longest stalls of a session are told one by one, and the rest by their number.
MAX_STALLS = 64
# The last seconds are credits, or the patient has put the phone down.
COMPLETE_AT_PERCENT = 95.0


class MediaStatus(StrEnum):
    """What became of the playback."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


@dataclass(slots=True, frozen=True)
class MediaMetrics:
    """The media figures of one session. Moments of stalls are on the clock of the pose frames."""

    session_id: str
    media_id: str
    media_type: MediaType
    status: MediaStatus
    events: int
    first_received_unix_ms: int
    last_received_unix_ms: int
    clock_anchor: Anchor
    clock_zero_unix_ms: int
    clock_skew_ms: int
    connection_type: ConnectionType | None
    effective_bandwidth_mbps: float | None
    rtt_ms: float | None
    ttfb_ms: float | None
    load_time_ms: float | None
    cdn_response_time_ms: float | None
    startup_time_ms: float | None
    time_to_first_frame_ms: int | None
    total_duration_seconds: float | None
    watch_time_seconds: float
    completion_percent: float | None
    completed: bool
    exited_before_start: bool | None
    rebuffer_count: int
    rebuffer_duration_ms: int
    rebuffer_ratio: float | None
    stalls: tuple[Stall, ...]
    stalls_left_out: int
    average_bitrate_bps: float | None
    time_weighted_bitrate_bps: float | None
    top_bitrate_bps: float | None
    switches_up: int
    switches_down: int
    seek_count: int
    seek_latency_ms: float | None
    error_count: int
    errored: bool
    heartbeat_count: int
    heartbeats_missed: int | None
    dropped_frames: int | None
    unpaired_events: int
    experience: Experience

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        values = {name: getattr(self, name) for name in _PLAIN}
        stalls = [stall._asdict() for stall in self.stalls]
        experience = {"v": SCORE_VERSION, **asdict(self.experience)}
        return {"v": METRICS_VERSION, **values, "stalls": stalls, "experience": experience}


_PLAIN = tuple(
    name for name in MediaMetrics.__dataclass_fields__ if name not in {"stalls", "experience"}
)


def media_metrics(events: Iterable[MediaEvent], *, closed: bool = False) -> MediaMetrics | None:
    """Make the figures of one session's events; None without any.

    `closed` says that the session has ended, so that a playback without an end of its own is over.
    """
    course = course_of(events)
    if course is None:
        return None
    placed = course.placed
    playback = playback_of(placed)
    renditions = renditions_of(placed, playback.watched)
    return _made(course, playback, renditions, closed=closed)


def _made(
    course: Course, playback: Playback, renditions: Renditions, *, closed: bool
) -> MediaMetrics:
    placed = course.placed
    events = [event for _, event in placed]
    primary = next((e for e in events if e.kind is MediaKind.SESSION_START), events[0])
    own = [event.data for event in events if event.media_id == primary.media_id]
    errors = [event.data for event in events if event.kind is MediaKind.ERROR]
    seeks = [event.data for event in events if event.kind is MediaKind.SEEK]
    failed = any(data.fatal is not False for data in errors)
    ended = closed or _ended(placed)
    started = bool(playback.spans)
    completion, duration = _completion(own), _first(own, "total_duration_seconds")
    completed = (completion is not None and completion >= COMPLETE_AT_PERCENT) or any(
        data.reason is EndReason.COMPLETED for data in own
    )
    exited = None if not (started or ended) else not started
    watched_ms = sum(end - start for start, end in playback.watched)
    stalled_ms = sum(stall.end_ms - stall.start_ms for stall in playback.stalls)
    all_data = [event.data for event in events]
    load_time = _first(all_data, "video_load_time_ms")
    startup = _first(all_data, "startup_time_ms")
    stalls = _longest(playback.stalls)
    if startup is None:
        # What a client measures that knows no startup time; the contract's own example is one.
        startup = load_time
    latencies = [data.latency_ms for data in seeks if data.latency_ms is not None]
    dropped = [data.dropped_frames for data in all_data if data.dropped_frames is not None]
    experience = experience_of(
        Watching(
            failed=failed,
            errors=len(errors),
            exited_before_start=bool(exited),
            started=started,
            startup_ms=startup,
            watched_ms=watched_ms,
            stalled_ms=stalled_ms,
            stalls=playback.stall_count,
            bitrate_bps=renditions.time_weighted_bps,
            top_bitrate_bps=renditions.top_bps,
            switches_down=renditions.switches_down,
        )
    )
    return MediaMetrics(
        session_id=primary.session_id,
        media_id=primary.media_id,
        media_type=primary.media_type,
        status=_status(ended=ended, completed=completed),
        events=len(events),
        first_received_unix_ms=min(event.received_ms for event in events),
        last_received_unix_ms=max(event.received_ms for event in events),
        clock_anchor=course.anchor,
        clock_zero_unix_ms=course.zero_unix_ms,
        clock_skew_ms=course.skew_ms,
        connection_type=next(
            (data.connection_type for data in all_data if data.connection_type), None
        ),
        effective_bandwidth_mbps=_first(all_data, "effective_bandwidth"),
        rtt_ms=_first(all_data, "rtt_ms"),
        ttfb_ms=_first(all_data, "ttfb_ms"),
        load_time_ms=load_time,
        cdn_response_time_ms=_first(all_data, "cdn_response_time_ms"),
        startup_time_ms=startup,
        time_to_first_frame_ms=_first_frame(placed),
        total_duration_seconds=duration,
        watch_time_seconds=watched_ms / 1000,
        completion_percent=completion,
        completed=completed,
        exited_before_start=exited,
        rebuffer_count=playback.stall_count,
        rebuffer_duration_ms=stalled_ms,
        rebuffer_ratio=_ratio(stalled_ms, watched_ms + stalled_ms),
        stalls=stalls,
        stalls_left_out=len(playback.stalls) - len(stalls),
        average_bitrate_bps=renditions.average_bps,
        time_weighted_bitrate_bps=renditions.time_weighted_bps,
        top_bitrate_bps=renditions.top_bps,
        switches_up=renditions.switches_up,
        switches_down=renditions.switches_down,
        seek_count=len(seeks),
        seek_latency_ms=sum(latencies) if latencies else None,
        error_count=len(errors),
        errored=failed,
        heartbeat_count=sum(event.kind is MediaKind.HEARTBEAT for event in events),
        heartbeats_missed=playback.heartbeats_missed,
        dropped_frames=max(dropped, default=None),
        unpaired_events=playback.unpaired,
        experience=experience,
    )


def _first(data: Sequence[MediaData], name: str) -> float | None:
    """Give the first value that was told of a field."""
    return next((value for one in data if (value := getattr(one, name)) is not None), None)


def _ended(placed: Sequence[Placed]) -> bool:
    """Say whether the last word about playing was an end."""
    for _, event in reversed(placed):
        if event.kind is MediaKind.SESSION_END:
            return True
        if event.kind in {MediaKind.PLAY, MediaKind.SESSION_START}:
            return False
    return False


def _first_frame(placed: Sequence[Placed]) -> int | None:
    """Give the time from the session's start to the first `play`; None if one is not known."""
    start = next((at for at, event in placed if event.kind is MediaKind.SESSION_START), None)
    play = next((at for at, event in placed if event.kind is MediaKind.PLAY), None)
    if start is None or play is None or play < start:
        return None
    return play - start


def _completion(data: Sequence[MediaData]) -> float | None:
    """Give how far into the medium it came, by playing or by seeking."""
    duration = _first(data, "total_duration_seconds")
    reached = [one.percent for one in data if one.percent is not None]
    if duration:
        positions = (one.position_seconds for one in data if one.position_seconds is not None)
        reached += [100 * position / duration for position in positions]
    return min(100.0, max(reached)) if reached else None


def _status(*, ended: bool, completed: bool) -> MediaStatus:
    if not ended:
        return MediaStatus.ACTIVE
    return MediaStatus.COMPLETED if completed else MediaStatus.ABANDONED


def _longest(stalls: Sequence[Stall]) -> tuple[Stall, ...]:
    """Keep the longest stalls, in order of time."""
    by_length = sorted(stalls, key=lambda stall: stall.start_ms - stall.end_ms)
    return tuple(sorted(by_length[:MAX_STALLS]))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
