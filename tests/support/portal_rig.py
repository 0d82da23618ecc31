"""What the tests of the browser client stand on: a page, a browser, and a service that plays along.

The page is served under a strict policy (CSP) from an origin of its own. The browser lives in one
thread, because Playwright's calls must all come from there; a story is a function that is run in
it. `Recorder` is a small HTTP server that answers what it was told to, and remembers all it saw.
"""

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

T = TypeVar("T")


@contextmanager
def _plain_loops() -> Iterator[None]:
    """Let asyncio make its own loops around the block: trio-asyncio's run only under Trio."""
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(policy)


PORTAL = Path(__file__).parents[2] / "http" / "portal" / "portal.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_CHROMIUM = "there is no Chromium on this machine: nothing can run the browser client"
# Ample: only what hangs takes this long.
PATIENCE_MS = 20_000

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Exercise</title>
<link rel="icon" href="data:,"><script type="module" src="/page.js"></script></head>
<body><h1>Exercise</h1><video muted></video></body></html>"""
_SCRIPT = """import * as portal from "/portal.js";
window.portal = portal;
window.told = [];
window.open_session = (options) => {
  const tell = (name) => (...what) => window.told.push([name, ...what.map((one) =>
    one instanceof Error ? { code: one.code, status: one.status, detail: one.message } : one)]);
  const on = { onstate: tell("state"), ondrop: tell("drop"), onerror: tell("error") };
  window.origin = performance.now();
  const startedAt = performance.timeOrigin + window.origin;
  window.session = new portal.PortalSession({ ...on, startedAt, ...options });
};
// A promise that is never kept must not keep the test.
window.within = (promise) => Promise.race([promise, new Promise((_, reject) =>
  setTimeout(() => reject(new Error(`nothing after 20 s: ${JSON.stringify(
    [window.session?.statistics(), window.told])}`)), 20_000))]);
// Frame number n: x of every landmark is n, and so recognisable.
window.frame = (n) => new Float32Array(132).map((_, i) => (i % 4 === 0 ? n : i / 132));
window.feed = (first, count, every = 100) => {
  let taken = 0;
  for (let n = first; n < first + count; n++) {
    taken += window.session.addFrame(window.frame(n), window.origin + n * every);
  }
  return taken;
};
"""


@dataclass(eq=False)
class Browsers:
    """The thread in which the browser lives."""

    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _playwright: Playwright | None = None
    _browser: Browser | None = None

    def tell(self, story: Callable[[Browser], T]) -> T:
        """Run a story in the browser's thread and give what it gives."""
        return self._thread.submit(lambda: story(self._open())).result()

    def _open(self) -> Browser:
        if self._browser is None:
            with _plain_loops():
                self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
            )
        return self._browser

    def close(self) -> None:
        """End the browser and its thread."""

        def end() -> None:
            if self._browser is not None and self._playwright is not None:
                self._browser.close()
                self._playwright.stop()

        self._thread.submit(end).result()
        self._thread.shutdown()


@dataclass(slots=True, frozen=True)
class Seen:
    """One request that came."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True, frozen=True)
class Reply:
    """What to answer: status 0 hangs up without a word."""

    status: int
    document: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Say nothing."""

    def handle(self) -> None:
        with suppress(ConnectionError):  # a browser may leave at any time
            super().handle()

    def give(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@dataclass(eq=False)
class PageServer:
    """The portal's own origin. `more` are further files: bytes, or a function that writes them."""

    url: str
    more: dict[str, tuple[str, bytes | Callable[[BaseHTTPRequestHandler], None]]]

    def open(self, browser: Browser, service: str, *, workers: bool = True) -> Page:
        """Open the page as a visitor who has never been there, and wait for its script."""
        page = browser.new_context().new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{self.url}/?service={service}&workers={int(workers)}")
        until(page, "window.open_session !== undefined")
        return page


def replay_of(data_dir: Path, session_id: str) -> Path:
    """Find a session's frames: in the spool, or where an end has brought them."""
    return next(data_dir.rglob(f"{session_id}.bin.gz"))


def until(page: Page, expression: str) -> None:
    """Wait until an expression holds. Playwright's own waiting evaluates text: CSP forbids that."""
    for _ in range(PATIENCE_MS // 20):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"it never held: {expression}")


@contextmanager
def page_server() -> Iterator[PageServer]:
    """Serve the page around the block."""
    more: dict[str, tuple[str, bytes | Callable[[BaseHTTPRequestHandler], None]]] = {
        "/page.js": ("text/javascript", _SCRIPT.encode()),
    }

    class Handler(_Quiet):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == "/":
                wanted = dict(pair.split("=") for pair in query.split("&"))
                self.give(200, _PAGE.encode(), {"Content-Type": "text/html", **_policy(wanted)})
            elif path == "/portal.js":
                self.give(200, PORTAL.read_bytes(), {"Content-Type": "text/javascript"})
            elif path in more:
                kind, content = more[path]
                if callable(content):
                    content(self)
                else:
                    self.give(200, content, {"Content-Type": kind})
            else:
                self.give(404, b"", {})

    with _served(Handler) as url:
        yield PageServer(url, more)


def _policy(wanted: Mapping[str, str]) -> dict[str, str]:
    """As strict as a page with this client can be; without workers, stricter."""
    service = wanted["service"]
    workers = "blob:" if wanted["workers"] == "1" else "'none'; require-trusted-types-for 'script'"
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src 'self' {service}; "
        f"connect-src {service}; media-src 'self'; img-src data:; worker-src {workers}"
    }


@dataclass(eq=False)
class Recorder:
    """A service that plays along: `script` decides each answer from the request."""

    url: str
    seen: list[Seen]
    script: Callable[[Seen], Reply]

    def of(self, path: str) -> list[Seen]:
        """Give the requests to a path, in order."""
        return [one for one in self.seen if one.path == path]


def accept(seen: Seen) -> Reply:
    """Answer as a service in good health."""
    if seen.path == "/v1/pose/frames":
        return Reply(202, {"frames_accepted": 1, "buffer_position_bytes": 528})
    if seen.path == "/v1/media/events":
        return Reply(202, {"status": "accepted"})
    return Reply(200, {"status": seen.json["client_status"]})


@contextmanager
def recorder(clock: Callable[[], float]) -> Iterator[Recorder]:
    """Serve around the block, and let any origin call."""
    held = Recorder("", [], accept)

    class Handler(_Quiet):
        def do_OPTIONS(self) -> None:
            allowed = "authorization, content-type, x-batch-meta, x-client-dropped"
            self.give(
                204,
                b"",
                {
                    "Access-Control-Allow-Origin": "*",
                    "Access-Control-Allow-Methods": "POST",
                    "Access-Control-Allow-Headers": allowed,
                    "Access-Control-Max-Age": "600",
                },
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            names = {name.lower(): value for name, value in self.headers.items()}
            one = Seen(clock(), self.path, names, body)
            held.seen.append(one)
            reply = held.script(one)
            if reply.status == 0:
                self.close_connection = True
                return
            headers = {
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Expose-Headers": "Retry-After",
                "Content-Type": "application/json",
            }
            status = HTTPStatus(reply.status)
            self.give(status, json.dumps(reply.document).encode(), {**headers, **reply.headers})

    with _served(Handler) as url:
        held.url = url
        yield held
