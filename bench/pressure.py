"""What becomes of frames, and of session ends, at loads from half the capacity to far above it.

Theory of operation
-------------------
::

    capacity, found or given -> for each multiple of it: a fresh Penstock, one load run

The sessions are as many in every run; what changes is how often each sends. A batch's frames fill
its interval, so that session time is real time, and a gap of a second is one. Each patient has a
connection of its own: with shared ones, what is too much would wait in the harness and never press
the service. A session's own rate limit is far above its rate, since it is not what is looked at.

All the while sessions end, a few each second, and new ones take their places. Whoever is refused
sends nothing until the time it was told, as the client library does, and tells what it left out;
or, when that is switched off, goes on as if nothing had been said.

They are live clients: no more than two batches wait behind the one under way, and older ones are
given up, since a client that hoards what it cannot send would be all that the latencies tell of. An
end goes out when it is due, beside the batches. The ends of those that are left when the load has
stopped come spread, and are told apart: nobody's exercise ends with everybody else's.

A run at several times the capacity is meant to lose frames. What makes it useless is said all the
same: a harness that was late, an account that does not add up, ends without an answer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from penstock.bench.load.batches import batches_for
from penstock.bench.load.faults import load_faults
from penstock.bench.load.plan import ENDS, Kind, most_connections, numbers_used
from penstock.bench.load.run import Watch, run_load
from penstock.bench.load.target import Target
from penstock.bench.report.models import LoadPlan, LoadRun, PressureRun, PressureStep

_POSE, _END = Kind.POSE.value, Kind.END.value
_BY_POLICY = frozenset({"policy_thinned", "inbox_dropped_oldest"})
# The rate limits of a session are so many times above what it sends.
_ROOM = 10.0
_MOST_RATE = 1000.0


class RunLoad(Protocol):
    """`penstock.bench.load.run.run_load`, or what stands for it."""

    def __call__(
        self, plan: LoadPlan, target: Target, *, watch: Watch, stopped: Callable[[], bool]
    ) -> LoadRun:
        """Send what the plan says and account for it."""
        ...


class Start(Protocol):
    """`penstock.bench.load.target.start_penstock`, or what stands for it."""

    def __call__(
        self, *, sessions: int, connections: int, settings: Mapping[str, object]
    ) -> AbstractContextManager[Target]:
        """Run a service around the block."""
        ...


Show = Callable[[LoadPlan], AbstractContextManager[Watch]]


@dataclass(slots=True, frozen=True)
class PressurePlan:
    """The loads, as multiples of the capacity, and what each run is."""

    capacity: float
    capacity_found: bool
    times: Sequence[float]
    sessions: int
    ramp_seconds: float
    seconds: float
    frames: int
    ends_per_second: float
    honour_retry_after: bool
    processes: int
    seed: int
    settings: Mapping[str, object]

    def load(self, times: float) -> LoadPlan:
        """Give the plan of one run."""
        return LoadPlan(
            sessions=self.sessions,
            ramp_seconds=self.ramp_seconds,
            seconds=self.seconds,
            interval_seconds=self.sessions / (times * self.capacity),
            jitter=0.1,
            frames_a_batch=self.frames,
            connections=None,
            reconnect_share=0.0,
            offline_seconds=0.0,
            hostile_share=0.0,
            media=False,
            ends=True,
            processes=self.processes,
            seed=self.seed,
            ends_per_second=self.ends_per_second,
            honour_retry_after=self.honour_retry_after,
            real_time=True,
            live_clients=True,
        )

    def needed(self, times: float) -> dict[str, object]:
        """Give the settings with which a session may send as often as it will."""
        rate = min(_MOST_RATE, max(1.25, _ROOM * times * self.capacity / self.sessions))
        limits: dict[str, object] = {
            "rate_batches_per_second": round(rate, 2),
            "rate_burst": round(min(_MOST_RATE, max(5.0, _ROOM * rate))),
        }
        return limits | dict(self.settings)


@dataclass(slots=True, frozen=True)
class PressureOutcome:
    """What was seen, of which server, and what speaks against it."""

    run: PressureRun
    server: Mapping[str, str]
    faults: list[str]


def run_pressure(
    plan: PressurePlan,
    *,
    start: Start,
    show: Show,
    stopped: Callable[[], bool],
    tell: Callable[[str], None],
    load: RunLoad = run_load,
) -> PressureOutcome:
    """Run each load; when it is stopped, no further one begins."""
    steps: list[PressureStep] = []
    facts: dict[str, str] = {}
    faults: list[str] = []
    for times in plan.times:
        if stopped():
            faults.append(f"interrupted before the load of {times:g} times the capacity")
            break
        one = plan.load(times)
        # Encoded before the service is there: it is not to wait.
        batches_for(one)
        settings = plan.needed(times)
        with start(
            sessions=numbers_used(one), connections=most_connections(one), settings=settings
        ) as target:
            facts |= {name: told for name, told in target.facts.items() if name != "address"}
            if Kind.END not in target.routes:
                one = one.model_copy(update={"ends": False, "ends_per_second": 0.0})
            with show(one) as watch:
                run = load(one, target, watch=watch, stopped=stopped)
        steps.append(PressureStep(times=times, batches_a_second=times * plan.capacity, run=run))
        faults += [f"at {times:g} times the capacity: {fault}" for fault in step_faults(run)]
        tell(told(steps[-1]))
    if steps and not steps[0].run.plan.ends:
        facts["left out"] = "session ends, which are not served"
    return PressureOutcome(
        PressureRun(capacity=plan.capacity, capacity_found=plan.capacity_found, steps=steps),
        facts,
        faults,
    )


def step_faults(run: LoadRun) -> Iterator[str]:
    """Give what speaks against one run: what does against any, and what no load may bring about.

    Those are ends that nobody answered, and accepted frames that were not the policy's to drop.
    """
    yield from load_faults(run)
    for name, count in sorted(run.server_frames.items()):
        outcome, _, reason = name.partition(" ")
        if outcome == "lost" or (outcome == "shed" and reason not in _BY_POLICY):
            yield f"{count:,} accepted frames were {outcome}, not by the policy: {reason}"
    unanswered = ends_unanswered(run)
    if unanswered:
        yield f"{unanswered:,} session ends had no 2xx"
    if run.interrupted:
        yield "it was interrupted; the figures are of what had happened until then"


def ends_unanswered(run: LoadRun) -> int:
    """Count the ends that were due, those that close the run included, and got no 2xx."""
    kinds = [run.outcomes.get(kind.value, {}) for kind in ENDS]
    return sum(count for one in kinds for outcome, count in one.items() if outcome[:1] != "2")


def told(step: PressureStep) -> str:
    """Put one load into one line, for the progress."""
    run, losses = step.run, step.run.losses
    parts = [f"{step.times:g} times the capacity ({step.batches_a_second:,.0f}/s)"]
    if losses is not None:
        parts.append(f"{losses.frames_lost / losses.frames_due:.1%} of the frames lost")
        parts.append(f"{losses.unfair_share:.1%} of them unfairly")
    if (latency := run.latency.get(_POSE)) is not None:
        parts.append(f"p99 of accepted {latency.p99_ms:,.0f} ms")
    if (latency := run.latency.get(_END)) is not None:
        parts.append(f"p99 of ends {latency.p99_ms:,.0f} ms")
    return ", ".join(parts)
