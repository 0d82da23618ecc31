"""The reports about the drop policy: pressure, neighbour, policy cost."""

from collections.abc import Callable

from penstock.bench.report.compare import compare
from penstock.bench.report.html import render_html
from penstock.bench.report.models import PressureRun, Report
from penstock.bench.report.noise import Verdict
from penstock.bench.report.policy_sections import frames_of, not_used
from penstock.bench.report.text import render_text

Make = Callable[..., Report]


def _pressure(report: Report) -> PressureRun:
    assert report.pressure is not None
    return report.pressure


def test_each_load_is_one_row(make_pressure: Make) -> None:
    """Every table of a pressure report has a row for each load, and the reasons a row each."""
    report = make_pressure()
    shown = render_text(report)
    assert "0.5, 1, 5 times the capacity of 4,000" in shown
    for step in _pressure(report).steps:
        losses = step.run.losses
        assert losses is not None
        assert f"{losses.unfair_share:.1%}" in shown
        for name, count in not_used(step.run).items():
            assert name in shown
            assert f"{count:,}" in shown
    assert "1: 40, 2: 7, 11: 2" in shown
    assert "aggregated used" not in shown


def test_every_due_frame_has_one_fate(make_pressure: Make) -> None:
    """What became of the frames adds up to those that were due."""
    for step in _pressure(make_pressure()).steps:
        due, *fates = frames_of(step.run).values()
        assert all(count >= 0 for count in fates)
        assert sum(fates) >= due == (step.run.losses.frames_due if step.run.losses else 0)


def test_ends_that_close_the_run_are_told_apart(make_pressure: Make) -> None:
    """The ends during the load have their row, and those after it another, by each load."""
    shown = render_text(make_pressure())
    during, _, closing = shown.partition("Session ends that close the run")
    assert "1,997" not in during
    for line in closing.splitlines()[3:6]:
        assert line.split()[2:4] == ["1,997", "7"]


def test_the_page_draws_the_loss_by_session(make_pressure: Make) -> None:
    """The page has the sorted shares of every load as a line, and bars for fates and reasons."""
    page = render_html(make_pressure())
    for name in ("loss-by-session", "frames-by-fate", "frames-by-reason"):
        assert f'id="{name}-title"' in page
    assert "refused policy_refused" in page


def test_an_interrupted_run_can_be_shown(make_pressure: Make, make_neighbour: Make) -> None:
    """Without a load, or without a whole round, there is still a report."""
    pressure, neighbour = make_pressure(), make_neighbour()
    assert neighbour.neighbour is not None
    empty = neighbour.neighbour.model_copy(update={"rounds": [], "ratios": []})
    reports = [
        pressure.model_copy(
            update={"pressure": _pressure(pressure).model_copy(update={"steps": []})}
        ),
        neighbour.model_copy(update={"neighbour": empty}),
    ]
    for report in reports:
        assert report.made_at in render_text(report)
        assert render_html(report).endswith("</html>\n")
        assert not compare(report, report).worse


def test_pressure_is_compared_load_by_load(make_pressure: Make) -> None:
    """Each figure says at which load it was, and only loads that both have are compared."""
    a, b = make_pressure(1), make_pressure(1, slower=2.0)
    pressure = _pressure(b)
    fewer = b.model_copy(
        update={"pressure": pressure.model_copy(update={"steps": pressure.steps[1:]})}
    )
    comparison = compare(a, fewer)
    names = [one.name for one in comparison.figures]
    assert not any(name.startswith("0.5 x") for name in names)
    assert {"1 x: frames lost, of those due", "5 x: longest gap"} <= set(names)
    assert len(names) == len(set(names))


def test_a_dearer_policy_is_worse(make_cost: Make) -> None:
    """Half as much again is beyond the noise of seven repeats; nothing at all is within it."""
    assert {one.verdict for one in compare(make_cost(1), make_cost(2)).figures} == {Verdict.NOISE}
    worse = compare(make_cost(1), make_cost(2, slower=1.5)).worse
    assert [one.name for one in worse] == ["calm, 3 candidates", "thinning, 3 candidates"]


def test_a_slower_neighbourhood_is_worse(make_neighbour: Make) -> None:
    """Rounds give the noise of the others' latencies."""
    names = {one.name for one in compare(make_neighbour(1), make_neighbour(2, slower=2.0)).worse}
    assert "others' p99, noisy" in names
