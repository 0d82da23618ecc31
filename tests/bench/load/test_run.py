"""The run from the parent's side: workers that tell, fail, die or stop; and what is made of it."""

import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.bench.errors import BenchError
from penstock.bench.latencies import Latencies
from penstock.bench.load import run
from penstock.bench.load.faults import load_faults
from penstock.bench.load.interrupt import stopping_on_signals
from penstock.bench.load.plan import HOSTILE_CONNECTIONS, Assignment, Kind, most_connections
from penstock.bench.load.processes import Workers
from penstock.bench.load.run import open_files, run_load
from penstock.bench.load.seconds import Seconds, ServerLook, merge
from penstock.bench.load.target import Target, start_penstock
from penstock.bench.load.worker import Tick, WorkerAccount
from penstock.bench.report.models import LoadPlan, LoadRun, Second
from penstock.bench.scrape import Metrics
from penstock.bench.scrape import scrape_if_served as scrape_really
from penstock.bench.scrape import settle as settle_really

Emit = Callable[[Tick], None]
Stopped = Callable[[], bool]

# A port that nobody listens on: metrics cannot be had there.
NOWHERE = Target("nowhere", ("127.0.0.1", 9), b"", frozenset({Kind.POSE}), {}, pid=os.getpid())
PLAN = LoadPlan(
    sessions=20,
    ramp_seconds=1,
    seconds=2,
    interval_seconds=0.5,
    jitter=0.1,
    frames_a_batch=3,
    connections=4,
    reconnect_share=0,
    offline_seconds=0.5,
    hostile_share=0,
    media=False,
    ends=False,
    processes=1,
    seed=1,
)


def tick(at: int, *, answered: int = 1, latencies: tuple[int, ...] = (1000,)) -> Tick:
    return Tick(
        at=at,
        planned=answered,
        sent=answered,
        answered=answered,
        outcomes={"202": answered},
        latencies_us=array("I", latencies),
        backlog=1,
        lag_us=10 * (at + 1),
        cpu_share=0.25,
        open_connections=4,
    )


def account(frames: int = 30) -> WorkerAccount:
    latencies = Latencies()
    latencies.record(1000)
    return WorkerAccount(
        latencies={Kind.POSE: latencies.encode()},
        outcomes={Kind.POSE: {"202": frames // 3}},
        frames_sent=frames,
        frames_accepted=frames,
    )


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server of runs that send nothing have no metrics, unless a test has a real one."""

    def settle(target: Target) -> object:
        return None if target.name == NOWHERE.name else settle_really(target)

    monkeypatch.setattr(run, "settle", settle)
    monkeypatch.setattr(run, "scrape_if_served", _no_metrics)


def _no_metrics(target: Target) -> Metrics | None:
    return None if target.name == NOWHERE.name else scrape_really(target)


def _run(
    work: Callable[[Assignment, Emit, Stopped], WorkerAccount],
    *,
    plan: LoadPlan = PLAN,
    stopped: Stopped = lambda: False,
    seen: list[Second] | None = None,
) -> LoadRun:
    watch = seen.append if seen is not None else lambda _: None
    return run_load(plan, NOWHERE, watch=watch, stopped=stopped, work=work)


def test_ticks_become_seconds() -> None:
    """Each second is shown as it passes, and ramp and drain do not count for the rate."""

    def work(_: Assignment, emit: Emit, __: Stopped) -> WorkerAccount:
        for at, answered in enumerate((5, 20, 30, 7)):
            emit(tick(at, answered=answered))
        return account()

    seen: list[Second] = []
    made = _run(work, seen=seen)
    assert seen == made.seconds
    assert [second.answered for second in made.seconds] == [5, 20, 30, 7]
    assert made.answered_a_second == 25
    assert made.latency["pose"].count == 1
    assert made.outcomes == {"pose": {"202": 10}}
    assert made.harness_cpu_share == 0.25
    assert not made.interrupted
    assert made.cpu_us_a_batch is not None
    assert (made.rss_peak_bytes or 0) >= (made.rss_last_bytes or 0) > 0


def test_workers_are_added_up() -> None:
    """A second is whole when every worker has told it, and accounts are sums."""
    plan = PLAN.model_copy(update={"processes": 3})

    def work(assignment: Assignment, emit: Emit, _: Stopped) -> WorkerAccount:
        # One that takes a second longer has that second for itself.
        for at in range(3 if assignment.worker else 4):
            emit(tick(at, latencies=(1000 * (assignment.worker + 1),)))
        return account(30 + assignment.worker)

    made = _run(work, plan=plan)
    assert [second.planned for second in made.seconds] == [3, 3, 3, 1]
    assert made.seconds[0].p50_ms == 2
    assert made.seconds[0].max_ms == 3
    assert made.frames_sent == 93
    assert made.latency["pose"].count == 3


def test_workers_know_their_part() -> None:
    """Each worker gets its number and the offsets that repeated runs are told."""
    plan = PLAN.model_copy(update={"processes": 2})
    begun = time.monotonic()

    def work(assignment: Assignment, _: Emit, __: Stopped) -> WorkerAccount:
        assert (assignment.first_session, assignment.first_batch) == (100, 7)
        assert assignment.begin_at > begun
        return account(3 + assignment.worker)

    made = run_load(
        plan,
        NOWHERE,
        watch=lambda _: None,
        stopped=lambda: False,
        first_session=100,
        first_batch=7,
        work=work,
    )
    assert made.frames_sent == 7


def test_a_stop_reaches_the_workers() -> None:
    """When the run is stopped every worker is told, and what they have is the report."""

    def work(_: Assignment, emit: Emit, stopped: Stopped) -> WorkerAccount:
        for at in range(1000):
            emit(tick(at))
            if stopped():
                return account()
            time.sleep(0.01)
        raise AssertionError("nobody said stop")

    seen: list[Second] = []
    made = _run(work, stopped=lambda: len(seen) >= 2, seen=seen)
    assert made.interrupted
    assert made.frames_accepted == 30


def test_ctrl_c_does_not_reach_the_workers() -> None:
    """Of a signal to the whole group the workers notice nothing: the parent decides."""

    def work(_: Assignment, __: Emit, ___: Stopped) -> WorkerAccount:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return account()

    assert _run(work).frames_sent == 30


def test_a_dead_worker_ends_the_run() -> None:
    """A worker that dies takes its counts with it, so there is no result, and it is said why."""
    plan = PLAN.model_copy(update={"processes": 2})
    begun = time.monotonic()

    def work(assignment: Assignment, emit: Emit, _: Stopped) -> WorkerAccount:
        emit(tick(0))
        if assignment.worker:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1000)
        return account()

    with pytest.raises(BenchError, match=r"worker 1 .*died: killed by SIGKILL"):
        _run(work, plan=plan)
    assert time.monotonic() - begun < 500


@pytest.mark.parametrize(
    ("error", "told"),
    [(BenchError("no such load"), "no such load"), (KeyError("x"), "KeyError: 'x'")],
)
def test_a_failed_worker_says_why(error: Exception, told: str) -> None:
    """What a worker failed of is the message."""

    def work(_: Assignment, __: Emit, ___: Stopped) -> WorkerAccount:
        raise error

    with pytest.raises(BenchError, match=f"worker 0 failed: {told}"):
        _run(work)


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """Workers whose parent gives up are gone when the block is left."""
    pids = tmp_path / "pid"

    def work(_: Assignment, emit: Emit, __: Stopped) -> WorkerAccount:
        pids.write_text(str(os.getpid()))
        emit(tick(0))
        time.sleep(1000)
        return account()

    assignment = Assignment(PLAN, 0, ("127.0.0.1", 9), b"", 0, 0, 0, frozenset())

    def give_up() -> None:
        with Workers([assignment], (), work) as workers:
            assert next(iter(workers.messages(30)))[0] == 0
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        give_up()
    assert not Path(f"/proc/{pids.read_text()}").exists()


def test_the_first_signal_is_a_wish_and_the_second_an_order() -> None:
    """One Ctrl-C or SIGTERM stops the run in order; another one ends it at once."""
    for number, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):
        before = signal.getsignal(number)
        with stopping_on_signals() as stopped:
            assert not stopped()
            signal.raise_signal(number)
            assert stopped()
            with pytest.raises(error):
                signal.raise_signal(number)
        assert signal.getsignal(number) is before


def test_seconds_wait_for_every_worker() -> None:
    """A second is given once, when the last worker's part is there, in whatever order they come."""
    seconds = Seconds(2)
    assert seconds.add(0, tick(0)) == []
    assert seconds.add(0, tick(1)) == []
    for at in range(2):
        (whole,) = seconds.add(1, tick(at))
        assert [one.at for one in whole] == [at, at]


def test_seconds_do_not_wait_for_who_has_ended() -> None:
    """What the last worker goes on to tell is told, and what waited for one that ended as well."""
    seconds = Seconds(3)
    for worker, last in ((0, 3), (1, 1)):
        for at in range(last):
            assert seconds.add(worker, tick(at)) == []
    assert [len(whole) for whole in seconds.add(2, tick(0))] == [3]
    assert seconds.add(2, tick(1)) == []
    assert [(whole[0].at, len(whole)) for whole in seconds.ended(1)] == [(1, 2)]
    assert [(whole[0].at, len(whole)) for whole in seconds.ended(2)] == [(2, 1)]
    assert [(whole[0].at, len(whole)) for whole in seconds.add(0, tick(3))] == [(3, 1)]
    assert seconds.ended(0) == []


def test_a_moment_has_no_share_of_a_core() -> None:
    """Between two looks in one moment, the kernel's coarse ticks say nothing of the server."""
    second = merge([tick(0)], ServerLook(1, 1.0, 5), ServerLook(1.01, 1.01, 5), cores=1)
    assert second.server_cpu_share is None


def test_percentiles_are_of_all_latencies() -> None:
    """Half of all latencies are not above p50, and one in a hundred is above p99, over workers."""
    ticks = [tick(0, latencies=tuple(range(1, 100))), tick(0, latencies=(100_000,))]
    look = ServerLook(0, 1.0, 5)
    second = merge(ticks, look, ServerLook(2, 2.0, 7), cores=1)
    assert (second.p50_ms, second.p99_ms, second.max_ms) == (0.05, 0.099, 100)
    assert second.server_cpu_share == 0.5
    assert second.server_rss_bytes == 7
    blind = merge([tick(0, latencies=())], look, ServerLook(2, None, None), cores=1)
    assert (blind.p50_ms, blind.server_cpu_share, blind.server_rss_bytes) == (None, None, None)


@pytest.mark.parametrize(("cores", "share"), [(1, 0.75), (2, 0.5), (3, 0.25), (8, 0.25)])
def test_workers_that_share_a_core_are_busy_together(cores: int, share: float) -> None:
    """The harness is as busy as its busiest core, whichever workers that one has."""
    look = ServerLook(0, None, None)
    assert merge([tick(0)] * 3, look, look, cores=cores).harness_cpu_share == share


def test_a_server_that_dies_leaves_a_report() -> None:
    """When the server's process ends, the workers stop, and what they know is told with it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        target = replace(NOWHERE, pid=child.pid)

        def work(_: Assignment, emit: Emit, stopped: Stopped) -> WorkerAccount:
            for at in range(1000):
                emit(tick(at))
                if stopped():
                    return account()
                time.sleep(0.01)
            raise AssertionError("nobody said stop")

        def watch(second: Second) -> None:
            if second.at == 1:
                child.communicate(b"\n")

        made = run_load(PLAN, target, watch=watch, stopped=lambda: False, work=work)
    assert made.interrupted
    assert made.frames_accepted == 30
    assert len(made.seconds) >= 2
    (fault,) = load_faults(made)
    assert "the server was there to the end" in fault
    assert f"process {child.pid} has ended" in fault


def test_hostile_clients_have_several_connections() -> None:
    """Files are enough for every connection that a hostile client may have open at once."""
    plan = PLAN.model_copy(update={"sessions": 1000, "hostile_share": 0.1, "connections": 10})
    assert most_connections(plan) == 10 + 100 * HOSTILE_CONNECTIONS
    assert open_files(plan) > most_connections(plan)


def _faults(made: LoadRun, **changes: object) -> str:
    return "; ".join(load_faults(made.model_copy(update=changes)))


def test_what_spoils_the_figures_is_named() -> None:
    """A busy or late harness, missing consents, wrong secrets and failures are each told."""

    def work(_: Assignment, emit: Emit, __: Stopped) -> WorkerAccount:
        emit(tick(0))
        return account()

    made = _run(work)
    assert load_faults(made) == []
    assert _faults(made, outcomes={"pose": {"202": 1, "429 inbox_full": 99}}) == ""
    assert "95% of its core" in _faults(made, harness_cpu_share=0.95)
    late = [made.seconds[0].model_copy(update={"lag_ms": 51.0})]
    assert "by up to 51 ms" in _faults(made, seconds=late)
    assert _faults(made, seconds=[*late, *made.seconds * 19]) == ""
    refused = {"pose": {"403 consent_required": 51, "202": 49}}
    assert "penstock bench grants --sessions 20" in _faults(made, outcomes=refused)
    assert "session secret" in _faults(made, outcomes={"pose": {"401 token_signature": 9}})
    assert "500 internal_error" in _faults(
        made, outcomes={"pose": {"500 internal_error": 1, "202": 9}}
    )
    assert "no batch was answered" in _faults(made, outcomes={"pose": {"closed": 9}})
    assert "2 of 102 batches were never answered" in _faults(
        made, outcomes={"pose": {"202": 100, "unsent": 1, "closed": 1}}
    )
    assert _faults(made, outcomes={"pose": {"202": 100, "closed": 1}}) == ""
    assert "no batch was answered" in _faults(made, outcomes={})
    broken = [check.model_copy(update={"holds": False}) for check in made.reconciliation[:1]]
    assert "does not add up: frames sent" in _faults(made, reconciliation=broken)


def test_against_penstock_every_frame_adds_up() -> None:
    """With hostile and reconnecting clients, both sides agree on every frame, run after made."""
    changes = {"sessions": 40, "hostile_share": 0.2, "reconnect_share": 0.1}
    changes |= {"ramp_seconds": 0, "seconds": 2, "interval_seconds": 0.25, "offline_seconds": 0.1}
    plan = PLAN.model_copy(update=changes)
    quick = {"spool_flush_seconds": 0.05}
    with start_penstock(sessions=80, connections=60, settings=quick) as target:
        for first in (0, 40):
            made = run_load(
                plan, target, watch=lambda _: None, stopped=lambda: False, first_session=first
            )
            assert [check for check in made.reconciliation if not check.holds] == []
            assert not any(check.seen.startswith("not checked") for check in made.reconciliation)
            assert made.frames_accepted > 0
            assert sum(made.outcomes["hostile_malformed"].values()) > 0
    assert (made.cpu_us_a_batch or 0) > 0
