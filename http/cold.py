"""Hypercorn's HTTP/1.1 protocol, with this service's words for what is not valid HTTP.

Hypercorn answers a request that h11 cannot parse with a bare status; this says the same as a
problem document, so that clients see one kind of error everywhere.
"""

from dataclasses import replace
from typing import cast

import h11
import trio
from hypercorn.events import Closed
from hypercorn.protocol.events import Event, Response
from hypercorn.protocol.h11 import H11Protocol

from penstock.http.edge import Edge
from penstock.http.phases import Listening, is_listened_to
from penstock.http.problems import of_status, problem_answer


class ColdProtocol(H11Protocol):
    """One connection's cold requests."""

    edge: Edge
    _answered: trio.Event | None = None

    async def _maybe_recycle(self) -> None:
        await super()._maybe_recycle()
        if self._answered is not None:
            self._answered.set()

    async def wait_answered(self) -> None:
        """Wait until the current request's answer has been sent."""
        self._answered = trio.Event()
        await self._answered.wait()

    async def _check_protocol(self, event: h11.Request) -> None:
        # HTTP/2 is spoken by who begins with it. `Upgrade: h2c` is gone from the standard (RFC
        # 9113), and a way past the rules of a proxy: it is ignored, as HTTP/1.1 allows.
        if event.method == b"PRI":
            await super()._check_protocol(event)

    async def _create_stream(self, request: h11.Request) -> None:
        # h11 applies its bound only to a head that comes in pieces.
        fields = sum(len(name) + len(value) + 4 for name, value in request.headers)
        line = len(request.method) + len(request.target) + len(" HTTP/1.1 \r\n")
        if line + fields + 2 > self.config.h11_max_incomplete_size:
            await self._send_error_response(431)
            await self.send(Closed())
        else:
            await super()._create_stream(request)

    async def stream_send(self, event: Event) -> None:
        """Say in the answer that it is the last one, where it is."""
        if isinstance(event, Response) and event.status_code >= 200 and self._at_last_answer:
            kept = [header for header in event.headers if header[0].lower() != b"connection"]
            event = replace(event, headers=[*kept, (b"connection", b"close")])
        await super().stream_send(event)
        if isinstance(event, Response) and is_listened_to(event.headers):
            await self.send(Listening())

    @property
    def _at_last_answer(self) -> bool:
        # Nothing can follow on a body that nobody will read.
        return self.connection.their_state is h11.SEND_BODY or self.context.terminated.is_set()

    async def _send_error_response(self, status_code: int) -> None:
        answer = problem_answer(of_status(status_code))
        headers = [
            *self.edge.headers(answer, self.edge.request_id(b""), b""),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(headers=headers, status_code=answer.status))
        await self._send_h11_event(h11.Data(data=answer.body))
        await self._send_h11_event(h11.EndOfMessage())

    @property
    def between_requests(self) -> bool:
        """Say whether nothing of a request has been received and not answered."""
        if not isinstance(self.connection, h11.Connection):
            return False  # a WebSocket: there are no requests any more
        return self.stream is None and self.connection.trailing_data == (b"", False)

    @property
    def request_complete(self) -> bool:
        """Say whether a request has arrived whole and its answer has not been sent."""
        return self.stream is not None and self.connection.their_state is h11.DONE

    @property
    def answer_begun(self) -> bool:
        """Say whether bytes of the current answer may have been sent."""
        state = cast("h11.Connection", self.connection).our_state
        return state not in {h11.IDLE, h11.SEND_RESPONSE}
