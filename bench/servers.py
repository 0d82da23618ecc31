"""Starts the servers that are measured, watches them, and always stops them.

A server is a child process that says on standard error, in one line of JSON, that it has started
and where (`"event": "service.started", "address": "http://…"`). It is pinned to its core by
inheritance: this thread moves there for the moment of the start, so that not one instruction of
the child runs elsewhere and none of its threads can escape.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from penstock.bench.errors import BenchError
from penstock.bench.machine import cpu_seconds, resident_bytes
from penstock.bench.traffic import write_grants

# Any will do: the servers are reachable from this machine only, and live for a minute.
SECRET = b"the-benchmark-mints-its-own-tokens"
USER_SECRET = b"u" * 32

_READY_SECONDS = 20.0
# Longer than Penstock takes to bring every session's frames to disk (its shutdown_seconds).
_STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_TOLD_BYTES = 2000


class ServerFailedError(BenchError):
    """A server did not start, or ended by itself. Says what it wrote last."""


@dataclass(slots=True, frozen=True)
class ServerSpec:
    """How to start a server. `told` are the settings that are not the defaults, for the report."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    told: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True, frozen=True)
class RunningServer:
    """A child that has said that it is ready."""

    name: str
    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    log: Path

    def cpu_seconds(self) -> float:
        """Give the processor time used so far."""
        self.check()
        return cpu_seconds(self.process.pid)

    def resident_bytes(self) -> int:
        """Give the memory in RAM now."""
        self.check()
        return resident_bytes(self.process.pid)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let a server that was put to sleep run around the block."""
        self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.sleep()

    def sleep(self) -> None:
        """Stop the process where it stands: it takes nothing of the core until it is `awake`."""
        self.process.send_signal(signal.SIGSTOP)

    def check(self) -> None:
        """Raise ServerFailedError when the process has ended."""
        if (code := self.process.poll()) is not None:
            raise ServerFailedError(f"{self.name} ended with {code}: {_last_words(self.log)}")


def penstock_spec(
    scratch: Path,
    sessions: int,
    grant: Callable[[Path, int], None] = write_grants,
    /,
    **settings: object,
) -> ServerSpec:
    """Penstock as in production: secrets given, consents read from a file, nothing switched off.

    `grant` writes that file, for so many sessions.
    """
    scratch.mkdir()
    grants = scratch / "grants.json"
    grant(grants, sessions)
    # A load balancer that must be given notice is the only thing that is missing here.
    told = {"shutdown_notice_seconds": 0} | settings
    plain = {
        "session_secret": SECRET.decode(),
        "user_jwt_secret": USER_SECRET.decode(),
        "service_jwt_secret": "s" * 32,
        "grants_file": grants,
        "data_dir": scratch / "data",
        "log_format": "json",
    }
    return ServerSpec(
        "penstock",
        [sys.executable, "-m", "penstock", "serve", "--port", "0"],
        {f"PENSTOCK_{name.upper()}": str(value) for name, value in (plain | told).items()},
        {name: str(value) for name, value in told.items()},
    )


@contextmanager
def run_server(spec: ServerSpec, core: int | None) -> Iterator[RunningServer]:
    """Run a server around the block; it is gone afterwards, whatever happened inside."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        log = Path(folder) / "stderr"
        with log.open("wb") as errors, _on_core(core):
            process = subprocess.Popen(  # noqa: S603  the command is ours
                spec.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # Elsewhere than here, so that no settings file of this folder is read.
                cwd=folder,
                env={**_without_settings(os.environ), **spec.environ},
            )
        try:
            yield RunningServer(spec.name, process, _wait_ready(spec.name, process, log), log)
        finally:
            _stop(process)


def end_on_sigterm() -> None:
    """Let SIGTERM unwind this process as Ctrl-C does, so that it stops its servers first."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # An interrupt while waiting must not leave the child behind either.
    try:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # one that sleeps would not hear it
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_ready(name: str, process: subprocess.Popen[bytes], log: Path) -> tuple[str, int]:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        ended = process.poll() is not None
        if address := _started_address(log):
            return address
        if ended:
            raise ServerFailedError(f"{name} did not start: {_last_words(log)}")
        if time.monotonic() > deadline:
            raise ServerFailedError(
                f"{name} was not ready within {_READY_SECONDS:g} s: {_last_words(log)}"
            )
        time.sleep(_LOOK_SECONDS)


def _started_address(log: Path) -> tuple[str, int] | None:
    for line in log.read_bytes().splitlines():
        try:
            record: Any = json.loads(line)
        except ValueError:  # a line that is no JSON, or is still being written
            continue
        if isinstance(record, dict) and record.get("event") == "service.started":
            parts = urlsplit(str(record["address"]))
            if parts.hostname and parts.port:
                return parts.hostname, parts.port
    return None


def _last_words(log: Path) -> str:
    text = log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace")
    return " ".join(text.split()) or "it wrote nothing"


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("PENSTOCK_")}


@contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
