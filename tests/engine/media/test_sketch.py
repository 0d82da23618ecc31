import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.media.sketch import (
    LEAST,
    MOST,
    RELATIVE_ERROR,
    Sketch,
    bucket_of,
    value_of,
)

values = st.floats(0, MOST)
lists = st.lists(values, max_size=60)


def sketch_of(found: list[float]) -> Sketch:
    """Count values."""
    sketch = Sketch()
    for value in found:
        sketch.add(value)
    return sketch


def close(estimate: float, exact: float) -> bool:
    """Say whether an estimate is within the bound; below `LEAST` zero stands for all."""
    if exact < LEAST:
        return estimate == 0
    return abs(estimate - exact) <= RELATIVE_ERROR * exact * (1 + 1e-9)


@given(values)
def test_a_bucket_stands_for_all_its_values(value: float) -> None:
    """No value is further from its bucket's than the stated relative error."""
    assert close(value_of(bucket_of(value)), value)


@given(st.lists(values, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_as_close_as_it_says(found: list[float], share: float) -> None:
    """The exact quantile of all values, sorted, is within the relative error of the sketch's."""
    exact = sorted(found)[math.floor(share * (len(found) - 1))]
    estimate = sketch_of(found).quantile(share)
    assert estimate is not None
    assert close(estimate, exact)


@given(lists, lists)
def test_parts_add_up_to_the_whole(one: list[float], other: list[float]) -> None:
    """A merged sketch is the sketch of all values."""
    merged = sketch_of(one)
    merged.merge(sketch_of(other))
    whole = sketch_of(one + other)
    assert (merged, merged.count) == (whole, whole.count)


@given(lists, lists)
def test_what_is_taken_out_was_never_there(kept: list[float], removed: list[float]) -> None:
    """Removing is the exact opposite of adding."""
    sketch = sketch_of(kept + removed)
    for value in removed:
        sketch.remove(value)
    assert (sketch, sketch.count) == (sketch_of(kept), len(kept))


@given(lists)
def test_it_survives_the_ledger(found: list[float]) -> None:
    """What is written as JSON and read again is the same sketch."""
    sketch = sketch_of(found)
    again = Sketch.from_plain(orjson.loads(orjson.dumps(sketch.plain())))
    assert (again, again.count) == (sketch, sketch.count)


def test_counts_by_bucket_make_a_sketch() -> None:
    """A store that keeps one row a bucket can give them back in any order and in parts."""
    found = Sketch([(7, 2), (3, 1), (7, 1)])
    assert found.buckets == {3: 1, 7: 3}
    assert found.count == 4


@pytest.mark.parametrize("wrong", [-1.0, math.nan, -math.inf])
def test_what_is_no_amount_is_not_counted(wrong: float) -> None:
    """A value that no bucket can hold is refused, and nothing has changed."""
    sketch = sketch_of([5.0])
    with pytest.raises(ValueError, match="from 0 upwards"):
        sketch.add(wrong)
    assert sketch == sketch_of([5.0])


def test_nothing_is_taken_out_that_is_not_there() -> None:
    """Counts do not become negative unnoticed."""
    with pytest.raises(ValueError, match="fewer"):
        sketch_of([5.0]).remove(500.0)


def test_its_size_has_a_bound() -> None:
    """From the least to the most there are about 1,260 buckets, and nothing is beyond."""
    assert bucket_of(math.inf) == bucket_of(MOST)
    assert bucket_of(MOST) - bucket_of(0) < 1262
    assert bucket_of(0) < bucket_of(LEAST)


def test_no_values_have_no_quantile() -> None:
    """Nothing is not zero."""
    assert Sketch().quantile(0.5) is None


@pytest.mark.parametrize(
    ("plain", "wrong"),
    [
        ({"v": 2, "counts": []}, "version 2"),
        ({"v": 1, "counts": [1]}, "shorter"),
        ({"v": 1, "counts": [1, 0]}, "hold something"),
        ({"v": 1, "counts": [1, 2, 1, 2]}, "once"),
    ],
)
def test_a_foreign_value_is_no_sketch(plain: dict[str, object], wrong: str) -> None:
    """What another version wrote, or nobody, is not taken for something else."""
    with pytest.raises(ValueError, match=wrong):
        Sketch.from_plain(plain)
