import os
import sys
import time
from pathlib import Path

import pytest

from penstock.bench import servers
from penstock.bench.scrape import parse_metrics
from penstock.bench.servers import RunningServer, ServerFailedError, ServerSpec, run_server

_STARTED = r'{"event": "service.started", "address": "http://127.0.0.1:9"}'
_SAY = f"import sys, time, signal; print('{_STARTED}', file=sys.stderr, flush=True);"


def _spec(program: str) -> ServerSpec:
    return ServerSpec("tiny", [sys.executable, "-c", program], {})


def _gone(server: RunningServer) -> bool:
    return (
        server.process.returncode is not None and not Path(f"/proc/{server.process.pid}").exists()
    )


def test_a_server_is_there_and_then_gone() -> None:
    """Inside the block the server runs and can be looked at; after it, it has been stopped."""
    with run_server(_spec(_SAY + "time.sleep(60)"), None) as server:
        assert server.address == ("127.0.0.1", 9)
        assert server.cpu_seconds() >= 0
        assert server.resident_bytes() > 1 << 20
    assert _gone(server)


def test_an_exception_stops_the_server_too() -> None:
    """A failure inside the block leaves no child behind."""
    caught: list[RunningServer] = []

    def fail_inside() -> None:
        with run_server(_spec(_SAY + "time.sleep(60)"), None) as server:
            caught.append(server)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert _gone(caught[0])


def test_a_deaf_server_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ignores SIGTERM is killed after the deadline."""
    monkeypatch.setattr(servers, "_STOP_SECONDS", 0.2)
    program = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + _SAY + "time.sleep(60)"
    )
    with run_server(_spec(program), None) as server:
        pass
    assert server.process.returncode == -9
    assert _gone(server)


def test_a_server_that_does_not_start_says_why() -> None:
    """A start that fails is an error with the server's own last words."""
    with (
        pytest.raises(ServerFailedError, match="no such luck"),
        run_server(_spec("import sys; sys.exit('no such luck')"), None),
    ):
        pass


def test_a_server_that_ends_is_noticed() -> None:
    """A server that ended by itself is not taken for one that runs."""
    with run_server(_spec(_SAY + "sys.stdin.read()"), None) as server:
        server.process.wait(10)
        with pytest.raises(ServerFailedError, match="ended with 0"):
            server.cpu_seconds()


def test_a_server_runs_on_its_core() -> None:
    """The server may run on its core only, and this process is where it was."""
    before = os.sched_getaffinity(0)
    core = max(before)
    with run_server(_spec(_SAY + "time.sleep(60)"), core) as server:
        assert os.sched_getaffinity(server.process.pid) == {core}
    assert os.sched_getaffinity(0) == before


def test_a_server_sleeps_and_wakes() -> None:
    """A server that was put to sleep stands still, runs while it is awake, and can be stopped."""
    with run_server(_spec(_SAY + "[None for _ in iter(int, 1)]"), None) as server:
        server.sleep()
        stood = _state(server, "T")
        with server.awake():
            ran = _state(server, "R")
        stood_again = _state(server, "T")
    assert stood == stood_again == "T"
    assert ran == "R"
    assert _gone(server)


def test_metrics_are_read() -> None:
    """Samples are found by their name and labels."""
    text = '# HELP a b\na{state="live"} 3.0\nb 1e3\n'
    assert parse_metrics(text) == {'a{state="live"}': 3.0, "b": 1000.0}


def _state(server: RunningServer, expected: str) -> str:
    """Give the process's state once it is the expected one, or after ample time."""
    deadline = time.monotonic() + 10
    while True:
        stat = Path(f"/proc/{server.process.pid}/stat").read_text()
        state = stat.rpartition(")")[2].split()[0]
        if state == expected or time.monotonic() > deadline:
            return state
        time.sleep(0.001)
