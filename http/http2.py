"""Hypercorn's HTTP/2, with what it leaves open closed.

A request may be answered before its body has arrived, and the client sends on for a while; the
stream is gone by then. Those bytes are acknowledged, so that the connection's window stays open for
the other streams, and dropped. CONNECT asks for a tunnel or a WebSocket, which nothing here is.
A client that keeps its window shut would keep its answers here for ever; how long the oldest one
has waited is told, so that the connection can be ended. When the service stops, the goodbye
(GOAWAY) comes behind the end of the last stream's answer: ahead of it, clients take the answer for
cut off.
"""

from typing import Any

from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived
from hypercorn.events import Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response, StreamClosed
from hypercorn.protocol.h2 import H2Protocol

from penstock.http.phases import Listening, is_listened_to


class StreamsProtocol(H2Protocol):
    """One connection's streams."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - as they are Hypercorn's
        super().__init__(*args)
        self._began: dict[int, float] = {}

    def oldest_began(self) -> float | None:
        """Tell since when the oldest request has waited for the last byte of its answer.

        Streams of events do not count: nobody waits for their last byte.
        """
        return next(iter(self._began.values()), None)

    async def _forget_finished(self, stream_id: int) -> None:
        if stream_id not in self.streams and stream_id not in self.stream_buffers:
            await self._forget(stream_id)

    async def _forget(self, stream_id: int) -> None:
        if self._began.pop(stream_id, None) is not None and not self._began and not self.idle:
            await self.send(Listening())  # what is left is streams of events

    async def _close_stream(self, stream_id: int) -> None:
        await super()._close_stream(stream_id)
        await self._forget_finished(stream_id)

    async def _create_stream(self, request: RequestReceived) -> None:
        self._began[request.stream_id or 0] = self.context.time()
        await super()._create_stream(request)

    async def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                self.connection.acknowledge_received_data(
                    event.flow_controlled_length or 0, event.stream_id or 0
                )
            elif isinstance(event, RequestReceived) and _connects(event):
                self.connection.reset_stream(event.stream_id or 0, ErrorCodes.REFUSED_STREAM)
            else:
                await super()._handle_events([event])
        await self._flush()

    async def stream_send(self, event: StreamEvent) -> None:
        """Take what a request's task sends."""
        if isinstance(event, StreamClosed):
            await self._close_stream(event.stream_id)
            await self.send(Updated(idle=self.idle))
            if not self.idle and not self._began:
                await self.send(Listening())
        else:
            await super().stream_send(event)
            if isinstance(event, Response) and is_listened_to(event.headers):
                await self._forget(event.stream_id)

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        await self._forget_finished(stream_id)
        if self.context.terminated.is_set() and not self.stream_buffers:
            self.connection.close_connection()
            await self._flush()


def _connects(event: RequestReceived) -> bool:
    return any(name == b":method" and value == b"CONNECT" for name, value in event.headers or ())
