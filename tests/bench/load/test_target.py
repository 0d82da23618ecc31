"""Only this machine is asked, its routes are found out, and a started Penstock goes away again."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from penstock.bench.errors import BenchError
from penstock.bench.limits import SPOOL_FILES, files_told, needed_settings
from penstock.bench.load.plan import Kind
from penstock.bench.load.target import (
    Target,
    join_running,
    loopback_address,
    served_routes,
    start_penstock,
)
from penstock.bench.scrape import scrape, scrape_if_served, settle
from penstock.setting_fields import Settings

POSE = "/v1/pose/frames"


@contextmanager
def answering(
    statuses: Callable[[str], int], body: bytes = b""
) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Run a server that answers each path with a status; give its address and what it was asked."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(f"{self.command} {self.path} {self.headers.get('Authorization')}")
            self.send_response(statuses(self.path))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815  the names are the library's

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002  the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield ("127.0.0.1", server.server_port), asked
        finally:
            server.shutdown()
            thread.join()


def _target(address: tuple[str, int]) -> Target:
    return Target("it", address, b"", frozenset(), {})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("http://127.8.9.10:1/", ("127.8.9.10", 1)),
        ("http://localhost:80", ("127.0.0.1", 80)),
        ("http://LOCALHOST:80", ("127.0.0.1", 80)),
        ("http://[::1]:8080", ("::1", 8080)),
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
    ],
)
def test_loopback_addresses_are_taken(url: str, address: tuple[str, int]) -> None:
    """Each way to say "this machine" is understood."""
    assert loopback_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.5:8080",
        "http://192.168.1.5",
        "https://192.168.1.5/x",
        "http://10.0.0.1:8080",
        "http://0.0.0.0:8080",
        "http://example.com:80",
        "http://localhost.example.com:80",
        "http://127.0.0.1.example.com:80",
        "http://127.1:80",
        "http://127.0.0.1@example.com:80",
        "http://[2001:db8::1]:8080",
    ],
)
def test_other_machines_are_refused_with_the_reason(url: str) -> None:
    """No name and no address that could be another machine's is ever asked, and it is said why."""
    with pytest.raises(BenchError, match=r"not a loopback address.*attack.*SSH tunnel"):
        loopback_address(url)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "https://127.0.0.1:8080", "http://127.0.0.1", "http://127.0.0.1:99999",
     "http://127.0.0.1:x", "http://127.0.0.1:80/v1", "http://127.0.0.1:80?a=b", "http://[::1:80"],
)  # fmt: skip
def test_what_is_no_url_of_a_service_is_refused(url: str) -> None:
    """A typing error is told as one."""
    with pytest.raises(BenchError, match="is not a URL such as"):
        loopback_address(url)


def test_routes_are_found_without_a_token() -> None:
    """A route that refuses the token is there; one that is not found is not; nothing is written."""
    there = {POSE: 401, "/v1/media/events": 401}
    with answering(lambda path: there.get(path, 404)) as (address, asked):
        assert served_routes(address) == {Kind.POSE, Kind.MEDIA}
    assert len(asked) == 3
    assert all(line.startswith("POST ") and line.endswith(" None") for line in asked)


def test_a_service_without_pose_frames_is_refused() -> None:
    """What does not take pose frames is not this kind of service."""
    with (
        answering(lambda _: 404) as (address, _),
        pytest.raises(BenchError, match="does not serve POST /v1/pose/frames"),
    ):
        served_routes(address)


def test_nobody_there_is_told() -> None:
    """A port that nobody listens on is told as such."""
    with answering(lambda _: 200) as (address, _):
        pass
    with pytest.raises(BenchError, match="nobody answers HTTP at"):
        join_running(f"127.0.0.1:{address[1]}", secret=b"")


def test_a_joined_service_is_looked_at_by_its_pid() -> None:
    """With the process known its CPU and memory are read, without it they are left out."""
    with answering(lambda _: 401) as (address, _):
        url = f"http://127.0.0.1:{address[1]}"
        seen = join_running(url, secret=b"s", pid=os.getpid())
        unseen = join_running(url, secret=b"s")
        with pytest.raises(BenchError, match="no process 4194305"):
            join_running(url, secret=b"s", pid=4_194_305)  # beyond the kernel's largest
    assert (seen.resident_bytes() or 0) > 1 << 20
    assert (seen.cpu_seconds() or 0) > 0
    assert (unseen.resident_bytes(), unseen.cpu_seconds()) == (None, None)


def test_a_process_that_ended_is_told() -> None:
    """A target whose process goes away during a run ends it with that reason."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    target = Target("it", ("127.0.0.1", 1), b"", frozenset(), {}, pid=child.pid)
    with pytest.raises(BenchError, match="has ended"):
        target.cpu_seconds()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"no"),
        (200, b'{"a": "b c"}'),
        (200, b"a 1\n"),
        (200, b""),
        (200, b"penstock_frames_pending 0.0\n"),
        (200, b"penstock_frames_pending 0.0\npenstock_frames_seen_total NaN\n"),
    ],
)
def test_metrics_of_others_are_none(status: int, body: bytes) -> None:
    """A service without Penstock's metrics has none, which is no failure."""
    with answering(lambda _: status, body) as (address, _):
        assert scrape_if_served(_target(address)) is None
        assert settle(_target(address)) is None


def test_settling_has_an_end() -> None:
    """Frames that stay pending are seen in the last scrape, and not waited for without end."""
    metrics = b"penstock_frames_seen_total 9.0\npenstock_frames_pending 3.0\n"
    with answering(lambda _: 200, metrics) as (address, asked):
        assert (settle(_target(address), seconds=0.0) or {})["penstock_frames_pending"] == 3
    assert asked


def test_penstock_is_started_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Penstock of its own serves the run, says its settings, hears no Ctrl-C, leaves nothing."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with start_penstock(
        sessions=20_001, connections=8, settings={"spool_queue_chunks": 7}
    ) as target:
        assert Kind.POSE in target.routes
        assert scrape(target)["penstock_frames_pending"] == 0
        assert target.facts["setting spool_queue_chunks"] == "7"
        assert target.facts["setting max_live_sessions"] == "20001"
        assert (target.cpu_seconds() or 0) > 0
        assert target.pid is not None
        os.kill(target.pid, signal.SIGINT)
        assert scrape(target)["penstock_frames_pending"] == 0
        if target.cores:
            assert os.sched_getaffinity(target.pid).isdisjoint(target.cores)
    assert not Path(f"/proc/{target.pid}").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_large_run_needs_is_raised() -> None:
    """A run beyond Penstock's defaults raises them, and one within them changes nothing."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    live, connections = defaults["max_live_sessions"], defaults["max_connections"]
    # Metrics and connections that come and go need some, too.
    assert needed_settings(live, connections - 256) == {}
    for sessions, most in ((live + 1, 1), (1, connections - 255), (200_000, 200_000)):
        needed = needed_settings(sessions, most)
        assert needed
        assert all(value > defaults[name] for name, value in needed.items())
    assert needed_settings(200_000, 1)["max_live_sessions"] == 200_000
    assert defaults["token_cache_entries"] < needed_settings(200_000, 1)["token_cache_entries"]
    assert needed_settings(1, 30_000)["max_connections"] == 30_256


def test_too_few_files_for_the_spool_are_told() -> None:
    """A server that cannot keep all its files open is slower, so the report says that it is so."""
    assert Settings.model_fields["spool_open_files"].default == SPOOL_FILES
    assert files_told(40_000, 20_000, 10_000) == "up to 40,000"
    assert "too few" in files_told(20_000, 10_000, 10_000)
    assert files_told(20_000, 1000, 10_000) == "up to 20,000"
