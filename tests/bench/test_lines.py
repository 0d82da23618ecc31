from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.lines import fit, why_not

_PLACES = (100.0, 1000.0, 10_000.0)


@given(st.floats(-50, 50), st.floats(-1e4, 1e4))
def test_points_on_a_line_are_straight(slope: float, intercept: float) -> None:
    """Points that lie on a line give that line back, and it is straight."""
    line = fit([(x, intercept + slope * x) for x in _PLACES])
    assert line.straight
    assert line.slope == pytest.approx(slope, abs=1e-6)
    assert line.intercept == pytest.approx(intercept, abs=1e-3)
    assert line.noise is None


def test_noise_does_not_bend_a_line() -> None:
    """Repeats that differ as much as the points do are taken for noise in nearly all cases."""
    random = Random(5)  # noqa: S311  noise, not secrets
    straight = 0
    for _ in range(200):
        points = [(x, 50 + x * 0.02 + random.gauss(0, 15)) for x in _PLACES for _ in range(3)]
        straight += fit(points).straight
    assert straight >= 196


def test_a_bend_that_noise_does_not_explain_is_told() -> None:
    """Points on a curve are no straight line, and the words say where and which way."""
    points = [(x, x * x + off) for x in (1.0, 10.0, 30.0) for off in (-0.5, 0.5)]
    line = fit(points)
    assert not line.straight
    told = why_not(line, lambda x: f"{x:g} frames")
    assert told.startswith("no straight line: at ")
    assert "frames it is" in told
    assert "the slope is 11, then 40" in told


def test_without_repeats_nobody_knows_the_noise() -> None:
    """A bend that was measured once is told with that reserve."""
    line = fit([(1.0, 1.0), (2.0, 2.0), (3.0, 9.0)])
    assert not line.straight
    assert "without repeats" in why_not(line, str)


def test_a_small_bend_is_no_bend() -> None:
    """Repeats that agree exactly do not turn a deviation of 2 % into a curve."""
    points = [(1.0, 10.0), (2.0, 20.4), (3.0, 30.0)] * 2
    assert fit(points).straight


@pytest.mark.parametrize(
    ("ys", "flat"),
    [
        ((20.0, 20.3, 20.1), True),
        ((20.0, 22.0, 24.0), False),
        ((0.0, 0.0, 0.0), True),
    ],
)
def test_flat_is_told_from_rising(ys: tuple[float, ...], flat: bool) -> None:  # noqa: FBT001
    """A rise of a twentieth or less is none, and a greater one is, when there is no noise."""
    assert fit(list(zip((1.0, 2.0, 3.0), ys, strict=True))).flat is flat


def test_noise_explains_a_rise() -> None:
    """A rise that is small against the difference of repeats counts as flat."""
    points = [(x, y + off) for x, y in ((1.0, 20.0), (2.0, 21.0), (3.0, 22.0)) for off in (-8, 8)]
    assert fit(points).flat


def test_two_places_are_no_line() -> None:
    """Two places always fit a line, so they are refused."""
    with pytest.raises(ValueError, match="3 places"):
        fit([(1.0, 1.0), (1.0, 2.0), (2.0, 3.0)])
