"""Where repetitions begin and end, and which of those that the recording cuts are counted."""

import numpy as np
import pytest

from motion_sets import bent, clock, concluded, squats

STARTS = [1000 + 3000 * n for n in range(6)]
LENGTH_MS = 2400
TIMES = clock(20, fps=25)
VALUES = squats(bent(TIMES, STARTS, LENGTH_MS))


def test_bounds_are_where_the_movement_is() -> None:
    """Beginnings, turns and ends are within 150 ms of the true ones, in the median."""
    found = concluded(TIMES, VALUES).repetitions
    assert len(found) == len(STARTS)
    off = [
        abs(told - true)
        for one, start in zip(found, STARTS, strict=True)
        for told, true in (
            (one.start_ms, start),
            (one.turn_ms, start + LENGTH_MS / 2),
            (one.end_ms, start + LENGTH_MS),
        )
    ]
    assert np.median(off) < 150


@pytest.mark.parametrize(("at", "counted"), [(0.3, True), (0.5, True), (0.75, False)])
def test_a_cut_repetition_counts_when_its_turn_was_seen(at: float, *, counted: bool) -> None:
    """Who is caught before the turn or at it did that repetition; who is nearly back did not."""
    kept = STARTS[0] + at * LENGTH_MS <= TIMES
    found = concluded(TIMES[kept], VALUES[kept]).repetitions
    assert len(found) == len(STARTS) - (not counted)
    assert found[0].cut == (at == 0.5)


@pytest.mark.parametrize(("at", "counted"), [(0.25, False), (0.5, True), (0.7, True)])
def test_the_end_cuts_alike(at: float, *, counted: bool) -> None:
    """A recording that ends within a repetition counts it from its turn on."""
    kept = STARTS[-1] + at * LENGTH_MS >= TIMES
    found = concluded(TIMES[kept], VALUES[kept]).repetitions
    assert len(found) == len(STARTS) - (not counted)


def test_who_begins_bent_and_stays_so_did_not_repeat() -> None:
    """Standing there bent for long, before the first repetition, is none."""
    share = bent(TIMES, STARTS[2:], LENGTH_MS)
    share += np.clip((6500 - TIMES) / 1500, 0, 1)
    assert len(concluded(TIMES, squats(share)).repetitions) == len(STARTS) - 2


def test_a_squat_rests_straight_however_the_recording_begins() -> None:
    """Beginning and ending bent does not turn standing between two squats into the repetition."""
    kept = (STARTS[0] + LENGTH_MS / 2 <= TIMES) & (STARTS[-1] + LENGTH_MS / 2 >= TIMES)
    found = concluded(TIMES[kept], VALUES[kept]).repetitions
    assert len(found) == len(STARTS)
    assert all(one.turn_ms >= STARTS[0] for one in found)
    turns = [one.turn_ms for one in found[1:-1]]
    assert turns == pytest.approx([start + LENGTH_MS / 2 for start in STARTS[1:-1]], abs=100)
