"""The bodies of media events: read into an event, or refused by the field that is wrong."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from penstock.engine.media.events import (
    DATA_FIELDS,
    MAX_AHEAD_MS,
    MAX_BEHIND_MS,
    ConnectionType,
    MediaData,
    MediaEvent,
    MediaKind,
    MediaType,
)
from penstock.http.cmcd import NO_CMCD, Cmcd
from penstock.http.exchange import Answer
from penstock.http.media_bodies import BODIES, MediaBody, read_media_event

NOW_MS = 1_778_148_000_500
SESSION = "550e8400-e29b-41d4-a716-446655440000"


def body(event: str = "play", **changes: Any) -> dict[str, Any]:
    """Give a body that is right; changes replace its fields, and None removes one."""
    whole = {
        "event": event,
        "session_id": SESSION,
        "media_id": "exercise-uuid",
        "media_type": "video",
        "timestamp": "2026-05-07T10:00:00.001Z",
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def start(**data: Any) -> dict[str, Any]:
    """Give the changes that make a `session_start` of a body."""
    return {"event": "session_start", "data": data}


def taken(document: dict[str, Any], sent: Cmcd = NO_CMCD) -> MediaEvent:
    """Read a body that must be right."""
    found = read_media_event(orjson.dumps(document), NOW_MS, sent)
    assert isinstance(found, MediaEvent), found
    return found


def refused(document: object) -> dict[str, Any]:
    """Read a body that must be wrong; give the problem."""
    raw = document if isinstance(document, bytes) else orjson.dumps(document)
    found = read_media_event(raw, NOW_MS)
    assert isinstance(found, Answer), found
    problem: dict[str, Any] = orjson.loads(found.body)
    assert (found.status, problem["code"]) == (400, "body_malformed")
    return problem


def test_the_contracts_example_is_an_event() -> None:
    """Every field of the documented request arrives, in its type."""
    data = {
        "total_duration_seconds": 120.5,
        "ttfb_ms": 340,
        "video_load_time_ms": 1200,
        "cdn_response_time_ms": 280,
        "connection_type": "wifi",
        "effective_bandwidth": 12.5,
        "rtt_ms": 45,
        "initial_bitrate": 2500000,
        "initial_resolution": "720p",
    }
    assert taken(body("session_start", session_id=SESSION.upper(), data=data)) == MediaEvent(
        session_id=SESSION,
        media_id="exercise-uuid",
        media_type=MediaType.VIDEO,
        kind=MediaKind.SESSION_START,
        at_ms=1_778_148_000_001,
        received_ms=NOW_MS,
        data=MediaData(
            total_duration_seconds=120.5,
            ttfb_ms=340,
            video_load_time_ms=1200,
            cdn_response_time_ms=280,
            connection_type=ConnectionType.WIFI,
            effective_bandwidth=12.5,
            rtt_ms=45,
            initial_bitrate=2500000,
            initial_resolution="720p",
        ),
    )


@pytest.mark.parametrize("kind", MediaKind)
def test_every_kind_is_taken(kind: MediaKind) -> None:
    """Each of the eleven needs no data but what makes it one, and leaves unknown keys alone."""
    data = {"elapsed_ms": 1500.5, "colour": {"of": ["anything"]}}
    if kind is MediaKind.MILESTONE:
        data["percent"] = 25
    found = taken(body(kind.value, data=data, player="x"))
    assert (found.kind, found.data.elapsed_ms) == (kind, 1500.5)
    assert found.data.plain().keys() <= {"elapsed_ms", "percent"}


def test_each_field_of_an_event_has_a_body_that_brings_it() -> None:
    """What the engine can hold and what the surface takes are the same fields."""
    brought: set[str] = set()
    for model in BODIES.values():
        brought |= model.model_fields["data"].annotation.model_fields.keys()  # type: ignore[union-attr]
    assert brought == {*DATA_FIELDS, "cmcd"}
    assert BODIES.keys() == set(MediaKind)


def test_data_may_be_missing() -> None:
    """A player that knows nothing still tells that it plays; a milestone has to say which."""
    assert taken(body("play")).data == MediaData()
    assert refused(body("milestone"))["field"] == "data"
    assert refused(body("milestone", data={}))["field"] == "data.percent"


def test_an_unknown_event_names_the_known_ones() -> None:
    """A client learns from the refusal what it could have sent."""
    problem = refused(body("rewind"))
    assert problem["field"] == "event"
    assert problem["seen"] == "'rewind'"
    assert all(repr(kind.value) in problem["detail"] for kind in MediaKind)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event": None}, "event"),
        ({"session_id": None}, "session_id"),
        ({"session_id": "{550e8400-e29b-41d4-a716-446655440000}"}, "session_id"),
        ({"session_id": 5}, "session_id"),
        ({"media_id": ""}, "media_id"),
        ({"media_id": "x" * 201}, "media_id"),
        ({"media_id": "a\x00b"}, "media_id"),
        ({"media_type": "smell"}, "media_type"),
        ({"timestamp": 1778148000}, "timestamp"),
        ({"timestamp": "1778148000"}, "timestamp"),
        ({"timestamp": "2026-05-07"}, "timestamp"),
        ({"timestamp": "2026-05-07T10:00:00"}, "timestamp"),
        ({"data": "none"}, "data"),
        ({"data": {"position_seconds": "5"}}, "data.position_seconds"),
        ({"data": {"position_seconds": -0.1}}, "data.position_seconds"),
        ({"data": {"position_seconds": 86_400.1}}, "data.position_seconds"),
        ({"data": {"position_seconds": True}}, "data.position_seconds"),
        ({"data": {"elapsed_ms": 86_400_001}}, "data.elapsed_ms"),
        ({"data": {"bitrate": -1}}, "data.bitrate"),
        ({"data": {"dropped_frames": 1.5}}, "data.dropped_frames"),
        (start(total_duration_seconds=0), "data.total_duration_seconds"),
        (start(initial_resolution="hd"), "data.initial_resolution"),
        (start(connection_type="pigeon"), "data.connection_type"),
        (start(heartbeat_interval_ms=999), "data.heartbeat_interval_ms"),
        ({"event": "heartbeat", "data": {"playing": 1}}, "data.playing"),
        ({"event": "milestone", "data": {"percent": 100.5}}, "data.percent"),
        ({"event": "error", "data": {"error_message": "x" * 501}}, "data.error_message"),
        ({"event": "error", "data": {"error_message": "a\x00b"}}, "data.error_message"),
        ({"event": "error", "data": {"error_code": ""}}, "data.error_code"),
        ({"event": "session_end", "data": {"reason": "bored"}}, "data.reason"),
        ({"data": {"cmcd": 5}}, "data.cmcd"),
        ({"data": {"cmcd": "br=x"}}, "data.cmcd.br"),
        ({"data": {"cmcd": {"ot": "z"}}}, "data.cmcd.ot"),
        ({"data": {"cmcd": "br=1,"}}, "data.cmcd"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(changes: dict[str, Any], field: str) -> None:
    """What must not be is refused with the place in the body, not repeated at length."""
    problem = refused(body(**changes))
    assert problem["field"] == field
    assert problem["detail"].startswith(f"{field}: ")
    assert len(problem.get("seen", "")) < 100


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b'"play"', b"[" * 5000, b"1" * 5000])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    """No body makes more of a refusal than a refusal."""
    assert "the body is not what it must be" in refused(raw)["detail"]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"9" * 5000])
def test_what_is_no_number_is_refused(number: bytes) -> None:
    """Neither what JSON does not have nor what no machine number holds becomes a figure."""
    raw = orjson.dumps(body(data={"position_seconds": "@"})).replace(b'"@"', number)
    assert refused(raw)


def test_a_clock_that_is_far_off_is_refused_with_the_limit() -> None:
    """Days ahead or behind cannot be right; hours may be, and are taken."""
    ahead = refused(body(timestamp="2026-05-08T10:00:01Z"))
    assert (ahead["field"], ahead["limit"]) == ("timestamp", MAX_AHEAD_MS)
    assert ahead["seen"] == "2026-05-08T10:00:01+00:00"
    behind = refused(body(timestamp="2026-04-30T10:00:00Z"))
    assert (behind["field"], behind["limit"]) == ("timestamp", MAX_BEHIND_MS)
    assert (
        taken(body(timestamp="2026-05-08T12:00:00+02:00")).at_ms == 1_778_148_000_000 + MAX_AHEAD_MS
    )


@given(st.integers(1_778_148_000_000 - 10**8, 1_778_148_000_000 + 10**7))
def test_no_millisecond_is_lost(at_ms: int) -> None:
    """The key of an event is its time, so reading it may not round."""
    seconds, thousandths = divmod(at_ms, 1000)
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{thousandths:03}Z"
    assert taken(body(timestamp=text)).at_ms == at_ms


def test_the_nearest_word_counts() -> None:
    """The event's own fields go before its CMCD, and that before the request's headers."""
    data = {"bitrate": 1.0, "cmcd": "br=2,bl=20"}
    sent = Cmcd(bitrate=3.0, buffer_length_ms=30.0, playback_rate=1.5)
    found = taken(body("heartbeat", data=data), sent)
    assert found.data == MediaData(bitrate=1.0, buffer_length_ms=20, playback_rate=1.5)


@given(
    st.dictionaries(
        st.sampled_from([*DATA_FIELDS, "cmcd", "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
        max_size=4,
    ),
    st.sampled_from(MediaKind),
)
def test_any_data_is_taken_or_refused(data: dict[str, Any], kind: MediaKind) -> None:
    """Whatever an object holds, it is an event that the ledger can hold or a refusal."""
    found = read_media_event(orjson.dumps(body(kind.value, data=_writable(data))), NOW_MS)
    if isinstance(found, MediaEvent):
        assert MediaEvent.from_plain(orjson.loads(orjson.dumps(found.plain()))) == found
    else:
        assert found.status == 400


def _writable(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out the integers that no JSON writer of ours writes."""
    return {
        name: value
        for name, value in data.items()
        if not isinstance(value, int) or abs(value) < 2**63
    }


def test_the_schema_tells_the_kinds_apart() -> None:
    """A reader of the API's description sees one schema a kind, chosen by `event`."""
    schema = TypeAdapter(MediaBody).json_schema()
    assert schema["discriminator"]["propertyName"] == "event"
    assert schema["discriminator"]["mapping"].keys() == {kind.value for kind in MediaKind}
