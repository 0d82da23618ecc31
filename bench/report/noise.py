"""How sure a figure is, from the noise within its own run, and what a ratio of two then means.

Theory of operation. Neighbouring seconds of a run resemble each other (a queue that is long stays
long for a while), so they are not drawn one by one: the moving-block bootstrap (Künsch 1989) puts
runs of five neighbouring seconds together to as many seconds as there were, again and again, and
the spread of the figure over these is its error, corrected for what is lost at the blocks' borders.
Few blocks make the error itself unsure; that is
what Student's t with (blocks - 1) degrees of freedom is for, and Welch's formula for two runs.
Ratios are judged by their logarithms. The draws follow from a fixed seed: the same reports give the
same words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
# From samples in rows (seconds) and columns to one figure for each draw: (draws, rows, columns).
Statistic = Callable[[Samples], Samples]

BLOCK_SECONDS = 5
_DRAWS = 400
_SEED = 20_260_401
# With fewer blocks there is no saying how the next one might have been.
_LEAST_BLOCKS = 3
# Of a run with more of it than this, seconds are too few to judge by.
_MOST_ALIKE = 0.9
_Z_95 = 1.959964
_Z_90 = 1.644854
# A difference that is real and smaller than this is not worth an alarm.
LEAST_CHANGE = 0.01


class Verdict(StrEnum):
    """What is to be thought of a difference."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "within the noise"
    SLIGHT = "under 1 %"
    UNJUDGED = "not judged"


@dataclass(slots=True, frozen=True)
class Estimate:
    """A figure with its standard error; without one nothing can be said about differences."""

    value: float
    error: float | None = None
    freedom: float = inf


@dataclass(slots=True, frozen=True)
class Judgement:
    """The ratio of two figures, its 95 % interval, and the verdict."""

    ratio: float | None
    low: float | None
    high: float | None
    verdict: Verdict


def of_seconds(samples: Samples, statistic: Statistic) -> Estimate:
    """Estimate a figure of consecutive seconds (rows) by the moving-block bootstrap."""
    rows = len(samples)
    value = float(statistic(samples[np.newaxis])[0])
    blocks = rows // BLOCK_SECONDS
    if blocks < _LEAST_BLOCKS:
        return Estimate(value)
    rng = np.random.default_rng(_SEED)
    needed = -(-rows // BLOCK_SECONDS)
    starts = rng.integers(0, rows - BLOCK_SECONDS + 1, size=(_DRAWS, needed))
    picked = (starts[:, :, np.newaxis] + np.arange(BLOCK_SECONDS)).reshape(_DRAWS, -1)[:, :rows]
    # Blocks of a short run overlap so much that they vary too little; this sets it right for means.
    widening = blocks / (blocks - 1) * _lost_between_blocks(samples, statistic)
    return Estimate(value, float(np.std(statistic(samples[picked]))) * sqrt(widening), blocks - 1)


def _lost_between_blocks(samples: Samples, statistic: Statistic) -> float:
    """Give by how much blocks underrate the variance, as they forget each other at their borders.

    The likeness of neighbours is that of each second's influence on the figure (what it would be
    without that second), and taken to fade as in a first-order autoregression.
    """
    rows = len(samples)
    without = (np.delete(samples, at, axis=0)[np.newaxis] for at in range(rows))
    influence = np.array([float(statistic(one)[0]) for one in without])
    influence -= influence.mean()
    spread = float((influence * influence).sum())
    if spread == 0:
        return 1.0
    alike = float((influence[1:] * influence[:-1]).sum()) / spread
    # Short series show too little of it (Marriott and Pope 1954).
    alike = min(_MOST_ALIKE, max(0.0, alike + (1 + 3 * alike) / rows))
    lags = range(1, BLOCK_SECONDS)
    within = 1 + 2 * sum((1 - lag / BLOCK_SECONDS) * alike**lag for lag in lags)
    return (1 + alike) / (1 - alike) / within


def of_rounds(values: Sequence[float]) -> Estimate:
    """Estimate the geometric mean of independent rounds."""
    found = [value for value in values if isfinite(value) and value > 0]
    if len(found) != len(values) or not found:
        return Estimate(float(np.mean(values)) if values else 0.0)
    if len(found) < 2:
        return Estimate(found[0])
    logs = np.log(found)
    mean = exp(float(logs.mean()))
    error = float(logs.std(ddof=1)) / sqrt(len(found))
    return Estimate(mean, mean * error, len(found) - 1)


def of_slope(xs: Sequence[float], ys: Sequence[float], slope: float) -> Estimate:
    """Estimate a line's slope, by drawing its points again and again."""
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    if len(x) < 4:
        return Estimate(slope)
    rng = np.random.default_rng(_SEED)
    picked = rng.integers(0, len(x), size=(_DRAWS, len(x)))
    dx = x[picked] - x[picked].mean(axis=1, keepdims=True)
    dy = y[picked] - y[picked].mean(axis=1, keepdims=True)
    spread = (dx * dx).sum(axis=1)
    # A draw of points that lie too close together says nothing of the slope.
    useful = spread > 0.1 * ((x - x.mean()) ** 2).sum()
    if not useful.any():
        return Estimate(slope)
    slopes = (dx * dy).sum(axis=1)[useful] / spread[useful]
    freedom = len(x) - 2
    return Estimate(slope, float(np.std(slopes)) * sqrt(len(x) / freedom), freedom)


def of_level(xs: Sequence[float], ys: Sequence[float]) -> Estimate:
    """Estimate a line's value in the middle of its points, from how far they are from the line."""
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    middle = float(y.mean())
    freedom = len(x) - 2
    from_middle = x - x.mean()
    spread = float(from_middle @ from_middle)
    if freedom < 1 or spread == 0:
        return Estimate(middle)
    left = y - middle - float(from_middle @ y) / spread * from_middle
    return Estimate(middle, sqrt(float(left @ left) / freedom / len(x)), freedom)


def of_interval(value: float, low: float, high: float) -> Estimate:
    """Take the error from a 90 % interval that is given."""
    if low > 0 and high > low and isfinite(high) and value > 0:
        return Estimate(value, value * log(high / low) / (2 * _Z_90))
    return Estimate(value)


def judge(a: Estimate, b: Estimate, *, less_is_better: bool) -> Judgement:
    """Say whether B is better or worse than A, or whether that may be chance."""
    ratio = b.value / a.value if a.value > 0 and b.value >= 0 else None
    if a.error is None or b.error is None:
        return Judgement(ratio, None, None, Verdict.UNJUDGED)
    if a.value > 0 and b.value > 0:
        errors = (a.error / a.value, b.error / b.value)
        change = log(b.value / a.value)
    else:
        errors = (a.error, b.error)
        change = b.value - a.value
    reach = _reach(errors, (a.freedom, b.freedom))
    low = high = None
    if a.value > 0 and b.value > 0:
        low, high = _exp(change - reach), _exp(change + reach)
    if abs(change) <= reach:
        verdict = Verdict.NOISE
    elif low is not None and abs(change) < log(1 + LEAST_CHANGE):
        verdict = Verdict.SLIGHT
    else:
        verdict = Verdict.BETTER if (change < 0) == less_is_better else Verdict.WORSE
    return Judgement(ratio, low, high, verdict)


def _reach(errors: tuple[float, float], freedoms: tuple[float, float]) -> float:
    """Give half the length of the 95 % interval of a difference."""
    squares = [error * error for error in errors]
    total = sum(squares)
    if total == 0:
        return 0.0
    # Welch and Satterthwaite: how many degrees of freedom the sum of two variances has.
    parts = sum(square * square / free for square, free in zip(squares, freedoms, strict=True))
    return sqrt(total) * (_student(total * total / parts) if parts else _Z_95)


def _student(freedom: float) -> float:
    """Give Student's t for 95 %, by the expansion around the normal (Abramowitz 26.7.5)."""
    z, n = _Z_95, max(freedom, 1.5)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def _exp(value: float) -> float | None:
    # Beyond this the interval says nothing, and JSON has no infinity.
    return exp(value) if abs(value) < 50 else None
