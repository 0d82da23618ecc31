import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.report import plots, scales
from penstock.bench.report.svg import safe

_VALUES = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1e-9, -0.0, 1.0, 5e-324])
_POINTS = st.lists(_VALUES, min_size=1, max_size=12)
_AXES = [scales.linear, scales.logarithmic]


def _frame(x: scales.Axis, y: scales.Axis) -> plots.Frame:
    return plots.Frame("name", "title", "description", x, y, str, str)


def _numbers(svg: str) -> list[float]:
    ET.fromstring(svg)  # noqa: S314  it is our own drawing
    found = re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy)="([^"]*)"', svg)
    found += [
        one for path in re.findall(r' d="([^"]*)"', svg) for one in re.findall(r"[^MLZ ]+", path)
    ]
    return [float(one) for one in found]


@given(_POINTS, _POINTS, st.sampled_from(_AXES), st.sampled_from(_AXES))
def test_any_values_are_drawn_inside(
    xs: list[float], ys: list[float], x_axis: type, y_axis: type
) -> None:
    """Whatever was measured, no coordinate is outside of the box, or is no number."""
    x, y = x_axis("x", xs), y_axis("y", ys)
    frame = _frame(x, y)
    pairs = sorted(zip(xs, ys, strict=False))
    marks = [plots.Mark(a, b, "told", good=a > b) for a, b in pairs]
    bars = [plots.Bar("n" * 40, a, min(a, b), max(a, b), "told") for a, b in pairs]
    extras = plots.Extras((xs[0], xs[-1]), [(xs[0], "at")], [(ys[0], "at")], pairs)
    drawn = [
        plots.line_plot(frame, [plots.Series("s", pairs, 1), plots.Series("t", pairs, 2, "area")]),
        plots.stacked_plot(frame, [plots.Series("s", [(a, abs(b)) for a, b in pairs], 1)], 1.0),
        plots.scatter_plot(frame, marks, extras),
        plots.bar_plot(frame, bars),
    ]
    for svg in drawn:
        # A text may begin a little below or beside the mark it belongs to.
        assert all(-1 <= number <= max(frame.width, frame.height) for number in _numbers(svg))


@given(_POINTS, st.sampled_from(_AXES))
def test_axes_hold_their_values(values: list[float], axis: type) -> None:
    """Marks are few, in order and on the axis, and so is each value that it was made for."""
    made = axis("name", values)
    places = [made.place(value) for value, _ in made.marks]
    assert 1 <= len(places) <= 12
    assert places == sorted(places)
    assert all(0 <= made.place(value) <= 1 for value in values)


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (scales.linear("", [1040.0]), ["0", "500", "1,000", "1,500"]),
        (scales.linear("", [0.3]), ["0", "0.1", "0.2", "0.3"]),
        (scales.linear("", []), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (
            scales.linear("", [8000, 9000], from_zero=False),
            ["8,000", "8,200", "8,400", "8,600", "8,800", "9,000"],
        ),
        (scales.logarithmic("", [3, 90]), ["2", "5", "10", "20", "50", "100"]),
        (scales.logarithmic("", [0.2, 9000]), ["1", "10", "100", "1,000", "10,000"]),
        (scales.exact("", 0, 60), ["0", "10", "20", "30", "40", "50", "60"]),
        (scales.percentiles("", 0.9995), ["0 %", "50 %", "90 %", "99 %", "99.9 %"]),
    ],
)
def test_marks_are_round(axis: scales.Axis, labels: list[str]) -> None:
    """An axis is marked at the values that a person would choose."""
    shown = [label for _, label in axis.marks]
    assert shown[-len(labels) :] == labels


def test_nines_are_equally_far_apart() -> None:
    """On the axis of percentiles a tenth of the rest is always the same length."""
    axis = scales.percentiles("", 0.9999)
    places = [axis.place(share) for share in (0.0, 0.9, 0.99, 0.999, 0.9999)]
    assert places == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_a_gap_is_not_bridged() -> None:
    """A second without an answer interrupts the line; one point alone is still seen."""
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, 3.0)]
    frame = _frame(scales.linear("x", [3]), scales.linear("y", [3]))
    svg = plots.line_plot(frame, [plots.Series("s", points, 1)])
    assert svg.count('class="line s1"') == 1
    assert svg.count("<circle") == 1


def test_bars_of_one_moment_stand_on_each_other() -> None:
    """Reasons of one second are stacked, so that their sum can be read."""
    frame = _frame(scales.exact("x", 0, 1), scales.linear("y", [10]))
    series = [plots.Series("a", [(0.0, 4.0)], 1), plots.Series("b", [(0.0, 6.0)], 2)]
    svg = ET.fromstring(plots.stacked_plot(frame, series, 1.0))  # noqa: S314
    bars = [one for one in svg.iter("rect") if "fill" in (one.get("class") or "")]
    low, high = ((float(one.get("y") or 0), float(one.get("height") or 0)) for one in bars)
    assert sum(high) == pytest.approx(low[0], abs=0.11)
    assert low[1] / high[1] == pytest.approx(4 / 6, rel=0.01)
    assert svg.findall("rect[@class='tip']/title")[0].text == "0.0: a 4.0, b 6.0"


def test_a_trial_that_held_looks_different_without_colour() -> None:
    """Held and not held differ in shape."""
    frame = _frame(scales.linear("x", [2]), scales.linear("y", [2]))
    marks = [plots.Mark(1, 1, "held"), plots.Mark(2, 2, "not", good=False)]
    svg = plots.scatter_plot(frame, marks, plots.Extras())
    assert re.search("<circle[^>]*><title>held", svg)
    assert re.search("<path[^>]*><title>not", svg)


@given(st.text())
def test_any_text_is_fit_for_markup(text: str) -> None:
    """Whatever a text holds, it comes back from a parser as text."""
    element = ET.fromstring(f"<a b='{safe(text)}'>{safe(text)}</a>")  # noqa: S314
    assert not list(element)
    kept = "".join(c for c in text if c.isalnum() or c in "<>&\"'")
    assert all(c in (element.text or "") for c in kept)


def test_values_beyond_an_axis_lie_at_its_end() -> None:
    """Infinity and what is no number do not break a drawing."""
    axis = scales.linear("", [10])
    assert axis.place(math.inf) == 1
    assert axis.place(-math.inf) == 0
    assert 0 <= axis.place(math.nan) <= 1
    assert scales.linear("", [math.inf, math.nan, 3.0]).high < 10
