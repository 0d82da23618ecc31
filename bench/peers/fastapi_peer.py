"""The peer on asyncio: FastAPI on uvicorn, with uvloop and httptools.

The route takes the plain request and gives a plain response, so neither models nor serialisation
are in the way; what can be done at once is not a coroutine; the access log is off.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI, Request, Response

from penstock.bench.peers.options import make_work, read_options, say_started
from penstock.bench.peers.recorder import FLUSH_EVERY_SECONDS, Recorder
from penstock.bench.peers.work import JSON, PROBLEM, RefusedError, Work
from penstock.bench.traffic import PATH
from penstock.engine.wire import MAX_MEMBER_BYTES

_STOP_SECONDS = 5


def create_app(work: Work) -> FastAPI:
    """Make the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if work.recorder is None:
            yield
            return
        flushing = asyncio.create_task(_flush(work.recorder))
        yield
        flushing.cancel()
        with suppress(asyncio.CancelledError):
            await flushing
        work.recorder.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.post(PATH)
    async def pose(request: Request) -> Response:
        headers = request.headers
        length = headers.get("content-length")
        try:
            session = work.check_head(
                headers.get("authorization", ""), length, headers.get("content-type", "")
            )
            body = await (request.body() if length is not None else _bounded_body(request))
            return Response(work.take(session, body), 202, media_type=JSON)
        except RefusedError as refused:
            return Response(refused.body, refused.status, media_type=PROBLEM)

    @app.post("/settle")
    async def settle(request: Request) -> Response:
        answer = work.settle(request.query_params.get("session", ""))
        return Response(answer, media_type=JSON)

    return app


async def _bounded_body(request: Request) -> bytes:
    """Read a body that did not announce its length."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_MEMBER_BYTES:
            raise RefusedError(413, "body_too_large")
        parts.append(part)
    return b"".join(parts)


async def _flush(recorder: Recorder) -> None:
    while True:
        await asyncio.sleep(FLUSH_EVERY_SECONDS)
        recorder.flush()


class _Server(uvicorn.Server):
    """Says when it has started."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for own in sockets or ():
            host, port = own.getsockname()
            say_started(f"http://{host}:{port}")


def main() -> None:
    """Serve on any free port of this machine until SIGTERM; say where on standard error."""
    work = make_work(read_options("penstock.bench.peers.fastapi_peer"))
    config = uvicorn.Config(
        create_app(work),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    with socket.create_server(("127.0.0.1", 0), backlog=config.backlog) as listener:
        _Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
