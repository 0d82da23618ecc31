"""A histogram of latencies with buckets of equal ratio.

Each bucket is 2 % wider than the one before it, so 1,050 counters reach from a microsecond to
more than a quarter of an hour. A quantile is given as the geometric middle of its bucket, which no
value of the bucket is further from than a factor of sqrt(1.02): the error is below 1 %. Values
outside the range are counted in the outermost buckets; the greatest value is kept exactly.
"""

import math

_RATIO = 1.02
_LOWEST_SECONDS = 1e-6
_BUCKETS = 1050
_PER_LOG = 1 / math.log(_RATIO)

# What callers may rely on, with room for the rounding of logarithms at a bucket's edge.
ERROR_BOUND = 0.01
LOWEST_SECONDS = _LOWEST_SECONDS
HIGHEST_SECONDS = _LOWEST_SECONDS * _RATIO ** (_BUCKETS - 1)


class LatencyHistogram:
    """Counts latencies; answers quantiles within ERROR_BOUND. Only its maker records."""

    __slots__ = ("_counts", "_greatest")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._greatest = 0.0

    def __len__(self) -> int:
        return sum(self._counts)

    @property
    def greatest(self) -> float:
        """Give the greatest value recorded, exactly; 0.0 when there is none."""
        return self._greatest

    def record(self, seconds: float) -> None:
        """Count one latency."""
        self._greatest = max(self._greatest, seconds)
        if seconds <= _LOWEST_SECONDS:
            self._counts[0] += 1
            return
        index = int(math.log(seconds / _LOWEST_SECONDS) * _PER_LOG)
        self._counts[index if index < _BUCKETS else -1] += 1

    def add(self, other: "LatencyHistogram") -> None:
        """Count what another histogram counted, so that rounds can be looked at as one."""
        pairs = zip(self._counts, other._counts, strict=True)  # noqa: SLF001  one of its own kind
        self._counts = [mine + its for mine, its in pairs]
        self._greatest = max(self._greatest, other.greatest)

    def quantile(self, share: float) -> float:
        """Give the value that `share` of all are not above (nearest rank); 0.0 without any."""
        if not 0 < share <= 1:
            raise ValueError(f"a quantile's share is above 0 and at most 1, not {share}")
        rank = math.ceil(share * len(self))
        passed = 0
        for index, count in enumerate(self._counts):
            passed += count
            if passed >= rank and count:
                middle: float = _LOWEST_SECONDS * _RATIO ** (index + 0.5)
                return min(middle, self._greatest)
        return 0.0
