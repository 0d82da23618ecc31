"""The bodies of `POST /v1/media/events`: one model a kind of event, told apart by `event`.

Every field of `data` may be missing, but for a milestone's `percent`: players differ in what they
can tell. What is there must be right. Keys that are not known are left alone, and not stored.
docs/reference/media-events.md is the reference.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from penstock.engine.media.events import (
    DATA_FIELDS,
    ConnectionType,
    EndReason,
    MediaData,
    MediaEvent,
    MediaKind,
    MediaType,
    out_of_reach,
)
from penstock.engine.media.renditions import height_of
from penstock.engine.platform.scrub import scrubbed, scrubbed_id
from penstock.engine.policy_editions import hidden_in
from penstock.http.bodies import read_body
from penstock.http.cmcd import NO_CMCD, Cmcd, CmcdFault, read_cmcd, with_cmcd
from penstock.http.exchange import Answer
from penstock.http.instants import Instant, unix_ms
from penstock.http.problems import Problem, problem_answer
from penstock.http.uuids import is_uuid

# The largest that real players send is about 1 KiB.
MAX_MEDIA_EVENT_BYTES = 16 * 1024


_CMCD_FORMS = 'must be a text or an object, such as "br=3200,bs" or {"br": 3200}'


def _visible(text: str) -> str:
    if found := hidden_in(text):
        raise ValueError(f"must not hold hidden characters, as {found} is")
    return text


def _uuid(text: str) -> str:
    if not is_uuid(text):
        raise ValueError("must be a UUID")
    return text.lower()


def _resolution(text: str) -> str:
    if height_of(text) is None:
        raise ValueError('must be like "720p" or "1280x720"')
    return text


def _cmcd(value: object) -> str | dict[str, Any]:
    # A union's parts would be named in the path of the fault.
    if not isinstance(value, str | dict):
        # Pydantic makes a refusal of a ValueError only.
        raise ValueError(_CMCD_FORMS)  # noqa: TRY004
    return value


_Ms = Annotated[float, Field(ge=0, le=86_400_000, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
_BitsPerSecond = Annotated[float, Field(ge=0, le=10_000_000_000, allow_inf_nan=False)]
_Megabits = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
_Rate = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
_Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
_Frames = Annotated[int, Field(ge=0, le=100_000_000)]
_Resolution = Annotated[str, AfterValidator(_resolution)]
_Code = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(_visible),
    AfterValidator(scrubbed),
]
# Of players come lines and tabs as well; only what no store can hold is refused.
_Message = Annotated[
    str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$"), AfterValidator(scrubbed)
]
_MediaId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_visible),
    AfterValidator(scrubbed_id),
]
_CmcdValue = Annotated[
    Any, AfterValidator(_cmcd), WithJsonSchema({"type": ["string", "object", "null"]})
]
_Uuid = Annotated[str, AfterValidator(_uuid)]


class EventData(BaseModel):
    """What any event may carry."""

    model_config = ConfigDict(extra="ignore")

    elapsed_ms: _Ms | None = None
    position_seconds: _Seconds | None = None
    cmcd: _CmcdValue | None = None


class _Shown(EventData):
    """Events that may tell what is on the screen."""

    bitrate: _BitsPerSecond | None = None
    playback_rate: _Rate | None = None
    buffer_length_ms: _Ms | None = None
    buffer_starved: bool | None = None
    dropped_frames: _Frames | None = None


class _Connected(EventData):
    """Events that may tell how the client is connected."""

    connection_type: ConnectionType | None = None
    effective_bandwidth: _Megabits | None = None
    rtt_ms: _Ms | None = None


class SessionStartData(_Connected):
    """The player has been asked for a medium."""

    total_duration_seconds: Annotated[_Seconds, Field(gt=0)] | None = None
    ttfb_ms: _Ms | None = None
    video_load_time_ms: _Ms | None = None
    cdn_response_time_ms: _Ms | None = None
    initial_bitrate: _BitsPerSecond | None = None
    initial_resolution: _Resolution | None = None
    top_bitrate: _BitsPerSecond | None = None
    heartbeat_interval_ms: Annotated[_Ms, Field(ge=1000, le=600_000)] | None = None


class PlayData(_Shown):
    """The picture moves: for the first time, or again."""

    startup_time_ms: _Ms | None = None


class PauseData(_Shown):
    """The viewer stopped it."""


class SeekData(_Shown):
    """The viewer went elsewhere."""

    from_seconds: _Seconds | None = None
    to_seconds: _Seconds | None = None
    latency_ms: _Ms | None = None


class HeartbeatData(_Shown, _Connected):
    """The player is there."""

    playing: bool | None = None


class BufferingStartData(_Shown):
    """It stands still for want of data."""


class BufferingEndData(_Shown):
    """It goes on."""

    duration_ms: _Ms | None = None


class QualityChangeData(EventData):
    """Another rendition is shown."""

    from_bitrate: _BitsPerSecond | None = None
    to_bitrate: _BitsPerSecond | None = None
    from_resolution: _Resolution | None = None
    to_resolution: _Resolution | None = None
    top_bitrate: _BitsPerSecond | None = None


class MilestoneData(EventData):
    """A share of the medium has been reached."""

    percent: _Percent


class ErrorData(EventData):
    """Something failed; unless `fatal` is false, the playback with it."""

    error_code: _Code | None = None
    error_message: _Message | None = None
    fatal: bool | None = None


class SessionEndData(_Shown):
    """The player is gone."""

    reason: EndReason | None = None


class Envelope(BaseModel):
    """What every event says beside its data."""

    model_config = ConfigDict(extra="ignore")

    session_id: _Uuid
    media_id: _MediaId
    media_type: MediaType
    timestamp: Instant


class SessionStart(Envelope):
    """The body of a `session_start`."""

    event: Literal[MediaKind.SESSION_START]
    data: SessionStartData = Field(default_factory=SessionStartData)


class Play(Envelope):
    """The body of a `play`."""

    event: Literal[MediaKind.PLAY]
    data: PlayData = Field(default_factory=PlayData)


class Pause(Envelope):
    """The body of a `pause`."""

    event: Literal[MediaKind.PAUSE]
    data: PauseData = Field(default_factory=PauseData)


class Seek(Envelope):
    """The body of a `seek`."""

    event: Literal[MediaKind.SEEK]
    data: SeekData = Field(default_factory=SeekData)


class Heartbeat(Envelope):
    """The body of a `heartbeat`."""

    event: Literal[MediaKind.HEARTBEAT]
    data: HeartbeatData = Field(default_factory=HeartbeatData)


class BufferingStart(Envelope):
    """The body of a `buffering_start`."""

    event: Literal[MediaKind.BUFFERING_START]
    data: BufferingStartData = Field(default_factory=BufferingStartData)


class BufferingEnd(Envelope):
    """The body of a `buffering_end`."""

    event: Literal[MediaKind.BUFFERING_END]
    data: BufferingEndData = Field(default_factory=BufferingEndData)


class QualityChange(Envelope):
    """The body of a `quality_change`."""

    event: Literal[MediaKind.QUALITY_CHANGE]
    data: QualityChangeData = Field(default_factory=QualityChangeData)


class Milestone(Envelope):
    """The body of a `milestone`."""

    event: Literal[MediaKind.MILESTONE]
    data: MilestoneData


class Error(Envelope):
    """The body of an `error`."""

    event: Literal[MediaKind.ERROR]
    data: ErrorData = Field(default_factory=ErrorData)


class SessionEnd(Envelope):
    """The body of a `session_end`."""

    event: Literal[MediaKind.SESSION_END]
    data: SessionEndData = Field(default_factory=SessionEndData)


_Body = (
    SessionStart
    | Play
    | Pause
    | Seek
    | Heartbeat
    | BufferingStart
    | BufferingEnd
    | QualityChange
    | Milestone
    | Error
    | SessionEnd
)
# For schemas; bodies are read by the model of their kind, so that a wrong field is named by its
# path in the body, without the kind.
MediaBody = Annotated[_Body, Field(discriminator="event")]
BODIES: dict[MediaKind, type[_Body]] = {
    get_args(model.model_fields["event"].annotation)[0]: model for model in get_args(_Body)
}


class _Event(BaseModel):
    """The one field that says what the others may be."""

    event: MediaKind


def read_media_event(body: bytes, received_ms: int, sent: Cmcd = NO_CMCD) -> MediaEvent | Answer:
    """Read one event, or refuse it by the field that is wrong. `sent` is of the CMCD headers.

    What the event says itself goes before `data.cmcd`, and that before the headers.
    """
    kind = read_body(_Event, body)
    if isinstance(kind, Answer):
        return kind
    read = read_body(BODIES[kind.event], body)
    if isinstance(read, Answer):
        return read
    at_ms = unix_ms(read.timestamp)
    if wrong := out_of_reach(at_ms, received_ms):
        return problem_answer(
            Problem.BODY_MALFORMED,
            f"timestamp: {wrong.detail}",
            field="timestamp",
            limit=wrong.limit_ms,
            seen=read.timestamp.isoformat(),
        )
    given: EventData = read.data
    told = NO_CMCD if given.cmcd is None else read_cmcd(given.cmcd)
    if isinstance(told, CmcdFault):
        return refuse_cmcd(told)
    data = MediaData(**{n: getattr(given, n) for n in DATA_FIELDS if n in type(given).model_fields})
    for cmcd in (told, sent):
        data = with_cmcd(data, read.event, cmcd)
    return MediaEvent(
        read.session_id, read.media_id, read.media_type, read.event, at_ms, received_ms, data
    )


def refuse_cmcd(fault: CmcdFault) -> Answer:
    """Refuse the CMCD of a body."""
    field = "data.cmcd" + (f".{fault.key}" if fault.key else "")
    return problem_answer(
        Problem.BODY_MALFORMED,
        f"{field}: {fault.detail}",
        field=field,
        seen=fault.seen,
        limit=fault.limit,
    )
