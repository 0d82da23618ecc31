import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.extremes import kept_points

heights = st.one_of(st.just(math.nan), st.integers(-9, 9).map(float))


@given(
    st.lists(st.integers(1, 2_000), min_size=2, max_size=200),
    st.integers(1, 3),
    st.integers(8, 60),
    st.data(),
)
def test_what_is_kept_looks_like_the_whole(
    steps: list[int], width: int, most: int, data: st.DataObject
) -> None:
    """Few enough, in order, with both ends; and of each bucket every line's extremes."""
    times = np.cumsum(steps).astype(np.int64)
    rows = data.draw(st.lists(st.lists(heights, min_size=width, max_size=width),
                              min_size=len(steps), max_size=len(steps)))  # fmt: skip
    lines = np.array(rows, np.float32)
    kept = kept_points(times, lines, most).tolist()
    assert kept == sorted(set(kept))
    assert len(kept) <= max(most, 2 + 2 * width)
    assert kept[0] == 0
    assert kept[-1] == len(steps) - 1
    if len(steps) <= most:
        assert kept == list(range(len(steps)))
        return
    buckets = max(1, (most - 2) // (2 * width))
    length = int(times[-1] - times[0]) + 1
    for bucket in range(buckets):
        inside = [n for n, at in enumerate(times) if (at - times[0]) * buckets // length == bucket]
        for line in range(width):
            every = [rows[n][line] for n in inside if not math.isnan(rows[n][line])]
            shown = [rows[n][line] for n in inside if n in kept and not math.isnan(rows[n][line])]
            if every:
                assert (min(shown), max(shown)) == (min(every), max(every))


def test_of_many_points_few_are_kept() -> None:
    """An hour at 30 frames a second becomes what a page can draw, quickly."""
    times = np.arange(108_000, dtype=np.int64) * 33
    lines = np.random.default_rng(1).random((108_000, 2)).astype(np.float32)
    kept = kept_points(times, lines, 1_500)
    assert 1_000 < len(kept) <= 1_500
