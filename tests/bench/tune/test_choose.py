from typing import Any

from penstock.bench.tune.choose import Best, choose, within
from penstock.bench.tune.result import Band, Bounds, Point
from penstock.engine.policy import DEFAULT_POLICY

POLICIES = [DEFAULT_POLICY, *(DEFAULT_POLICY.changed({"keep_every": n}) for n in (3, 4, 5))]
BOUNDS = Bounds(range_degrees=3.0)


def _band(value: float, reach: float = 0.0) -> Band:
    return Band(value=value, low=value - reach, high=value + reach)


def point(policy: int, load: float, off: float | None, **changes: Any) -> Point:
    usual: dict[str, Any] = {
        "policy": policy, "load": load, "lost_share": _band(0.2), "thinned_share": 0.0,
        "refused_share": 0.2, "withheld_share": 0.0, "given_up_share": 0.0,
        "batches_refused_share": 0.2, "gap_median_ms": 0.0, "gap_longest_ms": 0.0,
        "exact_share": _band(1.0), "repetitions": _band(0.0),
        "range_degrees": None if off is None else _band(off, 0.5), "tempo_ms": _band(10.0),
        "wait_seconds": 0.1, "stress": 50.0,
    }  # fmt: skip
    return Point(**(usual | changes))


def test_it_is_the_upper_end_that_counts() -> None:
    """A mean within the bound is not enough where its interval is not."""
    assert within(point(0, 1.2, 2.5), BOUNDS)
    assert not within(point(0, 1.2, 2.6), BOUNDS)


def test_every_bound_that_is_given_counts() -> None:
    """A policy has to keep within all bounds; what no session tells breaks none."""
    one = point(0, 1.2, None, repetitions=_band(1.0))
    assert within(one, BOUNDS)
    assert not within(one, Bounds(range_degrees=3.0, repetitions=0.9))
    assert not within(one, Bounds(tempo_ms=9.0))
    assert within(one, Bounds(wait_seconds=0.1))
    assert not within(one, Bounds(wait_seconds=0.09))


def test_the_highest_load_wins() -> None:
    """Who keeps within the bounds at a higher load is better, whatever it loses there."""
    points = [point(0, 1.2, 1), point(0, 2, 9), point(1, 1.2, 2), point(1, 2, 2)]
    assert choose(points, POLICIES, BOUNDS) == Best(1, 2)


def test_a_lower_load_must_hold_as_well() -> None:
    """A policy that is out of bounds at a low load is not saved by a high one."""
    points = [point(0, 1.2, 1), point(0, 2, 9), point(1, 1.2, 9), point(1, 2, 1)]
    assert choose(points, POLICIES, BOUNDS) == Best(0, 1.2)


def test_then_the_wait_the_loss_and_the_knobs() -> None:
    """Of equals the one whose batches wait least, then the least loss, then the fewest knobs."""
    points = [
        point(0, 1.2, 1, wait_seconds=0.3),
        point(1, 1.2, 1, lost_share=_band(0.3)),
        point(2, 1.2, 1),
        point(3, 1.2, 1, wait_seconds=0.2),
    ]
    assert choose(points, POLICIES, BOUNDS) == Best(2, 1.2)
    assert choose([point(1, 1.2, 1), point(0, 1.2, 1)], POLICIES, BOUNDS) == Best(0, 1.2)


def test_there_may_be_none() -> None:
    """Where nobody keeps within the bounds, nobody is chosen."""
    assert choose([point(0, 1.2, 9)], POLICIES, BOUNDS) is None
