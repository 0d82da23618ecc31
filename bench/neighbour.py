"""Whether one organisation's excess costs the others anything: runs with it and without, in turns.

Theory of operation
-------------------
::

    for each round:  quiet (every organisation at its quota) -> noisy (the first at many times its)

Both runs of a round have a fresh Penstock, the same quotas from its grants file, and the same
patients of the other organisations. The noisy one has more patients, on connections of its own, and
they go on as if they had not been refused: the worst that a neighbour can be.

Figures are of the others only, and medians of the rounds. What the quiet runs differ by among
themselves is what chance does: a figure of the noisy runs within that is not measurably worse.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Protocol

from penstock.bench.load.account import POSE_OF_OTHERS
from penstock.bench.load.batches import batches_for
from penstock.bench.load.faults import load_faults
from penstock.bench.load.plan import most_connections, org_of
from penstock.bench.load.run import Watch, run_load
from penstock.bench.load.target import Target
from penstock.bench.pressure import RunLoad
from penstock.bench.report.models import (
    LoadPlan,
    LoadRun,
    NeighbourRound,
    NeighbourRun,
    NeighbourSide,
    Ratio,
)
from penstock.bench.traffic import write_grants

Grant = Callable[[Path, int], None]
Show = Callable[[LoadPlan], AbstractContextManager[Watch]]


class StartGranted(Protocol):
    """`penstock.bench.load.target.start_penstock`, or what stands for it."""

    def __call__(
        self, *, sessions: int, connections: int, settings: Mapping[str, object], grant: Grant
    ) -> AbstractContextManager[Target]:
        """Run a service around the block."""
        ...


@dataclass(slots=True, frozen=True)
class NeighbourPlan:
    """The organisations, and how far the first goes beyond its quota in the noisy runs."""

    orgs: int
    quota: int
    times: float
    rounds: int
    ramp_seconds: float
    seconds: float
    frames: int
    connections: int
    processes: int
    seed: int
    settings: Mapping[str, object]

    def load(self, *, noisy: bool) -> LoadPlan:
        """Give the plan of one run: a batch a second from each patient."""
        more = round((self.times - 1) * self.quota) if noisy else 0
        return LoadPlan(
            sessions=self.orgs * self.quota + more,
            ramp_seconds=self.ramp_seconds,
            seconds=self.seconds,
            interval_seconds=1.0,
            jitter=0.1,
            frames_a_batch=self.frames,
            connections=self.connections,
            reconnect_share=0.0,
            offline_seconds=0.0,
            hostile_share=0.0,
            media=False,
            ends=False,
            processes=self.processes,
            seed=self.seed,
            real_time=True,
            orgs=self.orgs,
            noisy_sessions=more,
        )

    def grant(self, load: LoadPlan) -> Grant:
        """Give what writes the grants of a run: all consents, and each organisation's quota."""
        return partial(
            write_grants,
            org_of=partial(org_of, load),
            quotas=dict.fromkeys(range(self.orgs), float(self.quota)),
        )


@dataclass(slots=True, frozen=True)
class NeighbourOutcome:
    """What was seen, of which server, and what speaks against it."""

    run: NeighbourRun
    server: Mapping[str, str]
    faults: list[str]


def run_neighbour(
    plan: NeighbourPlan,
    *,
    start: StartGranted,
    show: Show,
    stopped: Callable[[], bool],
    tell: Callable[[str], None],
    load: RunLoad = run_load,
) -> NeighbourOutcome:
    """Run the rounds. When it is stopped, what counts are the whole rounds until then."""
    rounds: list[NeighbourRound] = []
    facts: dict[str, str] = {}
    faults: list[str] = []
    for number in range(plan.rounds):
        sides: list[NeighbourSide] = []
        for noisy in (False, True):
            if stopped():
                break
            one = plan.load(noisy=noisy)
            batches_for(one)
            with start(
                sessions=one.sessions,
                connections=most_connections(one),
                settings=plan.settings,
                grant=plan.grant(one),
            ) as target:
                facts = {name: said for name, said in target.facts.items() if name != "address"}
                with show(one) as watch:
                    run = load(one, target, watch=watch, stopped=stopped)
            name = f"round {number + 1}, {'noisy' if noisy else 'quiet'}"
            faults += [f"{name}: {fault}" for fault in load_faults(run)]
            if run.interrupted:
                break
            sides.append(side(run))
            tell(f"{name}: p99 of the others {sides[-1].p99_ms:.3g} ms, loss "
                 f"{sides[-1].loss_share:.2%}")  # fmt: skip
        if len(sides) < 2:
            faults.append(f"interrupted in round {number + 1} of {plan.rounds}")
            break
        rounds.append(NeighbourRound(quiet=sides[0], noisy=sides[1]))
    return NeighbourOutcome(
        NeighbourRun(
            orgs=plan.orgs,
            quota=plan.quota,
            times=plan.times,
            rounds=rounds,
            ratios=ratios(rounds) if rounds else [],
        ),
        facts,
        faults,
    )


def side(run: LoadRun) -> NeighbourSide:
    """Take the others' figures from a run."""
    latency, others, every = run.latency.get(POSE_OF_OTHERS), run.losses_of_others, run.losses
    due, kept = 0, 0
    if others is not None and every is not None:
        due = every.frames_due - others.frames_due
        kept = due - (every.frames_lost - others.frames_lost)
    frames_a_second = run.plan.frames_a_batch * (run.plan.seconds + run.plan.ramp_seconds)
    return NeighbourSide(
        p50_ms=latency.p50_ms if latency is not None else 0.0,
        p99_ms=latency.p99_ms if latency is not None else 0.0,
        loss_share=others.frames_lost / others.frames_due if others is not None else 0.0,
        frames_due=others.frames_due if others is not None else 0,
        first_due_a_second=due / frames_a_second,
        first_taken_a_second=kept / frames_a_second,
    )


def ratios(rounds: Sequence[NeighbourRound]) -> list[Ratio]:
    """Hold the noisy runs against the quiet ones, figure by figure."""
    found = []
    for name, field in (("p50, ms", "p50_ms"), ("p99, ms", "p99_ms"), ("loss", "loss_share")):
        quiet = [float(getattr(one.quiet, field)) for one in rounds]
        noisy = median(float(getattr(one.noisy, field)) for one in rounds)
        middle = median(quiet)
        found.append(
            Ratio(
                name=name,
                quiet=middle,
                quiet_low=min(quiet),
                quiet_high=max(quiet),
                noisy=noisy,
                ratio=noisy / middle if middle else None,
                within_spread=noisy <= max(quiet),
            )
        )
    return found
