"""A tiny server that answers each request as the test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

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
