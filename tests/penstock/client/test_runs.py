"""The client: what agents report arrives once, in order, and nothing that happens hurts them."""

import itertools
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import trio

from penstock.client import BufferFullError, RunClient, TrioRunClient, UnsuitableError
from penstock.client.git import git_facts

Make = Callable[..., RunClient]
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "report-runs.md"


def test_a_run_from_start_to_end(service: Any, make_client: Make) -> None:
    """Start, update, commit and end come out as one run with all of them."""
    client = make_client()
    run = client.start("agent", "job", product="seo", metrics_json={"tokens": 1})
    assert run.update(items_succeeded=3, output_summary="so far")
    assert run.associate_commit("abc1234", "ci", author="ada")
    assert run.complete(items_succeeded=4)
    assert client.flush(5)
    (stored,) = service.runs.values()
    assert stored["event_id"] == run.event_id
    assert stored["run_id"] == run.run_id
    assert (stored["agent_name"], stored["job_type"], stored["product"]) == ("agent", "job", "seo")
    assert (stored["status"], stored["items_succeeded"]) == ("success", 4)
    assert stored["git_commit_hash"] == "abc1234"
    assert stored["metrics_json"] == {"tokens": 1}
    assert stored["duration_ms"] >= 0
    assert datetime.fromisoformat(stored["end_time"]) >= datetime.fromisoformat(
        stored["start_time"]
    )
    assert client.held == 0
    assert client.statistics().delivered == 4


def test_the_block_reports_success_or_what_went_wrong(service: Any, make_client: Make) -> None:
    """The agent's exception passes through, and is in the report."""
    client = make_client()
    with client.run("agent", "good"):
        pass
    with client.run("agent", "partial") as run:
        run.complete("partial")
    with pytest.raises(ZeroDivisionError), client.run("agent", "bad"):
        _ = 1 / 0
    assert client.flush(5)
    by_job = {run["job_type"]: run for run in service.runs.values()}
    assert by_job["good"]["status"] == "success"
    assert by_job["partial"]["status"] == "partial"
    assert by_job["bad"]["status"] == "failure"
    assert by_job["bad"]["error_summary"] == "ZeroDivisionError: division by zero"
    assert "test_runs.py" in by_job["bad"]["error_details"]


def test_many_runs_go_as_batches(service: Any, make_client: Make) -> None:
    """What gathers while the service is away takes few requests afterwards."""
    service.kill()
    client = make_client(batch=50)
    ids = [client.report("agent", "job", items_succeeded=n) for n in range(120)]
    assert client.held == 120
    service.requests = 0
    service.start()
    assert client.flush(10)
    assert [event_id for _, event_id in service.effects] == ids
    assert service.requests <= 6


FAULTS: dict[str, Any] = {
    "5xx": lambda: 503,
    "429": lambda: 429,
    "full": lambda: 507,
    "unauthorised": lambda: 401,
    "lost": lambda: 0,
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after it took effect"])
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_nothing_twice_whatever_is_answered(
    service: Any, make_client: Make, never_longer: Any, *, fault: str, after: bool
) -> None:
    """Four in five requests fail for as long as a minute's worth of attempts; all arrives once.

    The pace is a thousandth of the usual one, so that the test takes no minute.
    """
    turns = itertools.count()
    service.fault = lambda: FAULTS[fault]() if next(turns) % 5 else None
    service.after = after
    service.retry_after = "60" if fault == "429" else None
    client = make_client(batch=3)
    reported = []
    for number in range(12):
        with never_longer(0.5):
            run = client.start("agent", f"job {number}")
            run.update(items_succeeded=number)
            run.complete()
        reported.append(run.event_id)
    assert client.flush(20)
    assert [one for kind, one in service.effects if kind == "run"] == reported
    assert len(service.runs) == 12
    for number, event_id in enumerate(reported):
        stored = service.runs[event_id]
        assert (stored["status"], stored["items_succeeded"]) == ("success", number)
    assert client.statistics().refused == client.statistics().dropped == 0
    assert service.requests > 36 / 3


def test_a_service_that_is_killed_and_comes_back(
    service: Any, make_client: Make, never_longer: Any
) -> None:
    """Reports go on at full speed while it is gone, and arrive in order when it is back."""
    client = make_client()
    ids = []
    for _ in range(3):
        for _ in range(5):
            with never_longer(0.5):
                ids.append(client.report("agent", "job"))
        service.kill()
        for _ in range(5):
            with never_longer(0.5):
                ids.append(client.report("agent", "job"))
        assert client.held > 0
        service.start()
    assert client.flush(10)
    assert [event_id for _, event_id in service.effects] == ids


def test_a_slow_service_blocks_nobody(service: Any, make_client: Make, never_longer: Any) -> None:
    """An answer that comes after the timeout is no answer; the agent does not notice."""
    service.delay = 0.3
    client = make_client(timeout=0.1)
    with never_longer(0.1):
        run = client.start("agent", "job")
        run.complete()
    with never_longer(0.3):
        assert not client.flush()
    with never_longer(0.4):
        client.close()
    assert client.statistics().trouble
    service.delay = 0.0
    later = make_client()
    assert later.flush(5)
    assert [kind for kind, _ in service.effects].count("run") == 1
    assert service.runs[run.event_id]["status"] == "success"


def test_the_next_process_delivers_what_this_one_could_not(
    service: Any, tmp_path: Path, make_client: Make
) -> None:
    """A kill -9 right after the reports loses none of them."""
    service.kill()
    code = (
        "import os, sys\nfrom penstock.client import RunClient\n"
        "client = RunClient('http://127.0.0.1:9', buffer=sys.argv[1])\n"
        "for number in range(5):\n    client.report('agent', f'job {number}')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "runs.sqlite3"], check=False)
    assert done.returncode == -9
    service.start()
    client = make_client()
    assert client.flush(5)
    assert [run["job_type"] for run in service.runs.values()] == [f"job {n}" for n in range(5)]


def test_two_processes_never_deliver_from_one_buffer_at_once(
    service: Any, make_client: Make
) -> None:
    """All reports go out by the one that holds the buffer, in the order in which they came."""
    first, second = make_client(), make_client()
    assert first.flush(5)
    ids = [client.report("agent", "job") for client in (first, second) * 5]
    assert second.flush(5)
    assert [event_id for _, event_id in service.effects] == ids
    assert sorted(client.statistics().delivered for client in (first, second)) == [0, 10]


def test_what_the_service_refuses_does_not_hold_up_the_rest(
    service: Any, make_client: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad run of a batch is found and put aside; an update to no run is, too."""
    service.rejects = lambda run: run["job_type"] == "bad"
    service.kill()
    client = make_client()
    runs = [client.start("agent", job) for job in ("good", "bad", "fine")]
    runs[1].complete()
    runs[2].complete()
    service.start()
    with caplog.at_level(logging.WARNING, "penstock.client.delivery"):
        assert client.flush(5)
    assert {run["job_type"]: run["status"] for run in service.runs.values()} == {
        "good": "running",
        "fine": "success",
    }
    assert client.statistics().refused == 2
    assert len(caplog.records) == 2
    with sqlite3.connect(tmp_path / "runs.sqlite3") as db:
        rows = db.execute("SELECT kind, status FROM refused ORDER BY number").fetchall()
    db.close()
    assert rows == [("run", 422), ("update", 404)]


def test_a_page_of_somebody_else_is_no_answer(service: Any, make_client: Make) -> None:
    """200 with HTML, as a captive portal gives, delivers nothing; nor does a wrong address."""
    service.body = b"<html>Sign in"
    service.fault = lambda: 200
    client = make_client()
    client.report("agent", "job")
    assert not client.flush(0.3)
    service.body = None
    service.fault = lambda: 404
    assert not client.flush(0.3)
    service.fault = lambda: None
    assert client.flush(5)
    assert len(service.runs) == 1


def test_a_full_buffer_is_counted_and_raises_only_where_asked(
    service: Any, make_client: Make
) -> None:
    """The newest report is the one that has no room; what is held stays."""
    service.kill()
    client = make_client(max_records=3)
    for _ in range(5):
        client.report("agent", "job")
    assert (client.held, client.statistics().dropped) == (3, 2)
    client.close(0.1)
    strict = make_client(max_records=3, raise_errors=True)
    with pytest.raises(BufferFullError, match="max_records"):
        strict.report("agent", "job")
    service.start()
    assert strict.flush(5)
    assert len(service.runs) == 3


def test_a_buffer_of_bytes_is_bounded(service: Any, make_client: Make, tmp_path: Path) -> None:
    """The file does not grow past its bound, however long the service is away."""
    service.kill()
    client = make_client(max_buffer_bytes=1 << 20)
    for _ in range(100):
        client.report("agent", "job", error_details="x" * 50_000)
    assert client.statistics().dropped > 50
    assert (tmp_path / "runs.sqlite3").stat().st_size <= 1 << 20
    held = client.held
    service.start()
    assert client.flush(10)
    assert len(service.runs) == held > 5


@pytest.mark.parametrize("trouble", ["a folder", "damaged", "no rights"])
def test_a_buffer_that_cannot_be_used_hurts_nobody(
    service: Any, make_client: Make, tmp_path: Path, trouble: str
) -> None:
    """Records then wait in memory, or in a new file; they still arrive."""
    buffer = tmp_path / "other" / "buffer"
    if trouble == "a folder":
        buffer.mkdir(parents=True)
    elif trouble == "damaged":
        buffer.parent.mkdir()
        buffer.write_bytes(b"no database" * 1000)
    else:
        (tmp_path / "other").write_text("a file where the folder should be")
    client = make_client(buffer=buffer)
    with client.run("agent", "job"):
        pass
    assert client.flush(5)
    assert [run["status"] for run in service.runs.values()] == ["success"]
    if trouble == "damaged":
        assert len(list(buffer.parent.glob("buffer.damaged-*"))) == 1


class Odd:
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_odd_values_are_made_to_fit(service: Any, make_client: Make) -> None:
    """NaN, sets, NUL, halves of characters, huge texts and other things: all arrives somehow."""
    client = make_client()
    run = client.start(
        "agent" * 100,
        "job",
        host="a\0b\ud800",
        items_discovered=3.0,
        start_time=datetime(2026, 1, 1, tzinfo=UTC),
        metrics_json={"nan": float("nan"), "set": {1}, 2: object, "big": 2**70, "inf": [1e999]},
        error_details="x" * 10_000_000,
        context_json={"long": ["y" * 99_999] * 30},
        product=5,
    )
    assert client.flush(5)
    stored = service.runs[run.event_id]
    assert len(stored["agent_name"]) == 255
    assert stored["host"] == "a\ufffdb?"
    assert stored["items_discovered"] == 3
    assert stored["start_time"] == "2026-01-01T00:00:00+00:00"
    assert stored["product"] == "5"
    assert len(stored["error_details"]) <= 100_000
    assert "context_json" not in stored  # with it the record would be refused


def test_mistakes_are_told_and_raise_only_where_asked(
    service: Any, make_client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown field or a bad value is left out with a warning; the rest is reported."""
    client = make_client()
    run = client.start("agent", "job", hots="typo", items_failed=-1, host="right")
    run.update(agent_name="cannot change", items_failed=float("nan"))
    run.complete("done", output_summary=Odd())
    run.complete("failed")
    assert client.flush(5)
    stored = service.runs[run.event_id]
    assert (stored["host"], stored["status"]) == ("right", "failure")
    assert "hots" in caplog.text
    assert "'done'" in caplog.text or "RuntimeError" in caplog.text
    strict = make_client(raise_errors=True)
    with pytest.raises(UnsuitableError, match="hots"):
        strict.start("agent", "job", hots="typo")


def test_a_closed_client_takes_nothing_and_says_so(service: Any, make_client: Make) -> None:
    """Closing twice is nothing; a report afterwards is dropped, not raised."""
    client = make_client()
    client.report("agent", "job")
    client.close()
    client.close()
    assert len(service.runs) == 1
    client.report("agent", "late")
    assert client.statistics().dropped == 1
    with pytest.raises(UnsuitableError, match="address"):
        RunClient("ftp://nowhere")


def test_an_agent_that_just_ends_has_delivered(service: Any, tmp_path: Path) -> None:
    """Without a close, what was reported last is flushed as the interpreter ends."""
    code = (
        "import sys\nfrom penstock.client import RunClient\n"
        "client = RunClient(sys.argv[1], buffer=sys.argv[2])\n"
        "client.start('agent', 'job').complete()\n"
    )
    buffer = tmp_path / "ending.sqlite3"
    subprocess.run([sys.executable, "-c", code, service.url, buffer], check=True, timeout=30)
    assert [run["status"] for run in service.runs.values()] == ["success"]


FORKING = """
import os, sys
from penstock.client import RunClient
url, buffer = sys.argv[1:]
client = RunClient(url, buffer=buffer)
run = client.start("parent", "before")
for number in range(20):
    child = os.fork()
    if not child:
        assert not run.update(items_failed=1)  # the parent's, and said to be
        assert not client.flush()
        assert client.statistics().held == -1
        assert client.statistics().dropped == 1
        assert "before the fork" in client.statistics().trouble
        with RunClient(url, buffer=buffer) as own:
            own.report("child", f"job {number}")
        sys.exit(0)
    assert run.update(items_succeeded=number)
    assert os.waitpid(child, 0)[1] == 0
assert run.complete()
"""


def test_a_fork_hurts_neither_side(service: Any, tmp_path: Path) -> None:
    """The parent goes on; in a child its client does nothing at once, and one of its own works."""
    command = [sys.executable, "-c", FORKING, service.url, tmp_path / "forking.sqlite3"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    by_agent = [run["agent_name"] for run in service.runs.values()]
    assert by_agent.count("child") == 20
    (of_parent,) = (run for run in service.runs.values() if run["agent_name"] == "parent")
    assert (of_parent["status"], of_parent["items_succeeded"]) == ("success", 19)


def test_the_first_example_of_the_page_works(
    service: Any, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the how-to shows is reported as it stands there, and nothing of it is left out."""
    after_title = PAGE.read_text().splitlines()[2:]
    lines = takewhile(lambda line: not line or line.startswith("    "), after_title)
    monkeypatch.setattr("penstock.client.RunClient", lambda _url: make_client())
    names: dict[str, Any] = {}
    exec(dedent("\n".join(lines)), names)  # noqa: S102 - it is our own page
    assert names["client"].flush(30)
    assert not names["client"].statistics().trouble
    (run,) = service.runs.values()
    assert (run["status"], run["items_discovered"], run["items_succeeded"]) == ("success", 10, 10)
    assert run["git_commit_hash"] == "0123abc"


def test_git_facts(tmp_path: Path, service: Any, make_client: Make) -> None:
    """Repository, branch and commit of a folder; a password in the remote stays there."""
    assert git_facts(tmp_path) == {}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "trunk")
    git("remote", "add", "origin", "https://ada:secret@github.com/o/r.git")
    assert git_facts(tmp_path) == {
        "git_repo": "https://github.com/o/r.git",
        "git_branch": "trunk",
    }
    git("commit", "-q", "--allow-empty", "-m", "first")
    client = make_client()
    run = client.start("agent", "job", git=tmp_path)
    assert client.flush(5)
    assert service.runs[run.event_id]["git_commit_hash"] == git("rev-parse", "HEAD")
    assert service.runs[run.event_id]["git_branch"] == "trunk"


async def test_the_trio_form(service: Any, tmp_path: Path) -> None:
    """The same in `async with`; a run that is cancelled says so, and the loop is never held up."""
    buffer = tmp_path / "trio.sqlite3"
    async with TrioRunClient(service.url, buffer=buffer, timeout=2.0) as client:
        async with client.run("agent", "good") as run:
            assert await run.update(items_succeeded=1)
            assert await run.associate_commit("abc1234")
        with pytest.raises(ValueError, match="wrong"):
            async with client.run("agent", "bad"):
                raise ValueError("wrong")
        with trio.move_on_after(0.01):
            async with client.run("agent", "cancelled"):
                await trio.sleep_forever()
        assert await client.report("agent", "single")
        assert await client.flush(5)
        assert (await client.statistics()).held == 0
    statuses = {run["job_type"]: run["status"] for run in service.runs.values()}
    assert statuses == {
        "good": "success",
        "bad": "failure",
        "cancelled": "cancelled",
        "single": "success",
    }


def test_a_report_is_quick(service: Any, make_client: Make) -> None:
    """The median report takes a small part of the timeout, with nobody there to take it."""
    service.kill()
    client = make_client()
    times = []
    for _ in range(50):
        began = time.monotonic()
        client.report("agent", "job")
        times.append(time.monotonic() - began)
    assert sorted(times)[25] < 0.05
