"""Straight lines through repeated measurements, and whether they are straight.

Theory of operation
-------------------
Measurements at the same x differ, and that is the noise; what else keeps the points from a line is
their shape. So the line is that of least squares through all measurements, and it is called
straight when at each x the mean of the repeats is no further from it than the largest of

- what the noise explains: the 99 % bound of Student's t, with the noise of all x pooled;
- 5 % of the line's own value there;
- 2 % of the line's whole rise;
- the grain, below which the readings mean nothing.

The last three are for repeats that agree so well that a bend of no consequence would count. It is
called flat when its rise is within what the noise explains, the grain, or 5 % of its middle value.
The share
of the variance that the line explains (R²) is given and does not decide: of points that rightly
lie on a flat line it explains nothing. At least three places are needed, since two always fit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np

PLACES = 3

_OF_VALUE = 0.05
_OF_RISE = 0.02
# Student's t, 99 % on both sides, for 1 to 30 degrees of freedom; the normal distribution's beyond.
_STUDENT_99 = (
    *(63.66, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169),
    *(3.106, 3.055, 3.012, 2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845),
    *(2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750),
)
_NORMAL_99 = 2.576

Points = Sequence[tuple[float, float]]


@dataclass(slots=True, frozen=True)
class Line:
    """The line. `noise` is the standard deviation of repeats; None when nothing was repeated."""

    slope: float
    intercept: float
    r_squared: float
    noise: float | None
    means: dict[float, float]
    worst: float
    straight: bool
    flat: bool

    def at(self, x: float) -> float:
        """Give the line's value."""
        return self.intercept + self.slope * x


def fit(points: Points, *, grain: float = 0.0) -> Line:
    """Put a line through points (x, y), of which several may have the same x."""
    by_x: dict[float, list[float]] = {}
    for x, y in sorted(points):
        by_x.setdefault(x, []).append(y)
    if len(by_x) < PLACES:
        raise ValueError(f"a line needs points at {PLACES} places at least")
    means = {x: fmean(ys) for x, ys in by_x.items()}
    xs, ys = (np.array(column) for column in zip(*points, strict=True))
    from_mean = xs - xs.mean()
    spread = float(from_mean @ from_mean)
    slope = float(from_mean @ (ys - ys.mean())) / spread
    intercept = float(ys.mean() - slope * xs.mean())
    left = float(np.sum((ys - intercept - slope * xs) ** 2))
    whole = float(np.sum((ys - ys.mean()) ** 2))
    noise, by_noise = _noise(by_x, means)
    length = max(by_x) - min(by_x)
    rise = abs(slope) * length

    def excess(x: float) -> float:
        """Give how far the mean is from the line, as a multiple of what is allowed."""
        value = intercept + slope * x
        explained = by_noise / math.sqrt(len(by_x[x]))
        allowed = max(explained, _OF_VALUE * abs(value), _OF_RISE * rise, grain)
        off = abs(means[x] - value)
        return off / allowed if allowed else off

    worst = max(means, key=excess)
    level = abs(fmean(means.values()))
    return Line(
        slope=slope,
        intercept=intercept,
        r_squared=1 - left / whole if whole else 1.0,
        noise=noise,
        means=means,
        worst=worst,
        straight=excess(worst) <= 1,
        flat=rise <= max(by_noise * length / math.sqrt(spread), _OF_VALUE * level, grain),
    )


def why_not(line: Line, show_x: Callable[[float], str]) -> str:
    """Say why points are on no straight line: where, by how much, and how they bend."""
    expected, seen = line.at(line.worst), line.means[line.worst]
    share = f"{abs(seen - expected) / abs(expected):.0%} " if expected else ""
    side = "above" if seen > expected else "below"
    noise = (
        "more than repeats differ by"
        if line.noise is not None
        else "and without repeats nobody knows how much of it is noise"
    )
    rises = [
        (above - below) / (right - left)
        for (left, below), (right, above) in pairwise(line.means.items())
    ]
    slopes = ", then ".join(f"{rise:.3g}" for rise in rises)
    return (
        f"no straight line: at {show_x(line.worst)} it is {share}{side} the line through all, "
        f"{noise}; from point to point the slope is {slopes}"
    )


def _noise(by_x: dict[float, list[float]], means: dict[float, float]) -> tuple[float | None, float]:
    """Give the pooled standard deviation of repeats, and the bound of what it explains."""
    freedom = sum(len(ys) - 1 for ys in by_x.values())
    if not freedom:
        return None, 0.0
    squares = math.fsum((y - means[x]) ** 2 for x, ys in by_x.items() for y in ys)
    noise = math.sqrt(squares / freedom)
    student = _STUDENT_99[freedom - 1] if freedom <= len(_STUDENT_99) else _NORMAL_99
    return noise, student * noise
