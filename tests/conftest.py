"""The service as a process of its own, and a client that speaks HTTP/1.1 to it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np
import pytest
import trio
from hypothesis import HealthCheck, settings

from kept_files import kept_file
from penstock.engine import wire
from penstock.http.session_tokens import mint_session_token
from postgres_server import PostgresServer, run_postgres

# Ample: only what hangs takes this long.
PATIENCE_SECONDS = 30.0
_FAR_FUTURE = 4_000_000_000

# A machine that is busy with something else is no failure of what is tested.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of whole processes: they last longest, and no core has to wait."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.parent != here)


@dataclass(eq=False)
class Running:
    """A service that runs. `kill` and `stop` end it; one of them has been called at the end."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    host: str
    port: int
    log: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        """Ask for an orderly end and give the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await wait_ended(self.process)

    def token(self, number: int) -> str:
        """Mint the token of a session with the secrets of --dev."""
        secrets = json.loads((self.data_dir / "dev-secrets.json").read_bytes())
        return mint_session_token(
            secrets["session_secret"].encode(),
            session_id=str(UUID(int=number)),
            principal_id=str(UUID(int=7)),
            org_id=str(UUID(int=8)),
            issued_unix=0,
            expires_unix=_FAR_FUTURE,
        )

    def file(self, number: int) -> Path:
        """Give the path of a session's spool file, or of its blob once it has ended."""
        return kept_file(self.data_dir, str(UUID(int=number)))

    async def connect(self) -> "Link":
        return Link(await trio.open_tcp_stream(self.host, self.port))

    async def get(self, path: str) -> tuple[int, bytes]:
        async with (await self.connect()).stream as stream:
            accept = b"Accept: text/plain\r\n" if path == "/metrics" else b""
            head = b"GET %b HTTP/1.1\r\nHost: test\r\n%b\r\n" % (path.encode(), accept)
            return await Link(stream).ask(head)

    async def metrics(self) -> dict[str, float]:
        _, text = await self.get("/metrics")
        lines = (line.rpartition(" ") for line in text.decode().splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    async def frames(self) -> dict[str, int]:
        """Give the process's tally: seen, pending, and what ended by reason; the law is checked."""
        metrics = await self.metrics()
        ended = {
            name.partition('reason="')[2].rstrip('"}'): int(value)
            for name, value in metrics.items()
            if name.startswith("penstock_frames_total{") and value
        }
        seen = int(metrics["penstock_frames_seen_total"])
        pending = int(metrics["penstock_frames_pending"])
        assert seen == pending + sum(ended.values())
        return {"seen": seen, "pending": pending, **ended}

    async def post(self, number: int, member: bytes) -> tuple[int, Any]:
        """Send one batch on a connection of its own; give status and the answer's JSON."""
        async with (await self.connect()).stream as stream:
            return await Link(stream).post(self.token(number), member)


@dataclass(eq=False)
class Link:
    """One connection."""

    stream: trio.SocketStream
    _held: bytes = field(default=b"", repr=False)

    async def post(self, token: str, member: bytes) -> tuple[int, Any]:
        status, body = await self.ask(pose_request(token, member))
        return status, json.loads(body)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and give the answer; BrokenResourceError when the connection ends."""
        await self.stream.send_all(request)
        head = await self._until(lambda held: held.find(b"\r\n\r\n") + 4 or None)
        lines = head.split(b"\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in lines
            if line.lower().startswith(b"content-length:")
        )
        body = await self._until(lambda held: length if len(held) >= length else None)
        return int(lines[0].split()[1]), body

    async def _until(self, end: Callable[[bytes], int | None]) -> bytes:
        while (at := end(self._held)) is None or at == 3:
            data = await self.stream.receive_some()
            if not data:
                raise trio.BrokenResourceError
            self._held += data
        taken, self._held = self._held[:at], self._held[at:]
        return taken


def pose_request(token: str, member: bytes, *, express: bool = True) -> bytes:
    """Make a request; without `express`, one that the lane hands over to Quart."""
    framing = b"Content-Length: %d\r\n\r\n%b" % (len(member), member)
    if not express:
        framing = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(member), member)
    return (
        b"POST /v1/pose/frames HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: application/octet-stream\r\n%b" % (token.encode(), framing)
    )


def make_member(frames: int, start_ms: int, *, noise: bool = False) -> bytes:
    """Make a batch; with `noise` one that does not compress, about 2 KiB a frame."""
    points = np.full((frames, 33, 4), 0.5, "<f4")
    if noise:
        points = np.random.default_rng(start_ms).random((frames, 33, 4), "<f4")
    times = range(start_ms, start_ms + 100 * frames, 100)
    return wire.encode(points, list(times), level=1)


async def wait_ended(process: subprocess.Popen[bytes]) -> int:
    with trio.fail_after(PATIENCE_SECONDS):
        while (code := process.poll()) is None:  # noqa: ASYNC110 - a process sets no event
            await trio.sleep(0.01)
    return code


def launch(data_dir: Path, log: Path, given: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the command of a service and do not wait for it."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")
    }
    environ |= {f"PENSTOCK_{name.upper()}": value for name, value in given.items()}
    command = [sys.executable, "-m", "penstock", "serve", "--dev", "--port", "0"]
    with log.open("ab") as errors:
        return subprocess.Popen(
            [*command, "--data-dir", str(data_dir), "--log-format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=log.parent,
            env=environ,
        )


@asynccontextmanager
async def _serve(data_dir: Path, log: Path, **given: str) -> AsyncIterator[Running]:
    said = len(_read(log))
    process = launch(data_dir, log, given)
    try:
        host, port = await _wait_started(process, log, said)
        yield Running(process, data_dir, host, port, log)
    finally:
        process.kill()
        process.wait()


def _read(log: Path) -> bytes:
    return log.read_bytes() if log.exists() else b""


async def _wait_started(process: subprocess.Popen[bytes], log: Path, said: int) -> tuple[str, int]:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            ended = process.poll() is not None
            text = _read(log)[said:]
            for line in text.splitlines():
                if line.endswith(b"}") and json.loads(line).get("event") == "service.started":
                    parts = urlsplit(json.loads(line)["address"])
                    return str(parts.hostname), int(parts.port or 0)
            assert not ended, text.decode()
            await trio.sleep(0.02)


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Any]:
    """Give the opener of services: (data_dir, settings by keyword)."""

    def open_running(data_dir: Path, **given: str) -> Any:
        return _serve(data_dir, tmp_path / "service.log", **given)

    return open_running


@pytest.fixture
def launch_service(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Give the launcher of a service that may not start, logging to second.log.

    It takes the data folder, and settings by keyword.
    """
    return lambda data_dir, **given: launch(data_dir, tmp_path / "second.log", given)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Give a PostgreSQL that all tests share; whoever stops it starts it again."""
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def encode_member() -> Callable[..., bytes]:
    """Give the maker of batches: (frames, start_ms, noise=)."""
    return make_member


@pytest.fixture(scope="session")
def encode_request() -> Callable[..., bytes]:
    """Give the maker of requests: (token, member, express=)."""
    return pose_request
