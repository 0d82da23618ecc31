"""The whole command against servers with faults: what a report says, and when it fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from penstock.bench.load import progress, worker
from penstock.bench.report.models import LoadRun, Report


class _Ran(Protocol):
    code: int
    out: str
    err: str


class _Seen(Protocol):
    address: tuple[str, int]
    dropped: int
    hosts: set[str]


Call = Callable[..., _Ran]
Serve = Callable[..., _Seen]
Run = Callable[..., tuple[_Ran, Report, LoadRun]]

_SECRET = {"PENSTOCK_SESSION_SECRET": "s" * 32}
# 400 batches a second for two seconds.
_LOAD = ["--sessions=40", "--ramp=0", "--duration=2", "--interval=0.1", "--connections=8"]
_LOAD += ["--jitter=0"]


@pytest.fixture
def run(call: Call, tmp_path: Path) -> Run:
    """Run the command against a server; give how it ended and its report."""

    def run_command(seen: _Seen, *more: str) -> tuple[_Ran, Report, LoadRun]:
        host, port = seen.address
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        ran = call("load", f"--target={url}", *_LOAD, "--json=r.json", *more, **_SECRET)
        report = Report.model_validate_json((tmp_path / "r.json").read_bytes())
        assert report.load is not None
        return ran, report, report.load

    return run_command


def test_a_sound_server_is_called_sound(serve: Serve, run: Run) -> None:
    """Without a fault of the server the command succeeds, and says so nowhere but in the report."""
    ran, report, made = run(serve(), "--quiet")
    assert (ran.code, ran.err, report.faults) == (0, "", [])
    assert made.outcomes == {"pose": {"202": 800}}
    assert made.latency["pose"].count == 800


def test_a_second_of_silence_is_in_the_report(serve: Serve, run: Run) -> None:
    """A server that stalls for a second is seen in p99 and max, of the run and of its seconds."""
    _, _, made = run(serve(stall_at=200, stall_seconds=1.0), "--quiet")
    pose = made.latency["pose"]
    assert pose.count == 800
    assert pose.max_ms >= 990
    # Half of the batches came due in that second; a closed loop would have had one slow batch in
    # eight hundred.
    assert pose.p99_ms >= 900
    assert max(second.max_ms or 0 for second in made.seconds) >= 990
    assert max(second.p99_ms or 0 for second in made.seconds) >= 900


def test_one_batch_in_a_thousand_is_missed(serve: Serve, run: Run) -> None:
    """A server that drops a batch in silence fails the run, with a fault that says it."""
    seen = serve(drop_every=1000)
    ran, report, made = run(seen, "--quiet", "--duration=3")
    assert made.outcomes == {"pose": {"202": 1200}}
    assert seen.dropped == 1
    assert ran.code == 1
    (fault,) = report.faults
    assert "does not add up: answers whose frames or position" in fault
    assert "expected 0, seen 1 (session " in fault
    assert fault in ran.err


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"short_every": 100}, "accepted frames, not"),
        ({"empty_every": 100}, "0 frames accepted of a batch of 10"),
        ({"twice_every": 100}, "position"),
        ({"misnames_every": 100}, "an answer for session 'another'"),
    ],
)
def test_a_lie_is_told(serve: Serve, run: Run, wrong: dict[str, Any], told: str) -> None:
    """Fewer frames than were sent, a batch taken twice, another's answer: each fails the run."""
    ran, report, _ = run(serve(**wrong), "--quiet", "--duration=1")
    assert ran.code == 1
    assert [told in fault for fault in report.faults] == [True]


def test_two_processes_are_one_run(serve: Serve, run: Run) -> None:
    """The parts of two processes are one plan, one ledger and one row of seconds."""
    seen = serve(drop_every=300)
    ran, report, made = run(seen, "--quiet", "--processes=2")
    assert made.plan.processes == 2
    assert made.outcomes == {"pose": {"202": 800}}
    assert made.latency["pose"].count == 800
    assert sum(second.answered for second in made.seconds) == 800
    assert [second.at for second in made.seconds] == list(range(len(made.seconds)))
    # What two processes found is in one sum.
    assert seen.dropped == 2
    assert ran.code == 1
    assert "seen 2 (" in report.faults[0]


def test_quiet_is_quiet_and_the_rest_is_not(
    serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --quiet only the report is shown; without it the progress, too, on standard error."""
    monkeypatch.setattr(progress, "_LINE_SECONDS", 1)
    ran, _, _ = run(serve(), "--quiet", "--duration=1")
    assert ran.err == ""
    assert "Latency in ms" in ran.out
    ran, _, _ = run(serve(), "--duration=1")
    assert "answered" in ran.err
    assert "s left" in ran.err
    assert "s left" not in ran.out


def test_refusals_do_not_make_a_server_fast(serve: Serve, run: Run) -> None:
    """The latencies of refused batches are apart from those of accepted ones."""
    ran, _, made = run(serve(refuse_every=2), "--quiet", "--duration=1")
    assert ran.code == 0
    assert made.latency["pose"].count == made.outcomes["pose"]["202"] == 200
    assert made.latency["pose refused"].count == made.outcomes["pose"]["429 rate_session"] == 200


def test_what_is_not_answered_speaks_against_the_latencies(
    serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that leaves batches unanswered fails the run: no latency knows of them."""
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.2)
    ran, report, _ = run(serve(silent=0.02), "--quiet", "--duration=1")
    assert ran.code == 1
    assert any("never answered" in fault for fault in report.faults)


def test_a_server_that_goes_away_is_told(
    serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server is gone before the end there is a report all the same, and it says so."""
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.2)
    ran, report, made = run(serve(ends_after=200), "--quiet")
    assert ran.code == 1
    assert made.frames_accepted >= 1900
    assert any("the server was there to the end" in fault for fault in report.faults)
    assert any("never answered" in fault for fault in report.faults)


def test_the_other_loopback_is_asked_too(serve: Serve, run: Run) -> None:
    """A service that listens on ::1 is a target, and is named in brackets."""
    seen = serve(host="::1")
    ran, report, made = run(seen, "--quiet", "--duration=1")
    assert ran.code == 0, ran.err
    assert made.outcomes == {"pose": {"202": 400}}
    assert seen.hosts == {f"[::1]:{seen.address[1]}"}
    assert report.server["address"] == f"http://[::1]:{seen.address[1]}"
