"""Hypercorn's HTTP/1.1 protocol, with this service's words for what is not valid HTTP.

Hypercorn answers a request that h11 cannot parse with a bare status; this says the same as a
problem document, so that clients see one kind of error everywhere.
"""

from typing import cast

import h11
import trio
from hypercorn.protocol.h11 import H11Protocol

from penstock.http.edge import Edge
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

    async def _send_error_response(self, status_code: int) -> None:
        answer = problem_answer(of_status(status_code))
        headers = [
            *self.edge.headers(answer, self.edge.request_id(b""), b""),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(headers=headers, status_code=status_code))
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
