from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.frame_bins import MAX_BINS, Fate, FrameBins, Standing, fate_of, frame_bins
from penstock.engine.losses import Span
from penstock.engine.outcomes import Outcome, Reason, Tally

LOSSES = [reason for reason in Reason if reason.outcome is not Outcome.AGGREGATED]


def tally(counts: dict[Reason, int]) -> Tally:
    return Tally.from_plain({reason.value: number for reason, number in counts.items()})


def bins_of(
    times: list[int],
    standings: list[tuple[int | None, dict[Reason, int]]] = [],  # noqa: B006 - never changed
    last: dict[Reason, int] | None = None,
    spans: tuple[Span, ...] = (),
) -> FrameBins:
    known = [Standing(newest, tally(counts)) for newest, counts in standings]
    return frame_bins(np.array(times, np.int64), known, tally(last or {}), spans)


@st.composite
def sessions(
    draw: st.DrawFn,
) -> tuple[list[int], list[tuple[int | None, dict[Reason, int]]], dict[Reason, int]]:
    """Draw a session as its file tells it: chunks of frames, and counts that only grow."""
    times = draw(
        st.lists(st.integers(0, 200_000), min_size=1, max_size=60, unique=True).map(sorted)
    )
    cuts = draw(st.lists(st.integers(0, len(times) - 1), max_size=6, unique=True).map(sorted))
    counts: dict[Reason, int] = {}
    standings: list[tuple[int | None, dict[Reason, int]]] = []
    for cut in cuts:
        more = draw(st.dictionaries(st.sampled_from(LOSSES), st.integers(1, 40), max_size=3))
        counts = dict(Counter(counts) + Counter(more))
        standings.append((times[cut - 1] if cut else None, counts))
    more = draw(st.dictionaries(st.sampled_from(LOSSES), st.integers(1, 40), max_size=3))
    return times, standings, dict(Counter(counts) + Counter(more))


spans = st.lists(
    st.builds(
        lambda start, length, reason: Span(start, start + length, reason),
        st.integers(0, 200_000),
        st.integers(0, 20_000),
        st.sampled_from(LOSSES),
    ),
    max_size=5,
).map(tuple)


@given(sessions(), spans)
def test_every_frame_is_in_one_bin(
    drawn: tuple[list[int], list[tuple[int | None, dict[Reason, int]]], dict[Reason, int]],
    lost: tuple[Span, ...],
) -> None:
    """Frames are in the bins of their times, one by one; of the others, the sums are exact."""
    times, standings, last = drawn
    bins = bins_of(times, standings, last, lost)
    assert bins.bin_seconds == 1
    seconds = Counter(at // 1000 for at in times)
    for number, count in enumerate(bins.counts[Fate.TAKEN]):
        assert count == seconds[bins.first_second + number]
    assert sum(bins.counts[Fate.TAKEN]) == len(times)
    for fate in set(Fate) - {Fate.TAKEN}:
        wanted = sum(count for reason, count in last.items() if fate_of(reason) is fate)
        assert sum(bins.counts[fate]) == wanted
        assert min(bins.counts[fate]) >= 0


@given(sessions())
def test_what_ended_between_two_headers_is_between_them(
    drawn: tuple[list[int], list[tuple[int | None, dict[Reason, int]]], dict[Reason, int]],
) -> None:
    """Without a loss map, frames are where the counts around them leave room, and nowhere else."""
    times, standings, last = drawn
    bins = bins_of(times, standings, last)
    begins = [times[0] if newest is None else newest for newest, _ in standings] + [times[-1]]
    told = [{}, *(counts for _, counts in standings), last]
    most = [dict.fromkeys(Fate, 0) for _ in range(len(bins.counts[Fate.TAKEN]))]
    for number, (before, after) in enumerate(pairwise(told)):
        until = begins[min(number + 1, len(begins) - 1)]
        for at in range(begins[number] // 1000, until // 1000 + 1):
            for reason, count in after.items():
                most[at - bins.first_second][fate_of(reason)] += count - before.get(reason, 0)
    for number, bounds in enumerate(most):
        for fate in set(Fate) - {Fate.TAKEN}:
            assert bins.counts[fate][number] <= bounds[fate]


def test_the_loss_map_says_where() -> None:
    """Refused frames are in the seconds for which the map has lost frames of that reason."""
    refused = {Reason.POLICY_REFUSED: 20, Reason.DISK_FULL: 3}
    lost = (Span(3_000, 4_900, Reason.POLICY_REFUSED), Span(7_000, 7_900, Reason.INBOX_FULL))
    bins = bins_of([0, 9_000], [(None, {}), (0, refused)], refused, lost)
    assert bins.counts[Fate.REFUSED] == (0, 0, 0, 10, 10, 0, 0, 0, 0, 0)
    assert sum(bins.counts[Fate.LOST]) == 3


def test_what_was_lost_behind_the_last_frame_is_behind_it() -> None:
    """A session that was refused at its end goes on in the picture as long as frames were sent."""
    lost = (Span(5_000, 7_900, Reason.POLICY_REFUSED),)
    bins = bins_of([0, 4_900], [(None, {})], {Reason.POLICY_REFUSED: 30}, lost)
    assert bins.counts[Fate.REFUSED] == (0, 0, 0, 0, 0, 10, 10, 10)


def test_a_session_of_hours_has_wider_bins() -> None:
    """However long it was, the picture is of so many bins at most, and loses no frame."""
    times = list(range(1_000, 36_000_000, 9_000))
    bins = bins_of(times)
    assert len(bins.counts[Fate.TAKEN]) <= MAX_BINS
    assert bins.bin_seconds == 10
    assert sum(bins.counts[Fate.TAKEN]) == len(times)


def test_counts_that_fell_back_are_not_told_twice() -> None:
    """A process that died may have counted more than the file: it stays at that."""
    counts = [{Reason.DRAINING: 8}, {Reason.DRAINING: 5}, {Reason.DRAINING: 9}]
    bins = bins_of([0, 1_000, 2_000], [(None, {}), (0, counts[0]), (1_000, counts[1])], counts[2])
    assert sum(bins.counts[Fate.REFUSED]) == 9


def test_of_nothing_there_are_no_bins() -> None:
    """A session without frames, of which nothing was lost at a known time, has none."""
    assert bins_of([], [], {Reason.POLICY_REFUSED: 3}).counts == dict.fromkeys(Fate, ())
