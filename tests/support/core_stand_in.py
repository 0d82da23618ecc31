"""A small HTTP server in the place of a Core that is out of our reach, and says what it is told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import h11
import trio


@dataclass(slots=True)
class Asked:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class StandIn:
    """What to answer, and what was asked. `before` is awaited before each answer."""

    status: int = 200
    body: bytes = b"{}"
    before: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    # Sent one byte at a time, so slowly.
    drip_seconds: float = 0.0
    # Hangs up instead of answering.
    hangs_up: bool = False
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Give where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection's requests."""
        link = h11.Connection(h11.SERVER)
        async with stream:
            try:
                while await self._answer(link, stream):
                    link.start_next_cycle()
            except trio.BrokenResourceError:
                pass

    async def _answer(self, link: h11.Connection, stream: trio.SocketStream) -> bool:
        head: h11.Request | None = None
        body = b""
        while True:
            event = link.next_event()
            if event is h11.NEED_DATA:
                link.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                break
            else:
                return False
        headers = {name.decode(): value.decode() for name, value in head.headers}
        self.asked.append(Asked(head.method.decode(), head.target.decode(), headers, body))
        await self.before()
        if self.hangs_up:
            return False
        given = [("content-length", str(len(self.body)))]
        await stream.send_all(
            link.send(h11.Response(status_code=self.status, headers=given)) or b""
        )
        step = 1 if self.drip_seconds else max(1, len(self.body))
        for at in range(0, len(self.body), step):
            await trio.sleep(self.drip_seconds)
            await stream.send_all(link.send(h11.Data(data=self.body[at : at + step])) or b"")
        link.send(h11.EndOfMessage())
        return True


@asynccontextmanager
async def stand_in_for_core() -> AsyncIterator[StandIn]:
    """Run the server around the block, on loopback."""
    core = StandIn()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, core.serve, 0, host="127.0.0.1")
        (listener, *_) = await nursery.start(serve)
        core.port = listener.socket.getsockname()[1]
        yield core
        nursery.cancel_scope.cancel()
