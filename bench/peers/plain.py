"""The peer: the same route on plain Hypercorn (its Trio worker) and Quart-Trio, written to be fast.

It verifies the session token (kept once verified), inflates the batch, checks its length, and
answers the same JSON. That is all: no consents, no rate limits, no sessions, no spool. So it does
less than Penstock, and a ratio of one would already say that Penstock's own work costs nothing.
"""

import binascii
import hmac
import json
import os
import signal
import sys
import time
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from penstock.bench.traffic import PATH
from penstock.engine.wire import (
    BYTES_PER_FRAME,
    HEADER,
    LANDMARK_BYTES_PER_FRAME,
    MAX_INFLATED_BYTES,
    MAX_MEMBER_BYTES,
)

_MOST_TOKENS = 65_536
_GZIP_WBITS = 31


@dataclass(slots=True)
class _Session:
    session_id: str
    expires_unix: int
    position_bytes: int = 0


class Plain:
    """The route's work. Sessions are kept by the Authorization header that named them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._sessions: dict[str, _Session] = {}

    async def answer(self) -> Response:
        """Answer one batch."""
        session = self._verify(request.headers.get("Authorization", ""))
        if session is None:
            return _problem(401, "unauthorized")
        frames = _frames(await request.get_data(cache=False, as_text=False, parse_form_data=False))
        if frames is None:
            return _problem(400, "malformed")
        session.position_bytes += frames * LANDMARK_BYTES_PER_FRAME
        body = b'{"frames_accepted":%d,"session_id":"%b","buffer_position_bytes":%d}' % (
            frames,
            session.session_id.encode(),
            session.position_bytes,
        )
        return Response(body, 202, content_type="application/json")

    def _verify(self, authorization: str) -> _Session | None:
        session = self._sessions.get(authorization)
        if session is None:
            session = _read_token(authorization, self._secret)
            if session is None:
                return None
            if len(self._sessions) >= _MOST_TOKENS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[authorization] = session
        return session if time.time() < session.expires_unix else None


def create_app(secret: bytes) -> QuartTrio:
    """Make the application."""
    app = QuartTrio("plain")
    app.config["MAX_CONTENT_LENGTH"] = MAX_MEMBER_BYTES
    app.add_url_rule(PATH, "pose", Plain(secret).answer, methods=["POST"])
    return app


def main(environ: Mapping[str, str]) -> None:
    """Serve on any free port of this machine until SIGTERM; say where on standard error."""
    trio.run(_run, create_app(environ["PENSTOCK_SESSION_SECRET"].encode()))


async def _run(app: QuartTrio) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.include_date_header = True
    # By default a connection ends after 1,000 requests; connecting anew is not what is measured.
    config.keep_alive_max_requests = 1 << 62
    config.errorlog = None
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            addresses: list[str] = await nursery.start(
                partial(serve, app, config, shutdown_trigger=stop.wait, mode="asgi")
            )
            line = json.dumps({"event": "service.started", "address": addresses[0]})
            print(line, file=sys.stderr, flush=True)  # noqa: T201  it is the protocol
            async for _ in signals:
                stop.set()
                return


def _read_token(authorization: str, secret: bytes) -> _Session | None:
    scheme, _, token = authorization.partition(" ")
    signed, _, signature = token.rpartition(".")
    if scheme != "Bearer" or not signed.startswith("v1."):
        return None
    try:
        seen = urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        claims = json.loads(urlsafe_b64decode(signed[3:] + "=" * (-len(signed[3:]) % 4)))
        session = _Session(str(claims["exercise_session_id"]), int(claims["exp"]))
    except (binascii.Error, ValueError, TypeError, KeyError):
        return None
    right = hmac.compare_digest(hmac.digest(secret, signed.encode(), "sha256"), seen)
    return session if right else None


def _frames(member: bytes) -> int | None:
    inflater = zlib.decompressobj(_GZIP_WBITS)
    try:
        payload = inflater.decompress(member, MAX_INFLATED_BYTES)
    except zlib.error:
        return None
    if not inflater.eof or len(payload) < HEADER.size:
        return None
    _, frames, _ = HEADER.unpack_from(payload)
    return int(frames) if len(payload) == HEADER.size + frames * BYTES_PER_FRAME else None


def _problem(status: int, code: str) -> Response:
    return Response(
        json.dumps({"status": status, "code": code}),
        status,
        content_type="application/problem+json",
    )


if __name__ == "__main__":
    main(os.environ)
