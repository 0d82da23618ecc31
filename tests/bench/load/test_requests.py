import json
from types import SimpleNamespace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.answers import UnreadableAnswerError
from penstock.bench.load import hostile, media
from penstock.bench.load.plan import HOSTILE, Kind
from penstock.bench.load.replies import Reply, read_accepted, read_reply
from penstock.engine.wire import WireError, WireFault, decode


def _answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Some\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def test_an_outcome_has_the_problems_code() -> None:
    """A refusal is told by status and code; without a code, by its status."""
    coded = read_reply(_answer(429, b'{"code": "inbox_full"}'))
    plain = read_reply(_answer(429, b"go away"))
    odd = read_reply(_answer(400, b'{"code": 7}'))
    assert coded is not None
    assert plain is not None
    assert odd is not None
    assert (coded.outcome, coded.code) == ("429 inbox_full", "inbox_full")
    assert (plain.outcome, odd.outcome) == ("429", "400")


@given(st.integers(0, 200), st.integers(0, 200))
def test_an_answer_is_complete_only_whole(position: int, cut: int) -> None:
    """Whatever the first part of an answer, it is not read before the rest is there."""
    body = {"frames_accepted": 10, "session_id": "s", "buffer_position_bytes": position}
    data = _answer(202, orjson.dumps(body))
    assert read_reply(data[: min(cut, len(data) - 1)]) is None
    whole = read_reply(data)
    assert whole is not None
    assert read_accepted(whole.body) == ("s", 10, position)


@pytest.mark.parametrize("body", [b"", b"[]", b"{nonsense}", b"{} {}", b'"202"'])
def test_an_acceptance_without_an_object_is_none(body: bytes) -> None:
    """A 2xx that does not hold one JSON object is unreadable."""
    with pytest.raises(UnreadableAnswerError):
        read_reply(_answer(200, body))


@pytest.mark.parametrize(
    "change",
    [
        {"frames_accepted": True},
        {"frames_accepted": 10.0},
        {"session_id": None},
        {"buffer_position_bytes": "5280"},
    ],
)
def test_an_acceptance_needs_its_fields(change: dict[str, object]) -> None:
    """Each of the three fields must be there and of its type; a bool is no number."""
    right: dict[str, object] = {
        "frames_accepted": 10, "session_id": "s", "buffer_position_bytes": 5280,
    }  # fmt: skip
    assert read_accepted(right) == ("s", 10, 5280)
    for wrong in (right | change, {k: v for k, v in right.items() if k not in change}):
        with pytest.raises(UnreadableAnswerError):
            read_accepted(wrong)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    """Bytes are incomplete, an answer, or refused as unreadable; nothing else happens."""
    try:
        reply = read_reply(data)
    except UnreadableAnswerError:
        return
    assert reply is None or isinstance(reply, Reply)


def test_malformed_bodies_are_each_malformed_in_their_way() -> None:
    """No two of them have the same fault, and none is a batch."""
    faults = set()
    for bad in hostile.malformed_bodies():
        with pytest.raises(WireError) as caught:
            decode(bad.body)
        faults.add(caught.value.fault)
        # What is counted as claimed is what the service may count.
        assert bad.frames >= caught.value.frames
    assert len(faults) == len(hostile.malformed_bodies())
    assert faults >= {WireFault.NOT_GZIP, WireFault.SEVERAL_MEMBERS, WireFault.TRAILING_BYTES}


def test_the_chunked_body_exceeds_the_limit() -> None:
    """It is well-formed chunked coding of more than the 65,536 bytes that a body may have."""
    data, total = hostile.chunked_oversized(), 0
    while data != b"0\r\n\r\n":
        size, _, data = data.partition(b"\r\n")
        total += int(size, 16)
        assert data[int(size, 16) :].startswith(b"\r\n")
        data = data[int(size, 16) + 2 :]
    assert total > 65_536


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_hostile_request_is_rightly_accepted(kind: Kind) -> None:
    """Taking it is wrong, and so is failing over it; overload is an excuse."""
    for outcome in ("202", "200", "500 internal_error", "unreadable", "unanswered"):
        assert not hostile.is_right(kind, outcome)
    assert hostile.is_right(kind, "503 draining")
    assert hostile.is_right(kind, "closed") == (kind is Kind.HOSTILE_SLOW)
    assert hostile.is_right(kind, "429 rate_org") == (kind is Kind.HOSTILE_MALFORMED)


def test_an_event_has_the_contracts_fields() -> None:
    """The session's start is as the contract shows it, with the time in UTC milliseconds."""
    body = json.loads(
        media.event_body(
            0, last=False, session_id="s", made_unix=1_778_148_000.25, played_seconds=3.0
        )
    )
    assert body["timestamp"] == "2026-05-07T10:00:00.250Z"
    event = SimpleNamespace(**body)
    assert (event.event, event.session_id, event.media_type) == ("session_start", "s", "video")
    assert event.data.keys() == {
        "total_duration_seconds", "ttfb_ms", "video_load_time_ms", "cdn_response_time_ms",
        "connection_type", "effective_bandwidth", "rtt_ms", "initial_bitrate",
        "initial_resolution",
    }  # fmt: skip


def test_a_session_starts_once_and_ends_once() -> None:
    """Between start and end the player tells everything else, and most of all its heartbeat."""
    names = [media.event_name(number, last=number == 39) for number in range(40)]
    assert (names[0], names[-1]) == ("session_start", "session_end")
    assert {"session_start", "session_end"}.isdisjoint(names[1:-1])
    assert max(set(names), key=names.count) == "heartbeat"
    assert {"play", "pause", "buffering_start", "buffering_end", "seek"} <= set(names)


@pytest.mark.parametrize("code", ["\x1b[2J", "a b", "x" * 65, "", 7, None])
def test_a_code_is_a_name_or_none(code: object) -> None:
    """What is counted and shown by its name never holds what a server wishes to draw or fill."""
    body = orjson.dumps({"code": code})
    reply = read_reply(b"HTTP/1.1 429 Some\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    assert reply is not None
    assert reply.outcome == "429"
