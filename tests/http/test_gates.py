"""The gates one by one: facts in, a refusal or nothing out."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.outcomes import Reason
from penstock.engine.ports import Quota
from penstock.engine.sidecar import MAX_SIDECAR_BYTES, NO_META, BatchMeta, Coordinates
from penstock.engine.wire import MAX_MEMBER_BYTES, WireError, decode
from penstock.http.exchange import Answer, Head
from penstock.http.gates import (
    RateGate,
    RateLimits,
    read_sidecar,
    refuse_size,
    refuse_type,
    refuse_wire,
)

NO_QUOTA = Quota()


def test_size() -> None:
    """Only what announces more than the limit is refused; any number can be said in the answer."""
    for length in (None, 0, 1, MAX_MEMBER_BYTES):
        assert refuse_size(length) is None
    for length in (MAX_MEMBER_BYTES + 1, 1 << 63, 1 << 64, 10**20):
        refused = refuse_size(length)
        assert refused is not None
        assert refused.status == 413
        assert str(length) in orjson.loads(refused.body)["detail"]


def test_type() -> None:
    """The binary type passes in any case and with parameters; others are told what was seen."""
    for kind in (b"application/octet-stream", b"Application/OCTET-stream ; a=b"):
        assert refuse_type(kind) is None
    for kind in (b"", b"application/json", b"application/octet-streams", b"\xff" * 200):
        refused = refuse_type(kind)
        assert refused is not None
        assert refused.status == 415
        assert len(orjson.loads(refused.body)["seen"]) <= 80


def test_the_session_comes_before_its_organisation() -> None:
    """A session over its rate takes nothing from what its organisation may send."""
    gate = RateGate(RateLimits(1.0, 2))
    quota = Quota(3.0)
    codes = [gate.refuse("s", "o", quota, 0.0) for _ in range(5)]
    assert [code and code[0] for code in codes] == [None, None, *[Reason.RATE_SESSION] * 3]
    assert gate.refuse("t", "o", quota, 0.0) is None
    refused = gate.refuse("u", "o", quota, 0.0)
    assert refused is not None
    assert refused[0] is Reason.RATE_ORG
    assert gate.refuse("u", "p", quota, 0.0) is None


def test_a_rate_comes_back_when_it_says() -> None:
    """Whoever waits as long as the refusal says is let through."""
    gate = RateGate(RateLimits(0.5, 1))
    assert gate.refuse("s", "o", NO_QUOTA, 0.0) is None
    refused = gate.refuse("s", "o", NO_QUOTA, 0.5)
    assert refused is not None
    document = orjson.loads(refused[1].body)
    assert (document["limit"], document["setting"]) == (0.5, "rate_batches_per_second")
    assert gate.refuse("s", "o", NO_QUOTA, 0.5 + document["retry_after_ms"] / 1000) is None


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (Head(), None),
        (Head(b"a=b"), None),
        (Head(b"meta="), None),
        (Head(sidecar=b"{}"), b"{}"),
        (Head(b"meta=%7B%22a%22%3A1%7D"), b'{"a":1}'),
        (Head(b"meta={%22a%22:%22%C3%BC%22}"), '{"a":"ü"}'.encode()),
        (Head(b"meta=+{}"), b" {}"),
        (Head(sidecar=b' { "a" : [ 1 ] } '), b' { "a" : [ 1 ] } '),
        (Head(sidecar=b'{"a":1e15,"a":1E0}'), b'{"a":1e15,"a":1E0}'),
        (Head(b"meta={}", sidecar=b"{}"), "sidecar_twice"),
        (Head(b"meta={}&meta={}"), "sidecar_twice"),
        (Head(sidecar=b'{"a":"' + b"x" * 2048), "sidecar_too_large"),
        (Head(sidecar=b"{"), "sidecar_malformed"),
        (Head(sidecar=b"[]"), "sidecar_malformed"),
        (Head(sidecar=b"\xff"), "sidecar_malformed"),
        (Head(sidecar=b'{"coords":"screen"}'), "sidecar_malformed"),
        (Head(sidecar=b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"), "sidecar_malformed"),
    ],
)
def test_the_sidecar_is_found_or_refused(head: Head, found: bytes | str | None) -> None:
    """The sidecar comes from header or query, as it was sent, or is refused with what is wrong."""
    read = read_sidecar(head)
    if isinstance(read, Answer):
        assert read.code == found
    else:
        assert (read and read[0]) == found


def test_a_sidecar_never_grows() -> None:
    """A sidecar that would be longer if it were written anew is kept at the length it came in."""
    text = b'{"k":[' + b",".join([b"1e15"] * 408) + b"]}"
    assert len(text) <= MAX_SIDECAR_BYTES < len(orjson.dumps(orjson.loads(text))) // 3
    assert read_sidecar(Head(sidecar=text)) == (text, NO_META)


def test_what_a_sidecar_says_is_read_with_it() -> None:
    """The known keys of a sidecar come typed beside its text."""
    text = b'{"camera_resolution":"640x480","coords":"world","exercise":"squat"}'
    meta = BatchMeta(camera_resolution=(640, 480), coords=Coordinates.WORLD, exercise="squat")
    assert read_sidecar(Head(sidecar=text)) == (text, meta)


def test_a_refused_key_is_named() -> None:
    """A known key with a wrong value is named in the answer."""
    read = read_sidecar(Head(sidecar=b'{"camera_resolution":"big"}'))
    assert isinstance(read, Answer)
    assert orjson.loads(read.body)["field"] == "camera_resolution"


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_sidecar_is_json_or_refused(query: bytes, sidecar: bytes) -> None:
    """Whatever comes as query and header gives JSON that can be stored, nothing, or a refusal."""
    for head in (Head(query), Head(sidecar=sidecar), Head(b"meta=" + query, sidecar=sidecar)):
        read = read_sidecar(head)
        assert read is None or isinstance(read, Answer) or isinstance(orjson.loads(read[0]), dict)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_every_wire_fault_has_an_answer(body: bytes) -> None:
    """Whatever is wrong with a batch has an answer of 400 or 413 with the fault as its code."""
    with pytest.raises(WireError) as error:
        decode(body)
    answer = refuse_wire(error.value)
    assert answer.status in {400, 413}
    assert answer.code == error.value.fault.value
