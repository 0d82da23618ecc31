"""Which plots a report has, what each shows, and its data as a table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from penstock.bench.report import plots, scales, units
from penstock.bench.report.models import CapacityRun, Peer, PeersRun, ScaleLine, Trial
from penstock.bench.report.sections import CERTAINTY, rates, ratio

Rows = Sequence[Sequence[str]]


@dataclass(slots=True, frozen=True)
class Picture:
    """A plot with its caption, its legend (name, colour, form) and its data as a table."""

    title: str
    caption: str
    svg: str
    head: Sequence[str]
    rows: Rows
    legend: Sequence[tuple[str, int, str]] = ()
    half: bool = False


def capacity_pictures(run: CapacityRun) -> Iterator[Picture]:
    """Show every trial's rate and p99, the bound, and the interval that holds the capacity."""
    trials = [one for one in run.trials if math.isfinite(one.p99_ms)]
    found = [one.rate for one in trials]
    if run.certainty == "found":
        found += [run.rate, run.low, run.high, run.safe_rate]
    bound = f"{units.plain(run.bound_p99_ms)} ms"
    interval = units.span(run.low, run.high)
    latencies = [run.bound_p99_ms, *(one.p99_ms for one in trials)]
    frame = plots.Frame(
        name="capacity",
        title="Trials by rate and p99",
        description=f"{len(trials)} trials with p99 within {bound} or not; the rate "
        f"{units.figure(run.rate)} a second ({interval}): {CERTAINTY[run.certainty]}.",
        # A little wider than the trials, so that none lies on an edge.
        x=scales.linear("requests a second", _widened(found), from_zero=False),
        y=scales.logarithmic("p99, ms", [0.8 * min(latencies), 1.2 * max(latencies)]),
        tell_x=units.figure,
        tell_y=units.figure,
        height=360,
    )
    at_y = [(run.bound_p99_ms, f"bound {bound}")]
    extras = plots.Extras(at_y=at_y)
    if run.certainty == "found":
        extras = plots.Extras(
            band=(run.low, run.high),
            at_x=[
                (run.rate, f"half of all runs: {units.figure(run.rate)}"),
                (run.safe_rate, f"nine of ten: {units.figure(run.safe_rate)}"),
            ],
            at_y=at_y,
        )
    yield Picture(
        "Trials",
        "Circles held the rate, crosses did not. The band is the 90 % interval of the rate that is "
        "held in half of all runs.",
        plots.scatter_plot(frame, [_trial_mark(one) for one in trials], extras),
        ("req/s", "p99 ms", "verdict"),
        [(units.figure(one.rate), units.figure(one.p99_ms), _verdict(one)) for one in run.trials],
        legend=(("held", 1, "good"), ("not held", 2, "bad"), ("interval", 1, "band")),
    )


def peers_pictures(run: PeersRun) -> Iterator[Picture]:
    """Show the rate of each server with the range of its rounds, one plot a form."""
    forms = {"accept": "only accepting", "full": "the full work"}
    most = max((rates(one)[1] for one in run.peers), default=1.0)
    for form, told in forms.items():
        peers = [one for one in run.peers if one.form == form]
        if not peers:
            continue
        frame = plots.Frame(
            name=f"peers-{form}",
            title=f"Requests a second, {told}",
            description=f"The median of the rounds of {len(peers)} servers, with their range.",
            # Both plots have the same axis, so that they can be compared.
            x=scales.linear("requests a second", [most]),
            y=scales.linear("", [1.0]),
            tell_x=units.figure,
            tell_y=units.figure,
            height=plots.bar_height(len(peers)),
        )
        bars = [
            plots.Bar(one.name, one.rate, *rates(one), _peer_told(one, run.base), _shade(one.name))
            for one in peers
        ]
        yield Picture(
            f"Requests a second: {told}",
            "The median of the rounds; the whisker goes from the slowest round to the fastest.",
            plots.bar_plot(frame, bars),
            ("server", "median", "min", "max", f"to {run.base}"),
            [
                (one.name, units.figure(one.rate), *map(units.figure, rates(one)), ratio(one))
                for one in peers
            ],
        )


def scale_pictures(lines: Sequence[ScaleLine]) -> Iterator[Picture]:
    """Show the points of each line, and the straight line where there is one."""
    for number, one in enumerate(lines):
        xs = [point.x for point in one.points]
        ys = [point.y for point in one.points]
        fitted: list[tuple[float, float]] = []
        if one.straight and xs:
            ends = (min(xs), max(xs))
            fitted = [(x, one.intercept + one.slope * x) for x in ends]
        frame = plots.Frame(
            name=f"scale-{number}",
            title=one.name,
            description=one.told,
            x=scales.linear(one.x_name, xs),
            y=scales.linear(one.y_name, [*ys, *(y for _, y in fitted)]),
            tell_x=units.plain,
            tell_y=units.figure,
            width=880 if len(lines) == 1 else 520,
        )
        marks = [
            plots.Mark(point.x, point.y, _point_told(one, point.x, point.y, point.note))
            for point in one.points
        ]
        yield Picture(
            one.name,
            one.told,
            plots.scatter_plot(frame, marks, plots.Extras(fitted=fitted)),
            (one.x_name, one.y_name, "note"),
            [(units.plain(p.x), units.figure(p.y), p.note) for p in one.points],
            half=len(lines) > 1,
        )


def _widened(values: Sequence[float]) -> tuple[float, float]:
    found = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(found), max(found)
    margin = (high - low) * 0.05
    return max(0.0, low - margin), high + margin


def _trial_mark(one: Trial) -> plots.Mark:
    told = f"{units.figure(one.rate)}/s, p99 {units.figure(one.p99_ms)} ms: {_verdict(one)}"
    return plots.Mark(one.rate, one.p99_ms, told, good=one.passed)


def _verdict(one: Trial) -> str:
    verdict = "held" if one.passed else "not held"
    return f"{verdict}: {one.why}" if one.why else verdict


def _shade(name: str) -> int:
    # Ours stands out; the others are what it is measured against.
    return 1 if name.startswith("penstock") else 0


def _peer_told(peer: Peer, base: str) -> str:
    told = f"{units.figure(peer.rate)}/s ({units.span(*rates(peer))})"
    if peer.ratio is not None:
        told += f", {ratio(peer)} of {base}"
    if peer.rounds:
        told += f", p99 {units.figure(median(one.p99_ms for one in peer.rounds))} ms"
    return told


def _point_told(line: ScaleLine, x: float, y: float, note: str) -> str:
    told = f"{units.plain(x)} {line.x_name}: {units.figure(y)} {line.y_name}"
    return f"{told} ({note})" if note else told
