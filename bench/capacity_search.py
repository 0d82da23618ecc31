"""The search for the highest rate that a server holds, when each trial is a noisy yes or no.

Theory of operation
-------------------
::

    doubling or halving, until a rate was held and a higher one was not
        -> the rate whose trial tells most -> its outcome -> what is believed now -> ...
        -> sure enough, out of trials, or nothing left that could be tried

A trial at rate r passes with probability 1 / (1 + (r / c) ** (1 / s)): at the capacity c half of
all trials pass, and the spread s says how soon that changes on either side. Neither is known; what
is believed of them is a probability for each point of a grid, and each trial multiplies it by how
likely its outcome was (Bayes). Two trials in a hundred are taken to say nothing, since a machine
has other things to do: so no single outcome can rule out anything for good.

The next rate is the one whose outcome is expected to tell most about the capacity. Near the middle
of what is believed a trial tells much, unless the spread is wide and there is little to learn
anywhere; the sum knows both.

A void trial is one of which the harness, not the server, decided the outcome. Nothing is learned of
the server. When the harness has managed no rate as high, that is its limit, and no such rate is
tried again; when it has, this was an accident, and only costs a trial.

All is pure: `next_rate` and `result` follow from the outcomes so far, and from nothing else.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Two trials in a hundred say nothing, and half of those pass.
_LAPSE = 0.02
# From a server that changes within 2 % of its capacity to one that takes half of it.
_SPREADS = np.array([0.005, 0.01, 0.02, 0.04, 0.08, 0.16])
_GRID_POINTS = 601
# How far around the rates that were held, and were not, the capacity is looked for.
_BEYOND = 4.0
_CANDIDATES = 25
# Points that have less of the belief than this change no choice, only its cost.
_NEGLIGIBLE = 1e-6
# Below this rate nothing is a server any more, and doubling from it would take too long.
_LEAST_RATE = 1.0
# Of a limit set by the harness: as near as a trial may come to it.
_BELOW_LIMIT = 0.95
_HELD_SAFELY = 0.9
# Of the whole grid, until less than a thousandth of a rate is left.
_HALVINGS = 14


class Certainty(StrEnum):
    """What kind of answer the search has."""

    FOUND = "found"
    AT_LEAST = "at least"
    BELOW = "below"
    UNKNOWN = "unknown"


@dataclass(slots=True, frozen=True)
class Found:
    """What is believed of the capacity; with AT_LEAST and BELOW, the rate is that bound."""

    certainty: Certainty
    rate: float
    low: float
    high: float
    safe_rate: float
    precise: bool


@dataclass(slots=True, frozen=True)
class _Belief:
    """A probability for each capacity (rows, as logarithms) and spread (columns)."""

    capacities: Floats
    weights: Floats

    def quantile(self, share: float) -> float:
        """Give the capacity that the true one is below with this probability."""
        total = np.cumsum(self.weights.sum(axis=1))
        return float(np.exp(np.interp(share, total, self.capacities)))

    def passing(self, rates: Floats) -> Floats:
        """Give how probable it is that a trial passes, for each of these rates."""
        chances = _chances(np.log(rates), self.capacities)
        return np.asarray(np.einsum("rcs,cs->r", chances, self.weights))

    def told_by(self, rates: Floats) -> Floats:
        """Give how much a trial at each rate is expected to tell about the capacity (nats)."""
        by_capacity = self.weights.sum(axis=1)
        kept = by_capacity > _NEGLIGIBLE
        weights, by_capacity = self.weights[kept], by_capacity[kept]
        chances = _chances(np.log(rates), self.capacities[kept])
        given = np.einsum("rcs,cs->rc", chances, weights / by_capacity[:, None])
        return np.asarray(_entropy(given @ by_capacity) - _entropy(given) @ by_capacity)


class CapacitySearch:
    """One search: ask `next_rate`, run a trial, `tell` or `void` it, until there is no rate."""

    def __init__(self, *, start: float, precision: float, most_trials: int) -> None:
        if start < _LEAST_RATE or not 0 < precision < 1 or most_trials < 1:
            raise ValueError("a search needs a rate to start from, a precision and trials")
        self._start = start
        self._precision = precision
        self._left = most_trials
        self._outcomes: list[tuple[float, bool]] = []
        self._limit = float("inf")

    @property
    def limit(self) -> float:
        """Give the lowest rate that the harness could not try; infinite when there was none."""
        return self._limit

    def tell(self, rate: float, *, passed: bool) -> None:
        """Take in a trial's outcome."""
        self._left -= 1
        self._outcomes.append((rate, passed))

    def void(self, rate: float) -> None:
        """Take in that the harness could not try this rate. It costs a trial all the same."""
        self._left -= 1
        if all(tried < rate for tried, _ in self._outcomes):
            self._limit = min(self._limit, rate)

    def next_rate(self) -> float | None:
        """Give the rate to try next; None when the search is over."""
        if self._left <= 0:
            return None
        held, failed = self._highest_held(), self._lowest_failed()
        if held is None and failed is None:
            rate = self._start if self._limit > self._start else self._limit / 2
            return rate if rate >= _LEAST_RATE else None
        if held is None and failed is not None:
            return failed / 2 if failed / 2 >= _LEAST_RATE else None
        if failed is None and held is not None:
            return self._next_upwards(held)
        return self._next_informed()

    def result(self) -> Found:
        """Say what is believed now."""
        held, failed = self._highest_held(), self._lowest_failed()
        if held is None and failed is None:
            return Found(Certainty.UNKNOWN, 0.0, 0.0, 0.0, 0.0, precise=False)
        if failed is None and held is not None:
            high = self._limit if self._limit < float("inf") else held
            return Found(Certainty.AT_LEAST, held, held, high, held, precise=False)
        if held is None and failed is not None:
            return Found(Certainty.BELOW, failed, 0.0, failed, 0.0, precise=False)
        belief = self._belief()
        low, rate, high = (belief.quantile(share) for share in (0.05, 0.5, 0.95))
        return Found(
            Certainty.FOUND, rate, low, high, _safe_rate(belief), precise=self._precise(low, high)
        )

    def _next_upwards(self, held: float) -> float | None:
        if held * 2 < self._limit:
            return held * 2
        # The harness gives out somewhere between: close in on what it can still try.
        if self._limit / held <= 1 + 2 * self._precision:
            return None
        return math.sqrt(held * self._limit)

    def _next_informed(self) -> float | None:
        belief = self._belief()
        if self._precise(belief.quantile(0.05), belief.quantile(0.95)):
            return None
        shares = np.linspace(0.01, 0.99, _CANDIDATES)
        rates = np.array([belief.quantile(float(share)) for share in shares])
        rates = rates[rates <= self._limit * _BELOW_LIMIT]
        if not rates.size:
            return None
        return float(rates[int(np.argmax(belief.told_by(rates)))])

    def _precise(self, low: float, high: float) -> bool:
        return (high - low) / (high + low) <= self._precision

    def _belief(self) -> _Belief:
        rates = np.array([rate for rate, _ in self._outcomes])
        passed = np.array([passed for _, passed in self._outcomes])
        # The widest range in which outcomes disagree, and room around it: one outcome that came
        # from a lapse moves an end, and then there is room again.
        ends = (rates[passed].max(), rates[~passed].min())
        lowest, highest = min(ends) / _BEYOND, max(ends) * _BEYOND
        capacities = np.linspace(np.log(lowest), np.log(highest), _GRID_POINTS)
        chances = _chances(np.log(rates), capacities)
        chances[~passed] = 1 - chances[~passed]
        logs = np.log(chances).sum(axis=0)
        weights = np.exp(logs - logs.max())
        return _Belief(capacities, weights / weights.sum())

    def _highest_held(self) -> float | None:
        return max((rate for rate, passed in self._outcomes if passed), default=None)

    def _lowest_failed(self) -> float | None:
        return min((rate for rate, passed in self._outcomes if not passed), default=None)


def _chances(log_rates: Floats, capacities: Floats) -> Floats:
    """Give the probability to pass for each rate, capacity and spread."""
    apart = (log_rates[:, None] - capacities[None, :])[:, :, None] / _SPREADS
    # Beyond 50 nothing changes any more, and the exponential would overflow.
    held = 1 / (1 + np.exp(np.clip(apart, -50, 50)))
    return np.asarray(_LAPSE / 2 + (1 - _LAPSE) * held)


def _safe_rate(belief: _Belief) -> float:
    low, high = float(belief.capacities[0]), float(belief.capacities[-1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        held = belief.passing(np.exp([middle]))[0] >= _HELD_SAFELY
        low, high = (middle, high) if held else (low, middle)
    return float(np.exp(low))


def _entropy(chances: Floats) -> Floats:
    return np.asarray(-chances * np.log(chances) - (1 - chances) * np.log1p(-chances))
