"""The figures of two reports about the drop policy: pressure, neighbour, policy cost."""

from collections.abc import Iterator
from dataclasses import replace

from penstock.bench.report import units
from penstock.bench.report.compare_load import load_figures
from penstock.bench.report.figures import Figure, judged
from penstock.bench.report.models import (
    NeighbourRun,
    PolicyCostRun,
    PressureRun,
    SessionLosses,
)
from penstock.bench.report.noise import Estimate, of_rounds

_OF_LOSSES = (
    ("unfair share of the lost", "", "unfair_share"),
    ("loss share, most", "", "share_max"),
    ("longest gap", "ms", "gap_max_ms"),
)


def pressure_figures(a: PressureRun, b: PressureRun) -> Iterator[Figure]:
    """Give, of each load that both have, the load's figures and those of the loss."""
    others = {step.times: step for step in b.steps}
    for step in a.steps:
        other = others.get(step.times)
        if other is None:
            continue
        name = f"{units.plain(step.times)} x"
        for figure in load_figures(step.run, other.run):
            yield replace(figure, name=f"{name}: {figure.name}")
        losses = step.run.losses, other.run.losses
        if losses[0] is not None and losses[1] is not None:
            yield from _losses(name, losses[0], losses[1])


def _losses(name: str, a: SessionLosses, b: SessionLosses) -> Iterator[Figure]:
    shares = [Estimate(one.frames_lost / max(1, one.frames_due)) for one in (a, b)]
    yield judged(f"{name}: frames lost, of those due", "", *shares, less_is_better=True)
    for what, unit, field in _OF_LOSSES:
        values = [Estimate(getattr(one, field)) for one in (a, b)]
        yield judged(f"{name}: {what}", unit, *values, less_is_better=True)


def pressure_conditions(run: PressureRun) -> dict[str, str]:
    """Give what was asked of the server."""
    asked = {"capacity": units.figure(run.capacity)}
    for step in run.steps:
        plan = step.run.plan.model_dump().items()
        asked |= {f"{units.plain(step.times)} x, {name}": str(value) for name, value in plan}
    return asked


def neighbour_figures(a: NeighbourRun, b: NeighbourRun) -> Iterator[Figure]:
    """Give the others' figures with the neighbour, and how they are to those without."""
    for name, unit, field in (("p50", "ms", "p50_ms"), ("p99", "ms", "p99_ms")):
        for side in ("quiet", "noisy"):
            values = [
                of_rounds([float(getattr(getattr(one, side), field)) for one in run.rounds])
                for run in (a, b)
            ]
            yield judged(f"others' {name}, {side}", unit, *values, less_is_better=True)
    losses = {one.name: one.noisy for one in a.ratios}, {one.name: one.noisy for one in b.ratios}
    if "loss" in losses[0] and "loss" in losses[1]:
        values = [Estimate(found["loss"]) for found in losses]
        yield judged("others' loss, noisy", "", *values, less_is_better=True)


def neighbour_conditions(run: NeighbourRun) -> dict[str, str]:
    """Give what was asked of the server."""
    return {
        "organisations": str(run.orgs),
        "quota": units.plain(run.quota),
        "times the quota": units.plain(run.times),
        "rounds": str(len(run.rounds)),
    }


def cost_figures(a: PolicyCostRun, b: PolicyCostRun) -> Iterator[Figure]:
    """Give the cost of each state that both have."""
    others = {(one.state, one.candidates): one for one in b.costs}
    for one in a.costs:
        other = others.get((one.state, one.candidates))
        if other is not None:
            name = f"{one.state}, {one.candidates} candidates"
            values = [of_rounds(found.repeats_us) for found in (one, other)]
            yield judged(name, "µs", *values, less_is_better=True)


def cost_conditions(run: PolicyCostRun) -> dict[str, str]:
    """Give how it was measured."""
    return {"sessions": str(run.sessions), "batches a repeat": str(run.batches)}
