"""The lane's reader without sockets: what it takes, what it surrenders, and that pieces are one."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.http.express import Express, HeadLimits, Hot, Step
from penstock.http.hot_routes import POSE, HotRoutes, Route
from penstock.http.known_heads import KnownHeads

LIMITS = HeadLimits(max_header_bytes=1024, max_header_count=12)
LINE = b"POST /v1/pose/frames HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
LENGTH = b"Content-Length: 3\r\n"
WHOLE = LINE + HOST + LENGTH + b"Authorization: Bearer t\r\n\r\nabc"
WITH_QUERY = LINE.replace(b" HTTP", b"?meta={} HTTP") + HOST + LENGTH + b"\r\nabc"

END = Route("/v1/sessions/{id}/end", 10)
LAST_WORD = b"POST /v1/sessions/s-1/end HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n{ }"

Result = tuple[list[tuple[Any, ...]], Step, bytes]


def _read(pieces: Iterable[bytes]) -> Result:
    """Feed pieces as the connection does: requests found, how it ended, what was not answered."""
    express = Express(LIMITS, KnownHeads(16), HotRoutes([END]))
    found: list[tuple[Any, ...]] = []
    step: Hot | Step = Step.MORE
    fed = iter(pieces)
    for piece in fed:
        express.receive(piece)
        while isinstance(step := express.next_step(), Hot):
            found.append((step.head, step.body, step.keep_alive))
        if step is not Step.MORE:
            break
    assert isinstance(step, Step)
    return found, step, express.surrender() + b"".join(fed)


def _cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a != b]


def test_a_whole_request_is_hot_with_all_that_the_surface_reads() -> None:
    """A request in one piece comes out with its headers, query and body as they were sent."""
    head = (
        b"POST /v1/pose/frames?meta=%7B%7D&a=b HTTP/1.1\r\nhOST: x\r\nORIGIN:https://a\r\n"
        b"x-request-id:   r-1 \t\r\nauthorization: Bearer t\r\nContent-Type: a/b\r\n"
        b"content-length: 3\r\nX-Batch-Meta: {}\r\nConnection: Keep-Alive\r\n\r\n"
    )
    [(found, body, keep_alive)], end, rest = _read([head + b"abc"])
    assert found.query == b"meta=%7B%7D&a=b"
    assert found.authorization == b"Bearer t"
    assert (found.content_type, found.content_length, found.sidecar) == (b"a/b", 3, b"{}")
    assert (found.request_id, found.origin) == (b"r-1", b"https://a")
    assert (body, keep_alive, end, rest) == (b"abc", True, Step.MORE, b"")


def test_a_request_may_be_split_at_every_byte() -> None:
    """Wherever a request is cut in two, the reader finds the same request."""
    for raw in (WHOLE, LAST_WORD):
        whole = _read([raw])
        for cut in range(1, len(raw)):
            assert _read([raw[:cut], raw[cut:]]) == whole
        assert _read(raw[i : i + 1] for i in range(len(raw))) == whole


def test_pipelined_requests_come_out_one_by_one() -> None:
    """Requests in one piece are found in order, and what follows them is kept."""
    found, end, rest = _read([WHOLE + WITH_QUERY + WHOLE + LINE])
    assert [body for _, body, _ in found] == [b"abc"] * 3
    assert [head.query for head, _, _ in found] == [b"", b"meta={}", b""]
    assert (end, rest) == (Step.MORE, LINE)


def test_an_empty_body_is_a_request() -> None:
    """Content-Length 0 makes a whole request, and the next one is found behind it."""
    empty = LINE + HOST + b"Content-Length: 0\r\n\r\n"
    found, end, _ = _read([empty + WHOLE])
    assert [body for _, body, _ in found] == [b"", b"abc"]
    assert end is Step.MORE


def test_close_is_told() -> None:
    """`Connection: close` in any case is passed on."""
    last = WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: CLOSE\r\n\r\n")
    [(_, _, keep_alive)], _, _ = _read([last])
    assert not keep_alive


def test_a_body_over_the_limit_is_surrendered_before_it_arrives() -> None:
    """A body that announces more than any batch may have is not read here: its head is enough."""
    head = LINE + HOST + b"Content-Length: 65537\r\n\r\n"
    assert _read([head]) == ([], Step.COLD, head)
    assert _read([head.replace(b"65537", b"9" * 18)])[1] is Step.COLD
    assert _read([head.replace(b"65537", b"65536")])[1] is Step.MORE


def test_another_route_comes_out_with_its_name_and_parameter() -> None:
    """Requests to different routes may follow one another, and each says where it goes."""
    express = Express(LIMITS, KnownHeads(16), HotRoutes([END]))
    express.receive(WHOLE + LAST_WORD + WHOLE)
    steps = [express.next_step() for _ in range(4)]
    hots = [step for step in steps if isinstance(step, Hot)]
    assert [(hot.route, hot.parameter) for hot in hots] == [(POSE, ""), (END, "s-1"), (POSE, "")]
    assert [hot.body for hot in hots] == [b"abc", b"{ }", b"abc"]
    assert steps[-1] is Step.MORE


def test_a_request_that_arrives_says_where_it_goes() -> None:
    """Once its head is there, and until its body is, a request can be asked for its route."""
    express = Express(LIMITS, KnownHeads(16), HotRoutes([END]))
    for head, route, parameter in ((WHOLE[:-3], POSE, ""), (LAST_WORD[:-3], END, "s-1")):
        express.receive(head[:-1])
        assert express.next_step() is Step.MORE
        assert express.arriving is None
        express.receive(head[-1:])
        assert express.next_step() is Step.MORE
        arriving = express.arriving
        assert arriving is not None
        assert (arriving.route, arriving.parameter) == (route, parameter)
        assert express.pending_pose is (route is POSE)
        express.receive(b"{ }")
        assert isinstance(express.next_step(), Hot)
        assert express.arriving is None
        assert not express.pending_pose


def test_each_route_has_its_own_bound() -> None:
    """A body over the bound of its route is surrendered at the head."""
    within = LAST_WORD.replace(b": 3", b": 10")
    assert _read([within]) == ([], Step.MORE, within)
    over = LAST_WORD.replace(b": 3", b": 11")
    assert _read([over]) == ([], Step.COLD, over)


UNUSUAL = {
    "chunked": LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": LINE + HOST + LENGTH + b"Transfer-Encoding: identity\r\n\r\nabc",
    "both framings": LINE + HOST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\nabc",
    "TE hidden": LINE + HOST + LENGTH + b"Transfer-Encoding : chunked\r\n\r\nabc",
    "expect": LINE + HOST + LENGTH + b"Expect: 100-continue\r\n\r\nabc",
    "upgrade": LINE + HOST + LENGTH + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nabc",
    "upgrade alone": LINE + HOST + LENGTH + b"Upgrade: h2c\r\n\r\nabc",
    "h2c": LINE + HOST + LENGTH + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\nabc",
    "te": LINE + HOST + LENGTH + b"TE: trailers\r\n\r\nabc",
    "trailer": LINE + HOST + LENGTH + b"Trailer: x\r\n\r\nabc",
    "odd connection": LINE + HOST + LENGTH + b"Connection: keep-alive, x\r\n\r\nabc",
    "two authorizations": LINE + HOST + LENGTH + b"Authorization: a\r\nauthorization: a\r\n\r\nabc",
    "two lengths": LINE + HOST + LENGTH + LENGTH + b"\r\nabc",
    "two other lengths": LINE + HOST + LENGTH + b"Content-Length: 4\r\n\r\nabc",
    "two hosts": LINE + HOST + HOST + LENGTH + b"\r\nabc",
    "two types": LINE + HOST + LENGTH + b"Content-Type: a\r\nContent-Type: b\r\n\r\nabc",
    "two sidecars": LINE + HOST + LENGTH + b"X-Batch-Meta: {}\r\nX-Batch-Meta: {}\r\n\r\nabc",
    "two ids": LINE + HOST + LENGTH + b"X-Request-Id: a\r\nX-Request-Id: b\r\n\r\nabc",
    "no host": LINE + LENGTH + b"\r\nabc",
    "no length": LINE + HOST + b"\r\n",
    "length with plus": LINE + HOST + b"Content-Length: +3\r\n\r\nabc",
    "length with minus": LINE + HOST + b"Content-Length: -3\r\n\r\nabc",
    "length with space": LINE + HOST + b"Content-Length: 3 3\r\n\r\nabc",
    "length in hex": LINE + HOST + b"Content-Length: 0x3\r\n\r\nabc",
    "length list": LINE + HOST + b"Content-Length: 3, 3\r\n\r\nabc",
    "length of no digits": LINE + HOST + b"Content-Length: three\r\n\r\nabc",
    "length empty": LINE + HOST + b"Content-Length:\r\n\r\nabc",
    "length of superscripts": LINE + HOST + b"Content-Length: \xb2\r\n\r\nabc",
    "length huge": LINE + HOST + b"Content-Length: 9999999999999999999999\r\n\r\nabc",
    "HTTP/1.0": WHOLE.replace(b"/1.1", b"/1.0"),
    "HTTP/1.2": WHOLE.replace(b"/1.1", b"/1.2"),
    "HTTP/0.9": b"POST /v1/pose/frames\r\n\r\n",
    "absolute form": WHOLE.replace(b"/v1", b"http://x/v1"),
    "lower-case method": WHOLE.replace(b"POST", b"post"),
    "another method": WHOLE.replace(b"POST", b"PUT"),
    "another path": WHOLE.replace(b"frames", b"framez"),
    "a longer path": WHOLE.replace(b"frames", b"frames/"),
    "two spaces before the path": WHOLE.replace(b"POST ", b"POST  "),
    "two spaces behind the path": WHOLE.replace(b" HTTP", b"  HTTP"),
    "fragment": WHOLE.replace(b" HTTP", b"?a#b HTTP"),
    "control in the query": WHOLE.replace(b" HTTP", b"?\x01 HTTP"),
    "folded header": LINE + HOST + LENGTH + b"A: b\r\n c\r\n\r\nabc",
    "bare LF": LINE + HOST + LENGTH + b"A: b\nC: d\r\n\r\nabc",
    "bare LF twice": LINE + HOST + LENGTH + b"A: b\n\nC: d\r\n\r\nabc",
    "bare LF everywhere": WHOLE.replace(b"\r\n", b"\n") + b"\r\n\r\n",
    "bare CR": LINE + HOST + LENGTH + b"A: b\rC: d\r\n\r\nabc",
    "NUL": LINE + HOST + LENGTH + b"A: b\x00c\r\n\r\nabc",
    "space before colon": LINE + HOST + LENGTH + b"A : b\r\n\r\nabc",
    "no colon": LINE + HOST + LENGTH + b"A\r\n\r\nabc",
    "no name": LINE + HOST + LENGTH + b": b\r\n\r\nabc",
    "empty line first": b"\r\n" + WHOLE,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
}


@pytest.mark.parametrize("raw", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_unusual_requests_are_surrendered_whole(raw: bytes) -> None:
    """What is unusual goes to Hypercorn untouched, in one piece or byte by byte."""
    assert _read([raw]) == ([], Step.COLD, raw)
    assert _read(raw[i : i + 1] for i in range(len(raw))) == ([], Step.COLD, raw)


def test_an_unusual_request_behind_a_hot_one_is_surrendered_whole() -> None:
    """After requests that were answered, only what was not answered is given back."""
    for raw in UNUSUAL.values():
        found, end, rest = _read([WHOLE + WHOLE + raw])
        assert (len(found), end, rest) == (2, Step.COLD, raw)


def test_the_head_is_bounded_in_bytes() -> None:
    """A head may fill its bound exactly; a byte more is surrendered, whole or in pieces."""
    room = LIMITS.max_header_bytes - len(LINE + HOST + LENGTH + b"A: \r\n\r\n")
    for excess, end in ((0, Step.MORE), (1, Step.COLD)):
        raw = LINE + HOST + LENGTH + b"A: " + b"a" * (room + excess) + b"\r\n\r\nabc"
        assert _read([raw])[1] is end
        assert _read(_cut(raw, range(0, len(raw), 97)))[1] is end


def test_the_head_is_bounded_in_fields() -> None:
    """A head may have as many fields as its bound; one more is surrendered."""
    for excess, end in ((0, Step.MORE), (1, Step.COLD)):
        fields = b"A: b\r\n" * (LIMITS.max_header_count - 2 + excess)
        assert _read([LINE + HOST + LENGTH + fields + b"\r\nabc"])[1] is end


MUTATED = st.tuples(
    st.sampled_from([WHOLE, WITH_QUERY, LAST_WORD, WHOLE + LAST_WORD, *UNUSUAL.values()]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5), st.binary(max_size=4)), max_size=4),
).map(lambda drawn: _mutate(*drawn))


def _mutate(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, new in edits:
        place = at % (len(data) + 1)
        data = data[:place] + new + data[place + length :]
    return data


def _holds(data: bytes, cuts: list[int], read: Callable[[Iterable[bytes]], Result]) -> None:
    found, end, rest = read([data])
    assert read(_cut(data, cuts)) == (found, end, rest)
    assert data.endswith(rest)
    answered = data[: len(data) - len(rest)]
    assert all(answered.count(body) for _, body, _ in found)
    assert bool(answered) == bool(found)


@given(st.binary(max_size=300), st.lists(st.integers(0, 2000), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_a_step_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    """Arbitrary bytes never raise, and how they were cut makes no difference."""
    _holds(data, cuts, _read)


@given(MUTATED, st.lists(st.integers(0, 2000), max_size=8))
@settings(max_examples=500, deadline=None)
def test_damaged_requests_give_a_step_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    """Damaged requests never raise; every byte is answered or given back, however it came."""
    _holds(data, cuts, _read)
