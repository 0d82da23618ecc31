"""The express lane's half of a connection: the socket, its time limits, and hot requests.

Theory of operation
-------------------
The lane reads and writes the socket's file descriptor directly: one wake-up (see `poller`), one
read and one write a request, and no timer. Time limits are one number, `deadline`, which the
front's sweeper compares with its clock a few times a second; that clock is fine enough to set them
by, too. The phases are those of `phases`.

While the connection's task sleeps between two requests, the poller asks `may_wait` and
`serve_nowait`. What the latter cannot finish is left in `_step` and `_unsent` for the task.
"""

import logging
import os
import socket
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from hypercorn.trio.tcp_server import MAX_RECV

from penstock.http.exchange import Answer
from penstock.http.express import Express, Hot, Step
from penstock.http.hot_routes import POSE, TELLING_BYTES, may_be_pose
from penstock.http.phases import Phase
from penstock.http.problems import Problem, problem_answer

if TYPE_CHECKING:
    from penstock.http.front import Front

logger = logging.getLogger(__name__)

_READ_BYTES = 16_384  # a usual batch with its head; the buffer is allocated for each read
FAREWELL_SECONDS: Final = 1.0  # for a last answer to a client that may not read any more


class Lane:
    """One socket, and the hot requests that come over it."""

    def __init__(self, front: "Front", stream: trio.SocketStream | trio.SSLStream[Any]) -> None:
        self.stream = cast("trio.SSLStream[trio.SocketStream]", stream)  # as Hypercorn has it
        self._front = front
        self._tls = isinstance(stream, trio.SSLStream)
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._socket = transport.socket
        self._fd = self._socket.fileno()
        self._news = front.poller.register(self._fd)
        self._peeking: socket.socket | None = None
        self._unread = False
        # What `serve_nowait` leaves to the connection's task: what it has read, or could not send.
        self._step: Hot | Step | None = None
        self._unsent = b""
        self._express = Express(front.head_limits, front.pose.known_heads, front.hot_routes)
        self._scope = trio.CancelScope()
        self._began = 0.0
        self._enter(Phase.IDLE)

    # What the poller calls.

    def may_wait(self) -> bool:
        """Say whether what has come is a pose batch, or more of one."""
        if self.phase is not Phase.IDLE:
            return self.phase is Phase.CLOSING or self._express.pending_pose
        try:
            first = self._peek()
        except BlockingIOError:
            return True  # nothing is there, which is found out in its turn
        except OSError:
            return False
        return may_be_pose(first)

    def serve_nowait(self) -> bool:
        """Answer a pose batch from the poller's task, while this connection's own one sleeps.

        False leaves the rest to that task: whatever has to wait, or is not plain.
        """
        front = self._front
        if front.draining or self.phase is not Phase.IDLE or not self._lane_open():
            return False
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        hot = self._find_plain(data)
        if hot is None:
            return False
        try:
            answer = front.pose.answer_nowait(hot.head, hot.body)
        except Exception:
            logger.exception("request.failed", extra={"route": hot.route.path})
            answer = problem_answer(Problem.INTERNAL)
        if answer is None:
            return False
        self._step = None
        return self._answer_nowait(hot, answer)

    def _find_plain(self, data: bytes) -> Hot | None:
        """Give what has been read if it is one whole batch and nothing else."""
        self._began = perf_counter()
        self._unread = not data or len(data) == _READ_BYTES
        express = self._express
        express.receive(data)
        self._step = step = express.next_step()
        if type(step) is Hot and step.route is POSE:
            plain = step.keep_alive and not express.pending and not self._unread
            return step if plain else None
        if step is not Step.MORE:
            self._front.poller.hurry(self._news)
        return None

    def _answer_nowait(self, hot: Hot, answer: Answer) -> bool:
        rendered = self._render(hot, answer, keep_alive=True)
        try:
            sent = os.write(self._fd, rendered)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._scope.cancel()
            return True
        self._observe(hot, answer)
        self._unsent = rendered[sent:]
        if self._unsent:
            self._enter(Phase.WORKING)
            return False
        self.deadline = self._front.now + self._front.time_limits[Phase.IDLE]
        return True

    def _peek(self) -> bytes:
        # Trio's socket has no way to look without waiting. This one shares the descriptor with it,
        # and lets go of it before Trio closes it.
        peeking = self._peeking
        if peeking is None:
            theirs = self._socket
            peeking = self._peeking = socket.socket(
                theirs.family, theirs.type, theirs.proto, fileno=self._fd
            )
        return peeking.recv(TELLING_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)

    # Reading.

    def _lane_open(self) -> bool:
        """Say whether the next bytes are the lane's to read."""
        return True

    async def _fill_express(self) -> bool:
        # A function of its own, so that nobody keeps the last request's bytes while waiting.
        data = await self._receive()
        if self._woken_with_work:
            await self._send_rest()
            return True
        if self.phase is not Phase.CLOSING:
            self._express.receive(data)
        return bool(data)

    async def _receive(self) -> bytes:
        """Wait for bytes; none means that the client has sent its last, or `_woken_with_work`."""
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

    @property
    def _woken_with_work(self) -> bool:
        return self._step is not None or bool(self._unsent)

    async def _send_rest(self) -> None:
        """Send what the socket did not take from `serve_nowait`."""
        unsent, self._unsent = self._unsent, b""
        if unsent:
            await self._send(unsent)
            self._enter(Phase.IDLE)

    # Answering hot requests.

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
            self._front.poller.calm(self._news)  # it is the client that is waited for
            arriving = express.arriving
            if arriving is not None:
                # The body is not here yet: do not wait, or hold memory, for a request that has
                # failed already.
                refused = self._check_head(arriving)
                if isinstance(refused, Answer):
                    await self._send_answer(arriving, refused)
            break
        return Step.MORE

    def _check_head(self, hot: Hot) -> object:
        front = self._front
        if hot.route is POSE:
            return front.pose.check_head(hot.head)
        return front.surfaces[hot.route].check_head(hot.parameter, hot.head)

    async def _answer_hot(self, hot: Hot) -> None:
        front = self._front
        self.phase = Phase.WORKING
        self.deadline = inf
        try:
            if hot.route is POSE:
                answer = await front.pose.answer(hot.head, hot.body)
            else:
                front.poller.hurry(self._news)
                surface = front.surfaces[hot.route]
                hot.head.peer = self._peer()
                answer = await surface.answer(hot.parameter, hot.head, hot.body)
        except Exception:
            logger.exception("request.failed", extra={"route": hot.route.path})
            answer = problem_answer(Problem.INTERNAL)
        await self._send_answer(hot, answer)

    def _peer(self) -> str:
        try:
            return str(self._socket.getpeername()[0])
        except (OSError, IndexError):  # it has gone already, or has no address
            return ""

    def _render(self, hot: Hot, answer: Answer, *, keep_alive: bool) -> bytes:
        edge, head = self._front.edge, hot.head
        request_id = edge.request_id(head.request_id)
        return edge.render(answer, request_id, head.origin, keep_alive=keep_alive)

    def _observe(self, hot: Hot, answer: Answer) -> None:
        seconds = perf_counter() - self._began
        self._front.meter.observe("express", hot.route.path, answer.code, seconds)

    async def _send_answer(self, hot: Hot, answer: Answer) -> None:
        keep_alive = hot.keep_alive and not self._front.draining
        await self._send(self._render(hot, answer, keep_alive=keep_alive))
        self._observe(hot, answer)
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

    # Phases, and the end.

    def _enter(self, phase: Phase) -> None:
        front = self._front
        if phase is Phase.WORKING is self.phase:
            return  # another request of the same connection: the first one's limit stays
        if phase is not Phase.WORKING:
            front.poller.calm(self._news)
        self.phase = phase
        if phase is Phase.IDLE and front.draining:
            phase = Phase.CLOSING  # HTTP/2 ends nothing by itself, and a late client waits in vain
        self.deadline = front.now + front.time_limits[phase]

    async def _close(self) -> None:
        # Reading goes on, into nothing: closing a socket that has unread input resets it, and the
        # client may lose the answer.
        if self.phase is Phase.CLOSING:
            return
        self._enter(Phase.CLOSING)
        if self._tls:  # it has no half-close
            self._scope.cancel()
            return
        await self._wait_sent()
        try:
            self._socket.shutdown(trio.socket.SHUT_WR)
        except OSError:
            self._scope.cancel()

    async def _wait_sent(self) -> None:
        """Wait for what is being sent; the lane itself has sent by now."""

    async def _end(self) -> None:
        """Give the socket back."""
        self._news.server = None
        self._front.poller.forget(self._news)
        if self._peeking is not None:
            self._peeking.detach()
        with trio.move_on_after(FAREWELL_SECONDS, shield=True):
            await self.stream.aclose()
