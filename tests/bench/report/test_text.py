from collections.abc import Callable, Iterator

import pytest

from penstock.bench.report import units
from penstock.bench.report.html import render_html
from penstock.bench.report.models import (
    CapacityRun,
    LoadRun,
    NeighbourRun,
    PeersRun,
    PolicyCostRun,
    PressureRun,
    Report,
)
from penstock.bench.report.text import WIDTH, render_text

Make = Callable[..., Report]


def _expected(report: Report) -> list[str]:
    """Name what must be found in any rendering."""
    told = [*report.machine.values(), *report.server.values(), report.made_at, report.command]
    if report.load is not None:
        told += _of_load(report.load)
    if report.capacity is not None:
        told += _of_capacity(report.capacity)
    if report.peers is not None:
        told += _of_peers(report.peers)
    if report.scale is not None:
        for line in report.scale.lines:
            told += [line.name, line.told, line.x_name, f"{line.r_squared:.4f}"]
            told += [units.figure(point.y) for point in line.points]
    if report.pressure is not None:
        told += _of_pressure(report.pressure)
    if report.neighbour is not None:
        told += _of_neighbour(report.neighbour)
    if report.policy_cost is not None:
        told += _of_cost(report.policy_cost)
    return told


def _of_load(run: LoadRun) -> Iterator[str]:
    for name in ("planned", "sent", "answered"):
        yield units.count(sum(getattr(one, name) for one in run.seconds))
    for kind, one in run.latency.items():
        yield from (kind, units.count(one.count))
        yield from map(units.figure, (one.p50_ms, one.p90_ms, one.p99_ms, one.p999_ms, one.max_ms))
    for found in run.outcomes.values():
        yield from (text for what, count in found.items() for text in (what, f"{count:,}"))
    for check in run.reconciliation:
        yield from (check.name, check.expected, check.seen, "ok" if check.holds else "NOT")
    yield from (units.figure(run.cpu_us_a_batch), units.count(run.frames_accepted))
    yield from map(units.mebibytes, (run.rss_first_bytes, run.rss_peak_bytes, run.rss_last_bytes))
    yield from (units.share(run.harness_cpu_share), "0.400 ms at most", "1,000, joining over 10 s")


def _of_capacity(run: CapacityRun) -> Iterator[str]:
    yield from map(units.figure, (run.rate, run.low, run.high, run.safe_rate))
    for trial in run.trials:
        yield from (units.figure(trial.rate), units.figure(trial.p99_ms), trial.why)
    assert run.at_80_percent is not None
    yield units.figure(run.at_80_percent.rate)


def _of_peers(run: PeersRun) -> Iterator[str]:
    yield from ("fastapi", "uvicorn is not installed", run.load)
    for peer in run.peers:
        rates = [one.rate for one in peer.rounds]
        yield from (peer.name, peer.told)
        yield from map(units.figure, (peer.rate, min(rates), max(rates), peer.ratio))
        yield from map(units.figure, (peer.ratio_low, peer.ratio_high))
    yield from ("429: 35", "90.0", "to go", "to plain")


def _of_pressure(run: PressureRun) -> Iterator[str]:
    for step in run.steps:
        made, losses = step.run, step.run.losses
        assert losses is not None
        yield from map(
            units.share,
            (losses.unfair_share, losses.share_min, losses.share_p95, losses.share_max),
        )
        yield from map(units.figure, (losses.gap_p95_ms, losses.gap_max_ms))
        yield from (units.count(losses.frames_due), units.figure(made.scheduler_delay_peak_ms))
        yield from (units.figure(made.latency[kind].p99_ms) for kind in ("pose", "end"))
        yield from map(units.mebibytes, (made.rss_peak_bytes, made.rss_last_bytes))


def _of_neighbour(run: NeighbourRun) -> Iterator[str]:
    for one in run.ratios[:2]:
        yield from map(units.figure, (one.quiet, one.quiet_low, one.quiet_high, one.noisy))
    for both in run.rounds:
        yield from (units.figure(one.p99_ms) for one in (both.quiet, both.noisy))


def _of_cost(run: PolicyCostRun) -> Iterator[str]:
    for one in run.costs:
        found = (one.us_a_batch, min(one.repeats_us), max(one.repeats_us))
        yield from (one.state, str(one.candidates), *map(units.figure, found))
    yield from ("90.0%", "20,000", "2,000", *map(units.figure, (run.empty_loop_us,)))


def test_every_figure_is_shown_in_the_terminal_and_on_the_page(make: Make) -> None:
    """Whatever kind of report, nothing measured and no condition is left out."""
    report: Report = make()
    expected = _expected(report)
    assert len(expected) > 20
    text, page = render_text(report), render_html(report)
    # A long sentence may be broken over lines.
    joined = " ".join(text.split())
    assert [one for one in expected if " ".join(one.split()) not in joined] == []
    assert [one for one in expected if one not in page] == []


def test_the_terminal_report_fits(make: Make) -> None:
    """A report with usual names and settings fits into a terminal of 100 columns."""
    assert [line for line in render_text(make()).splitlines() if len(line) > WIDTH] == []


def test_columns_stand_under_each_other(make_load: Make) -> None:
    """Figures of one column end at the same place, so that they can be compared by eye."""
    lines = render_text(make_load()).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Latency"))
    assert len({len(line) for line in lines[start + 1 : start + 5]}) == 1


def test_what_is_missing_is_a_dash(make_load: Make) -> None:
    """A server that could not be watched has dashes, not zeros."""
    report: Report = make_load()
    assert report.load is not None
    unknown = {"cpu_us_a_batch": None, "rss_first_bytes": None, "rss_peak_bytes": None}
    run = report.load.model_copy(update={**unknown, "rss_last_bytes": None, "seconds": []})
    text = render_text(report.model_copy(update={"load": run}))
    assert "- MiB first, - MiB peak" in text
    assert "server CPU a batch                 - µs" in text


def test_an_interrupted_run_says_so(make_load: Make) -> None:
    """Figures of half a run are never taken for those of a whole one."""
    report: Report = make_load()
    assert report.load is not None
    run = report.load.model_copy(update={"interrupted": True})
    assert "interrupted" in render_text(report.model_copy(update={"load": run}))
    assert "was interrupted" not in render_text(report)


def test_no_setting_moves_the_cursor(make_load: Make) -> None:
    """Control characters of a setting do not reach the terminal."""
    assert "\x1b" not in render_text(make_load(server={"name": "a\x1b[2Jb"}))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (None, "-"),
        (float("nan"), "-"),
        (0.00012345, "0.000123"),
        (0.1, "0.100"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (1e-9, "1e-09"),
        (-3.14159, "-3.14"),
    ],
)
def test_figures_have_three_digits(value: float | None, shown: str) -> None:
    """A figure is as exact as a measurement can be, whatever its size."""
    assert units.figure(value) == shown


def _capacity_told(make_capacity: Make, **changes: object) -> str:
    report = make_capacity()
    assert report.capacity is not None
    run = report.capacity.model_copy(update=changes)
    return " ".join(render_text(report.model_copy(update={"capacity": run})).split())


def test_a_search_that_is_not_sure_enough_says_so(make_capacity: Make) -> None:
    """An interval wider than asked for is told with the result, and one that is not, is not."""
    wide = _capacity_told(make_capacity, precision=0.02, rate=9000.0, low=8000.0, high=10_000.0)
    assert "±11.1%" in wide
    assert "wider than the ±2.0% that was asked for: 14 trials were too few" in wide
    assert "wider" not in _capacity_told(make_capacity, precision=0.05)


@pytest.mark.parametrize(
    ("certainty", "told"),
    [
        ("at least", "The capacity is at least 9,000 requests a second"),
        ("below", "The capacity is below 9,000 requests a second"),
        ("unknown", "Nothing is known of the capacity"),
    ],
)
def test_a_bound_is_not_told_as_a_capacity(make_capacity: Make, certainty: str, told: str) -> None:
    """What is only a bound of the capacity is called one, without an interval."""
    shown = _capacity_told(make_capacity, certainty=certainty)
    assert told in shown
    assert "in half of all runs" not in shown
    assert "interval" not in shown


def test_peers_without_a_base_have_no_ratio(make_peers: Make) -> None:
    """Where there is nothing to compare with, a dash stands for the ratio, in text and page."""
    report = make_peers()
    assert report.peers is not None
    none = {"ratio": None, "ratio_low": None, "ratio_high": None}
    peers = [one.model_copy(update=none) for one in report.peers.peers]
    run = report.peers.model_copy(update={"peers": peers})
    report = report.model_copy(update={"peers": run})
    assert " -  " in render_text(report)
    assert "times plain" not in render_html(report)
    assert Report.model_validate_json(report.model_dump_json(by_alias=True)) == report
