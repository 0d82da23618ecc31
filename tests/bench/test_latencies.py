import builtins
import sys
from array import array
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.errors import BenchError
from penstock.bench.latencies import HIGHEST_US, Latencies

# Small values as often as great ones: the buckets differ by size.
MICROSECONDS = st.integers(0, 32).flatmap(lambda bits: st.integers(0, (1 << bits) - 1))


def _of(values: list[int]) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.record(value)
    return latencies


@given(st.lists(MICROSECONDS))
def test_the_buckets_are_the_histograms_own(values: list[int]) -> None:
    """What is encoded is, byte for byte, what HdrHistogram makes of the same values."""
    right = HdrHistogram(1, HIGHEST_US, 3)
    for value in values:
        right.record_value(min(max(value, 1), HIGHEST_US))
    assert _of(values).encode() == right.encode()


@given(st.lists(MICROSECONDS), st.lists(MICROSECONDS))
def test_adding_is_recording_both(some: list[int], others: list[int]) -> None:
    """Workers' latencies add up as if one had recorded all, however they were recorded."""
    added = _of(some)
    added.add(_of(others))
    at_once = Latencies()
    at_once.record_all(array("I", some + others))
    assert added.encode() == at_once.encode() == _of(some + others).encode()
    assert len(added) == len(some) + len(others)


@given(st.lists(MICROSECONDS))
def test_what_is_encoded_can_be_read_again(values: list[int]) -> None:
    """Decoding gives the same counts, and so the same text again."""
    encoded = _of(values).encode()
    again = Latencies.decode(encoded.decode())
    assert len(again) == len(values)
    assert again.encode() == encoded


@given(st.lists(st.integers(1, HIGHEST_US), min_size=1), st.floats(0.01, 1))
def test_quantiles_have_three_digits(values: list[int], share: float) -> None:
    """A quantile is within a thousandth of a value that was recorded."""
    quantile = _of(values).quantile_us(share)
    assert any(quantile == pytest.approx(value, rel=1e-3, abs=1) for value in values)


def test_a_report_has_milliseconds() -> None:
    """The report's form counts, and gives percentiles in ms with the whole histogram beside."""
    told = _of([1000] * 90 + [20_000] * 9 + [500_000]).as_latency()
    assert told.count == 100
    assert (told.p50_ms, told.p99_ms) == (pytest.approx(1, rel=1e-3), pytest.approx(20, rel=1e-3))
    assert told.p999_ms == told.max_ms == pytest.approx(500, rel=1e-3)
    assert len(Latencies.decode(told.hdr)) == 100


def test_nothing_recorded_is_zero() -> None:
    """Without a value there is still a report, of zeros."""
    told = Latencies().as_latency()
    assert (told.count, told.p50_ms, told.max_ms) == (0, 0, 0)
    assert len(Latencies()) == Latencies().quantile_us(0.5) == 0


@pytest.mark.parametrize("encoded", ["", "nonsense", "SElTVA==", "HISTFAAAAA"])
def test_nonsense_is_no_histogram(encoded: str) -> None:
    """What cannot be decoded is told as such, not as a fault of some library."""
    with pytest.raises(BenchError):
        Latencies.decode(encoded)


def test_another_range_is_refused() -> None:
    """A histogram with other buckets cannot be added up with these."""
    with pytest.raises(BenchError, match="another range"):
        Latencies.decode(HdrHistogram(1, 1000, 2).encode())


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hdrhistogram, the message says what to install."""
    original = builtins.__import__

    def without(name: str, *args: Any, **others: Any) -> Any:
        if name.startswith("hdrh"):
            raise ImportError(name)
        return original(name, *args, **others)

    monkeypatch.delitem(sys.modules, "hdrh.histogram")
    monkeypatch.setattr(builtins, "__import__", without)
    latencies = _of([5])
    with pytest.raises(BenchError, match=r"pip install 'penstock\[bench\]'"):
        latencies.encode()
