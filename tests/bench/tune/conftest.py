"""Small tunings: a few short patients, two policies, and nothing on more than one core."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.bench.tune.model import Scene
from penstock.bench.tune.result import Point
from penstock.bench.tune.run import TunePlan, look, tune
from penstock.bench.tune.takes import Outline, PatientSource
from penstock.bench.tune.workers import some_workers
from penstock.engine.policy import DEFAULT_POLICY, Policy

SOURCES = tuple(PatientSource(1, number) for number in range(3))


def untold(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@pytest.fixture
def make_plan() -> Callable[..., TunePlan]:
    """Give the maker of plans; what is not given is small."""

    def make(**changes: Any) -> TunePlan:
        usual: dict[str, Any] = {
            "sources": SOURCES,
            "policies": (DEFAULT_POLICY, DEFAULT_POLICY.changed({"keep_every": 4})),
            "loads": (0.5, 1.5),
            "seeds": (1, 2),
            "places": 20,
            "longest_seconds": 20.0,
        }
        return TunePlan(**(usual | changes))

    return make


@pytest.fixture
def run_plan(tmp_path: Path) -> Callable[..., list[Point]]:
    """Give what works a plan out, in a folder of its own unless one is named."""

    def run(plan: TunePlan, folder: str = "tuning", jobs: int = 1) -> list[Point]:
        with some_workers(jobs) as workers:
            return tune(look(plan, workers, untold), tmp_path / folder, workers, untold)

    return run


def steady(seconds: int, name: str = "steady") -> Outline:
    """Give a session of a batch of ten frames a second."""
    return Outline(
        name,
        (10,) * seconds,
        tuple(1000 * n for n in range(seconds)),
        tuple(1000 * n + 900 for n in range(seconds)),
    )


@pytest.fixture
def scene() -> Scene:
    """Give a crowd of forty, with sessions of half a minute and more."""
    return Scene((steady(30), steady(40), steady(50)), 40)


@pytest.fixture
def policy() -> Callable[..., Policy]:
    """Give the maker of policies: the default one with some knobs turned."""
    return lambda **knobs: DEFAULT_POLICY.changed(knobs)
