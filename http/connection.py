"""One client's connection: the express lane in front of Hypercorn's protocol.

Theory of operation
-------------------
The connection starts with nothing but the lane (see `lane`). Only when something arrives that is
not the lane's (another route, HTTP/2, anything unusual) are Hypercorn's protocol and its task group
made; from then on both live side by side, and the lane looks at the bytes whenever Hypercorn's
protocol stands between requests. TLS connections belong to Hypercorn alone.

What Hypercorn has under way is urgent to the poller: see there.
"""

import logging
from math import inf
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from penstock.http.cold import ColdProtocol
from penstock.http.express import Step
from penstock.http.http2 import StreamsProtocol
from penstock.http.lane import FAREWELL_SECONDS, Lane
from penstock.http.phases import BUSY, Listening, Phase
from penstock.http.problems import Problem, problem_answer
from penstock.http.protocols import Protocols

if TYPE_CHECKING:
    from penstock.http.front import Front

logger = logging.getLogger(__name__)


class Connection(Lane, TCPServer):
    """Owns one socket from accept to close."""

    def __init__(self, front: "Front", stream: trio.SocketStream | trio.SSLStream[Any]) -> None:
        Lane.__init__(self, front, stream)
        # Hypercorn's half is made when it is first needed: most connections never need it.
        self._hypercorn: Protocols | None = None
        self._sending: trio.CancelScope | None = None
        self._timed_out = False
        self._ended = False

    # What the front calls.

    def expire(self) -> bool:
        """End what has taken too long; say whether it had."""
        if self.phase is Phase.WORKING and self._hypercorn is not None:
            # Other requests of the connection may have come and gone since.
            protocol = self._hypercorn.protocol
            began = protocol.oldest_began() if isinstance(protocol, StreamsProtocol) else None
            self.deadline = (began or 0.0) + self._front.time_limits[Phase.WORKING]
            if self.deadline > self._front.now:
                return False
        self._timed_out = self.phase is Phase.RECEIVING
        self.deadline = inf  # once is enough
        self.cut()
        return True

    def cut(self) -> None:
        """End it now, whatever is under way."""
        if self._sending is not None:
            self._sending.cancel()
        self._scope.cancel()

    def drain(self) -> None:
        """Close now if nothing is under way; else the answer under way is the last one."""
        if self.phase is not Phase.IDLE:
            return
        if self._front.poller.queued(self._news):  # a request has come, and will be answered
            self._enter(Phase.IDLE)  # within the time that a late one has
        else:
            self._scope.cancel()

    async def run(self) -> None:
        """Serve the connection to its end. Its failures stay here."""
        try:
            with self._scope:
                await self._converse()
            if self._timed_out:
                await self._say_farewell()
        except Exception as error:
            if not _only_of_os(error):
                logger.exception("connection.failed")
        finally:
            await self._end()
            if self._hypercorn is not None:  # it holds this connection, and this holds it
                self._hypercorn = None
                del self.protocol, self._task_group

    # Reading.

    async def _converse(self) -> None:
        if not self._tls and self._front.limits.express_lane:
            rest = await self._converse_express()
            if rest is not None:
                await self._converse_mixed("http/1.1", rest)
            return
        alpn = "http/1.1"
        if self._tls:
            await self.stream.do_handshake()
            alpn = self.stream.selected_alpn_protocol() or alpn
        await self._converse_mixed(alpn, None)

    async def _converse_express(self) -> bytes | None:
        """Serve hot requests only; give the bytes that are Hypercorn's, or None at the end."""
        express = self._express
        self._news.server = self
        while await self._fill_express():
            if await self._serve_hot() is Step.COLD:
                return express.surrender()
        # Half a request and then no more: Hypercorn has the answer to that, too.
        if express.pending and self.phase is not Phase.CLOSING:
            self._ended = True
            return express.surrender()
        return None

    async def _converse_mixed(self, alpn: str, data: bytes | None) -> None:
        async with TaskGroup() as group:
            self._task_group = group
            hypercorn = self._hypercorn = self.protocol = self._make_hypercorn(alpn, group)
            await hypercorn.initiate()
            while True:
                if data is None:
                    data = b"" if self._ended else await self._receive()
                if self._woken_with_work:
                    data = None
                    await self._send_rest()
                    await self._take_hot()
                    continue
                if self.phase is not Phase.CLOSING:
                    await self._take(data)
                if not data:
                    break
                data = None
            await hypercorn.handle(Closed())

    async def _take(self, data: bytes) -> None:
        """Give bytes, or the end of them, to whom they belong."""
        if data and self._lane_open():
            self._express.receive(data)
            await self._take_hot()
            return
        if self._express.pending:
            await self._hand_over(self._express.surrender())
        protocol = self._hypercorn.protocol if self._hypercorn is not None else None
        listens = self.phase is Phase.LISTENING  # until it goes
        if (
            not data
            and not listens
            and isinstance(protocol, ColdProtocol)
            and protocol.request_complete
        ):
            # The client has closed its side only; it still waits for this answer.
            with trio.move_on_after(self._front.limits.request_timeout_seconds):
                await protocol.wait_answered()
        await self._hand_over(data)

    async def _take_hot(self) -> None:
        if await self._serve_hot() is Step.COLD:
            await self._hand_over(self._express.surrender())

    def _lane_open(self) -> bool:
        if self._tls or not self._front.limits.express_lane:
            return False
        if self._hypercorn is None:
            return True
        protocol = self._hypercorn.protocol
        return isinstance(protocol, ColdProtocol) and protocol.between_requests

    async def _hand_over(self, data: bytes) -> None:
        hypercorn = self._hypercorn
        if hypercorn is None:
            return
        if self.phase is Phase.IDLE and isinstance(hypercorn.protocol, ColdProtocol):
            self._enter(Phase.RECEIVING)
        await hypercorn.handle(RawData(data))
        # HTTP/2's preface, and streams that the client resets, leave no request behind; Hypercorn
        # tells of neither.
        protocol = hypercorn.protocol
        if isinstance(protocol, StreamsProtocol) and protocol.idle and self.phase in BUSY:
            self._enter(Phase.IDLE)
        if self.phase is not Phase.WORKING:  # it is the client that is waited for
            self._front.poller.calm(self._news)

    async def _say_farewell(self) -> None:
        """Tell a client that was too slow, unless an answer was under way."""
        hypercorn = self._hypercorn
        protocol = hypercorn.protocol if hypercorn is not None else None
        if self._tls or (isinstance(protocol, ColdProtocol) and protocol.answer_begun):
            return
        edge = self._front.edge
        answer = problem_answer(
            Problem.REQUEST_TIMEOUT,
            setting="request_timeout_seconds",
            limit=self._front.limits.request_timeout_seconds,
        )
        with trio.move_on_after(FAREWELL_SECONDS):
            await self._send(edge.render(answer, edge.request_id(b""), b"", keep_alive=False))
            await self._close()
        with trio.move_on_after(self._front.limits.linger_seconds):
            while await self._receive():
                pass

    # What Hypercorn calls.

    async def protocol_send(self, event: Event) -> None:
        """Do what Hypercorn's protocol wants done with the connection."""
        if isinstance(event, RawData):
            await self._send_for_hypercorn(event.data)
        elif isinstance(event, Updated):
            self._enter(self._phase_between() if event.idle else Phase.WORKING)
            if not event.idle:
                self._front.poller.hurry(self._news)
        elif isinstance(event, Listening):
            self._enter(Phase.LISTENING)
        else:
            await super().protocol_send(event)

    async def _send_for_hypercorn(self, data: bytes) -> None:
        # A request that is cancelled (HTTP/2's RST_STREAM, an answer that is complete) must not
        # leave half a message behind: so the sending is shielded, and ended only by its own limit
        # or with the connection.
        limit = self._front.limits.request_timeout_seconds
        with trio.CancelScope(shield=True):
            async with self.send_lock:
                self._sending = trio.CancelScope(relative_deadline=limit)
                with self._sending:
                    try:
                        await self.stream.send_all(data)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        # Nobody is there; whoever waits for Hypercorn's next step would wait on.
                        self._scope.cancel()
                if self._sending.cancelled_caught:
                    self._scope.cancel()
                self._sending = None

    def _phase_between(self) -> Phase:
        """Tell whether the next request has begun to arrive behind the one just answered."""
        protocol = self._hypercorn.protocol if self._hypercorn is not None else None
        if isinstance(protocol, ColdProtocol) and not protocol.between_requests:
            return Phase.RECEIVING
        return Phase.IDLE

    async def _wait_sent(self) -> None:
        if self._hypercorn is not None:
            # What is being sent comes before the end. Shielded, because Hypercorn calls this from
            # the request's task, which may be cancelled by now.
            with trio.CancelScope(shield=True):
                async with self.send_lock:
                    pass

    def _make_hypercorn(self, alpn: str, group: TaskGroup) -> Protocols:
        peer = parse_socket_addr(self._socket.family, self._socket.getpeername())
        here = parse_socket_addr(self._socket.family, self._socket.getsockname())
        front = self._front
        TCPServer.__init__(self, front.app, front.config, front.context, front.state, self.stream)
        return Protocols(
            front.edge,
            self.app,
            self.config,
            self.context,
            group,
            ConnectionState(self.state.copy()),
            self._tls,
            peer,
            here,
            self.protocol_send,
            alpn,
        )


def _only_of_os(error: Exception) -> bool:
    """Say whether the client or its network caused this, also inside a task group."""
    kinds = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)
