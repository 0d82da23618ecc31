"""A tiny server that answers each request as the test says, and `bench load` as it is called."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import pytest
import typer

from penstock.bench import servers
from penstock.bench.load import faults
from penstock.commands.bench.grants import grants
from penstock.commands.bench.load import load
from penstock.errors import StartupError

# What to do with request number n, counted from 0: bytes to send, then whether to close.
Script = Callable[[int], tuple[bytes, bool]]
Serve = Callable[[Script], tuple[str, int]]


@contextmanager
def _serving(script: Script) -> Iterator[tuple[str, int]]:
    lock = threading.Lock()
    count = 0
    threads: list[threading.Thread] = []
    links: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def converse(link: socket.socket) -> None:
        nonlocal count
        with link, suppress(OSError):
            held = b""
            while data := link.recv(65_536):
                held += data
                head, found, body = held.partition(b"\r\n\r\n")
                if not found or len(body) < int(head.rpartition(b": ")[2]):
                    continue
                held = b""
                with lock:
                    number, count = count, count + 1
                reply, closes = script(number)
                link.sendall(reply)
                if closes:
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                link, _ = listener.accept()
                links.append(link)
                thread = threading.Thread(target=converse, args=(link,), daemon=True)
                thread.start()
                threads.append(thread)

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()
    finally:
        # Wakes the accept; a close alone would not.
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(5)
        listener.close()
        for link in links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Give the starter of scripted servers; all are stopped at the end."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(_serving(script))


@dataclass(slots=True, frozen=True)
class Ran:
    code: int
    out: str
    err: str


Call = Callable[..., Ran]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run a command in an empty folder and environment; nothing is left of its signal handlers."""
    app = typer.Typer()
    app.command()(load)
    app.command()(grants)
    command = typer.main.get_command(app)

    def call_command(*arguments: str, **environ: str) -> Ran:
        with monkeypatch.context() as patched:
            patched.setattr(servers, "end_on_sigterm", lambda: None)
            # The machine may be busy with other tests; that is no matter here.
            patched.setattr(faults, "_MOST_LAG_MS", inf)
            patched.setattr(faults, "_MOST_CPU_SHARE", inf)
            patched.chdir(tmp_path)
            for variable in [name for name in os.environ if name.startswith("PENSTOCK_")]:
                patched.delenv(variable)
            for variable, value in environ.items():
                patched.setenv(variable, value)
            code, problem = _code(lambda: command.main(args=arguments, standalone_mode=False))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err + problem)

    return call_command


def _code(function: Callable[[], Any]) -> tuple[int, str]:
    try:
        result = function()
    except StartupError as error:
        return 2, "\n".join(error.lines)
    except typer.TyperException as error:
        return error.exit_code, error.format_message()
    return (result if isinstance(result, int) else 0), ""
