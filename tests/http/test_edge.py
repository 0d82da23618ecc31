"""What every answer carries: request id, CORS, date; written by hand and by Quart alike."""

import h11
import pytest

from penstock.http.edge import CorsRules, Edge
from penstock.http.exchange import Answer, json_answer


class HandClock:
    """A clock that is turned by hand."""

    now = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


def _edge(*origins: str, clock: HandClock | None = None) -> Edge:
    return Edge(CorsRules(origins, 60), clock or HandClock())


def _parse(raw: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(raw)
    response, data = parser.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := parser.next_event(), h11.Data):
        data += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert parser.trailing_data[0] == b""
    return response.status_code, dict(response.headers), data


@pytest.mark.parametrize("status", [200, 202, 400, 401, 403, 408, 413, 415, 429, 500, 503])
def test_a_written_answer_is_valid_http(status: int) -> None:
    """A strict parser reads back exactly the answer that was written."""
    answer = Answer(status, b'{"a":1}', "c", retry_after=3, headers=((b"x-y", b"z"),))
    raw = _edge("https://a.test").render(answer, b"r-1", b"https://a.test", keep_alive=True)
    seen, headers, body = _parse(raw)
    assert (seen, body) == (status, b'{"a":1}')
    assert headers[b"x-request-id"] == b"r-1"
    assert headers[b"retry-after"] == b"3"
    assert headers[b"x-y"] == b"z"
    assert headers[b"access-control-allow-origin"] == b"https://a.test"
    assert b"connection" not in headers


def test_both_ways_to_write_an_answer_say_the_same() -> None:
    """The lane's rendering and the headers that Quart is given are alike, but for the date."""
    edge = _edge("*")
    answer = json_answer(200, {"a": 1})
    _, headers, _ = _parse(edge.render(answer, b"r", b"https://a.test", keep_alive=False))
    assert headers.pop(b"date")
    assert headers.pop(b"connection") == b"close"
    assert headers == dict(edge.headers(answer, b"r", b"https://a.test"))


@pytest.mark.parametrize("offered", [b"a", b"A-Z.09_:/+=@", b"x" * 128])
def test_sane_request_ids_are_kept(offered: bytes) -> None:
    """An id of harmless characters, not too long, is the client's to choose."""
    assert _edge().request_id(offered) == offered


@pytest.mark.parametrize(
    "offered", [b"", b" ", b"a b", b"x" * 129, b"a\r\nb: c", b"a\n", b"\xe9", b"a;b", b'"']
)
def test_other_request_ids_are_replaced(offered: bytes) -> None:
    """Anything that could break out of a header or a log line is replaced by an id of our own."""
    edge = _edge()
    made = {edge.request_id(offered) for _ in range(3)}
    assert len(made) == 3
    assert all(edge.request_id(one) == one for one in made)


def test_without_origins_nothing_is_said_of_them() -> None:
    """Where no browser app may call, answers do not even vary by origin."""
    assert _edge().cors_headers(b"https://a.test") == ()
    assert _edge().preflight_headers(b"https://a.test") == ()


def test_origins_are_compared_whole() -> None:
    """Only the exact origin is allowed: no prefix, no other scheme, port or case."""
    edge = _edge("https://a.test")
    assert dict(edge.cors_headers(b"https://a.test"))[b"access-control-allow-origin"]
    for origin in (b"", b"null", b"http://a.test", b"https://a.test:8443", b"https://a.test.evil"):
        assert edge.cors_headers(origin) == ((b"vary", b"Origin"),)


def test_the_date_follows_the_clock() -> None:
    """The Date header is made once a second, and right in every one."""
    clock = HandClock()
    edge = _edge(clock=clock)
    dates = []
    for _ in range(3):
        raw = edge.render(json_answer(200, {}), b"r", b"", keep_alive=True)
        dates.append(_parse(raw)[1][b"date"])
        clock.now += 0.5
    assert dates[:2] == [b"Tue, 14 Nov 2023 22:13:20 GMT"] * 2
    assert dates[2] == b"Tue, 14 Nov 2023 22:13:21 GMT"
