"""Smoothness against published values, and at the rates of cameras."""

import numpy as np
import pytest

from penstock.engine.motion.smoothness import dimensionless_jerk, ldlj, sparc


def _bell(hertz: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.exp(-5 * np.arange(-1, 1, 1 / hertz) ** 2)


def test_the_published_bell_has_its_published_values() -> None:
    """SPARC, dimensionless jerk and its logarithm are those of the authors' own code."""
    bell = _bell(100)
    assert sparc(bell, 100) == pytest.approx(-1.41403, abs=1e-5)
    assert dimensionless_jerk(bell, 100) == pytest.approx(-335.74684, abs=1e-4)
    assert ldlj(bell, 100) == pytest.approx(-5.81636, abs=1e-5)


def test_a_slow_camera_sees_the_same_smoothness() -> None:
    """At 10 frames a second the spectrum ends at 5 Hz, and the arc keeps its length."""
    assert sparc(_bell(10), 10) == pytest.approx(-1.414, abs=0.01)


def test_what_stops_and_starts_is_less_smooth() -> None:
    """Both figures fall when a movement is made of two."""
    once = _bell(20)
    twice = np.concatenate((once[::2], once[::2]))
    assert sparc(twice, 20) < sparc(once, 20)
    assert ldlj(twice, 20) < ldlj(once, 20)
