"""The peer on Penstock's own framework: plain Hypercorn (its Trio worker) and Quart-Trio.

`accept` verifies the session token, inflates and checks the batch and answers the same JSON. That
is all: no consents, no rate limits, no sessions, no spool. So it does less than Penstock, and a
ratio of one would already say that Penstock's own work costs nothing. `full` also keeps the batch
in the session's file and computes the joints' angles.
"""

import signal
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from penstock.bench.peers.options import make_work, read_options, say_started
from penstock.bench.peers.recorder import FLUSH_EVERY_SECONDS, Recorder
from penstock.bench.peers.work import JSON, PROBLEM, RefusedError, Work
from penstock.bench.traffic import PATH
from penstock.engine.wire import MAX_MEMBER_BYTES

# Penstock's default. Hypercorn's own, 5 s, would end connections between two turns.
_IDLE_SECONDS = 75.0


def create_app(work: Work) -> QuartTrio:
    """Make the application."""
    app = QuartTrio("plain", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_MEMBER_BYTES

    @app.post(PATH)
    async def pose() -> Response:
        headers = request.headers
        try:
            session = work.check_head(
                headers.get("Authorization", ""),
                headers.get("Content-Length"),
                headers.get("Content-Type", ""),
            )
            body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
            return Response(work.take(session, body), 202, content_type=JSON)
        except RefusedError as refused:
            return Response(refused.body, refused.status, content_type=PROBLEM)

    @app.post("/settle")
    async def settle() -> Response:
        return Response(work.settle(request.args.get("session", "")), content_type=JSON)

    return app


async def run(work: Work) -> None:
    """Serve on any free port of this machine until SIGTERM; say where on standard error."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.include_date_header = True
    # By default a connection ends after 1,000 requests; connecting anew is not what is measured.
    config.keep_alive_max_requests = 1 << 62
    config.keep_alive_timeout = _IDLE_SECONDS
    config.errorlog = None
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            if work.recorder is not None:
                nursery.start_soon(_flush, work.recorder)
            async with trio.open_nursery() as serving:
                addresses: list[str] = await serving.start(
                    partial(serve, create_app(work), config, shutdown_trigger=stop.wait)
                )
                say_started(addresses[0])
                async for _ in signals:
                    stop.set()
                    break
            nursery.cancel_scope.cancel()
    if work.recorder is not None:
        work.recorder.close()


async def _flush(recorder: Recorder) -> None:
    while True:
        await trio.sleep(FLUSH_EVERY_SECONDS)
        recorder.flush()


if __name__ == "__main__":
    trio.run(run, make_work(read_options("penstock.bench.peers.plain")))
