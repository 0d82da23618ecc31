"""A whole service in this process on a free port, and a client that trusts nothing it reads.

`serve` opens the real service; leaving its block stops the service in order and checks that it
left nothing behind. `dial` opens a raw connection whose answers are parsed strictly by h11.
"""

import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import h11
import numpy as np
import orjson
import pytest
import trio
from pydantic import SecretStr

from penstock.engine import stress, wire
from penstock.engine.policy_book import Signed
from penstock.http.session_tokens import mint_session_token
from penstock.service import Service, open_service
from penstock.settings import Settings
from portal_rig import CHROMIUM, NO_CHROMIUM, Browsers

SECRET = "a secret of the tests, and long enough"
USER_SECRET = "u" * 40
SERVICE_SECRET = "s" * 40
PATH = "/v1/pose/frames"
_WATCHDOG_SECONDS = 60


@dataclass(slots=True)
class Reply:
    """One answer, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """Give a problem's code, or "" where the answer is none."""
        return str(self.json.get("code", "")) if self.body else ""


class Client:
    """A raw connection: bytes out, strictly parsed answers in."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.rest = b""

    async def send(self, *pieces: bytes) -> None:
        """Send pieces; between two of them the other side gets the chance to read."""
        for number, piece in enumerate(pieces):
            if number:
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            await self.stream.send_all(piece)

    async def reply(self, method: str = "POST") -> Reply:
        """Read one answer; its end must be clear from its own headers."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        parser.send(h11.EndOfMessage())
        if self.rest:
            parser.receive_data(self.rest)
        final: h11.Response | None = None
        body, interim = b"", []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await self.stream.receive_some(65536)
                assert data, f"the connection ended inside an answer: {final}, {body!r}"
                parser.receive_data(bytes(data))
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                final = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        assert final is not None
        self.rest = parser.trailing_data[0]
        names = [name for name, _ in final.headers]
        assert len(set(names)) == len(names), f"doubled headers: {names}"
        framed = b"content-length" in names or final.status_code == 204
        assert framed, f"no content-length: {names}"
        headers = {name.decode(): value.decode("latin1") for name, value in final.headers}
        return Reply(final.status_code, headers, body, tuple(interim))

    async def replies(self, count: int) -> list[Reply]:
        """Read so many answers."""
        return [await self.reply() for _ in range(count)]

    async def leftover(self) -> bytes:
        """Wait until the other side closes; give what came before, which no answer accounts for."""
        data = self.rest
        try:
            while more := await self.stream.receive_some(65536):
                data += bytes(more)
        except trio.BrokenResourceError:
            pass
        return data

    async def usable(self) -> bool:
        """Say whether the connection serves one more request, and answers nothing but that."""
        try:
            await self.stream.send_all(b"GET /v1/healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            if not self.rest:
                self.rest = bytes(await self.stream.receive_some(65536))
        except trio.BrokenResourceError:
            return False
        if not self.rest:
            return False
        reply = await self.reply("GET")
        assert reply.status == 200, reply
        assert reply.json["status"] == "ok"
        assert not self.rest
        return True

    async def shut(self) -> None:
        """Send no more, but go on reading."""
        await self.stream.send_eof()


class _Errors(logging.Handler):
    """Whatever the service logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _settings(data_dir: Path, /, **changes: Any) -> Settings:
    plain: dict[str, Any] = {
        "data_dir": data_dir,
        "port": 0,
        "session_secret": SecretStr(SECRET),
        "user_jwt_secret": SecretStr(USER_SECRET),
        "service_jwt_secret": SecretStr(SERVICE_SECRET),
        "rate_batches_per_second": 1000.0,
        "rate_burst": 1000,
        "spool_flush_seconds": 0.02,
        "linger_seconds": 0.3,
    }
    return Settings(**(plain | changes))


@pytest.fixture(autouse=True)
def _idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does, it does not press the service: no frame is given for it."""
    monkeypatch.setattr(stress, "REQUEST_DELAY_FULL_SECONDS", math.inf)
    monkeypatch.setattr(stress, "WRITER_LAG_FULL_SECONDS", math.inf)


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Any]:
    """Give the opener of services: (settings by keyword, errors=number of logged ones).

    `watchdog` is for a story that takes its time.
    """
    count = 0

    @asynccontextmanager
    async def opened(
        *, errors: int = 0, watchdog: float = _WATCHDOG_SECONDS, **changes: Any
    ) -> AsyncIterator[Service]:
        nonlocal count
        count += 1
        seen = _Errors()
        logging.getLogger().addHandler(seen)
        try:
            # A real-time watchdog: none of this may ever hang.
            with trio.fail_after(watchdog):
                settings = _settings(tmp_path / f"data{count}", **changes)
                async with open_service(settings, dev=True) as service:
                    yield service
        finally:
            logging.getLogger().removeHandler(seen)
        assert service.front.statistics().connections == 0
        assert service.ledger.process.conserved
        assert service.ledger.process.pending == 0
        lines = [f"{record.getMessage()} {record.exc_text}" for record in seen.records]
        assert len(lines) == errors, lines

    return opened


@pytest.fixture(scope="session")
def browsers() -> Iterator[Browsers]:
    """Give the browser's thread; without a browser, the tests that need one are skipped."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    opened = Browsers()
    yield opened
    opened.close()


async def _turn(service: Service, **knobs: Any) -> None:
    signed = Signed("a test", "to see what it does", service.policies.book.revision)
    await service.policies.edit("global", knobs, (), signed)


@pytest.fixture(scope="session")
def turn() -> Callable[..., Any]:
    """Give the turner of the global policy's knobs: (service, knobs by keyword)."""
    return _turn


@asynccontextmanager
async def _dial(service: Service) -> AsyncIterator[Client]:
    port = int(service.address.rpartition(":")[2])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Client(stream)


@pytest.fixture(scope="session")
def dial() -> Callable[[Service], Any]:
    """Give the opener of raw connections to a service."""
    return _dial


def _token(
    session: int = 1,
    *,
    secret: str = SECRET,
    age: float = 10,
    ttl: float = 3600,
    principal: int = 7,
) -> str:
    now = int(time.time())
    return mint_session_token(
        secret.encode(),
        session_id=str(UUID(int=session)),
        principal_id=str(UUID(int=principal)),
        org_id=str(UUID(int=8)),
        issued_unix=int(now - age),
        expires_unix=int(now + ttl),
    )


@pytest.fixture(scope="session")
def make_token() -> Callable[..., str]:
    """Give the maker of tokens: (session number, secret=, age=, ttl=, principal=)."""
    return _token


def _batch(frames: int = 10, start_ms: int = 0, *, noise: bool = False) -> bytes:
    shape = (frames, wire.LANDMARKS, wire.LANDMARK_VALUES)
    points = np.random.default_rng(1).random(shape) if noise else np.full(shape, 0.5)
    times = range(start_ms, start_ms + 100 * frames, 100)
    return wire.encode(points, list(times), level=1)


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., bytes]:
    """Give the maker of batches: (frames, start_ms, noise= for one that does not compress)."""
    return _batch


def _request(
    body: bytes | None = None,
    *,
    session: int = 1,
    target: str = PATH,
    more: Sequence[tuple[str, str]] = (),
    changes: Mapping[str, str | None] | None = None,
) -> bytes:
    body = _batch() if body is None else body
    headers: dict[str, str | None] = {
        "Host": "penstock.test",
        "Authorization": f"Bearer {_token(session)}",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(body)),
        **(changes or {}),
    }
    given = [(name, value) for name, value in headers.items() if value is not None]
    head = "".join(f"{name}: {value}\r\n" for name, value in (*given, *more))
    return f"POST {target} HTTP/1.1\r\n{head}\r\n".encode("latin1") + body


@pytest.fixture(scope="session")
def make_request() -> Callable[..., bytes]:
    """Give the maker of hot requests; `changes` of None leave a header out, `more` come last."""
    return _request
