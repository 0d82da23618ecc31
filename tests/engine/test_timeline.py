from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.timeline import GAP_MS, Timeline

batches = st.lists(st.lists(st.integers(0, 5000), max_size=8).map(sorted), max_size=8)


@given(batches)
def test_the_counts_are_those_of_a_simple_oracle(several: list[list[int]]) -> None:
    """A frame is used when it is later than all before it; gaps lie between neighbours in use."""
    timeline = Timeline()
    used: list[int] = []
    for batch in several:
        before = len(used)
        for at in batch:
            if not used or at > used[-1]:
                used.append(at)
        fresh = len(used) - before
        assert timeline.fold(batch) == (fresh, len(batch) - fresh)
    steps = [later - at for at, later in pairwise(used)]
    gaps = [step for step in steps if step > GAP_MS]
    assert timeline == Timeline(
        first_ms=used[0] if used else None,
        newest_ms=used[-1] if used else None,
        used=len(used),
        repeated=sum(map(len, several)) - len(used),
        gaps=len(gaps),
        gap_ms_total=sum(gaps),
        longest_gap_ms=max(gaps, default=0),
    )


@given(batches)
def test_how_frames_are_cut_into_batches_does_not_matter(several: list[list[int]]) -> None:
    """Folding frames one by one ends in the same state as folding them by batches."""
    whole, single = Timeline(), Timeline()
    for batch in several:
        whole.fold(batch)
        for at in batch:
            single.fold([at])
    assert whole == single


def test_a_gap_is_more_than_the_threshold() -> None:
    """A step of exactly the threshold is jitter; one millisecond more is a gap of full length."""
    timeline = Timeline()
    timeline.fold([0, GAP_MS, 2 * GAP_MS + 1])
    assert (timeline.gaps, timeline.gap_ms_total, timeline.longest_gap_ms) == (
        1,
        GAP_MS + 1,
        GAP_MS + 1,
    )


def test_the_first_frame_may_come_at_any_time() -> None:
    """A late first frame is no gap, and time zero is a time like any other."""
    late, zero = Timeline(), Timeline()
    assert late.fold([100_000]) == (1, 0)
    assert late.gaps == 0
    assert zero.fold([0, 0]) == (1, 1)
    assert (zero.first_ms, zero.newest_ms) == (0, 0)


def test_an_overlapping_batch_is_used_from_where_it_is_new() -> None:
    """A batch sent again with more frames counts the old ones as repeated."""
    timeline = Timeline()
    timeline.fold([0, 100, 200])
    assert timeline.fold([100, 200, 300]) == (1, 2)
