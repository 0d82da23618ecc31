import socket
import time
from collections.abc import Callable

import pytest

from penstock.bench import closed_loop
from penstock.bench.closed_loop import ClosedLoop, ServerGoneError

Script = Callable[[int], tuple[bytes, bool]]
Serve = Callable[[Script], tuple[str, int]]


def _answer(status: int, body: bytes = b"{}", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} Some\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body


def _request(_connection: int) -> bytes:
    return b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"


def test_answers_are_counted_by_status(serve: Serve) -> None:
    """Every answer is counted under its status, and each has a latency."""
    address = serve(lambda n: (_answer(429 if n % 4 == 3 else 202), False))
    with ClosedLoop(address, 3) as loop:
        result = loop.run(_request, requests=200)
    assert result.by_status == {202: 150, 429: 50}
    assert result.requests == len(result.latencies) == 200
    assert result.failures == result.reconnects == 0
    assert result.rate == pytest.approx(200 / result.seconds)
    latency = result.latencies.as_latency()
    assert 0 < latency.p50_ms <= latency.max_ms


def test_garbage_is_no_answer(serve: Serve) -> None:
    """What is not an answer is counted as unreadable, and the connection is made anew."""
    address = serve(lambda n: (b"no HTTP at all" if n % 2 else _answer(202), False))
    with ClosedLoop(address, 1) as loop:
        result = loop.run(_request, requests=20)
    assert result.by_status == {202: 10}
    assert result.unreadable == result.failures == result.reconnects == 10


def test_a_close_without_an_answer_is_a_failure(serve: Serve) -> None:
    """A connection that ends instead of answering is counted, and the load goes on."""
    address = serve(lambda n: (b"", True) if n % 5 == 0 else (_answer(202), False))
    with ClosedLoop(address, 1) as loop:
        result = loop.run(_request, requests=20)
    assert result.by_status == {202: 16}
    assert result.closed == result.failures == 4


def test_an_announced_close_is_no_failure(serve: Serve) -> None:
    """An answer that announces the connection's end counts; the next request gets a new one."""
    address = serve(lambda _: (_answer(202, extra="Connection: close\r\n"), True))
    with ClosedLoop(address, 2) as loop:
        result = loop.run(_request, requests=10)
    assert result.by_status == {202: 10}
    assert (result.failures, result.reconnects) == (0, 10)


def test_a_silent_server_ends_the_run(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are never answered are counted as such, and the run still ends."""
    monkeypatch.setattr(closed_loop, "DRAIN_SECONDS", 0.1)
    address = serve(lambda _: (b"", False))
    with ClosedLoop(address, 3) as loop:
        result = loop.run(_request, requests=100)
        assert (result.requests, result.unanswered) == (0, 3)


def test_a_run_ends_with_its_time_and_leaves_nothing_due(serve: Serve) -> None:
    """After a timed run no answer is on its way, so the next run counts only its own."""
    address = serve(lambda _: (_answer(202), False))
    with ClosedLoop(address, 4) as loop:
        timed = loop.run(_request, seconds=0.1)
        counted = loop.run(_request, requests=10)
    assert timed.seconds == pytest.approx(0.1, rel=0.2)
    assert timed.requests > 0
    assert timed.failures == 0
    assert counted.by_status == {202: 10}


def test_a_pace_is_a_bound(serve: Serve) -> None:
    """With a pace, requests are sent no faster than it."""
    address = serve(lambda _: (_answer(202), False))
    begun = time.monotonic()
    with ClosedLoop(address, 4) as loop:
        result = loop.run(_request, requests=21, per_second=100.0)
    assert time.monotonic() - begun >= 0.2
    assert result.by_status == {202: 21}


def test_a_server_that_is_gone_is_told() -> None:
    """A server that nobody listens for ends the load with an error that names its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ServerGoneError, match=str(address[1])), ClosedLoop(address, 1):
        pass
