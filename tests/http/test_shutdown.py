"""How the real process stops: started as an operator starts it, stopped by signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
import trio

from penstock.storage.replay import read_replay

SECRET = "a secret of the tests, and long enough"
HEALTH = b"GET /v1/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"

Make = Callable[..., bytes]


@dataclass
class Running:
    """The process, and what it says."""

    process: trio.Process
    data_dir: Path
    address: str = ""
    said: list[dict[str, Any]] = field(default_factory=list)
    heard: trio.Event = field(default_factory=trio.Event)

    async def listen(self) -> None:
        assert self.process.stderr is not None
        rest = b""
        async for data in self.process.stderr:
            *lines, rest = (rest + bytes(data)).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    self.said.append(orjson.loads(line))
            self.heard.set()
            self.heard = trio.Event()

    async def wait_said(self, event: str) -> dict[str, Any]:
        while True:
            for line in self.said:
                if line.get("event") == event:
                    return line
            await self.heard.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        return await self.process.wait()

    def frames(self, session: int) -> int:
        """Count the frames of a session's spool file, which must be sound."""
        report = read_replay(self.data_dir / "spool" / f"{UUID(int=session)}.bin.gz")
        assert report.verified
        return report.frames


@asynccontextmanager
async def _running(data_dir: Path, **settings: str) -> AsyncIterator[Running]:
    environ = {name: value for name, value in os.environ.items() if name[:9] != "PENSTOCK_"}
    environ |= {f"PENSTOCK_{name.upper()}": value for name, value in settings.items()}
    environ |= {"PENSTOCK_SESSION_SECRET": SECRET, "PENSTOCK_LOG_FORMAT": "json"}
    command = [sys.executable, "-m", "penstock", "serve", "--dev", "--port", "0"]
    command += ["--data-dir", str(data_dir)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                command,
                env=environ,
                cwd=data_dir.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            try:
                running = Running(process, data_dir)
                nursery.start_soon(running.listen)
                running.address = (await running.wait_said("service.started"))["address"]
                yield running
            finally:
                if process.returncode is None:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()
                nursery.cancel_scope.cancel()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Give the starter of processes: settings by keyword."""
    return lambda **settings: _running(tmp_path / "data", **settings)


async def test_the_notice_comes_first(run: Any, dial: Any, make_request: Make) -> None:
    """On SIGTERM the service says that it is not ready, and goes on answering for the notice."""
    async with run(shutdown_notice_seconds="0.5") as running:
        async with dial(running) as old:
            assert await old.usable()
            running.stop()
            await running.wait_said("service.stopping")
            async with dial(running) as new:
                await new.send(READY)
                reply = await new.reply("GET")
                assert reply.status == 503
                assert reply.json["reasons"][0]["code"] == "draining"
                await new.send(make_request())
                assert (await new.reply()).status == 202
            assert await old.usable()
            assert await old.leftover() == b""
        assert await running.ended() == 0
        assert running.frames(1) == 10


@pytest.mark.parametrize("cold", [False, True], ids=["lane", "quart"])
async def test_a_request_under_way_is_finished(
    run: Any, dial: Any, make_request: Make, *, cold: bool
) -> None:
    """A body half sent at SIGTERM may be completed: 202, the end, and its frames on disk."""
    raw = make_request()
    options = {"express_lane": str(not cold), "shutdown_notice_seconds": "0"}
    async with run(**options) as running, dial(running) as client, dial(running) as idle:
        assert await idle.usable()
        await client.send(raw[:-20])
        await trio.sleep(0.2)
        running.stop()
        assert await idle.leftover() == b""  # an idle connection is closed at once
        await client.send(raw[-20:])
        reply = await client.reply()
        assert reply.status == 202
        assert reply.headers["connection"] == "close"
        assert await client.leftover() == b""
        assert await running.ended() == 0
        assert running.frames(1) == 10


async def test_the_deadline_holds(run: Any, dial: Any, make_request: Make) -> None:
    """A request that never arrives whole does not keep the process beyond its deadline."""
    options = {"shutdown_notice_seconds": "0", "shutdown_seconds": "1"}
    async with run(**options) as running, dial(running) as client:
        await client.send(make_request(session=1))
        assert (await client.reply()).status == 202
        await client.send(make_request(session=2)[:-1])
        await trio.sleep(0.2)
        running.stop()
        began = time.monotonic()
        assert await running.ended() == 0
        assert time.monotonic() - began < 8
        assert running.frames(1) == 10


async def test_a_second_signal_hurries(run: Any, dial: Any, make_request: Make) -> None:
    """A second signal ends the notice and what is stuck; what was accepted is on disk."""
    options = {
        "shutdown_notice_seconds": "30",
        "shutdown_seconds": "60",
        "request_timeout_seconds": "60",
    }
    async with run(**options) as running, dial(running) as client:
        await client.send(make_request(session=1))
        assert (await client.reply()).status == 202
        await client.send(make_request(session=2)[:-1])
        await trio.sleep(0.2)
        running.stop()
        await running.wait_said("service.stopping")
        began = time.monotonic()
        running.stop()
        assert await running.ended() == 0
        assert time.monotonic() - began < 15
        assert running.frames(1) == 10


async def test_no_accepted_frame_is_lost(
    run: Any, dial: Any, make_request: Make, make_batch: Make
) -> None:
    """Stopped under the traffic of 50 sessions, every frame that was answered 202 is on disk."""
    accepted = dict.fromkeys(range(1, 51), 0)
    options = {
        "shutdown_notice_seconds": "0.3",
        "rate_batches_per_second": "1000",
        "rate_burst": "1000",
    }

    async def talk(running: Running, session: int) -> None:
        async with dial(running) as client:
            for start in range(0, 10**6, 300):
                try:
                    await client.send(make_request(make_batch(3, start), session=session))
                    reply = await client.reply()
                except (trio.BrokenResourceError, AssertionError):
                    return  # it was closed between two requests
                if reply.status == 202:
                    accepted[session] += reply.json["frames_accepted"]
                if "connection" in reply.headers:
                    return
                await trio.sleep(0.01)

    async with run(**options) as running:
        async with trio.open_nursery() as nursery:
            for session in accepted:
                nursery.start_soon(talk, running, session)
            await trio.sleep(0.5)
            running.stop()
        assert await running.ended() == 0
        assert min(accepted.values()) > 0
        assert {session: running.frames(session) for session in accepted} == accepted
        last = await running.wait_said("service.stopped")
        given = last.get("policy_thinned", 0) + last.get("inbox_full", 0)
        assert last["frames_seen"] == sum(accepted.values()) + given
