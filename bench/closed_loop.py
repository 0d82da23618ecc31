"""A closed-loop load generator: every connection has exactly one request under way.

Theory of operation
-------------------
::

    ready -> send -> waiting -> answer read, counted -> ready
                        └-> closed or unreadable: counted, connected anew -> ready

One thread, plain sockets and epoll, because the generator must be faster than what it measures.
Sockets are read only when epoll says so, and written with the kernel's own send timeout, since a
request fits into the socket's buffer unless the server has stopped reading.

A closed loop measures throughput. Its latencies are those of a server that always has
`connections` requests before it: a slow server is asked less often, so they say nothing about
what callers at a fixed pace would see.

Linux only (epoll, and the servers' figures come from /proc).
"""

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from penstock.bench.answers import UnreadableAnswerError, read_answer
from penstock.bench.errors import BenchError
from penstock.bench.latencies import Latencies

# Gives the next request for a connection by its number.
NextRequest = Callable[[int], bytes]

# How long an answer that is due may take once nothing more is sent, or while nothing else comes.
DRAIN_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_SEND_TIMEOUT = struct.pack("ll", 5, 0)
_READ_BYTES = 16_384
_MOST_EVENTS = 1024


class ServerGoneError(BenchError):
    """Nobody accepts connections at the server's address any more."""


@dataclass(slots=True, frozen=True, eq=False)
class LoadResult:
    """What one run saw. `requests` are those answered, `failures` those that never were."""

    requests: int
    seconds: float
    by_status: dict[int, int]
    closed: int
    unreadable: int
    unanswered: int
    reconnects: int
    latencies: Latencies
    generator_cpu_share: float

    @property
    def rate(self) -> float:
        """Give answers a second."""
        return self.requests / self.seconds

    @property
    def failures(self) -> int:
        """Give how many requests got no answer that could be read."""
        return self.closed + self.unreadable + self.unanswered


class _Connection:
    __slots__ = ("held", "link", "number", "sent_at")

    def __init__(self, number: int, connected: socket.socket) -> None:
        self.number = number
        self.link = connected
        self.sent_at = 0.0
        self.held = b""


class _Counts:
    __slots__ = ("by_status", "closed", "latencies", "reconnects", "sent", "unreadable")

    def __init__(self) -> None:
        self.by_status: dict[int, int] = {}
        self.closed = self.unreadable = self.reconnects = self.sent = 0
        self.latencies = Latencies()


class ClosedLoop:
    """A number of connections to one server, kept open from run to run."""

    def __init__(self, address: tuple[str, int], connections: int) -> None:
        self._address = address
        self._number = connections
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._waiting: set[_Connection] = set()
        self._ready: deque[_Connection] = deque()
        self._counts = _Counts()

    def __enter__(self) -> Self:
        try:
            for number in range(self._number):
                self._connect(number)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def run(
        self,
        next_request: NextRequest,
        *,
        seconds: float | None = None,
        requests: int | None = None,
        per_second: float | None = None,
    ) -> LoadResult:
        """Send until the time is over or the number is sent; then wait for the answers due.

        Answers that arrive after the time are not counted, as if the run had ended there.
        `per_second` bounds the pace; without it, every answer is followed by the next request.
        """
        counts = self._counts = _Counts()
        most = requests if requests is not None else 1 << 62
        begun, cpu_begun = time.perf_counter(), time.process_time()
        deadline = begun + seconds if seconds is not None else float("inf")
        now = heard = begun
        # A server that says nothing at all ends the run; otherwise its number might never be sent.
        while now < deadline and now - heard < DRAIN_SECONDS:
            due = most if per_second is None else min(most, 1 + int((now - begun) * per_second))
            while self._ready and counts.sent < due:
                counts.sent += 1
                self._send(self._ready.popleft(), next_request)
            if not self._waiting and counts.sent >= most:
                break
            pause = self._pause(counts.sent, most, begun, now, per_second)
            taken = self._take_answers(min(pause, deadline - now))
            now = time.perf_counter()
            heard = now if taken or not self._waiting else heard
        seconds_run = min(time.perf_counter(), deadline) - begun
        cpu_share = (time.process_time() - cpu_begun) / (time.perf_counter() - begun)
        unanswered = self._drain(counts)
        return LoadResult(
            requests=sum(counts.by_status.values()),
            seconds=seconds_run,
            by_status=dict(sorted(counts.by_status.items())),
            closed=counts.closed,
            unreadable=counts.unreadable,
            unanswered=unanswered,
            reconnects=counts.reconnects,
            latencies=counts.latencies,
            generator_cpu_share=cpu_share,
        )

    def _pause(
        self, sent: int, most: int, begun: float, now: float, per_second: float | None
    ) -> float:
        """Say how long there can be nothing to do but to wait for an answer."""
        if per_second is None or not self._ready or sent >= most:
            return DRAIN_SECONDS
        return max(0.0, begun + sent / per_second - now)

    def _take_answers(self, timeout: float) -> int:
        events = self._epoll.poll(max(0.0, timeout), _MOST_EVENTS)
        for descriptor, _ in events:
            self._read(self._open[descriptor])
        return len(events)

    def _send(self, connection: _Connection, next_request: NextRequest) -> None:
        request = next_request(connection.number)
        connection.sent_at = time.perf_counter()
        self._waiting.add(connection)
        try:
            connection.link.sendall(request)
        except OSError:
            # A server that answers before it has read may close; what it said is still read first.
            return

    def _read(self, connection: _Connection) -> None:
        counts = self._counts
        try:
            data = connection.link.recv(_READ_BYTES)
        except OSError:
            data = b""
        if connection not in self._waiting:
            # Nothing was asked: the server closes an idle connection, or talks out of turn.
            counts.unreadable += bool(data)
            self._reconnect(connection)
            return
        if not data:
            counts.closed += 1
            self._reconnect(connection)
            return
        held = connection.held + data if connection.held else data
        try:
            answer = read_answer(held)
        except UnreadableAnswerError:
            counts.unreadable += 1
            self._reconnect(connection)
            return
        if answer is None:
            connection.held = held
            return
        connection.held = b""
        counts.latencies.record(int((time.perf_counter() - connection.sent_at) * 1e6))
        counts.by_status[answer.status] = counts.by_status.get(answer.status, 0) + 1
        if answer.closes:
            self._reconnect(connection)
            return
        self._waiting.discard(connection)
        self._ready.append(connection)

    def _drain(self, counts: _Counts) -> int:
        """Wait for the answers due, so that the next run finds every connection ready."""
        self._counts = _Counts()
        deadline = time.perf_counter() + DRAIN_SECONDS
        while self._waiting and (left := deadline - time.perf_counter()) > 0:
            self._take_answers(left)
        late, self._counts = self._counts, counts
        counts.closed += late.closed
        counts.unreadable += late.unreadable
        counts.reconnects += late.reconnects
        unanswered = len(self._waiting)
        for connection in list(self._waiting):
            self._reconnect(connection)
        return unanswered

    def _reconnect(self, connection: _Connection) -> None:
        self._counts.reconnects += 1
        self._waiting.discard(connection)
        if connection in self._ready:
            self._ready.remove(connection)
        del self._open[connection.link.fileno()]
        connection.link.close()
        self._connect(connection.number)

    def _connect(self, number: int) -> None:
        try:
            connected = socket.create_connection(self._address, _CONNECT_SECONDS)
        except OSError as error:
            host, port = self._address
            raise ServerGoneError(f"cannot connect to {host} port {port}: {error}") from None
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        connection = _Connection(number, connected)
        self._open[connected.fileno()] = connection
        self._epoll.register(connected.fileno(), select.EPOLLIN)
        self._ready.append(connection)

    def _close(self) -> None:
        for connection in self._open.values():
            connection.link.close()
        self._open.clear()
        self._waiting.clear()
        self._ready.clear()
        self._epoll.close()
