"""A service of runs that does what a test tells it to: answers, stalls, refuses, goes away.

It keeps runs as the real one does (first report wins, updates replace), and notes everything that
reached it, so that a test can say what took effect, how often, and in which order.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock.client import Pace, RunClient


@dataclass(eq=False)
class FakeService:
    """Where the runs end up. `fault` may answer instead: it gives a status, or None to go on.

    With `after` it does so after the request took effect: the answer is lost, not the request.
    """

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    effects: list[tuple[str, str]] = field(default_factory=list)
    requests: int = 0
    fault: Callable[[], int | None] = field(default=lambda: None)
    after: bool = False
    delay: float = 0.0
    retry_after: str | None = None
    rejects: Callable[[dict[str, Any]], bool] = field(default=lambda _run: False)
    body: bytes | None = None
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _links: set[socket.socket] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of the first time."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def setup(self) -> None:
                super().setup()
                service._links.add(self.connection)

            def finish(self) -> None:
                service._links.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def do_POST(self) -> None:
                service.serve(self)

            def do_PATCH(self) -> None:
                service.serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that went away

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        """Go away at once: no answer to anybody, and nobody listens."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for link in list(self._links):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.requests += 1
        time.sleep(self.delay)
        status = None if self.after else self.fault()
        answer: Any = {"detail": "as told"}
        if status is None:
            with self._lock:
                status, answer = self._take(handler.command, handler.path, body)
            if self.after:
                status = self.fault() or status
        if status == 0:  # the answer gets lost
            handler.close_connection = True
            handler.connection.close()
            return
        text = self.body if self.body is not None else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(text)))
        if self.retry_after is not None and status >= 400:
            handler.send_header("Retry-After", self.retry_after)
        handler.end_headers()
        handler.wfile.write(text)
        handler.wfile.flush()

    def _take(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/batch"):
            if any(self.rejects(run) for run in body):
                return 422, {"detail": [{"loc": ["body", 0]}]}
            new = sum(self._create(run) for run in body)
            known = len(body) - new
            return 200, {"inserted": new, "duplicates": known, "errors": [], "total": len(body)}
        if method == "POST" and path == "/api/v1/runs":
            if self.rejects(body):
                return 422, {"detail": [{"loc": ["body"]}]}
            return 201, {"status": "created" if self._create(body) else "duplicate"}
        event_id = path.split("/")[4]
        if event_id not in self.runs:
            return 404, {"detail": "Run not found"}
        if path.endswith("/associate-commit"):
            body = {f"git_{name}": value for name, value in body.items()}
        self.runs[event_id] |= body
        self.effects.append(("update", event_id))
        return 200, {"updated": True}

    def _create(self, run: dict[str, Any]) -> bool:
        if run["event_id"] in self.runs:
            return False
        self.runs[run["event_id"]] = run
        self.effects.append(("run", run["event_id"]))
        return True


@pytest.fixture
def service() -> Iterator[FakeService]:
    """Give a service that runs; the test may tell it what to do."""
    made = FakeService()
    made.start()
    yield made
    made.kill()


@pytest.fixture
def make_client(service: FakeService, tmp_path: Path) -> Iterator[Callable[..., RunClient]]:
    """Give the maker of clients with a quick pace and one buffer: (options by keyword)."""
    made: list[RunClient] = []

    def make(**options: Any) -> RunClient:
        pace = Pace(first_seconds=0.002, longest_seconds=0.01)
        plain: dict[str, Any] = {"buffer": tmp_path / "runs.sqlite3", "timeout": 0.5, "pace": pace}
        client = RunClient(options.pop("url", service.url), **(plain | options))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close(0.2)


@contextmanager
def _never_longer(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.fixture(scope="session")
def never_longer() -> Callable[[float], Any]:
    """Give the guard of a block that may take so many seconds."""
    return _never_longer
