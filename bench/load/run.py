"""One load run, from the first look at the server to the account that has to add up.

Theory of operation
-------------------
::

    settle, count ─> fork workers ─> each second: all ticks -> a Second -> watch
                                        │ stopped? -> tell the workers
                                     accounts of all workers
    settle, count ─> reconcile ─> LoadRun

The parent sends nothing itself: it merges, looks at the server's process, and shows. It runs on the
generator's cores as well, because on the server's it would take from what it measures.

The server may be used for many runs, one after the other. `first_session` and `first_batch` say
where this one begins: new sessions, or later batches of the same ones.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from penstock.bench.latencies import Latencies
from penstock.bench.load import worker
from penstock.bench.load.batches import batches_for, frame_ms
from penstock.bench.load.losses import spread
from penstock.bench.load.plan import Assignment, check_plan, most_connections
from penstock.bench.load.processes import Work, Workers
from penstock.bench.load.reconcile import ClientSide, frames_grown, reconcile
from penstock.bench.load.seconds import Seconds, ServerLook, merge
from penstock.bench.load.target import Target
from penstock.bench.load.worker import WorkerAccount
from penstock.bench.machine import allow_open_files, check_local_ports
from penstock.bench.report.models import Check, Latency, LoadPlan, LoadRun, Second
from penstock.bench.scrape import Metrics, scrape_if_served, settle
from penstock.bench.servers import ServerFailedError

Watch = Callable[[Second], None]

# How often a wish to stop is looked at.
_LOOK_SECONDS = 0.2
# Before the first request is due: a process to fork, and per session a token to sign.
_START_SECONDS = 0.5
_START_SECONDS_A_SESSION = 50e-6
_EXAMPLES = 3
_PRESENT = "the server was there to the end"
_OTHER_FILES = 128
_DELAY_PEAK = "penstock_scheduler_delay_peak_seconds"


@dataclass(slots=True)
class _Course:
    """What became known while the run was under way."""

    # One more than seconds: the first is from before.
    looks: list[ServerLook]
    seconds: list[Second] = field(default_factory=list[Second])
    batches: list[int] = field(default_factory=list[int])
    accounts: list[WorkerAccount] = field(default_factory=list[WorkerAccount])
    interrupted: bool = False
    # Why the server was not there to the end.
    failed: str = ""
    delay_peak_ms: float | None = None


def run_load(
    plan: LoadPlan,
    target: Target,
    *,
    watch: Watch,
    stopped: Callable[[], bool],
    first_session: int = 0,
    first_batch: int = 0,
    work: Work | None = None,
) -> LoadRun:
    """Send what the plan says and account for it. Raises BenchError when it cannot be done.

    `work` is what a worker process does, if not the usual.
    """
    check_plan(plan)
    if work is None:
        work = partial(worker.work, members=batches_for(plan, first_batch))
    allow_open_files(open_files(plan))
    check_local_ports(most_connections(plan))
    with _on_cores(target.cores):
        before = settle(target)
        start = _START_SECONDS + plan.sessions / plan.processes * _START_SECONDS_A_SESSION
        begin_at = time.monotonic() + start
        assignments = [
            Assignment(
                plan=plan,
                worker=number,
                address=target.address,
                secret=target.secret,
                begin_at=begin_at,
                first_session=first_session,
                first_batch=first_batch,
                routes=target.routes,
            )
            for number in range(plan.processes)
        ]
        with Workers(assignments, target.cores, work) as workers:
            course = _follow(workers, plan, target, watch, stopped)
        after = _settled(target, course)
        last_rss = _look(target, course).rss_bytes
    client = client_side(course.accounts)
    losses = [account.losses for account in course.accounts]
    steady = _steady(plan, course)
    steady_seconds = course.seconds[steady.start : steady.stop]
    return LoadRun(
        plan=plan,
        seconds=course.seconds,
        latency=_latencies(course.accounts),
        outcomes=_outcomes(course.accounts),
        answered_a_second=_mean([second.answered for second in steady_seconds]),
        frames_sent=client.frames_sent,
        frames_accepted=client.frames_accepted,
        frames_thinned=client.frames_thinned,
        frames_withheld=sum(account.frames_withheld for account in course.accounts),
        frames_given_up=sum(account.frames_given_up for account in course.accounts),
        batches_unanswered=sum(account.batches_unanswered for account in course.accounts),
        cpu_us_a_batch=_cpu_us_a_batch(course, steady),
        rss_first_bytes=course.looks[0].rss_bytes,
        rss_peak_bytes=_peak([look.rss_bytes for look in course.looks] + [last_rss]),
        rss_last_bytes=last_rss,
        harness_cpu_share=_mean([second.harness_cpu_share for second in steady_seconds]),
        interrupted=course.interrupted,
        reconciliation=[*_presence(course), *reconcile(client, before, after)],
        server_frames=_server_frames(before, after),
        retry_after=_total(account.retry_after for account in course.accounts),
        scheduler_delay_peak_ms=course.delay_peak_ms,
        losses=spread(losses, frame_ms=frame_ms(plan)),
        losses_of_others=(
            spread(losses, frame_ms=frame_ms(plan), others=True) if plan.orgs > 1 else None
        ),
    )


def open_files(plan: LoadPlan) -> int:
    """Give how many files a worker may have open at once: connections above all."""
    return most_connections(plan) + _OTHER_FILES


def _follow(
    workers: Workers, plan: LoadPlan, target: Target, watch: Watch, stopped: Callable[[], bool]
) -> _Course:
    course = _Course([])
    course.looks.append(_look(target, course))
    seconds = Seconds(plan.processes)
    cores = len(target.cores) or len(os.sched_getaffinity(0))
    while workers.running:
        if not course.interrupted and stopped():
            course.interrupted = True
            workers.stop()
        for number, message in workers.messages(_LOOK_SECONDS):
            if isinstance(message, WorkerAccount):
                course.accounts.append(message)
                whole = seconds.ended(number)
            else:
                whole = seconds.add(number, message)
            if not whole:
                continue
            now = _look(target, course)
            if course.failed and not course.interrupted:
                course.interrupted = True
                workers.stop()
            for ticks in whole:
                second = merge(ticks, course.looks[-1], now, cores=cores)
                course.seconds.append(second)
                course.batches.append(sum(len(tick.latencies_us) for tick in ticks))
                course.looks.append(now)
                watch(second)
    return course


def client_side(accounts: Sequence[WorkerAccount]) -> ClientSide:
    """Add up what the workers know."""
    return ClientSide(
        frames_sent=sum(account.frames_sent for account in accounts),
        frames_accepted=sum(account.frames_accepted for account in accounts),
        frames_refused=_total(account.frames_refused for account in accounts),
        frames_unanswered=sum(account.frames_unanswered for account in accounts),
        hostile_frames=_total(account.hostile_frames for account in accounts),
        mismatches=sum(account.mismatches for account in accounts),
        mismatch_examples=tuple(
            example for account in accounts for example in account.mismatch_examples
        )[:_EXAMPLES],
        wrong_hostile=_total(account.wrong_hostile for account in accounts),
        frames_thinned=sum(account.frames_thinned for account in accounts),
        frames_told=_total(account.frames_told for account in accounts),
        frames_told_perhaps=_total(account.frames_told_perhaps for account in accounts),
    )


def _server_frames(before: Metrics | None, after: Metrics | None) -> dict[str, int]:
    if before is None or after is None:
        return {}
    grown = frames_grown(before, after)
    return {f"{outcome} {reason}": n for (outcome, reason), n in sorted(grown.items()) if n}


def _total(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def _outcomes(accounts: Sequence[WorkerAccount]) -> dict[str, dict[str, int]]:
    kinds = sorted({kind for account in accounts for kind in account.outcomes})
    return {
        kind.value: _total(account.outcomes.get(kind, {}) for account in accounts) for kind in kinds
    }


def _latencies(accounts: Sequence[WorkerAccount]) -> dict[str, Latency]:
    merged: dict[str, Latencies] = {}
    for account in accounts:
        for name, encoded in account.latencies.items():
            merged.setdefault(name, Latencies()).add(Latencies.decode(encoded))
    return {name: latencies.as_latency() for name, latencies in sorted(merged.items())}


def _steady(plan: LoadPlan, course: _Course) -> range:
    """Give the seconds during which all sessions were on, from their first to their last whole."""
    at = [second.at for second in course.seconds]
    # The second in which it was stopped is not whole.
    end = at[-1] if course.interrupted and at else plan.ramp_seconds + plan.seconds - 1
    inside = [n for n, second in enumerate(at) if plan.ramp_seconds <= second <= end]
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def _cpu_us_a_batch(course: _Course, steady: range) -> float | None:
    answered = sum(course.batches[steady.start : steady.stop])
    begun, ended = course.looks[steady.start].cpu_seconds, course.looks[steady.stop].cpu_seconds
    if not answered or begun is None or ended is None:
        return None
    return (ended - begun) / answered * 1e6


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _peak(seen: Sequence[int | None]) -> int | None:
    return max((value for value in seen if value is not None), default=None)


def _look(target: Target, course: _Course) -> ServerLook:
    """Look at the server's process; one that has ended ends the run, but not its report."""
    now = time.monotonic()
    try:
        return ServerLook(now, target.cpu_seconds(), target.resident_bytes())
    except ServerFailedError as error:
        course.failed = course.failed or str(error)
        return ServerLook(now, None, None)


def _settled(target: Target, course: _Course) -> Metrics | None:
    if course.failed:
        return None
    try:
        # The peak is since the last time it was asked: of the run, the first time afterwards.
        first = scrape_if_served(target)
        if first is not None and _DELAY_PEAK in first:
            course.delay_peak_ms = 1000 * first[_DELAY_PEAK]
        return settle(target)
    except ServerFailedError as error:
        course.failed = str(error)
        return None


def _presence(course: _Course) -> Iterator[Check]:
    """Tell, if it was not so, that the server was there: what it knew is gone with it."""
    if course.failed:
        yield Check(name=_PRESENT, expected="yes", seen=course.failed, holds=False)


@contextmanager
def _on_cores(cores: Sequence[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
