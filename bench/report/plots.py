"""Plots as inline SVG, without a script and without anything from outside.

Theory of operation. A plot is drawn in a box of fixed size (`viewBox`) that the page scales. Axes
(`scales`) give places from 0 to 1, so nothing can be drawn outside the box. Colours are classes
(`s0` to `s6`) that the page's style defines for light and dark; lines differ in their dashes too.
Each SVG has a title and a description for those who cannot see it, and its points have tooltips,
which are `<title>` elements of invisible columns over the plot.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from penstock.bench.report.scales import Axis
from penstock.bench.report.svg import line, number, rect, safe, text

Point = tuple[float, float | None]
Form = Literal["line", "area"]
COLOURS = 6
# About as wide as a digit of the marks is.
_CHARACTER = 7.2


@dataclass(slots=True, frozen=True)
class Frame:
    """What surrounds a plot. `name` is unique on the page."""

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    tell_x: Callable[[float], str]
    tell_y: Callable[[float], str]
    width: int = 880
    height: int = 300


@dataclass(slots=True, frozen=True)
class Series:
    """Points in the order of x, with one colour. A point without a value leaves a gap."""

    name: str
    points: Sequence[Point]
    colour: int
    form: Form = "line"


@dataclass(slots=True, frozen=True)
class Mark:
    """One point of a scatter plot, with what its tooltip says."""

    x: float
    y: float
    told: str
    good: bool = True


@dataclass(slots=True, frozen=True)
class Extras:
    """What is drawn behind the marks: a band of x, lines at values, and a fitted line."""

    band: tuple[float, float] | None = None
    at_x: Sequence[tuple[float, str]] = ()
    at_y: Sequence[tuple[float, str]] = ()
    fitted: Sequence[tuple[float, float]] = ()


@dataclass(slots=True, frozen=True)
class Bar:
    """One row of a bar plot: a value and the range it was found in."""

    name: str
    value: float
    low: float
    high: float
    told: str
    colour: int = 1


@dataclass(slots=True, frozen=True)
class _Box:
    """The rectangle inside the axes, in the units of the viewBox."""

    left: float
    top: float
    right: float
    bottom: float
    x: Axis
    y: Axis
    parts: list[str] = field(default_factory=list)

    def at_x(self, value: float) -> float:
        return self.left + self.x.place(value) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        return self.bottom - self.y.place(value) * (self.bottom - self.top)

    def draw(self, part: str) -> None:
        self.parts.append(part)


def line_plot(frame: Frame, series: Sequence[Series]) -> str:
    """Draw lines, and areas under lines, over one x axis."""
    box = _boxed(frame)
    for one in series:
        for run in _unbroken(one.points):
            _draw_run(box, one, run)
    told: dict[float, list[str]] = {}
    for one in series:
        for x, y in one.points:
            if y is not None:
                told.setdefault(x, []).append(f"{one.name} {frame.tell_y(y)}")
    _tips(box, [(x, f"{frame.tell_x(x)}: {', '.join(told[x])}") for x in sorted(told)])
    return _svg(frame, box)


def stacked_plot(frame: Frame, series: Sequence[Series], width: float) -> str:
    """Draw bars, those of one x on top of each other. `width` is a bar's, in units of x."""
    box = _boxed(frame)
    below: dict[float, float] = {}
    told: dict[float, list[str]] = {}
    for one in series:
        for x, y in one.points:
            if not y:
                continue
            base = below.get(x, 0.0)
            below[x] = base + y
            left, right = box.at_x(x), box.at_x(x + width)
            top, bottom = box.at_y(base + y), box.at_y(base)
            box.draw(rect(left, top, right - left, bottom - top, f"fill s{one.colour}"))
            told.setdefault(x, []).append(f"{one.name} {frame.tell_y(y)}")
    for x, lines in sorted(told.items()):
        left, right = box.at_x(x), box.at_x(x + width)
        tip = f"{frame.tell_x(x)}: {', '.join(lines)}"
        box.draw(rect(left, box.top, right - left, box.bottom - box.top, "tip", tip))
    return _svg(frame, box)


def scatter_plot(frame: Frame, marks: Sequence[Mark], extras: Extras) -> str:
    """Draw points, a circle for a good one and a cross for another, before what explains them."""
    box = _boxed(frame)
    if extras.band is not None:
        left, right = map(box.at_x, extras.band)
        height = box.bottom - box.top
        box.draw(rect(left, box.top, max(right - left, 1.0), height, "band"))
    for row, (value, label) in enumerate(extras.at_x):
        at = box.at_x(value)
        box.draw(line(at, box.top, at, box.bottom, "rule"))
        # Written to the side with more room; the second one away from the first.
        leftwards = box.x.place(value) > (0.6 if row == 0 else 0.25)
        side, shift = ("end", -5) if leftwards else ("start", 5)
        box.draw(text(at + shift, box.top + 13 + 16 * row, label, f"note {side}"))
    for value, label in extras.at_y:
        at = box.at_y(value)
        box.draw(line(box.left, at, box.right, at, "rule bound"))
        box.draw(text(box.left + 6, at - 5 if at > box.top + 30 else at + 14, label, "note start"))
    if extras.fitted:
        path = "L".join(f"{number(box.at_x(x))} {number(box.at_y(y))}" for x, y in extras.fitted)
        box.draw(f'<path class="line s2" d="M{path}"/>')
    for mark in marks:
        box.draw(_mark(box.at_x(mark.x), box.at_y(mark.y), mark))
    return _svg(frame, box)


def bar_plot(frame: Frame, bars: Sequence[Bar]) -> str:
    """Draw one bar a row along x, with the range as a whisker, the value written behind it."""
    box = _boxed(frame, left=170.0, right=110.0, rows=True)
    height = (box.bottom - box.top) / max(1, len(bars))
    for row, bar in enumerate(bars):
        top = box.top + row * height
        middle = top + height / 2
        thick = min(18.0, height * 0.55)
        end, low, high = map(box.at_x, (bar.value, bar.low, bar.high))
        name = bar.name if len(bar.name) <= 24 else f"{bar.name[:23]}…"
        box.draw(text(box.left - 10, middle + 4, name, "label end"))
        box.draw(rect(box.left, middle - thick / 2, end - box.left, thick, f"fill s{bar.colour}"))
        box.draw(line(low, middle, high, middle, "whisker"))
        for at in (low, high):
            box.draw(line(at, middle - 5, at, middle + 5, "whisker"))
        box.draw(text(max(end, high) + 8, middle + 4, frame.tell_x(bar.value), "label start"))
        box.draw(rect(0, top, frame.width, height, "tip", f"{bar.name}: {bar.told}"))
    return _svg(frame, box)


def bar_height(rows: int) -> int:
    """Give the height that a bar plot of so many rows needs."""
    return 66 + 34 * rows


def key(colour: int, form: str = "line") -> str:
    """Draw the sample of a series for a legend that is written beside the plot."""
    samples = {
        "line": line(1, 6, 23, 6, f"line s{colour}"),
        "good": _mark(12, 6, Mark(0, 0, "")),
        "bad": _mark(12, 6, Mark(0, 0, "", good=False)),
    }
    sample = samples.get(form) or rect(4, 1, 16, 10, f"{form} s{colour}")
    return (
        '<svg class="key" viewBox="0 0 24 12" width="24" height="12" aria-hidden="true">'
        f"{sample}</svg>"
    )


def colour_of(number: int) -> int:
    """Give the colour of the n-th series, counted from 0; after the last they begin again."""
    return number % COLOURS + 1


def _boxed(frame: Frame, *, left: float = 0.0, right: float = 30.0, rows: bool = False) -> _Box:
    widest = max((len(label) for _, label in frame.y.marks), default=0)
    left = left or max(64.0, 16.0 + _CHARACTER * widest)
    box = _Box(left, 30.0, frame.width - right, frame.height - 44.0, frame.x, frame.y)
    for value, label in frame.x.marks:
        at = box.at_x(value)
        if rows:
            box.draw(line(at, box.top, at, box.bottom, "grid"))
        else:
            box.draw(line(at, box.bottom, at, box.bottom + 4, "tick"))
        box.draw(text(at, box.bottom + 18, label, "mark middle"))
    middle = (box.left + box.right) / 2
    box.draw(text(middle, frame.height - 6, frame.x.name, "name middle"))
    if rows:
        return box
    for value, label in frame.y.marks:
        at = box.at_y(value)
        box.draw(line(box.left, at, box.right, at, "grid"))
        box.draw(text(box.left - 8, at + 4, label, "mark end"))
    box.draw(text(4, 14, frame.y.name, "name start"))
    box.draw(line(box.left, box.bottom, box.right, box.bottom, "axis"))
    return box


def _svg(frame: Frame, box: _Box) -> str:
    name = safe(frame.name)
    return (
        f'<svg class="plot" role="img" viewBox="0 0 {frame.width} {frame.height}" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{safe(frame.title)}</title>'
        f'<desc id="{name}-desc">{safe(frame.description)}</desc>{"".join(box.parts)}</svg>'
    )


def _unbroken(points: Sequence[Point]) -> Iterable[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None:
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _draw_run(box: _Box, series: Series, run: list[tuple[float, float]]) -> None:
    places = [(box.at_x(x), box.at_y(y)) for x, y in run]
    if len(places) == 1:
        # A line of one point would not be seen.
        (x, y) = places[0]
        box.draw(
            f'<circle class="fill s{series.colour}" cx="{number(x)}" cy="{number(y)}" r="2.5"/>'
        )
        return
    path = "L".join(f"{number(x)} {number(y)}" for x, y in places)
    if series.form == "area":
        first, last, floor = number(places[0][0]), number(places[-1][0]), number(box.bottom)
        box.draw(
            f'<path class="area s{series.colour}" d="M{first} {floor}L{path}L{last} {floor}Z"/>'
        )
    else:
        box.draw(f'<path class="line s{series.colour}" d="M{path}"/>')


def _tips(box: _Box, tips: Sequence[tuple[float, str]]) -> None:
    places = [box.at_x(x) for x, _ in tips]
    borders = [box.left, *((a + b) / 2 for a, b in pairwise(places)), box.right]
    for (_, told), left, right in zip(tips, borders, borders[1:], strict=False):
        box.draw(rect(left, box.top, right - left, box.bottom - box.top, "tip", told))


def _mark(x: float, y: float, mark: Mark) -> str:
    tip = f"<title>{safe(mark.told)}</title>" if mark.told else ""
    if mark.good:
        return f'<circle class="dot good" cx="{number(x)}" cy="{number(y)}" r="5">{tip}</circle>'
    # Within the box at its edges too: the axes leave more room than an arm's length around it.
    left, right, above, below = map(number, (x - 5, x + 5, y - 5, y + 5))
    arms = f"M{left} {above}L{right} {below}M{left} {below}L{right} {above}"
    return f'<path class="dot bad" d="{arms}">{tip}</path>'
