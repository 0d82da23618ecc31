"""Connections to the server: non-blocking, kept alive, each with one request under way.

Theory of operation
-------------------
::

    CONNECTING -> FREE -> BUSY -> FREE            an answer that keeps the connection
         |          |       └--> closed           an answer that closes it, or comes before the
         |          |                             request is out; no answer at all: request lost
         |          └----------> closed           the server ends it, or talks out of turn
         └---------------------> refused          counted; its pool tries again, ever later

A pool has some connections at most, opened when a request finds none free. Requests that find
none wait in the pool in the order in which they came: they are late from then on, and nobody
waits with them. A pool of one connection is one patient's client.

Reading is level-triggered. A request that does not fit into the socket's buffer goes out when
epoll says that there is room. Sockets are closed only after all events of one poll are dealt with,
so that no event is taken for that of a new socket with the same number.
"""

import errno
import heapq
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from itertools import count
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from penstock.bench.answers import UnreadableAnswerError
from penstock.bench.load.replies import Reply, read_reply

Request = TypeVar("Request")

_READ_BYTES = 4096
_MOST_EVENTS = 512
_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 1.0


class Phase(Enum):
    """What a connection is doing."""

    CONNECTING = auto()
    FREE = auto()
    BUSY = auto()
    CLOSED = auto()


class Client(Protocol[Request]):
    """Whose requests are carried. Called from within `Network.turn` and `Pool.submit`."""

    def render(self, request: Request, connection: "Connection[Request]") -> bytes:
        """Give the request's bytes; they go out now, on this connection."""
        ...

    def answered(self, request: Request, reply: Reply, now: float) -> None:
        """Take the answer, and the `time.monotonic()` at which it was read."""
        ...

    def lost(self, request: Request, how: str) -> None:
        """Learn that no answer will come: `closed`, `unreadable`, or as `abandon` was told."""
        ...


class Connection(Generic[Request]):
    """One socket. Only its network and its pool call it, but for `push` and `abandon`."""

    __slots__ = ("held", "link", "number", "phase", "pool", "request", "unsent")

    def __init__(self, pool: "Pool[Request]", link: socket.socket) -> None:
        self.pool = pool
        self.link = link
        self.number = link.fileno()
        self.phase = Phase.CONNECTING
        self.request: Request | None = None
        self.held = b""
        self.unsent: memoryview | None = None

    def begin(self, request: Request) -> None:
        """Send a request; the connection is free."""
        self.request = request
        self.phase = Phase.BUSY
        network = self.pool.network
        self._send(network.client.render(request, self))

    def push(self, data: bytes) -> None:
        """Send more of the request under way, unless the connection has ended since."""
        if self.phase is Phase.BUSY and self.unsent is None:
            self._send(data)

    def abandon(self, how: str) -> None:
        """Give the request up and close."""
        if self.phase is Phase.BUSY:
            self._lose(how)

    def _send(self, data: bytes | memoryview) -> None:
        try:
            sent = self.link.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # A server that answers before it has read may close; what it said is still read first.
            sent = len(data)
        network = self.pool.network
        if sent < len(data):
            if self.unsent is None:
                network.watch(self, select.EPOLLIN | select.EPOLLOUT)
            self.unsent = memoryview(data)[sent:]
        elif self.unsent is not None:
            self.unsent = None
            network.watch(self, select.EPOLLIN)

    def attend(self, events: int) -> None:
        """Do what epoll says can be done."""
        if self.phase is Phase.CONNECTING:
            self._settle()
            return
        if self.unsent is not None and events & select.EPOLLOUT:
            self._send(self.unsent)
            if not events & ~select.EPOLLOUT:
                return
        self._read()

    def _settle(self) -> None:
        failed = self.link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        pool = self.pool
        if failed:
            pool.network.close(self)
            pool.refused()
            return
        pool.network.watch(self, select.EPOLLIN)
        pool.connected(self)

    def _read(self) -> None:
        try:
            data = self.link.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        request = self.request
        if request is None:
            # Nothing was asked: the server ends an idle connection, or says that it will.
            self.pool.network.close(self)
            self.pool.ended()
            return
        if not data:
            self._lose("closed")
            return
        if self.held:
            data = self.held + data
        try:
            reply = read_reply(data)
        except UnreadableAnswerError:
            self._lose("unreadable")
            return
        if reply is None:
            self.held = data
            return
        self.held = b""
        self.request = None
        pool = self.pool
        now = time.monotonic()
        # First the connection goes on: what waits has waited longer than what the answer brings.
        if reply.closes or self.unsent is not None:
            pool.network.close(self)
            pool.ended()
        else:
            pool.freed(self)
        pool.network.client.answered(request, reply, now)

    def _lose(self, how: str) -> None:
        request, self.request = self.request, None
        pool = self.pool
        pool.network.close(self)
        pool.ended()
        if request is not None:
            pool.network.client.lost(request, how)


class Pool(Generic[Request]):
    """Up to a number of connections, and the requests that wait for one of them."""

    __slots__ = ("_free", "_limit", "_open", "_retry_after", "_retrying", "network", "resting",
                 "waiting")  # fmt: skip

    def __init__(self, network: "Network[Request]", limit: int) -> None:
        self.network = network
        self.waiting: deque[Request] = deque()
        self.resting = False
        self._free: deque[Connection[Request]] = deque()
        self._limit = limit
        self._open = 0
        self._retrying = False
        self._retry_after = _FIRST_RETRY_SECONDS

    def submit(self, request: Request) -> None:
        """Send the request now if a connection is free, else as soon as one is."""
        self.resting = False
        if self._free:
            self._free.popleft().begin(request)
            return
        self.waiting.append(request)
        self._grow()

    def rest(self) -> None:
        """Close what is free now, and what is not when it is, until the next request."""
        self.resting = True
        while self._free:
            self.network.close(self._free.popleft())
            self._open -= 1

    def connected(self, connection: Connection[Request]) -> None:
        """Take a new connection into use."""
        recovered = self._retry_after > _FIRST_RETRY_SECONDS
        self._retry_after = _FIRST_RETRY_SECONDS
        self.freed(connection)
        if recovered:
            for _ in range(min(len(self.waiting), self._limit - self._open)):
                self._grow()

    def freed(self, connection: Connection[Request]) -> None:
        """Let the connection have the request that waits longest."""
        if self.waiting:
            connection.begin(self.waiting.popleft())
        elif self.resting:
            self.network.close(connection)
            self._open -= 1
        else:
            connection.phase = Phase.FREE
            self._free.append(connection)

    def ended(self) -> None:
        """Do without a connection that was closed; open another if it is needed."""
        self._open -= 1
        # A free one ends rarely, and is found here rather than at every request.
        if any(one.phase is Phase.CLOSED for one in self._free):
            self._free = deque(one for one in self._free if one.phase is not Phase.CLOSED)
        if self.waiting:
            self._grow()

    def refused(self) -> None:
        """Try again after a while, with one connection; each time in a row the while is longer."""
        self._open -= 1
        self.network.refused += 1
        if not self._retrying:
            self._retrying = True
            self.network.later(self._retry_after, self._retry)
            self._retry_after = min(2 * self._retry_after, _LAST_RETRY_SECONDS)

    def _retry(self) -> None:
        self._retrying = False
        if self.waiting:
            self._grow()

    def _grow(self) -> None:
        if self._open < self._limit and not self._retrying:
            self._open += 1
            self.network.connect(self)


class Network(Generic[Request]):
    """All sockets of one worker, and what is to be done later."""

    def __init__(self, address: tuple[str, int], client: Client[Request]) -> None:
        self.client = client
        self.refused = 0
        self._address = address
        self._family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._epoll = select.epoll()
        self._by_number: dict[int, Connection[Request]] = {}
        self._closing: list[socket.socket] = []
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self._by_number.values():
            connection.link.close()
        self._by_number.clear()
        self._close_links()
        self._epoll.close()

    @property
    def open_connections(self) -> int:
        """Give how many sockets there are, those still connecting included."""
        return len(self._by_number)

    @property
    def busy(self) -> list[Connection[Request]]:
        """Give the connections with a request under way."""
        return [one for one in self._by_number.values() if one.phase is Phase.BUSY]

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something from a turn, so many seconds from now at the earliest."""
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), call))

    def turn(self, seconds: float) -> None:
        """Wait until something can be done, so long at most, and do it."""
        if self._later:
            seconds = min(seconds, self._later[0][0] - time.monotonic())
        if seconds > 0:
            # epoll's own timeout is in milliseconds: a request a millisecond late is a bad measure.
            select.select([self._epoll], [], [], seconds)
        by_number = self._by_number
        for number, events in self._epoll.poll(0, _MOST_EVENTS):
            connection = by_number.get(number)
            if connection is not None:
                connection.attend(events)
        if self._closing:
            self._close_links()
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()

    def connect(self, pool: Pool[Request]) -> None:
        """Begin a connection for a pool."""
        try:
            link = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            pool.refused()
            return
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = link.connect_ex(self._address)
        if failed not in (0, errno.EINPROGRESS):
            link.close()
            pool.refused()
            return
        connection = Connection(pool, link)
        self._by_number[connection.number] = connection
        self._epoll.register(connection.number, select.EPOLLIN | select.EPOLLOUT)

    def watch(self, connection: Connection[Request], events: int) -> None:
        """Say what a connection waits for."""
        self._epoll.modify(connection.number, events)

    def close(self, connection: Connection[Request]) -> None:
        """End a connection. Its pool is told by whoever ends it."""
        connection.phase = Phase.CLOSED
        del self._by_number[connection.number]
        self._epoll.unregister(connection.number)
        self._closing.append(connection.link)

    def _close_links(self) -> None:
        for link in self._closing:
            link.close()
        self._closing.clear()
