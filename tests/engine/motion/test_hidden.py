"""Repetitions that a gap hides are counted by the time that it leaves for them."""

import numpy as np
import pytest

from motion_sets import bent, clock, figures, squats

COUNT = 12
LENGTH_MS = 2600
PERIOD_MS = 3000
STARTS = [500 + PERIOD_MS * n for n in range(COUNT)]


@pytest.mark.parametrize("periods", [0.3, 0.6, 1.0, 1.5, 2.0])
def test_a_gap_within_a_set_costs_no_count(periods: float) -> None:
    """Wherever in a repetition a gap begins, up to two whole ones in it are all counted."""
    times = clock(STARTS[-1] / 1000 + 4)
    values = squats(bent(times, STARTS, LENGTH_MS))
    counts = []
    for phase in np.arange(0, 1, 0.1):
        begin = STARTS[5] + phase * PERIOD_MS
        kept = (times < begin) | (times > begin + periods * PERIOD_MS)
        counts.append(figures(times[kept], values[kept])["session_metrics"]["rep_count"])
    assert counts == [COUNT] * len(counts)


def test_a_pause_that_a_gap_falls_into_stays_a_pause() -> None:
    """Who was seen resting before a gap and after it rested in it, however long it was."""
    starts = [*STARTS[:6], *(start + 15_000 for start in STARTS[6:])]
    times = clock(starts[-1] / 1000 + 4)
    values = squats(bent(times, starts, LENGTH_MS))
    kept = (times < STARTS[6] + 5000) | (times > STARTS[6] + 10_000)
    found = figures(times[kept], values[kept])["session_metrics"]
    assert found["rep_count"] == COUNT
    assert found["rep_count_unseen"] == 0


def test_a_range_that_a_gap_hides_is_null() -> None:
    """A repetition whose turn fell into a gap has no range, the others keep theirs."""
    times = clock(STARTS[-1] / 1000 + 4)
    values = squats(bent(times, STARTS, LENGTH_MS))
    turn = STARTS[5] + LENGTH_MS / 2
    kept = (times < turn - 500) | (times > turn + 500)
    found = figures(times[kept], values[kept])
    ranges = [one["range_deg"] for one in found["rep_metrics"]]
    assert len(ranges) == COUNT
    assert ranges[5] is None
    assert [one for one in ranges if one is not None] == pytest.approx([90] * 11, abs=2)
    session = found["session_metrics"]
    assert session["rep_range_median_deg"] == pytest.approx(90, abs=2)
    assert f"how far 1 of {COUNT} repetitions went was not seen" in session["confidence_reasons"]


def test_depth_that_changes_keeps_its_median() -> None:
    """In a set that grows shallower, a hidden turn moves the usual range by less than 3 degrees."""
    times = clock(STARTS[-1] / 1000 + 4)
    values = squats(bent(times, STARTS, LENGTH_MS) * np.linspace(1.2, 0.4, len(times)))
    whole = figures(times, values)["session_metrics"]["rep_range_median_deg"]
    for number in range(1, COUNT - 1):
        turn = STARTS[number] + LENGTH_MS / 2
        kept = (times < turn - 600) | (times > turn + 600)
        found = figures(times[kept], values[kept])["session_metrics"]
        assert found["rep_count"] == COUNT
        assert found["rep_range_median_deg"] == pytest.approx(whole, abs=3)
