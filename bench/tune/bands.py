"""How sure a figure is: the 95 % interval of a mean over sessions and seeds, or of a share.

Means are bootstrapped by sessions: what is drawn with replacement is sessions, and of each one of
its seeds, since the runs of one session are alike and are not that many sessions more. Shares of
"exact or not" are Wilson's, with as many trials as there are sessions, for the same reason: seeds
narrow nothing. Both say how much other sessions like these might differ, and nothing of sessions
that are unlike them.
"""

import math
from typing import Final

import numpy as np

from penstock.bench.tune.figures import Errors
from penstock.bench.tune.result import Band

DRAWS: Final = 1000
_LOW, _HIGH = 2.5, 97.5
_NORMAL_QUANTILE = 1.959964


class Bootstrap:
    """The draws of one tuning, the same for all of its points, so that they compare."""

    def __init__(self, sessions: int, seeds: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._sessions = random.integers(sessions, size=(DRAWS, sessions))
        self._seeds = random.integers(seeds, size=(DRAWS, sessions))

    def mean(self, values: Errors) -> Band | None:
        """Give the mean of sessions x seeds; None when no session carries the figure."""
        return self.ratio(values, np.ones_like(values))

    def ratio(self, parts: Errors, wholes: Errors) -> Band | None:
        """Give the ratio of two sums over sessions x seeds; not a number in `parts` is left out."""
        known = ~np.isnan(parts)
        if not known.any():
            return None
        parts, wholes = np.where(known, parts, 0.0), np.where(known, wholes, 0.0)
        over = wholes[self._sessions, self._seeds].sum(axis=1)
        drawn = parts[self._sessions, self._seeds].sum(axis=1)[over > 0] / over[over > 0]
        low, high = np.percentile(drawn, [_LOW, _HIGH])
        return Band(value=float(parts.sum() / wholes.sum()), low=float(low), high=float(high))


def wilson(share: float, trials: int) -> Band:
    """Give the interval of a share that was seen in so many trials."""
    z = _NORMAL_QUANTILE**2 / trials
    middle = (share + z / 2) / (1 + z)
    reach = math.sqrt(share * (1 - share) * z + z * z / 4) / (1 + z)
    return Band(
        value=share,
        low=max(0.0, middle - reach),
        high=1.0 if share == 1 else min(1.0, middle + reach),
    )
