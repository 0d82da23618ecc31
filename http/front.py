"""The front: listening sockets, connections and their limits, and how all of it stops.

Hypercorn provides the configuration, TLS, HTTP/2 and the protocol of cold requests. The accept loop
is here because the connections are ours (`connection.Connection`), and because the order of
shutdown is this service's: notice, stop accepting, finish what is under way, close.
"""

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, LifespanState
from hypercorn.utils import repr_socket_addr

from penstock.http.acceptor import accept_forever
from penstock.http.connection import Connection
from penstock.http.edge import Edge
from penstock.http.express import HeadLimits
from penstock.http.hot_routes import HotRoutes, Route, Surface
from penstock.http.meters import RequestMeter
from penstock.http.phases import Phase
from penstock.http.poller import make_poller
from penstock.http.pose import PoseFrames
from penstock.http.problems import Problem, problem_answer

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 0.25
# Each may hold an answer that its client does not fetch.
_HTTP2_STREAMS = 32
# Connections over the limit that are being told so, at the same time.
_MOST_TURNED_AWAY = 100


@dataclass(slots=True, frozen=True)
class FrontLimits:
    """The front's bounds, by their settings' names."""

    max_connections: int
    max_header_bytes: int
    max_header_count: int
    request_timeout_seconds: float
    idle_timeout_seconds: float
    linger_seconds: float
    listen_backlog: int
    express_lane: bool


@dataclass(slots=True, frozen=True)
class Bind:
    """Where to listen, and with which certificate."""

    host: str
    port: int
    tls_cert: str | None = None
    tls_key: str | None = None


@dataclass(slots=True, frozen=True)
class FrontStatistics:
    """The connections now, and those so far."""

    connections: int
    accepted: int
    turned_away: int
    timed_out: int


class Front:
    """Everything that the connections share."""

    def __init__(
        self,
        app: ASGIFramework,
        pose: PoseFrames,
        edge: Edge,
        meter: RequestMeter,
        limits: FrontLimits,
        config: Config,
        surfaces: Mapping[Route, Surface] | None = None,
        beside: Sequence[Callable[[], Awaitable[None]]] = (),
        *,
        takes_pose: bool = True,
    ) -> None:
        """Put it together. `surfaces` answer the lane's routes besides that of the pose batches.

        Where pose batches are not taken, they are nothing to the lane, and for the application.
        What is in `beside` runs for as long as the front listens.
        """
        self.app = ASGIWrapper(app)
        self.pose = pose
        self.edge = edge
        self.meter = meter
        self.limits = limits
        self.config = config
        self.surfaces = surfaces or {}
        self.beside = beside
        self.hot_routes = HotRoutes(self.surfaces, pose=takes_pose)
        self.head_limits = HeadLimits(limits.max_header_bytes, limits.max_header_count)
        self.context = WorkerContext(None)
        self.state: LifespanState = {}
        self.connections: set[Connection] = set()
        self.addresses: list[str] = []
        self.draining = False
        self._none_left = trio.Event()
        self.now = trio.current_time()
        self.poller = make_poller()
        self.time_limits = {
            Phase.IDLE: limits.idle_timeout_seconds,
            Phase.RECEIVING: limits.request_timeout_seconds,
            Phase.WORKING: 3 * limits.request_timeout_seconds,
            Phase.LISTENING: inf,
            Phase.CLOSING: limits.linger_seconds,
        }
        self._accepting = trio.CancelScope()
        self._accepted = self._turned_away = self._timed_out = self._turning_away = 0

    async def drain(self) -> None:
        """Stop accepting and wait until every connection has had its last answer."""
        self.draining = True
        self._accepting.cancel()
        await self.context.terminated.set()
        for connection in list(self.connections):
            connection.drain()
        if self.connections:
            await self._none_left.wait()

    def statistics(self) -> FrontStatistics:
        """Count the connections."""
        return FrontStatistics(
            len(self.connections), self._accepted, self._turned_away, self._timed_out
        )

    async def _serve(self, stream: trio.SocketStream | trio.SSLStream[Any]) -> None:
        try:
            await self._serve_open(stream)
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve_open(self, stream: trio.SocketStream | trio.SSLStream[Any]) -> None:
        if len(self.connections) >= self.limits.max_connections:
            self._turned_away += 1
            if self._turning_away < _MOST_TURNED_AWAY:
                self._turning_away += 1
                try:
                    await self._turn_away(stream)
                finally:
                    self._turning_away -= 1
            else:  # a flood: not even that
                await trio.aclose_forcefully(stream)
            return
        self._accepted += 1
        connection = Connection(self, stream)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            if self.draining and not self.connections:
                self._none_left.set()

    async def _turn_away(self, stream: trio.SocketStream | trio.SSLStream[Any]) -> None:
        answer = problem_answer(
            Problem.TOO_MANY_CONNECTIONS,
            retry_after=1.0,
            setting="max_connections",
            limit=self.limits.max_connections,
            seen=len(self.connections),
        )
        with trio.move_on_after(self.limits.linger_seconds):
            try:
                if isinstance(stream, trio.SocketStream):  # a handshake would cost more than this
                    await stream.send_all(
                        self.edge.render(answer, self.edge.request_id(b""), b"", keep_alive=False)
                    )
                    await stream.send_eof()
                    while await stream.receive_some(65536):
                        pass
            except trio.BrokenResourceError:
                pass
        with trio.move_on_after(0):
            await stream.aclose()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(_SWEEP_SECONDS)
            self.now = now = trio.current_time()
            late = [connection for connection in self.connections if connection.deadline <= now]
            for connection in late:
                answered = connection.phase is Phase.CLOSING
                self._timed_out += connection.expire() and not answered

    async def _accept(
        self, listening: socket.socket, tls: ssl.SSLContext | None, nursery: trio.Nursery
    ) -> None:
        def take(stream: trio.SocketStream) -> None:
            if tls is None:
                nursery.start_soon(self._serve, stream)
                return
            secured = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            nursery.start_soon(self._serve, secured)

        with self._accepting:
            await accept_forever(listening, take)


def make_config(bind: Bind, limits: FrontLimits) -> Config:
    """Tell Hypercorn what we have decided."""
    config = Config()
    host = f"[{bind.host}]" if ":" in bind.host else bind.host
    config.bind = [f"{host}:{bind.port}"]
    config.certfile = bind.tls_cert
    config.keyfile = bind.tls_key
    config.backlog = limits.listen_backlog
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.max_header_bytes
    config.h2_max_concurrent_streams = _HTTP2_STREAMS
    config.h2_max_header_list_size = limits.max_header_bytes
    config.keep_alive_timeout = limits.idle_timeout_seconds
    config.keep_alive_max_requests = 1 << 62  # a load balancer's connections are long-lived
    config.ssl_handshake_timeout = limits.request_timeout_seconds
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


@asynccontextmanager
async def open_front(front: Front) -> AsyncIterator[Front]:
    """Listen around the block. Call `drain` inside it, with a deadline; leaving cuts the rest."""
    config = front.config
    sockets = config.create_sockets()
    ssl_context = config.create_ssl_context()
    listening = (*sockets.secure_sockets, *sockets.insecure_sockets)
    scheme = "http" if ssl_context is None else "https"
    for sock in listening:
        sock.listen(config.backlog)
        front.addresses.append(f"{scheme}://{repr_socket_addr(sock.family, sock.getsockname())}")
    lifespan = Lifespan(front.app, config, front.state)
    async with trio.open_nursery() as lifespan_nursery:
        await lifespan_nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(front.poller.run)
            nursery.start_soon(front._sweep)  # noqa: SLF001 - the front's own tasks
            for task in front.beside:
                nursery.start_soon(task)
            for sock in listening:
                nursery.start_soon(front._accept, sock, ssl_context, nursery)  # noqa: SLF001
            try:
                yield front
            finally:
                for connection in front.connections:
                    connection.cut()
                nursery.cancel_scope.cancel()
        front.poller.close()
        with trio.move_on_after(1, shield=True):
            await lifespan.wait_for_shutdown()
        lifespan_nursery.cancel_scope.cancel()
