"""One client's connection: the express lane in front of Hypercorn's protocol.

Theory of operation
-------------------
The connection starts with nothing but the lane's reader. Only when something arrives that is not
the lane's (another route, HTTP/2, anything unusual) are Hypercorn's protocol and its task group
made; from then on both live side by side, and the lane looks at the bytes whenever Hypercorn's
protocol stands between requests. TLS connections belong to Hypercorn alone.

The lane reads and writes the socket's file descriptor directly: one wake-up (see `poller`), one
read and one write a request, and no timer. Time limits are one number, `deadline`, which the
front's sweeper compares with its clock a few times a second; that clock is fine enough to set them
by, too. The phases are those of `phases`.
"""

import logging
import os
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from penstock.http.cold import ColdProtocol
from penstock.http.exchange import Answer
from penstock.http.express import Early, Express, Hot, Step
from penstock.http.http2 import StreamsProtocol
from penstock.http.phases import BUSY, Phase
from penstock.http.pose import PATH
from penstock.http.problems import Problem, problem_answer
from penstock.http.protocols import Protocols

if TYPE_CHECKING:
    from penstock.http.front import Front

logger = logging.getLogger(__name__)

_READ_BYTES = 16_384  # a usual batch with its head; the buffer is allocated for each read
_FAREWELL_SECONDS = 1.0  # for a last answer to a client that may not read any more


class Connection(TCPServer):
    """Owns one socket from accept to close."""

    def __init__(self, front: "Front", stream: trio.SocketStream | trio.SSLStream[Any]) -> None:
        # Hypercorn's half is made when it is first needed: most connections never need it.
        self.stream = cast("trio.SSLStream[trio.SocketStream]", stream)
        self._front = front
        self._tls = isinstance(stream, trio.SSLStream)
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._socket = transport.socket
        self._fd = self._socket.fileno()
        self._news = front.poller.register(self._fd)
        self._unread = False
        # What `_serve_nowait` leaves to the connection's task: what it has read, or could not send.
        self._step: Hot | Early | Step | None = None
        self._unsent = b""
        self._express = Express(front.head_limits, front.pose.known_heads)
        self._hypercorn: Protocols | None = None
        self._scope = trio.CancelScope()
        self._sending: trio.CancelScope | None = None
        self._timed_out = False
        self._ended = False
        self._began = 0.0
        self._enter(Phase.IDLE)

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
        if self.phase is Phase.IDLE:
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
            self._front.poller.forget(self._news)
            with trio.move_on_after(_FAREWELL_SECONDS, shield=True):
                await self.stream.aclose()
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
        self._news.serve_nowait = self._serve_nowait
        try:
            while await self._fill_express():
                if await self._serve_hot() is Step.COLD:
                    return express.surrender()
        finally:
            self._news.serve_nowait = None
        # Half a request and then no more: Hypercorn has the answer to that, too.
        if express.pending and self.phase is not Phase.CLOSING:
            self._ended = True
            return express.surrender()
        return None

    async def _fill_express(self) -> bool:
        # A function of its own, so that nobody keeps the last request's bytes while waiting.
        data = await self._receive()
        if self._woken_with_work:
            unsent, self._unsent = self._unsent, b""
            if unsent:
                await self._send(unsent)
                self._enter(Phase.IDLE)
            return True
        if self.phase is not Phase.CLOSING:
            self._express.receive(data)
        return bool(data)

    async def _converse_mixed(self, alpn: str, data: bytes | None) -> None:
        async with TaskGroup() as group:
            self._task_group = group
            hypercorn = self._hypercorn = self.protocol = self._make_hypercorn(alpn, group)
            await hypercorn.initiate()
            while True:
                if data is None:
                    data = b"" if self._ended else await self._receive()
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
            if await self._serve_hot() is Step.COLD:
                await self._hand_over(self._express.surrender())
            return
        if self._express.pending:
            await self._hand_over(self._express.surrender())
        protocol = self._hypercorn.protocol if self._hypercorn is not None else None
        if not data and isinstance(protocol, ColdProtocol) and protocol.request_complete:
            # The client has closed its side only; it still waits for this answer.
            with trio.move_on_after(self._front.limits.request_timeout_seconds):
                await protocol.wait_answered()
        await self._hand_over(data)

    def _lane_open(self) -> bool:
        if self._tls or not self._front.limits.express_lane or self._hypercorn is None:
            return False
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

    async def _receive(self) -> bytes:
        """Wait for bytes; none means that the client has sent its last."""
        try:
            if self._tls:
                return bytes(await self.stream.receive_some(MAX_RECV))
            news = self._news
            while True:
                if not self._unread:
                    await news.wait()
                    if self._woken_with_work:
                        return b""
                try:
                    data = os.read(self._fd, _READ_BYTES)
                except BlockingIOError:
                    self._unread = False
                    continue
                self._unread = len(data) == _READ_BYTES or news.ended
                self._began = perf_counter()
                return data
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    # Answering hot requests.

    @property
    def _woken_with_work(self) -> bool:
        return self._step is not None or bool(self._unsent)

    def _serve_nowait(self) -> bool:
        """Answer a hot request from the poller's task, while this connection's own one sleeps.

        False leaves the rest to that task: whatever has to wait, or is not plain.
        """
        front = self._front
        express = self._express
        if front.draining or self.phase is not Phase.IDLE:
            return False
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._began = perf_counter()
        self._unread = not data or len(data) == _READ_BYTES
        express.receive(data)
        self._step = step = express.next_step()
        if type(step) is not Hot or not step.keep_alive or express.pending or self._unread:
            return False
        try:
            answer = front.pose.answer_nowait(step.head, step.body)
        except Exception:
            logger.exception("request.failed", extra={"route": PATH})
            answer = problem_answer(Problem.INTERNAL)
        if answer is None:
            return False
        self._step = None
        rendered = self._render(step, answer, keep_alive=True)
        try:
            sent = os.write(self._fd, rendered)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._scope.cancel()
            return True
        self._observe(answer)
        self._unsent = rendered[sent:]
        if self._unsent:
            self._enter(Phase.WORKING)
            return False
        self.deadline = front.now + front.time_limits[Phase.IDLE]
        return True

    async def _serve_hot(self) -> Step:
        """Answer what is whole. COLD: the rest is Hypercorn's. MORE: read on."""
        express = self._express
        while self.phase is not Phase.CLOSING:
            step, self._step = self._step or express.next_step(), None
            if type(step) is Hot:
                await self._answer_hot(step)
                if not express.pending:
                    break
                await trio.lowlevel.checkpoint()  # pipelined: let others have their turn
                continue
            if step is Step.COLD:
                return Step.COLD
            if express.pending and self.phase is Phase.IDLE:
                self._enter(Phase.RECEIVING)
            if express.head is not None:
                # The body is not here yet, or too large: do not wait, or hold memory, for a
                # request that has failed already.
                refused = self._front.pose.check_head(express.head)
                if isinstance(refused, Answer):
                    await self._send_answer(Hot(express.head, b"", keep_alive=False), refused)
            break
        return Step.MORE

    async def _answer_hot(self, hot: Hot) -> None:
        self.phase = Phase.WORKING
        self.deadline = inf
        try:
            answer = await self._front.pose.answer(hot.head, hot.body)
        except Exception:
            logger.exception("request.failed", extra={"route": PATH})
            answer = problem_answer(Problem.INTERNAL)
        await self._send_answer(hot, answer)

    def _render(self, hot: Hot, answer: Answer, *, keep_alive: bool) -> bytes:
        edge, head = self._front.edge, hot.head
        request_id = edge.request_id(head.request_id)
        return edge.render(answer, request_id, head.origin, keep_alive=keep_alive)

    def _observe(self, answer: Answer) -> None:
        self._front.meter.observe("express", PATH, answer.code, perf_counter() - self._began)

    async def _send_answer(self, hot: Hot, answer: Answer) -> None:
        keep_alive = hot.keep_alive and not self._front.draining
        await self._send(self._render(hot, answer, keep_alive=keep_alive))
        self._observe(answer)
        if keep_alive:
            self._enter(Phase.IDLE)
        else:
            await self._close()

    async def _send(self, data: bytes) -> None:
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):  # the client does not read: it has as long as a request may take
            self.deadline = self._front.now + self._front.limits.request_timeout_seconds
            await self.stream.send_all(data[sent:])

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
        with trio.move_on_after(_FAREWELL_SECONDS):
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

    async def _close(self) -> None:
        # Reading goes on, into nothing: closing a socket that has unread input resets it, and the
        # client may lose the answer.
        if self.phase is Phase.CLOSING:
            return
        self._enter(Phase.CLOSING)
        if self._tls:  # it has no half-close
            self._scope.cancel()
            return
        if self._hypercorn is not None:
            # What is being sent comes before the end. Shielded, because Hypercorn calls this from
            # the request's task, which may be cancelled by now.
            with trio.CancelScope(shield=True):
                async with self.send_lock:
                    pass
        try:
            self._socket.shutdown(trio.socket.SHUT_WR)
        except OSError:
            self._scope.cancel()

    def _enter(self, phase: Phase) -> None:
        front = self._front
        if phase is Phase.WORKING is self.phase:
            return  # another request of the same connection: the first one's limit stays
        self.phase = phase
        if phase is Phase.IDLE and front.draining:
            phase = Phase.CLOSING  # HTTP/2 ends nothing by itself, and a late client waits in vain
        self.deadline = front.now + front.time_limits[phase]

    def _make_hypercorn(self, alpn: str, group: TaskGroup) -> Protocols:
        peer = parse_socket_addr(self._socket.family, self._socket.getpeername())
        here = parse_socket_addr(self._socket.family, self._socket.getsockname())
        front = self._front
        super().__init__(front.app, front.config, front.context, front.state, self.stream)
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
