import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.histogram import (
    ERROR_BOUND,
    HIGHEST_SECONDS,
    LOWEST_SECONDS,
    LatencyHistogram,
)

latencies = st.lists(st.floats(LOWEST_SECONDS, HIGHEST_SECONDS), min_size=1, max_size=50)


def _histogram(values: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(latencies, st.floats(0.001, 1.0))
def test_a_quantile_is_within_the_bound(values: list[float], share: float) -> None:
    """Every quantile is within ERROR_BOUND of the value of that rank."""
    right = sorted(values)[math.ceil(share * len(values)) - 1]
    assert _histogram(values).quantile(share) == pytest.approx(right, rel=ERROR_BOUND)


@given(latencies, latencies)
def test_histograms_add_up(first: list[float], second: list[float]) -> None:
    """Two histograms added are the histogram of both their values."""
    added, both = _histogram(first), _histogram(first + second)
    added.add(_histogram(second))
    assert len(added) == len(both) == len(first) + len(second)
    assert added.greatest == both.greatest == max(first + second)
    assert [added.quantile(q / 10) for q in range(1, 11)] == [
        both.quantile(q / 10) for q in range(1, 11)
    ]


def test_values_outside_the_range_are_counted() -> None:
    """The shortest and the longest latencies are counted too, and the greatest is exact."""
    histogram = _histogram([0.0, 1e9])
    assert len(histogram) == 2
    assert histogram.greatest == 1e9
    assert histogram.quantile(0.5) <= LOWEST_SECONDS * 1.02


def test_nothing_recorded_is_zero() -> None:
    """An empty histogram gives 0, and a share that is none is an error."""
    assert LatencyHistogram().quantile(0.99) == 0.0
    with pytest.raises(ValueError, match="share"):
        LatencyHistogram().quantile(0.0)
