"""Two reports of one kind, figure by figure: what changed, and what of that may be chance.

What is not the same in plan, settings or machine comes first, for it may explain everything else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

from penstock.bench.errors import BenchError
from penstock.bench.report.compare_load import load_figures
from penstock.bench.report.compare_policy import (
    cost_conditions,
    cost_figures,
    neighbour_conditions,
    neighbour_figures,
    pressure_conditions,
    pressure_figures,
)
from penstock.bench.report.figures import Figure, judged
from penstock.bench.report.models import (
    CapacityRun,
    Peer,
    PeersRun,
    Report,
    ScaleLine,
    ScaleRun,
)
from penstock.bench.report.noise import (
    Estimate,
    Verdict,
    of_interval,
    of_level,
    of_rounds,
    of_slope,
)
from penstock.bench.report.sections import CERTAINTY

SCHEMA = "penstock.bench.comparison/1"
_ABSENT = "-"
# They differ whenever one looks.
_FLEETING = ("load average", "load average before")


@dataclass(slots=True, frozen=True)
class Difference:
    """One condition that was not the same."""

    where: str
    name: str
    a: str
    b: str


@dataclass(slots=True, frozen=True)
class Side:
    """One of the two reports: when it was made, how, and what speaks against it."""

    made_at: str
    command: str
    faults: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Comparison:
    """What differs between the conditions, and then between the figures, of two reports."""

    kind: str
    a: Side
    b: Side
    differences: tuple[Difference, ...]
    figures: tuple[Figure, ...]

    @property
    def worse(self) -> tuple[Figure, ...]:
        """Give the figures that became worse, beyond the noise."""
        return tuple(one for one in self.figures if one.verdict is Verdict.WORSE)


def compare(a: Report, b: Report) -> Comparison:
    """Compare two reports of the same kind; B is judged by A."""
    if a.kind != b.kind:
        raise BenchError(f"a report of kind {a.kind!r} cannot be compared with one of {b.kind!r}")
    return Comparison(
        kind=a.kind,
        a=Side(a.made_at, a.command, tuple(a.faults)),
        b=Side(b.made_at, b.command, tuple(b.faults)),
        differences=tuple(_differences(a, b)),
        figures=tuple(one for one in _figures(a, b) if isfinite(one.a) and isfinite(one.b)),
    )


def _figures(a: Report, b: Report) -> Iterator[Figure]:
    if a.load is not None and b.load is not None:
        yield from load_figures(a.load, b.load)
    if a.capacity is not None and b.capacity is not None:
        yield from _capacity(a.capacity, b.capacity)
    if a.peers is not None and b.peers is not None:
        yield from _peers(a.peers, b.peers)
    if a.scale is not None and b.scale is not None:
        yield from _scale(a.scale, b.scale)
    if a.pressure is not None and b.pressure is not None:
        yield from pressure_figures(a.pressure, b.pressure)
    if a.neighbour is not None and b.neighbour is not None:
        yield from neighbour_figures(a.neighbour, b.neighbour)
    if a.policy_cost is not None and b.policy_cost is not None:
        yield from cost_figures(a.policy_cost, b.policy_cost)


def _capacity(a: CapacityRun, b: CapacityRun) -> Iterator[Figure]:
    held = [_held(one) for one in (a, b)]
    yield judged("held in half of all runs", "/s", *held, less_is_better=False)
    safe = (Estimate(a.safe_rate), Estimate(b.safe_rate))
    yield judged("held in nine of ten runs", "/s", *safe, less_is_better=False)
    if a.at_80_percent is not None and b.at_80_percent is not None:
        for name, unit, field in (
            ("p99 at 80 %", "ms", "p99_ms"),
            ("CPU a batch at 80 %", "µs", "cpu_us_a_batch"),
        ):
            values = [Estimate(getattr(one, field)) for one in (a.at_80_percent, b.at_80_percent)]
            yield judged(name, unit, *values, less_is_better=True)


def _held(run: CapacityRun) -> Estimate:
    # A bound has no noise that is known.
    if run.certainty != "found":
        return Estimate(run.rate)
    return of_interval(run.rate, run.low, run.high)


_OF_A_ROUND = (
    ("p50", "ms", "p50_ms"),
    ("p99", "ms", "p99_ms"),
    ("CPU a request", "µs", "cpu_us_a_request"),
    ("memory", "bytes", "resident_bytes"),
)


def _peers(a: PeersRun, b: PeersRun) -> Iterator[Figure]:
    for key, one in _keyed(a).items():
        other = _keyed(b).get(key)
        if other is None:
            continue
        name = f"{one.name}, {one.form}"
        rates = [of_rounds([turn.rate for turn in peer.rounds]) for peer in (one, other)]
        yield judged(f"{name}: rate", "/s", *rates, less_is_better=False)
        if a.base == b.base != one.name:
            before, after = _to_base(a, one), _to_base(b, other)
            if before is not None and after is not None:
                told = f"{name}: ratio to {a.base}"
                yield judged(told, "", before, after, less_is_better=False)
        for what, unit, field in _OF_A_ROUND:
            values = [
                of_rounds([float(getattr(turn, field)) for turn in peer.rounds])
                for peer in (one, other)
            ]
            yield judged(f"{name}: {what}", unit, *values, less_is_better=True)


def _to_base(run: PeersRun, peer: Peer) -> Estimate | None:
    """Estimate a peer's ratio to the base from the rounds, in which both had the same machine.

    None where the base lacks the form, or one of the two answered nothing.
    """
    base = _keyed(run).get((run.base, peer.form))
    if base is None:
        return None
    pairs = zip(peer.rounds, base.rounds, strict=False)
    ratios = of_rounds([one.rate / under.rate for one, under in pairs if under.rate > 0])
    return ratios if ratios.value else None


def _scale(a: ScaleRun, b: ScaleRun) -> Iterator[Figure]:
    others = {line.name: line for line in b.lines}
    for line in a.lines:
        other = others.get(line.name)
        if other is None:
            continue
        slopes = [_slope(one) for one in (line, other)]
        unit = f"{line.y_name} by {line.x_name}"
        # What is drawn are costs: processor time, memory.
        yield judged(f"{line.name}: slope", unit, *slopes, less_is_better=True)
        columns = [_columns(one) for one in (line, other)]
        if line.points and columns[0][0] == columns[1][0]:
            levels = [of_level(*column) for column in columns]
            yield judged(f"{line.name}: middle", line.y_name, *levels, less_is_better=True)


def _slope(line: ScaleLine) -> Estimate:
    # The slope of what is not straight depends on where it was measured.
    return of_slope(*_columns(line), line.slope) if line.straight else Estimate(line.slope)


def _columns(line: ScaleLine) -> tuple[list[float], list[float]]:
    return [one.x for one in line.points], [one.y for one in line.points]


def _keyed(run: PeersRun) -> dict[tuple[str, str], Peer]:
    return {(one.name, one.form): one for one in run.peers}


def _differences(a: Report, b: Report) -> Iterator[Difference]:
    yield from _between("plan", _conditions(a), _conditions(b))
    yield from _between("server", a.server, b.server)
    yield from _between("machine", a.machine, b.machine)


def _between(where: str, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys((*a, *b)):
        left, right = a.get(name, _ABSENT), b.get(name, _ABSENT)
        if left != right and name not in _FLEETING:
            yield Difference(where, name, left, right)


def _conditions(report: Report) -> dict[str, str]:
    """Give what was asked of the server, as far as the report says it."""
    if report.load is not None:
        asked = {name: str(value) for name, value in report.load.plan.model_dump().items()}
        return asked | {"interrupted": str(report.load.interrupted)}
    if report.capacity is not None:
        run = report.capacity
        return {"bound_p99_ms": str(run.bound_p99_ms), "the rate is": CERTAINTY[run.certainty]}
    if report.peers is not None:
        peers = report.peers
        there = {f"{one.name}, {one.form}": f"{len(one.rounds)} rounds" for one in peers.peers}
        return {"base": peers.base, "load": peers.load} | there
    if report.pressure is not None:
        return pressure_conditions(report.pressure)
    if report.neighbour is not None:
        return neighbour_conditions(report.neighbour)
    if report.policy_cost is not None:
        return cost_conditions(report.policy_cost)
    lines = report.scale.lines if report.scale is not None else []
    return {line.name: f"at {', '.join(f'{one.x:g}' for one in line.points)}" for line in lines}
