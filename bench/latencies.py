"""Many latencies in little memory: kept as counts in the buckets of an HdrHistogram.

Recording appends to an array; folding sorts the array into the buckets with a few NumPy calls,
because the histogram's own `record_value` costs more than all else that a load generator does for
a request. The buckets are those of `HdrHistogram(1, 3_600_000_000, 3)`, so that nothing is lost in
the passage: microseconds to an hour, with three digits.
"""

from array import array
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from penstock.bench.errors import BenchError
from penstock.bench.report.models import Latency

LOWEST_US = 1
HIGHEST_US = 3_600_000_000

_DIGITS = 3
# HdrHistogram's layout for three digits: 2,048 buckets of 1 us, then 1,024 for each doubling.
_HALF_BITS = 10
_BUCKETS = 23_552
_MOST_FRESH = 65_536


class Latencies:
    """Counts latencies in microseconds; those outside the range count at its ends."""

    __slots__ = ("_counts", "_fresh")

    def __init__(self) -> None:
        self._fresh = array("I")
        self._counts = np.zeros(_BUCKETS, np.int64)

    def __len__(self) -> int:
        return int(self._counts.sum()) + len(self._fresh)

    def record(self, microseconds: int) -> None:
        """Count one latency."""
        self._fresh.append(microseconds)
        if len(self._fresh) >= _MOST_FRESH:
            self._fold()

    def record_all(self, microseconds: "array[int]") -> None:
        """Count many latencies, as 32-bit integers."""
        self._counts += _count(np.frombuffer(microseconds, np.uint32))

    def add(self, other: "Latencies") -> None:
        """Count what another one counted."""
        self._counts += other._folded()  # noqa: SLF001  one of its own kind

    def quantile_us(self, share: float) -> int:
        """Give the value that `share` of all are not above, in microseconds; 0 without any."""
        return int(self._histogram().get_value_at_percentile(100 * share))

    def as_latency(self) -> Latency:
        """Give the report's form."""
        histogram = self._histogram()
        p50, p90, p99, p999 = (
            histogram.get_value_at_percentile(percent) / 1000 for percent in (50, 90, 99, 99.9)
        )
        return Latency(
            count=histogram.get_total_count(),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            p999_ms=p999,
            max_ms=histogram.get_max_value() / 1000,
            hdr=histogram.encode().decode("ascii"),
        )

    def encode(self) -> bytes:
        """Give HdrHistogram's compressed form, in base64."""
        return bytes(self._histogram().encode())

    @classmethod
    def decode(cls, encoded: bytes | str) -> Self:
        """Read what `encode` or a report's `hdr` gave; BenchError when it is none."""
        decoder = _hdr()
        try:
            histogram = decoder.decode(encoded)
        except Exception as error:  # noqa: BLE001  zlib's, struct's, binascii's and hdrh's own
            raise BenchError(f"no histogram of latencies: {error}") from None
        if histogram.counts_len != _BUCKETS:
            raise BenchError("a histogram of another range, or with other digits")
        made = cls()
        made._counts += np.frombuffer(histogram.counts, np.uint64).astype(np.int64)
        return made

    def _fold(self) -> None:
        if self._fresh:
            fresh, self._fresh = self._fresh, array("I")
            self.record_all(fresh)

    def _folded(self) -> npt.NDArray[np.int64]:
        self._fold()
        return self._counts

    def _histogram(self) -> Any:  # noqa: ANN401  hdrh has no types
        histogram = _hdr()(LOWEST_US, HIGHEST_US, _DIGITS)
        counts = self._folded()
        for index in np.flatnonzero(counts).tolist():
            histogram.record_value(histogram.get_value_from_index(index), int(counts[index]))
        return histogram


def _count(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    return np.bincount(_index(values), minlength=_BUCKETS)


def _index(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Give the bucket of each value, as HdrHistogram numbers them."""
    clipped = np.clip(values.astype(np.int64), LOWEST_US, HIGHEST_US)
    # The exponent of a float is the bit length of the integer; the first 2,048 share an exponent.
    lowest_exponent = _HALF_BITS + 1
    exponent = np.maximum(np.frexp(clipped.astype(np.float64))[1], lowest_exponent)
    doubling = (exponent - lowest_exponent).astype(np.int64)
    index: npt.NDArray[np.int64] = (doubling << _HALF_BITS) + (clipped >> doubling)
    return index


def _hdr() -> Any:  # noqa: ANN401  hdrh has no types
    try:
        from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        raise BenchError(
            "the histograms need the package hdrhistogram: pip install 'penstock[bench]'"
        ) from None
    return HdrHistogram
