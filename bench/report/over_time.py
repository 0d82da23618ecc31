"""The plots of a load run: what happened second by second, and the latency by percentile.

A long run is drawn with several seconds to a point, so that the page stays small: counts as the
mean a second, latencies, shares and memory as the most, for a peak must not be lost in the drawing.
The tables below the plots have the same points.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from penstock.bench.report import plots, scales, units
from penstock.bench.report.curve import curve
from penstock.bench.report.models import LoadRun, Second
from penstock.bench.report.pictures import Picture

_MOST_POINTS = 240
_HALF = 520

Read = Callable[[Sequence[Second]], float | None]
Tell = Callable[[float], str]


@dataclass(slots=True, frozen=True)
class _Line:
    """A line over time: how it is called, and how it comes from the seconds of one point."""

    name: str
    colour: int
    read: Read
    form: plots.Form = "line"


@dataclass(slots=True, frozen=True)
class _Over:
    """The seconds of a run, put together to as many points as can be seen."""

    groups: Sequence[Sequence[Second]]
    each: int

    @classmethod
    def of(cls, seconds: Sequence[Second]) -> "_Over":
        each = max(1, ceil(len(seconds) / _MOST_POINTS))
        groups = [seconds[at : at + each] for at in range(0, len(seconds), each)]
        return cls(groups, each)

    def axis(self, *, beyond: int = 0) -> scales.Axis:
        """Give the axis of time; `beyond` the last point there may be its bar."""
        each = f", {self.each} s a point" if self.each > 1 else ""
        first, last = (self.groups[0][0].at, self.groups[-1][0].at) if self.groups else (0, 0)
        return scales.exact(f"seconds since the start{each}", first, last + beyond)

    def points(self, read: Read) -> list[plots.Point]:
        return [(float(group[0].at), read(group)) for group in self.groups]


def load_pictures(run: LoadRun) -> Iterator[Picture]:
    """Give the plots of a load run, in the order in which one asks."""
    over = _Over.of(run.seconds)
    yield _throughput(over)
    yield _latency(over)
    if any(one.count for one in run.latency.values()):
        yield _percentiles(run)
    refusals = _refusals(over)
    if refusals is not None:
        yield refusals
    yield from _resources(over)


def _throughput(over: _Over) -> Picture:
    lines = (
        _Line("planned", 0, _mean(lambda one: one.planned), "area"),
        _Line("sent", 2, _mean(lambda one: one.sent)),
        _Line("answered", 1, _mean(lambda one: one.answered)),
    )
    return _over_time(
        over,
        "Throughput",
        "Requests a second: planned, sent and answered. Where a line leaves the area, the server "
        "or the harness was late.",
        "requests a second",
        lines,
        units.figure,
    )


def _latency(over: _Over) -> Picture:
    lines = (
        _Line("max", 0, _most(lambda one: one.max_ms)),
        _Line("p99", 2, _most(lambda one: one.p99_ms)),
        _Line("p50", 1, _most(lambda one: one.p50_ms)),
    )
    return _over_time(
        over,
        "Latency over time",
        "From the moment that was intended for a request to its answer; the axis is logarithmic.",
        "ms",
        lines,
        lambda value: f"{units.figure(value)} ms",
        logarithmic=True,
    )


def _percentiles(run: LoadRun) -> Picture:
    curves = {kind: curve(kind, one) for kind, one in run.latency.items() if one.count}
    series = [
        plots.Series(kind, points, plots.colour_of(number))
        for number, (kind, points) in enumerate(curves.items())
    ]
    frame = plots.Frame(
        name="percentiles",
        title="Latency by percentile",
        description="The time within which each share of the requests was answered, by kind.",
        x=scales.percentiles(
            "share of the answers", max(share for points in curves.values() for share, _ in points)
        ),
        y=scales.logarithmic("ms", [ms for points in curves.values() for _, ms in points]),
        tell_x=lambda share: f"{share * 100:.5g} %",
        tell_y=lambda value: f"{units.figure(value)} ms",
        height=340,
    )
    return Picture(
        "Latency by percentile",
        "The share of the answers that came within a time. Each mark to the right leaves out a "
        "tenth of what is left; the last point of a line is the slowest answer.",
        plots.line_plot(frame, series),
        ("request", "share", "ms"),
        [
            (kind, f"{share * 100:.5g} %", units.figure(ms))
            for kind, points in curves.items()
            for share, ms in points
        ],
        legend=[(one.name, one.colour, "line") for one in series],
    )


def _refusals(over: _Over) -> Picture | None:
    totals: Counter[str] = Counter()
    for group in over.groups:
        for one in group:
            totals.update(one.outcomes)
    reasons = [what for what, number in totals.most_common() if number and not units.accepted(what)]
    if not reasons:
        return None
    series = [
        plots.Series(reason, over.points(_mean(_counting(reason))), plots.colour_of(number))
        for number, reason in enumerate(reasons)
    ]
    sums = [sum(value or 0.0 for _, value in column) for column in _columns(series)]
    frame = plots.Frame(
        name="refusals",
        title="Refusals over time",
        description=f"Answers a second that were no 2xx: {units.counts(_only(totals, reasons))}.",
        x=over.axis(beyond=over.each),
        y=scales.linear("answers a second", sums),
        tell_x=_second,
        tell_y=units.figure,
    )
    return Picture(
        "Refusals over time",
        "Answers a second other than 2xx, by status and reason, on top of each other.",
        plots.stacked_plot(frame, series, float(over.each)),
        ("second", *reasons),
        _rows(series, units.figure),
        legend=[(one.name, one.colour, "fill") for one in series],
    )


def _resources(over: _Over) -> Iterator[Picture]:
    memory = (_Line("server", 1, _most(lambda one: one.server_rss_bytes), "area"),)
    yield from _known(
        over,
        "Server memory",
        "Resident memory of the server.",
        "MiB",
        memory,
        lambda value: f"{units.figure(value)} MiB",
        scale=1 / (1 << 20),
    )
    processor = (
        _Line("server", 1, _most(lambda one: one.server_cpu_share)),
        _Line("harness", 0, _most(lambda one: one.harness_cpu_share)),
    )
    yield from _known(
        over,
        "Processor use",
        "The share that the server used of one core, and the harness of its own.",
        "% of a core",
        processor,
        lambda value: f"{units.figure(value)} %",
        scale=100.0,
    )
    cost = (_Line("server", 1, _cost),)
    yield from _known(
        over,
        "Processor time an answer",
        "The server's processor time divided by the answers it gave.",
        "µs an answer",
        cost,
        lambda value: f"{units.figure(value)} µs",
    )
    lag = (_Line("lag", 2, _most(lambda one: one.lag_ms)),)
    yield from _known(
        over,
        "Lag of the harness",
        "The latest that the harness itself was with a request; latencies include it.",
        "ms",
        lag,
        lambda value: f"{units.figure(value)} ms",
    )


def _known(
    over: _Over,
    title: str,
    caption: str,
    unit: str,
    lines: Sequence[_Line],
    tell: Tell,
    *,
    scale: float = 1.0,
) -> Iterator[Picture]:
    """Give a small plot, unless nothing is known of its first line."""
    if any(value is not None for _, value in over.points(lines[0].read)):
        yield _over_time(over, title, caption, unit, lines, tell, scale=scale, half=True)


def _over_time(
    over: _Over,
    title: str,
    caption: str,
    unit: str,
    lines: Sequence[_Line],
    tell: Tell,
    *,
    scale: float = 1.0,
    logarithmic: bool = False,
    half: bool = False,
) -> Picture:
    series = [
        plots.Series(one.name, _scaled(over.points(one.read), scale), one.colour, one.form)
        for one in lines
    ]
    values = [y for one in series for _, y in one.points if y is not None]
    axis = scales.logarithmic if logarithmic else scales.linear
    frame = plots.Frame(
        name=title.lower().replace(" ", "-"),
        title=title,
        description=f"{', '.join(one.name for one in lines)}, in {unit}, second by second.",
        x=over.axis(),
        y=axis(unit, values),
        tell_x=_second,
        tell_y=tell,
        width=_HALF if half else 880,
        height=260 if half else 300,
    )
    return Picture(
        title,
        caption,
        plots.line_plot(frame, series),
        ("second", *(f"{one.name}, {unit}" for one in lines)),
        _rows(series, units.figure),
        legend=[(one.name, one.colour, one.form) for one in series] if len(series) > 1 else (),
        half=half,
    )


def _scaled(points: Sequence[plots.Point], scale: float) -> list[plots.Point]:
    return [(x, None if y is None else y * scale) for x, y in points]


def _columns(series: Sequence[plots.Series]) -> list[tuple[plots.Point, ...]]:
    return list(zip(*(one.points for one in series), strict=True))


def _rows(series: Sequence[plots.Series], tell: Callable[[float | None], str]) -> list[list[str]]:
    return [
        [f"{column[0][0]:g}", *(tell(value) for _, value in column)] for column in _columns(series)
    ]


def _only(totals: Counter[str], reasons: Sequence[str]) -> dict[str, int]:
    return {reason: totals[reason] for reason in reasons}


def _second(at: float) -> str:
    return f"second {at:g}"


def _mean(read: Callable[[Second], float]) -> Read:
    return lambda group: sum(map(read, group)) / len(group)


def _most(read: Callable[[Second], float | None]) -> Read:
    return lambda group: max((v for v in map(read, group) if v is not None), default=None)


def _counting(reason: str) -> Callable[[Second], float]:
    return lambda one: one.outcomes.get(reason, 0)


def _cost(group: Sequence[Second]) -> float | None:
    known = [(one.server_cpu_share, one.answered) for one in group if one.server_cpu_share]
    answered = sum(count for _, count in known)
    return sum(share for share, _ in known) * 1e6 / answered if answered else None
