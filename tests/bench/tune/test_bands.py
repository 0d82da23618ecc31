import numpy as np
import pytest

from penstock.bench.tune.bands import Bootstrap, wilson


def test_a_band_holds_its_mean_and_narrows_with_sessions() -> None:
    """The interval is around the mean, and four times the sessions give about half of it."""
    random = np.random.default_rng(1)
    widths = []
    for sessions in (25, 100):
        found = Bootstrap(sessions, 1, 1).mean(random.normal(5, 1, (sessions, 1)))
        assert found is not None
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert 1.4 < widths[0] / widths[1] < 2.9


def test_seeds_of_one_session_are_not_as_good_as_sessions() -> None:
    """Where sessions differ and their seeds do not, more seeds narrow nothing."""
    values = np.random.default_rng(1).normal(5, 1, (20, 1))
    once = Bootstrap(20, 1, 1).mean(values)
    often = Bootstrap(20, 50, 1).mean(np.repeat(values, 50, axis=1))
    assert once is not None
    assert often is not None
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.15)


def test_what_is_not_known_is_left_out() -> None:
    """A session without the figure neither helps nor harms; with none there is no band."""
    values = np.array([[1.0], [3.0], [np.nan]])
    found = Bootstrap(3, 1, 1).mean(values)
    assert found is not None
    assert found.value == 2.0
    assert 1.0 <= found.low <= found.high <= 3.0
    assert Bootstrap(3, 1, 1).mean(np.full((3, 1), np.nan)) is None


def test_an_error_that_is_never_there_has_no_width() -> None:
    """No error in any run is 0 from 0 to 0."""
    found = Bootstrap(4, 2, 1).mean(np.zeros((4, 2)))
    assert found is not None
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_wilsons_interval() -> None:
    """Nine of ten are 60 to 98 %, and all of ten still 72 % at least (Wilson 1927)."""
    nine, all_ten = wilson(0.9, 10), wilson(1.0, 10)
    assert (round(nine.low, 3), round(nine.high, 3)) == (0.596, 0.982)
    assert (round(all_ten.low, 3), all_ten.high) == (0.722, 1.0)
