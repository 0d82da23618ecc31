"""Quantiles of what can be added up: a histogram whose buckets grow with the values.

The idea is DDSketch's (Masson, Rim and Lee, VLDB 2019). Bucket k holds the values in
(g^(k-1), g^k], with g = (1 + a) / (1 - a), and stands for the one value that is at most the share
`a` away from all of them. So a quantile is wrong by at most `RELATIVE_ERROR` of itself, whatever
the values are. Sketches of parts add up to the sketch of the whole, and a value can be taken out
again: the state is counts.

Values below `LEAST` count as zero, and values above `MOST` as that. Between the two there are about
1,260 buckets, which bounds the state; only those that hold something are kept.
"""

import math
from collections.abc import Iterable
from typing import Any, Self

SKETCH_VERSION = 1
RELATIVE_ERROR = 0.01
LEAST = 0.001
# A day in milliseconds: the surface takes no longer times.
MOST = 86_400_000.0

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)
# Below every other bucket's.
ZERO_BUCKET = math.floor(math.log(LEAST) / _LOG_GROWTH) - 1


def bucket_of(value: float) -> int:
    """Give the bucket of a value that is not negative; anything else raises ValueError."""
    if not value >= 0:
        raise ValueError(f"a sketch holds values from 0 upwards, not {value}")
    if value < LEAST:
        return ZERO_BUCKET
    return math.ceil(math.log(min(value, MOST)) / _LOG_GROWTH)


def value_of(bucket: int) -> float:
    """Give the value that a bucket stands for."""
    if bucket <= ZERO_BUCKET:
        return 0.0
    return 2 * _GROWTH**bucket / (_GROWTH + 1)


class Sketch:
    """Counts of values by bucket. `buckets` is to be read only; it holds no zeros."""

    __slots__ = ("buckets", "count")

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        """Begin empty, or with counts by bucket; several of one bucket add up."""
        self.buckets: dict[int, int] = {}
        self.count = 0
        for bucket, count in counts:
            self._change(bucket, count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.buckets == other.buckets

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, value: float) -> None:
        """Count a value."""
        self._change(bucket_of(value), 1)

    def remove(self, value: float) -> None:
        """Take out a value that was counted; one that was not raises ValueError."""
        self._change(bucket_of(value), -1)

    def merge(self, other: "Sketch") -> None:
        """Count all that another sketch has counted."""
        mine = self.buckets
        for bucket, count in other.buckets.items():
            mine[bucket] = mine.get(bucket, 0) + count
        self.count += other.count

    def _change(self, bucket: int, by: int) -> None:
        count = self.buckets.get(bucket, 0) + by
        if count < 0:
            raise ValueError(f"bucket {bucket} holds fewer values than are taken out")
        if count:
            self.buckets[bucket] = count
        else:
            self.buckets.pop(bucket, None)
        self.count += by

    def quantile(self, share: float) -> float | None:
        """Give the value at rank floor(share * (count - 1)), from 0; None of no values."""
        if not self.count:
            return None
        rank = math.floor(share * (self.count - 1))
        for bucket, count in sorted(self.buckets.items()):
            rank -= count
            if rank < 0:
                return value_of(bucket)
        raise AssertionError("the counts add up to `count`")

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values, as short as the number of buckets that hold something."""
        flat = [part for pair in sorted(self.buckets.items()) for part in pair]
        return {"v": SKETCH_VERSION, "counts": flat}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises KeyError, TypeError or ValueError."""
        if plain["v"] != SKETCH_VERSION:
            raise ValueError(f"sketch version {plain['v']}, not {SKETCH_VERSION}")
        flat = plain["counts"]
        # Not one by one: a statistic reads thousands of sketches.
        sketch = cls()
        sketch.buckets = dict(zip(flat[::2], flat[1::2], strict=True))
        if 2 * len(sketch.buckets) != len(flat) or min(flat[1::2], default=1) < 1:
            raise ValueError("each bucket must be there once and hold something")
        sketch.count = sum(flat[1::2])
        return sketch
