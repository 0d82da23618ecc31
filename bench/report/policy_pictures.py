"""The plots of the reports about the drop policy: pressure, neighbour, policy cost."""

from collections.abc import Iterator

from penstock.bench.report import plots, scales, units
from penstock.bench.report.models import (
    NeighbourRun,
    PolicyCostRun,
    PressureRun,
    PressureStep,
)
from penstock.bench.report.pictures import Picture
from penstock.bench.report.policy_sections import frames_of, not_used, times

_FATES = ("accepted", "thinned", "refused", "withheld", "given up", "unanswered")
_BAR = 0.7


def pressure_pictures(run: PressureRun) -> Iterator[Picture]:
    """Show the loss by session, what became of the frames, and why they were not used."""
    if not run.steps:
        return
    yield _shares(run)
    yield _fates(run)
    yield _reasons(run)


def _shares(run: PressureRun) -> Picture:
    known = [(step, step.run.losses) for step in run.steps]
    lines = [
        plots.Series(
            times(step),
            [
                (100 * at / max(1, len(losses.shares) - 1), 100 * share)
                for at, share in enumerate(losses.shares)
            ],
            plots.colour_of(number),
        )
        for number, (step, losses) in enumerate(known)
        if losses is not None
    ]
    values = [y for one in lines for _, y in one.points if y is not None]
    frame = plots.Frame(
        name="loss-by-session",
        title="Share of its frames that each session lost",
        description="Sessions in ascending order of their loss; a level line is a fair loss.",
        x=scales.exact("sessions, the least loss first, %", 0.0, 100.0),
        y=scales.linear("lost, %", values or [1.0]),
        tell_x=lambda x: f"{x:.0f} % of the sessions",
        tell_y=lambda y: f"{y:.2f} %",
    )
    return Picture(
        "Loss by session",
        "Sessions in ascending order of the share of their frames that they lost. The fairest loss "
        "there is would be a level line.",
        plots.line_plot(frame, lines),
        ("load", "unfair", "least", "median", "p95", "most"),
        [
            (
                times(step),
                *(
                    units.share(value)
                    for value in (
                        losses.unfair_share,
                        losses.share_min,
                        losses.share_median,
                        losses.share_p95,
                        losses.share_max,
                    )
                ),
            )
            for step, losses in known
            if losses is not None
        ],
        legend=[(one.name, one.colour, one.form) for one in lines],
    )


def _fates(run: PressureRun) -> Picture:
    found = [frames_of(step.run) for step in run.steps]
    return _stacked(
        run,
        name="frames-by-fate",
        title="What became of the frames that were due",
        caption="As the clients know it, in percent of the frames that were due in that load.",
        unit="of the frames due, %",
        columns={fate: [100 * one[fate] / max(1, one["due"]) for one in found] for fate in _FATES},
    )


def _reasons(run: PressureRun) -> Picture:
    found = [not_used(step.run) for step in run.steps]
    names = sorted({name for one in found for name in one})
    return _stacked(
        run,
        name="frames-by-reason",
        title="Frames that were not used, by reason",
        caption="As the server counts them. What clients withheld or gave up never came.",
        unit="frames",
        columns={name: [float(one.get(name, 0)) for one in found] for name in names},
    )


def _stacked(
    run: PressureRun,
    *,
    name: str,
    title: str,
    caption: str,
    unit: str,
    columns: dict[str, list[float]],
) -> Picture:
    places = [float(number) for number in range(len(run.steps))]
    series = [
        plots.Series(what, list(zip(places, values, strict=True)), plots.colour_of(number), "area")
        for number, (what, values) in enumerate(columns.items())
    ]
    tops = [sum(values) for values in zip(*columns.values(), strict=True)] or [1.0]
    frame = plots.Frame(
        name=name,
        title=title,
        description=f"A bar for each load: {_loads(run.steps)}.",
        x=_steps_axis(run.steps),
        y=scales.linear(unit, tops),
        tell_x=lambda x: times(run.steps[round(x)]),
        tell_y=units.figure,
    )
    return Picture(
        title,
        caption,
        plots.stacked_plot(frame, series, _BAR),
        ("load", *columns),
        [
            (times(step), *(units.figure(values[at]) for values in columns.values()))
            for at, step in enumerate(run.steps)
        ],
        legend=[(one.name, one.colour, "fill") for one in series],
    )


def _steps_axis(steps: list[PressureStep]) -> scales.Axis:
    marks = tuple((at + _BAR / 2, times(step)) for at, step in enumerate(steps))
    margin = (1 - _BAR) / 2
    return scales.named("load", -margin, len(steps) - margin, marks)


def _loads(steps: list[PressureStep]) -> str:
    return ", ".join(map(times, steps))


def neighbour_pictures(run: NeighbourRun) -> Iterator[Picture]:
    """Show the others' p99 of every run."""
    bars = [
        plots.Bar(
            f"round {number}, {name}",
            one.p99_ms,
            one.p99_ms,
            one.p99_ms,
            f"p99 {units.figure(one.p99_ms)} ms, loss {one.loss_share:.3%}",
            colour,
        )
        for number, both in enumerate(run.rounds, 1)
        for name, one, colour in (("quiet", both.quiet, 0), ("noisy", both.noisy, 1))
    ]
    if not bars:
        return
    frame = plots.Frame(
        name="neighbour",
        title="p99 of the other organisations",
        description=f"{len(run.rounds)} rounds, each without the noisy neighbour and with it.",
        x=scales.linear("p99, ms", [bar.value for bar in bars]),
        y=scales.linear("", [1.0]),
        tell_x=units.figure,
        tell_y=units.figure,
        height=plots.bar_height(len(bars)),
    )
    yield Picture(
        "p99 of the other organisations",
        "Each round without the noisy neighbour and with it.",
        plots.bar_plot(frame, bars),
        ("run", "p99 ms"),
        [(bar.name, units.figure(bar.value)) for bar in bars],
    )


def cost_pictures(run: PolicyCostRun) -> Iterator[Picture]:
    """Show the cost of each state with the range of its repeats."""
    bars = [
        plots.Bar(
            f"{one.state}, {one.candidates} candidates",
            one.us_a_batch,
            min(one.repeats_us),
            max(one.repeats_us),
            f"{units.figure(one.us_a_batch)} µs a batch",
        )
        for one in run.costs
    ]
    if not bars:
        return
    frame = plots.Frame(
        name="policy-cost",
        title="What the drop policy takes of a batch",
        description="Microseconds of processor time by state, with the range of the repeats.",
        x=scales.linear("µs a batch", [bar.high for bar in bars]),
        y=scales.linear("", [1.0]),
        tell_x=units.figure,
        tell_y=units.figure,
        height=plots.bar_height(len(bars)),
    )
    yield Picture(
        "What the drop policy takes of a batch",
        "The median of the repeats; the whisker goes from the least to the most.",
        plots.bar_plot(frame, bars),
        ("state", "µs a batch"),
        [(bar.name, units.figure(bar.value)) for bar in bars],
    )
