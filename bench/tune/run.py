"""One tuning, from sessions and policies to a result.

Theory of operation
-------------------
::

    look at each session -> outlines, figures with all frames -> the digest of the whole plan
    each policy x load x seed: the model, with all sessions   -> what became of each batch
    each session: its frames once, all of those runs          -> errors
    over sessions and seeds: bands                            -> points -> the choice

The first and the third step hold one session's frames a process, the second none at all; what
became of the batches is a file. So memory grows with the longest session and not with their number.
All steps follow from their arguments alone, so a tuning that was stopped and goes on ends as if it
never had been.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from penstock.bench.errors import BenchError
from penstock.bench.tune.fates import Codes
from penstock.bench.tune.figures import Errors, Told, errors, told
from penstock.bench.tune.model import COSTS, Scene, simulate
from penstock.bench.tune.points import points_of
from penstock.bench.tune.result import Point, SessionTold, Tried
from penstock.bench.tune.state import State
from penstock.bench.tune.takes import Outline, Source, TakeError, outline, shortened
from penstock.bench.tune.workers import Workers
from penstock.engine.policy import Policy

_LEAST_BATCHES: Final = 2


@dataclass(slots=True, frozen=True)
class TunePlan:
    """What is to be tried. The first of the policies is the one in force."""

    sources: Sequence[Source]
    policies: tuple[Policy, ...]
    loads: tuple[float, ...]
    seeds: tuple[int, ...]
    places: int
    longest_seconds: float

    @property
    def runs(self) -> list[tuple[Policy, float, int]]:
        """Give every run, policies first, then loads, then seeds."""
        return list(product(self.policies, self.loads, self.seeds))


class Seen(NamedTuple):
    """A session that was looked at."""

    outline: Outline
    told: Told


@dataclass(slots=True, frozen=True)
class Looked:
    """The sessions that can be used, in the order of the sources, and why others cannot."""

    plan: TunePlan
    sources: tuple[Source, ...]
    seen: tuple[Seen, ...]
    left_out: tuple[str, ...]

    @property
    def scene(self) -> Scene:
        """Give what the model needs of them. Each session has a place where it is looked at."""
        return Scene(tuple(one.outline for one in self.seen), max(self.plan.places, len(self.seen)))

    @property
    def tried(self) -> Tried:
        """Say what is tried, and its digest."""
        plan = self.plan
        parts = [
            version("penstock"),
            [policy.plain() for policy in plan.policies],
            plan.loads,
            plan.seeds,
            self.scene.places,
            plan.longest_seconds,
            COSTS,
            self.seen,
        ]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return Tried(
            seeds=list(plan.seeds),
            loads=list(plan.loads),
            places=self.scene.places,
            longest_seconds=plan.longest_seconds,
            costs=COSTS._asdict(),
            digest=digest,
        )

    @property
    def sessions(self) -> list[SessionTold]:
        """Give the sessions as the result has them."""
        return [
            SessionTold(
                name=source.told or f"kept session {number}",
                frames=sum(one.frames),
                seconds=round(one.seconds, 3),
                repetitions=whole.repetitions,
                range_degrees=whole.range_degrees,
                tempo_ms=whole.tempo_ms,
            )
            for number, (source, (one, whole)) in enumerate(
                zip(self.sources, self.seen, strict=True), 1
            )
        ]


# What is done, so many of so many.
Tell = Callable[[str, int, int], None]


def look(plan: TunePlan, workers: Workers, tell: Tell) -> Looked:
    """Look at every session once; BenchError when none can be used."""
    tasks = ((n, (one, plan.longest_seconds)) for n, one in enumerate(plan.sources))
    found: dict[int, Seen | str] = {}
    total = len(plan.sources)
    tell("reading sessions", 0, total)
    for number, seen in workers.each(_look, tasks):
        found[number] = seen
        tell("reading sessions", len(found), total)
    used = [n for n in sorted(found) if not isinstance(found[n], str)]
    left_out = tuple(one for n in sorted(found) if isinstance(one := found[n], str))
    if not used:
        raise BenchError(
            "none of the sessions can be used: " + "; ".join(left_out[:3])
            if left_out
            else "there is no session to try policies on"
        )
    return Looked(
        plan,
        tuple(plan.sources[n] for n in used),
        tuple(one for n in used if not isinstance(one := found[n], str)),
        left_out,
    )


def tune(looked: Looked, output: Path, workers: Workers, tell: Tell) -> list[Point]:
    """Work out every point, from where the folder's state has come to."""
    plan, scene = looked.plan, looked.scene
    runs = plan.runs
    sizes = [len(one.frames) for one in scene.outlines]
    starts = np.cumsum([0, *sizes]).tolist()
    with State.opened(
        output, looked.tried.digest, runs=len(runs), sessions=len(sizes), batches=starts[-1]
    ) as state:
        left = state.unmodelled()
        done = len(runs) - len(left)
        tell("modelling runs", done, len(runs))
        for run, (codes, wait, stress) in workers.each(
            _model, ((run, (scene, *runs[run])) for run in left)
        ):
            state.put_run(run, codes, wait, stress)
            done += 1
            tell("modelling runs", done, len(runs))
        waiting = state.unmeasured()
        done = len(sizes) - len(waiting)
        tell("measuring sessions", done, len(sizes))
        for number, rows in workers.each(
            _measure,
            (
                (
                    n,
                    (
                        looked.sources[n],
                        plan.longest_seconds,
                        looked.seen[n],
                        state.fates(starts[n], sizes[n]),
                    ),
                )
                for n in waiting
            ),
        ):
            state.put_session(number, rows)
            done += 1
            tell("measuring sessions", done, len(sizes))
        shape = (len(plan.policies), len(plan.loads), len(plan.seeds))
        return points_of(plan.loads, shape, state.errors, state.service, seed=plan.seeds[0])


def _look(source: Source, longest_seconds: float) -> Seen | str:
    """Give a session, or why it cannot be used."""
    try:
        take = shortened(source.read(longest_seconds), longest_seconds)
    except TakeError as error:
        return str(error)
    if len(take.sizes) < _LEAST_BATCHES:
        name = source.told or "a kept session"
        return f"{name}: it has fewer than {_LEAST_BATCHES} batches"
    whole = told(take, np.ones(len(take.times), np.bool_))
    return Seen(outline(source.name, take), whole)


def _model(scene: Scene, policy: Policy, load: float, seed: int) -> tuple[Codes, float, float]:
    found = simulate(scene, policy, load, seed)
    return np.concatenate(found.codes), found.wait_seconds, found.stress


def _measure(source: Source, longest_seconds: float, seen: Seen, fates: Codes) -> Errors:
    take = shortened(source.read(longest_seconds), longest_seconds)
    if outline(source.name, take) != seen.outline:
        raise BenchError(f"{source.name} has changed meanwhile; run it again")
    return errors(take, seen.told, fates)
