"""The highest rate that one server holds, found by trials of some seconds each.

Theory of operation
-------------------
::

    CapacitySearch -> a rate -> as many sessions as send it, warmed -> a load run -> held or not
         ^----------------------------------------------------------------------------┘
    … -> what is believed -> one more trial at 80 % of it

One server is kept for the whole search, as in production, and so are its sessions: a trial goes on
with their later batches. Sessions that are new, or have been idle for so long that they may have
been laid to rest, send one batch before the trial, slowly: a session's first batch makes its file,
and a rate is about sessions that are there. Every load run begins and ends with no frame pending,
so no trial pays for the one before it. All sessions begin within the first interval, so the rate is
the whole one from the first moment on.

A rate is held when every batch was accepted and p99, counted from the intended moment, is within
the bound. Where it was not held and the harness itself had no time left, the trial is void: nobody
knows what the server would have done.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from penstock.bench.capacity_search import CapacitySearch, Certainty, Found
from penstock.bench.load.run import Watch, run_load
from penstock.bench.load.target import Target
from penstock.bench.report.models import CapacityRun, LoadPlan, LoadRun, Trial

# New sessions a second: a first batch costs about ten others.
_NEW_A_SECOND = 1000
# Well below session_rest_seconds, a minute.
_FRESH_SECONDS = 40.0
# A core that is used beyond this has no room for the moments when more is due than usual.
_MOST_CPU_SHARE = 0.9
# Of the bound: a harness that is usually this late has had a part in each p99.
_MOST_LAG_SHARE = 0.5
_CONFIRMED_SHARE = 0.8
_POSE = "pose"


class RunLoad(Protocol):
    """`penstock.bench.load.run.run_load`, or what stands for it."""

    def __call__(
        self,
        plan: LoadPlan,
        target: Target,
        *,
        watch: Watch,
        stopped: Callable[[], bool],
        first_session: int = 0,
        first_batch: int = 0,
    ) -> LoadRun:
        """Send what the plan says and account for it."""
        ...


@dataclass(slots=True, frozen=True)
class CapacityPlan:
    """How to search, and what each trial is."""

    bound_ms: float
    precision: float
    most_trials: int
    seconds: float
    start: float
    interval_seconds: float
    frames: int
    connections: int
    processes: int
    seed: int


@dataclass(slots=True, frozen=True)
class CapacityOutcome:
    """What was found, and what speaks against it."""

    run: CapacityRun
    faults: list[str]


@dataclass(slots=True, frozen=True)
class Judged:
    """A trial with the verdict on it. `void` says why it tells nothing about the server."""

    trial: Trial
    void: bool
    faults: list[str]
    interrupted: bool


@dataclass(slots=True)
class Trials:
    """Runs trials against one server, and remembers which of its sessions are warm."""

    plan: CapacityPlan
    target: Target
    stopped: Callable[[], bool]
    load: RunLoad = run_load
    clock: Callable[[], float] = time.monotonic
    _next_batch: int = 0
    # When the first so many sessions were last used.
    _used: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def run(self, rate: float) -> Judged:
        """Warm the sessions that such a rate needs, and try it."""
        sessions = max(1, round(rate * self.plan.interval_seconds))
        warm = self._warm()
        if warm < sessions:
            ramp = (sessions - warm) / _NEW_A_SECOND
            # So long an interval that each of them sends once, and then the ramp is over.
            self._load(sessions - warm, ramp, 0, interval=ramp + 1, first_session=warm)
        run = self._load(sessions, self.plan.interval_seconds, self.plan.seconds)
        self._used = [(at, count) for at, count in self._used if count > sessions]
        self._used.append((self.clock(), sessions))
        return judge(run, sessions / self.plan.interval_seconds, self.plan.bound_ms)

    def _warm(self) -> int:
        since = self.clock() - _FRESH_SECONDS
        return max((count for at, count in self._used if at >= since), default=0)

    def _load(
        self,
        sessions: int,
        ramp: float,
        seconds: float,
        *,
        interval: float | None = None,
        first_session: int = 0,
    ) -> LoadRun:
        interval = interval or self.plan.interval_seconds
        plan = LoadPlan(
            sessions=sessions,
            ramp_seconds=ramp,
            seconds=seconds,
            interval_seconds=interval,
            jitter=0.1,
            frames_a_batch=self.plan.frames,
            connections=self.plan.connections,
            reconnect_share=0.0,
            offline_seconds=0.0,
            hostile_share=0.0,
            media=False,
            ends=False,
            processes=self.plan.processes,
            seed=self.plan.seed,
        )
        run = self.load(
            plan,
            self.target,
            watch=_watch_nothing,
            stopped=self.stopped,
            first_session=first_session,
            first_batch=self._next_batch,
        )
        # As many as a session can have sent; a session that skips some has only waited.
        self._next_batch += int((ramp + seconds) / interval) + 2
        return run


def find_capacity(
    plan: CapacityPlan, attempt: Callable[[float], Judged], tell: Callable[[str], None]
) -> CapacityOutcome:
    """Search, confirm and sum up."""
    search = CapacitySearch(
        start=plan.start, precision=plan.precision, most_trials=plan.most_trials
    )
    trials: list[Trial] = []
    faults: list[str] = []
    interrupted = False
    while not interrupted and (rate := search.next_rate()) is not None:
        judged = attempt(rate)
        interrupted = judged.interrupted
        faults += judged.faults
        if interrupted:
            break
        trials.append(judged.trial)
        if judged.void:
            search.void(judged.trial.rate)
        else:
            search.tell(judged.trial.rate, passed=judged.trial.passed)
        tell(f"{_told(judged)}; {believed(search.result())}")
    found = search.result()
    confirmed: Trial | None = None
    if not interrupted and found.certainty in {Certainty.FOUND, Certainty.AT_LEAST}:
        judged = attempt(_CONFIRMED_SHARE * found.rate)
        interrupted = judged.interrupted
        faults += judged.faults
        if not interrupted:
            confirmed = judged.trial
            tell(f"80 % of it: {_told(judged)}")
    return CapacityOutcome(
        CapacityRun(
            bound_p99_ms=plan.bound_ms,
            precision=plan.precision,
            certainty=found.certainty.value,
            trials=trials,
            rate=found.rate,
            low=found.low,
            high=found.high,
            safe_rate=found.safe_rate,
            at_80_percent=confirmed,
        ),
        [*_against(found, search.limit, confirmed, interrupted=interrupted), *faults],
    )


def judge(run: LoadRun, rate: float, bound_ms: float) -> Judged:
    """Say whether a run held its rate, and why not."""
    outcomes = run.outcomes.get(_POSE, {})
    wrong = {what: count for what, count in outcomes.items() if count and what[:3] != "202"}
    refusals = sum(count for what, count in wrong.items() if what[:1] == "4" or what[:3] == "503")
    failures = sum(wrong.values()) - refusals
    latency = run.latency.get(_POSE)
    reasons = [f"{count:,} {what}" for what, count in wrong.items()]
    if latency is None:
        reasons.append("nothing was answered")
    elif latency.p99_ms > bound_ms:
        reasons.append(f"p99 is {_figure(latency.p99_ms)} ms")
    harness = _busy_harness(run, bound_ms) if reasons else None
    why = "; ".join(reasons)
    return Judged(
        trial=Trial(
            rate=rate,
            seconds=run.plan.seconds,
            answered_a_second=run.answered_a_second,
            p99_ms=latency.p99_ms if latency is not None else 0.0,
            refusals=refusals,
            failures=failures,
            cpu_us_a_batch=run.cpu_us_a_batch or 0.0,
            passed=not reasons,
            why=f"void, since {harness}: {why}" if harness else why,
        ),
        void=harness is not None,
        faults=[
            f"at {rate:,.0f}/s it does not add up: {check.name}: expected {check.expected}, "
            f"seen {check.seen}"
            for check in run.reconciliation
            if not check.holds
        ],
        interrupted=run.interrupted,
    )


def believed(found: Found) -> str:
    """Say in words what is believed of the capacity."""
    if found.certainty is Certainty.UNKNOWN:
        return "nothing is known yet"
    if found.certainty is Certainty.FOUND:
        return f"believed: {found.rate:,.0f}/s ({found.low:,.0f} to {found.high:,.0f})"
    return f"believed: {found.certainty.value} {found.rate:,.0f}/s"


def _against(
    found: Found, limit: float, confirmed: Trial | None, *, interrupted: bool
) -> list[str]:
    faults: list[str] = []
    if interrupted:
        faults.append("interrupted; the figures are of the trials until then")
    if found.certainty is Certainty.AT_LEAST:
        why = (
            f"above {limit:,.0f}/s the harness itself gives out"
            if limit < float("inf")
            else "all trials were held; give more --trials, or a higher --start"
        )
        faults.append(f"the capacity is at least {found.rate:,.0f}/s, and not known better: {why}")
    elif found.certainty is Certainty.BELOW:
        faults.append(f"no trial was held; the capacity is below {found.rate:,.0f}/s")
    elif found.certainty is Certainty.UNKNOWN:
        faults.append("no trial tells anything about the server")
    if confirmed is not None and not confirmed.passed:
        faults.append(f"80 % of the rate was not held: {confirmed.why}")
    return faults


def _busy_harness(run: LoadRun, bound_ms: float) -> str | None:
    if run.harness_cpu_share > _MOST_CPU_SHARE:
        return f"the harness used {run.harness_cpu_share:.0%} of its core"
    late = median(second.lag_ms for second in run.seconds) if run.seconds else 0.0
    if late > _MOST_LAG_SHARE * bound_ms:
        return f"the harness itself was {late:.0f} ms late"
    return None


def _told(judged: Judged) -> str:
    trial = judged.trial
    if trial.passed:
        return f"{trial.rate:,.0f}/s: held, p99 is {_figure(trial.p99_ms)} ms"
    return f"{trial.rate:,.0f}/s: {trial.why if judged.void else f'not held: {trial.why}'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _watch_nothing(_second: object) -> None:
    pass
