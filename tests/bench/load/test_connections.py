import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from penstock.bench.load.connections import Connection, Network, Pool
from penstock.bench.load.replies import Reply

ANSWER = b"HTTP/1.1 202 Some\r\ncontent-length: 2\r\n\r\n{}"
EARLY = b"HTTP/1.1 413 Some\r\ncontent-length: 2\r\n\r\n{}"
REFUSAL = b"HTTP/1.1 413 Some\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
BIG = 8 << 20


@dataclass
class _Client:
    """Requests are numbers; each is that many bytes long."""

    rendered: list[int] = field(default_factory=list)
    replies: list[tuple[int, int]] = field(default_factory=list)
    losses: list[tuple[int, str]] = field(default_factory=list)

    def render(self, request: int, connection: Connection[int]) -> bytes:
        assert connection.request == request
        self.rendered.append(request)
        return bytes(request)

    def answered(self, request: int, reply: Reply, now: float) -> None:
        assert now <= time.monotonic()
        self.replies.append((request, reply.status))

    def lost(self, request: int, how: str) -> None:
        self.losses.append((request, how))

    @property
    def done(self) -> int:
        return len(self.replies) + len(self.losses)


Converse = Callable[[socket.socket, int], None]


@contextmanager
def _network(
    converse: Converse, limit: int = 1
) -> Iterator[tuple[_Client, Network[int], Pool[int]]]:
    """Let every connection be conversed with in turn, by a thread; it knows their number."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        number = 0
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            # A client that closes with something unread resets.
            with link, suppress(ConnectionError):
                link.settimeout(5)
                converse(link, number)
            number += 1

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    client = _Client()
    try:
        with Network[int](listener.getsockname(), client) as network:
            yield client, network, Pool(network, limit)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        listener.close()


def _turn_until(network: Network[int], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        network.turn(0.05)


def _read(link: socket.socket, size: int) -> None:
    while size > 0:
        data = link.recv(min(size, 1 << 16))
        if not data:
            return
        size -= len(data)


def _until_closed(link: socket.socket) -> None:
    while link.recv(1 << 16):
        pass


def test_a_request_that_the_socket_cannot_hold_goes_out_whole() -> None:
    """A large request is sent as the server reads it, and the connection serves the next one."""

    def converse(link: socket.socket, _number: int) -> None:
        for size in (BIG, 10):
            _read(link, size)
            link.sendall(ANSWER)
        _until_closed(link)

    with _network(converse) as (client, network, pool):
        pool.submit(BIG)
        pool.submit(10)
        _turn_until(network, lambda: client.done == 2)
        assert client.replies == [(BIG, 202), (10, 202)]
        assert network.open_connections == 1


def test_an_answer_before_the_request_is_out_counts() -> None:
    """A server may refuse what it has not read; that connection is not used again."""
    answered = threading.Event()

    def converse(link: socket.socket, number: int) -> None:
        _read(link, 10)
        link.sendall(ANSWER if number else EARLY)
        if number == 0:
            # Nothing more is read, so the rest of the request stays where it is.
            answered.wait(5)
        else:
            _until_closed(link)

    with _network(converse) as (client, network, pool):
        pool.submit(BIG)
        pool.submit(10)
        _turn_until(network, lambda: client.done == 1)
        answered.set()
        _turn_until(network, lambda: client.done == 2)
        assert client.replies == [(BIG, 413), (10, 202)]


@pytest.mark.parametrize("farewell", [b"", REFUSAL])
def test_an_idle_connection_may_end(farewell: bytes) -> None:
    """A server that ends an idle connection, in silence or not, has lost nobody's request."""

    def converse(link: socket.socket, number: int) -> None:
        _read(link, 10)
        link.sendall(ANSWER)
        if number == 0:
            time.sleep(0.05)
            link.sendall(farewell)
        else:
            _until_closed(link)

    with _network(converse) as (client, network, pool):
        pool.submit(10)
        _turn_until(network, lambda: client.done == 1)
        _turn_until(network, lambda: network.open_connections == 0)
        pool.submit(10)
        _turn_until(network, lambda: client.done == 2)
        assert client.replies == [(10, 202), (10, 202)]


def test_what_waits_goes_in_the_order_in_which_it_came() -> None:
    """Of requests without a connection the one that waits longest is sent next."""

    def converse(link: socket.socket, _number: int) -> None:
        for size in range(1, 6):
            _read(link, size)
            link.sendall(ANSWER)
        _until_closed(link)

    with _network(converse) as (client, network, pool):
        for size in range(1, 6):
            pool.submit(size)
        _turn_until(network, lambda: client.done == 5)
        assert client.rendered == [1, 2, 3, 4, 5]


def test_a_resting_pool_has_no_connection_until_it_is_used() -> None:
    """Resting closes what is free, and what is not as soon as its answer is in."""

    def converse(link: socket.socket, _number: int) -> None:
        while True:
            try:
                if not link.recv(10):
                    return
                link.sendall(ANSWER)
            except OSError:
                return

    with _network(converse) as (client, network, pool):
        for number in range(3):
            pool.submit(10)
            if number == 1:
                pool.rest()
            _turn_until(network, lambda number=number: client.done == number + 1)
            if number != 1:
                assert network.open_connections == 1
                pool.rest()
            assert network.open_connections == 0
        assert client.losses == []


def test_an_abandoned_request_is_lost_as_told() -> None:
    """Giving up closes the connection, says how, and makes way for what waits."""

    def converse(link: socket.socket, number: int) -> None:
        _read(link, 10)
        if number:
            link.sendall(ANSWER)
        _until_closed(link)

    with _network(converse) as (client, network, pool):
        pool.submit(10)
        pool.submit(10)
        _turn_until(network, lambda: len(network.busy) == 1)
        network.busy[0].abandon("unanswered")
        _turn_until(network, lambda: client.done == 2)
        assert (client.losses, client.replies) == ([(10, "unanswered")], [(10, 202)])


def test_a_short_wait_is_not_rounded_up() -> None:
    """A turn waits more precisely than epoll itself, which waits a millisecond at the least."""

    def shortest(wait: Callable[[float], object]) -> float:
        taken = []
        for _ in range(50):
            begun = time.monotonic()
            wait(0.0001)
            taken.append(time.monotonic() - begun)
        return min(taken)

    with Network[int](("127.0.0.1", 1), _Client()) as network, select.epoll() as epoll:
        assert 0.0001 <= shortest(network.turn) < shortest(epoll.poll) / 2
