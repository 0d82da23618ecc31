"""`penstock bench load` and `penstock bench grants`, as they are called."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest

from penstock.bench import servers
from penstock.bench.load import target
from penstock.bench.report.models import Report
from penstock.bench.servers import RunningServer, ServerSpec, penstock_spec, run_server


class _Ran(Protocol):
    code: int
    out: str
    err: str


Call = Callable[..., _Ran]

_SMALL = ["--sessions=20", "--ramp=0.5", "--duration=1.5", "--interval=0.5", "--connections=4"]
_SMALL += ["--set=rate_batches_per_second=100", "--set=rate_burst=100"]
# So that little time passes until all frames are on disk.
_SMALL += ["--set=spool_flush_seconds=0.05"]
_PATIENCE_SECONDS = 60.0
# The command as a process of its own, which says each second how it goes.
_PROGRAM = """
import typer
from penstock.bench.load import faults, progress
from penstock.commands.bench.load import load
progress._LINE_SECONDS = 1
faults._MOST_LAG_MS = faults._MOST_CPU_SHARE = float("inf")
typer.run(load)
"""


def _report(path: Path) -> Report:
    return Report.model_validate_json(path.read_bytes())


def test_a_run_end_to_end(call: Call, tmp_path: Path) -> None:
    """A run against a Penstock of its own gives the report in three forms, and all adds up."""
    ran = call(
        "load", *_SMALL, "--hostile-share=0.1", "--reconnect-share=0.1", "--offline-seconds=0.1",
        "--json=r.json", "--html=r.html", "--quiet",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.err == ""
    report = _report(tmp_path / "r.json")
    assert report.load is not None
    assert report.faults == []
    assert all(check.holds for check in report.load.reconciliation)
    assert not any("not checked" in check.seen for check in report.load.reconciliation)
    assert report.load.frames_sent == report.load.frames_accepted >= 20 * 3 * 10
    assert report.load.answered_a_second > 0
    assert report.server["setting rate_burst"] == "100"
    assert "left out" not in report.server
    assert (tmp_path / "r.html").stat().st_size > 0
    assert "20 sessions" in ran.out


def test_refusals_are_no_fault(call: Call, tmp_path: Path) -> None:
    """A run that is refused for its rate succeeds: it may have been meant to be."""
    ran = call(
        "load", *_SMALL, "--set=rate_batches_per_second=0.01", "--set=rate_burst=1",
        "--json=r.json", "--quiet",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    made = _report(tmp_path / "r.json").load
    assert made is not None
    assert made.outcomes["pose"]["429 rate_session_exceeded"] > made.outcomes["pose"]["202"] == 20


def test_ctrl_c_still_gives_a_report(tmp_path: Path) -> None:
    """A signal to all processes of the terminal ends the run early; it is reconciled and told."""
    for number in (signal.SIGINT, signal.SIGTERM):
        out = tmp_path / f"{number}.json"
        arguments = [*_SMALL, "--duration=60", f"--json={out}"]
        with subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as process:
            assert process.stderr is not None
            try:
                # It says something once it is under way.
                assert "answered" in process.stderr.readline()
                if number == signal.SIGINT:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
                shown, said = process.communicate(timeout=_PATIENCE_SECONDS)
            finally:
                with suppress(ProcessLookupError):  # as it should be: all of them are gone
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, said
        assert "20 sessions" in shown
        report = _report(out)
        assert report.load is not None
        assert report.load.interrupted
        assert report.load.frames_accepted > 0
        assert report.faults == []


@pytest.mark.parametrize("url", ["http://192.168.7.1:8080", "https://example.com", "10.1.2.3:80"])
def test_a_remote_target_is_refused(call: Call, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Another machine is never asked for anything, and the refusal says why and what to do."""

    def no_connection(*_: object, **__: object) -> None:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr("socket.create_connection", no_connection)
    ran = call("load", f"--target={url}", PENSTOCK_SESSION_SECRET="s" * 32)
    assert ran.code == 1
    assert "attack" in ran.err
    assert "SSH tunnel" in ran.err


@contextmanager
def _penstock(folder: Path, **settings: object) -> Iterator[RunningServer]:
    spec = penstock_spec(
        folder, 20, rate_batches_per_second=100, rate_burst=100, spool_flush_seconds=0.05
    )
    environ = {**spec.environ, **{f"PENSTOCK_{name}": str(v) for name, v in settings.items()}}
    with run_server(ServerSpec("penstock", spec.command, environ), None) as server:
        yield server


def test_a_running_service_is_the_target_again_and_again(call: Call, tmp_path: Path) -> None:
    """With the printed grants, runs with sessions of their own each add up, one after the other."""
    file = tmp_path / "grants.json"
    file.write_text(call("grants", "--sessions=20").out)
    assert len(json.loads(file.read_bytes())["consents"]) == 20
    small = [one for one in _SMALL if not one.startswith("--set")]
    with _penstock(tmp_path / "service", GRANTS_FILE=file) as server:
        host, port = server.address
        for _ in range(2):
            ran = call(
                "load", *small, "--quiet", f"--target=http://{host}:{port}",
                f"--pid={server.process.pid}", "--json=r.json",
                PENSTOCK_SESSION_SECRET=servers.SECRET.decode(),
            )  # fmt: skip
            assert ran.code == 0, ran.err
    made = _report(tmp_path / "r.json").load
    assert made is not None
    assert (made.rss_peak_bytes or 0) > 1 << 20


def test_missing_consents_are_told_with_what_to_do(call: Call, tmp_path: Path) -> None:
    """A service that knows no consents is a fault of the run, which names the command for it."""
    small = [one for one in _SMALL if not one.startswith("--set")]
    nobody = tmp_path / "nobody.json"
    nobody.write_text('{"consents": [], "quotas": []}')
    with _penstock(tmp_path / "service", GRANTS_FILE=nobody) as server:
        ran = call(
            "load", *small, "--quiet", f"--target=http://127.0.0.1:{server.address[1]}",
            PENSTOCK_SESSION_SECRET=servers.SECRET.decode(),
        )  # fmt: skip
    assert ran.code == 1
    assert "penstock bench grants --sessions 20" in ran.err


def test_a_target_needs_the_secret(call: Call) -> None:
    """Without the session secret the command says how it is given, and asks nobody."""
    ran = call("load", "--target=http://127.0.0.1:9")
    assert ran.code == 2
    assert "session_secret" in ran.err
    ran = call("load", "--target=http://127.0.0.1:9", "--dev")
    assert ran.code == 1
    assert "no service has run with --dev" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--jitter=0.6"], "from 0 to 0.5"),
        (["--jitter=nan"], "from 0 to 0.5"),
        (["--interval=0"], "from 0.01"),
        (["--duration=0"], "from 1"),
        (["--duration=inf"], "from 1"),
        (["--ramp=0.5", "--duration=1"], "no whole second"),
        (["--ramp=-1"], "from 0"),
        (["--ramp=80000", "--duration=80000"], "together"),
        (["--hostile-share=1.5"], "from 0 to 1"),
        (["--frames=0"], "frames"),
        (["--connections=1", "--processes=2"], "1; each of the 2 processes needs a connection"),
        (["--sessions=9", "--hostile-share=0.05"], "0.05; of 9 sessions that is nobody"),
        (["--sessions=9", "--reconnect-share=0.05"], "0.05; of 9 sessions that is nobody"),
        (["--reconnect-share=1", "--duration=9", "--offline-seconds=7"], "7; with batches before"),
        (["--set=session_secret=x"], "session_secret cannot be chosen"),
        (["--set=HOST=0.0.0.0"], "host cannot be chosen"),
        (["--pid=1"], "give --target as well"),
        (["--dev"], "give --target as well"),
        (["--data-dir=x"], "give --target as well"),
        (["--target=http://127.0.0.1:9", "--set=a=b"], "leave it out with --target"),
        (["--set=what"], "NAME=VALUE"),
        (["--json=/no/such/folder/r.json"], "is not a folder"),
        (["--json=/proc/r.json"], "/proc/r.json cannot be written"),
        (["--json=r", "--html=./r"], "two reports in one file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    call: Call, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    """Options that make no load are told one by one, and no server is started."""
    monkeypatch.setattr(target, "run_server", None)
    ran = call("load", *arguments)
    assert ran.code == 2
    assert told in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set=no_such_setting=1"], "NO_SUCH_SETTING"),
    ],
)
def test_what_turns_out_later_is_told_in_one_line(
    call: Call, arguments: list[str], told: str
) -> None:
    """What only the service or the batches can tell ends the command with one line."""
    ran = call("load", *_SMALL, "--quiet", *arguments)
    assert ran.code == 1
    assert told.lower() in ran.err.lower()
    assert len(ran.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--frames=200"], "frames at most"),
        (["--sessions=100000", "--own-connections"], "net.ipv4.ip_local_port_range"),
    ],
)
def test_what_no_server_could_bear_is_told_before_one_starts(
    call: Call, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    """Batches that no body holds, and connections that no ports are for, cost no start."""
    monkeypatch.setattr(target, "run_server", None)
    ran = call("load", *_SMALL, "--quiet", *arguments)
    assert ran.code == 1
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_trying_to_write_leaves_nothing(call: Call, tmp_path: Path) -> None:
    """Whether a report can be written is tried, and neither a file is left nor an old one lost."""
    old = tmp_path / "old.json"
    old.write_text("before")
    ran = call("load", "--json=new.json", "--html=old.json", "--target=http://example.com:80",
               PENSTOCK_SESSION_SECRET="s" * 32)  # fmt: skip
    assert ran.code == 1
    assert old.read_text() == "before"
    assert list(tmp_path.iterdir()) == [old]


def test_too_few_files_are_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of open files that the connections would exceed is told before anything starts."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    ran = call("load", *_SMALL)
    assert ran.code == 1
    assert "the hard limit is 64" in ran.err
