from math import inf

import numpy as np
import pytest

from penstock.bench.report.noise import (
    Estimate,
    Samples,
    Verdict,
    judge,
    of_interval,
    of_level,
    of_rounds,
    of_seconds,
    of_slope,
)


def _mean(samples: Samples) -> Samples:
    return np.asarray(samples[:, :, 0].mean(axis=1))


def _seconds(seed: int, count: int, likeness: float) -> Samples:
    """Draw seconds of which each resembles the one before."""
    rng = np.random.default_rng(seed)
    state, found = rng.standard_normal(), []
    for _ in range(count):
        state = likeness * state + rng.standard_normal() * (1 - likeness**2) ** 0.5
        found.append(100 * np.exp(0.1 * state))
    return np.array(found)[:, np.newaxis]


@pytest.mark.parametrize("likeness", [0.0, 0.5])
@pytest.mark.parametrize("count", [20, 60])
def test_false_alarms_are_bounded(count: int, likeness: float) -> None:
    """Equal runs are called different once in twenty, also when seconds resemble each other."""
    alarms, pairs = 0, 150
    for seed in range(pairs):
        estimates = [
            of_seconds(_seconds(1_000 * side + seed, count, likeness), _mean) for side in (1, 2)
        ]
        alarms += judge(*estimates, less_is_better=True).verdict is not Verdict.NOISE
    # 16 or more of 150 have a chance below 1 % where one in twenty is right.
    assert alarms < 16


def test_a_longer_run_is_surer() -> None:
    """The error of a figure becomes less with more seconds."""
    errors = [of_seconds(_seconds(1, count, 0.3), _mean).error for count in (20, 80, 320)]
    known = [error for error in errors if error is not None]
    assert len(known) == 3
    assert known == sorted(known, reverse=True)


def test_likeness_makes_it_less_sure() -> None:
    """Seconds that resemble each other count for fewer."""
    alike, apart = (
        sum(of_seconds(_seconds(seed, 60, likeness), _mean).error or 0.0 for seed in range(20))
        for likeness in (0.7, 0.0)
    )
    assert alike > 1.5 * apart


def test_seconds_that_never_vary_have_no_error() -> None:
    """A constant is known exactly, and a difference of it is told."""
    a, b = (of_seconds(np.full((30, 1), value), _mean) for value in (100.0, 120.0))
    assert a == Estimate(100.0, 0.0, 5)
    assert judge(a, b, less_is_better=True).verdict is Verdict.WORSE
    assert judge(a, b, less_is_better=False).verdict is Verdict.BETTER
    assert judge(a, a, less_is_better=True).verdict is Verdict.NOISE


def test_what_is_too_little_to_matter_is_no_alarm() -> None:
    """A difference below one percent is never better or worse, however sure it is."""
    found = judge(Estimate(1000.0, 0.01, 20), Estimate(1005.0, 0.01, 20), less_is_better=True)
    assert found.verdict is Verdict.SLIGHT
    assert found.low == pytest.approx(1.005, abs=1e-4)


@pytest.mark.parametrize(
    ("freedom", "reach"), [(4.0, 2.776), (10.0, 2.228), (30.0, 2.042), (inf, 1.960)]
)
def test_few_samples_need_more(freedom: float, reach: float) -> None:
    """The interval is that of Student's t, against one side that is known exactly."""
    found = judge(Estimate(1.0, 0.01, freedom), Estimate(1.0, 0.0, inf), less_is_better=True)
    assert found.high is not None
    assert np.log(found.high) / 0.01 == pytest.approx(reach, abs=0.01)


def test_rounds_are_put_together_by_ratios() -> None:
    """A round of half and a round of double speed have the middle between them."""
    found = of_rounds([50.0, 200.0])
    assert found.value == pytest.approx(100)
    assert found.error == pytest.approx(100 * np.log(2), rel=1e-6)
    assert of_rounds([3.0]) == Estimate(3.0)
    assert of_rounds([]) == Estimate(0.0)


def test_the_slopes_error_is_that_of_the_points() -> None:
    """Points around a line give an error near that of the usual formula."""
    rng = np.random.default_rng(5)
    xs = [float(x) for x in range(40)]
    errors = []
    for _ in range(30):
        ys = [3 * x + float(rng.normal(0, 2)) for x in xs]
        error = of_slope(xs, ys, 3.0).error
        assert error is not None
        errors.append(error)
    right = 2 / np.sqrt(np.sum((np.array(xs) - np.mean(xs)) ** 2))
    assert np.mean(errors) == pytest.approx(right, rel=0.15)


def test_the_level_is_that_of_the_middle() -> None:
    """A line's level is its value between its ends, without error where all points are on it."""
    found = of_level([0.0, 10.0, 20.0], [5.0, 6.0, 7.0])
    assert found.value == pytest.approx(6)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert of_level([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).error is None


def test_too_few_points_have_no_error() -> None:
    """Three points do not tell how sure a slope is, nor do points at one place."""
    assert of_slope([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0).error is None
    assert of_slope([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], 1.0).error is None


def test_an_interval_without_a_lower_end_is_no_error() -> None:
    """A capacity that was not bounded on both sides is not judged."""
    assert of_interval(100.0, 0.0, 120.0).error is None
    assert of_interval(100.0, 90.0, inf).error is None
    assert of_interval(100.0, 90.0, 110.0).error == pytest.approx(6.1, abs=0.1)
