"""Axes: where a value lies between an axis's ends, and at which round values it has its marks."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_ROUND = (1.0, 2.0, 5.0, 10.0)
_MARKS = 5
# An axis of so few decades has marks at 2 and 5 as well.
_FEW_DECADES = 2.5
# What is closer together, or closer to zero on an axis of ratios, is not drawn apart.
_LEAST = 1e-9


@dataclass(slots=True, frozen=True)
class Axis:
    """One axis. `bend` makes its values linear; `low` and `high` are its ends, bent."""

    name: str
    low: float
    high: float
    bend: Callable[[float], float]
    marks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Give where a value lies, from 0 to 1; what is beyond an end lies at that end."""
        at = (self.bend(value) - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, at))


def linear(name: str, values: Iterable[float], *, from_zero: bool = True) -> Axis:
    """Give an axis from zero, or from about the least value, to a round value above the most."""
    found = [value for value in values if math.isfinite(value)]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= _LEAST * max(1.0, abs(low)):
        high = low + (abs(low) if abs(low) > _LEAST else 1.0)
    step = _step((high - low) / _MARKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = tuple((n * step, _mark(n * step)) for n in range(first, last + 1))
    return Axis(name, first * step, last * step, _as_it_is, marks)


def exact(name: str, low: float, high: float) -> Axis:
    """Give an axis with just these ends, such as that of time."""
    high = high if high > low else low + 1.0
    step = _step((high - low) / (1.6 * _MARKS))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    marks = tuple((n * step, _mark(n * step)) for n in range(first, last + 1))
    return Axis(name, low, high, _as_it_is, marks)


def named(name: str, low: float, high: float, marks: tuple[tuple[float, str], ...]) -> Axis:
    """Give an axis whose marks are names, at places that are told."""
    return Axis(name, low, high, _as_it_is, marks)


def logarithmic(name: str, values: Iterable[float]) -> Axis:
    """Give an axis on which equal ratios are equal lengths; zero lies at its lower end."""
    found = [value for value in values if math.isfinite(value) and value > _LEAST] or [1.0]
    low, high = _below(min(found)), _above(max(found))
    if high <= low:
        high = low * 10
    decades = math.log10(high / low)
    parts = (1, 2, 5) if decades <= _FEW_DECADES else (1,)
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # Many decades would crowd a small plot.
    every = max(1, math.ceil(decades / 6))
    marks = tuple(
        (part * 10.0**ten, _mark(part * 10.0**ten))
        for ten in tens
        if ten % every == 0
        for part in parts
        if low * 0.999 <= part * 10.0**ten <= high * 1.001
    )
    return Axis(name, math.log10(low), math.log10(high), _log, marks)


def percentiles(name: str, most: float) -> Axis:
    """Give the axis of shares on which 90 %, 99 % and 99.9 % are equally far apart."""
    marks = [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %")]
    marks += [(1 - 10.0**-n, f"99.{'9' * (n - 2)} %") for n in range(3, 8)]
    high = max(_nines(min(most, 1 - 1e-7)), 1.0)
    within = tuple(mark for mark in marks if _nines(mark[0]) <= high + 1e-9)
    return Axis(name, 0.0, high, _nines, within)


def _as_it_is(value: float) -> float:
    return value


def _log(value: float) -> float:
    return math.log10(max(value, 1e-12))


def _nines(share: float) -> float:
    return -math.log10(max(1 - share, 1e-9))


def _step(rough: float) -> float:
    ten = 10.0 ** math.floor(math.log10(rough))
    return next(part * ten for part in _ROUND if part * ten >= rough * (1 - 1e-9))


def _below(value: float) -> float:
    ten = 10.0 ** math.floor(math.log10(value))
    return max(part * ten for part in _ROUND if part * ten <= value * (1 + 1e-9))


def _above(value: float) -> float:
    ten = 10.0 ** math.floor(math.log10(value))
    return min(part * ten for part in _ROUND if part * ten >= value * (1 - 1e-9))


def _mark(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:,.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-6 else f"{value:g}"
