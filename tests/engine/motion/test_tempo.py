"""What counting takes from numbers in a row: the tempo at a time, and shares of sizes."""

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.motion.hidden import Rhythm
from penstock.engine.motion.track import quantile


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.floats(400, 9000)),
        min_size=3,
        max_size=20,
        unique_by=lambda one: one[0],
    ),
    st.integers(-5, 65),
)
def test_the_tempo_is_that_of_the_nearest_cycles(found: list[tuple[int, float]], at: int) -> None:
    """The period at a time is the median of the four nearest cycles, the later of two as near."""
    found.sort(key=lambda one: one[0])
    rhythm = Rhythm(tuple(own for _, own in found), tuple(own for own, _ in found), (0.0, 0.0))
    nearest = sorted(range(len(found)), key=lambda n: (abs(found[n][0] - at), -n))[:4]
    assert rhythm.near(at) == median([found[n][1] for n in nearest])


@given(st.lists(st.floats(0, 400), min_size=1, max_size=40), st.sampled_from((0.25, 0.5, 0.75)))
def test_a_quantile_is_the_usual_one(values: list[float], share: float) -> None:
    """Between two values it lies in proportion, as NumPy's does."""
    assert quantile(values, share) == pytest.approx(np.percentile(values, 100 * share), abs=1e-9)
