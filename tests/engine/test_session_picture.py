from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np

from penstock.bench.patients import Traits, record
from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.frame_bins import Fate, Standing
from penstock.engine.losses import Span
from penstock.engine.motion.metrics import metrics
from penstock.engine.motion.motion import NO_MOTION, advance
from penstock.engine.motion.signals import SIGNALS, measure
from penstock.engine.outcomes import Reason, Tally
from penstock.engine.session_picture import (
    MOST_GAPS,
    MOST_POINTS,
    KeptFrames,
    Now,
    SessionPicture,
    picture_of,
)

WHO = SessionIdentity(*(str(UUID(int=n)) for n in (1, 7, 8)))


def pictured(times: list[int], values: Any, **more: Any) -> SessionPicture:
    """Make the picture of frames that were measured."""
    stamps, heights = np.array(times, np.int64), np.asarray(values, np.float32)
    motion = NO_MOTION
    if times:
        (motion,) = advance([NO_MOTION], [len(times)], stamps, heights)
    tally = more.get("tally", Tally())
    now = Now(WHO, tally, more.get("spans", ()))
    standings = (Standing(None, Tally()),)
    return picture_of(
        KeptFrames(stamps, heights, standings, more.get("kept_spans", ()), motion, 1, 0), now
    )


def exercised(seconds: int) -> tuple[list[int], Any]:
    """Give somebody's exercise, measured."""
    found = record(Traits(), seconds=seconds, seed=4)
    return [int(at) for at in found.timestamps_ms], measure(np.asarray(found.landmarks, "<f4"))


def test_the_curve_and_the_marks_are_those_of_the_figures() -> None:
    """The joint is the one that was counted, and each repetition is marked where it is told."""
    times, values = exercised(40)
    found = pictured(times, values)
    (motion,) = advance([NO_MOTION], [len(times)], np.array(times, np.int64), values)
    told = metrics(motion)
    assert found.curve.counted
    assert found.curve.joint == told["session_metrics"]["counted_by"]
    assert [(one.number, one.start_ms, one.end_ms) for one in found.repetitions] == [
        (rep["rep_number"], rep["start_ms"], rep["end_ms"]) for rep in told["rep_metrics"]
    ]
    assert found.curve.times_ms == tuple(times)
    column = values[:, SIGNALS.index(f"{found.curve.joint}_left")]
    assert np.allclose(np.array(found.curve.lines["left"], float), column, atol=0.051)


def test_a_long_session_is_drawn_with_few_points() -> None:
    """Half an hour keeps the extremes of both sides; the frames are all counted."""
    times = list(range(0, 1_800_000, 100))
    values = np.tile(np.nan, (len(times), len(SIGNALS))).astype(np.float32)
    column = SIGNALS.index("knee_flexion_left")
    values[:, column] = 40 + 40 * np.sin(np.arange(len(times)) / 8)
    values[9_000, column] = 170
    found = pictured(times, values)
    assert len(found.curve.times_ms) <= MOST_POINTS
    assert sum(found.bins.counts[Fate.TAKEN]) == len(times) == found.frames
    left = [height for height in found.curve.lines["left"] if height is not None]
    assert (max(left), min(left)) == (170, 0)


def test_lines_part_at_gaps_and_gaps_have_reasons() -> None:
    """Between the frames around a gap there is a point of nothing; the map in memory is newer."""
    times = [*range(0, 5_000, 100), *range(8_000, 12_000, 100), *range(13_000, 15_000, 100)]
    values = np.full((len(times), len(SIGNALS)), 30, np.float32)
    spans = (Span(5_000, 7_900, Reason.DISK_FULL),)
    found = pictured(times, values, kept_spans=spans)
    assert [(gap.start_ms, gap.end_ms, gap.reason) for gap in found.gaps] == [
        (4_900, 8_000, "disk_full"),
        (11_900, 13_000, ""),
    ]
    line = dict(zip(found.curve.times_ms, found.curve.lines["left"], strict=True))
    assert [at for at, height in line.items() if height is None] == [6_450, 12_450]
    newer = (Span(5_000, 7_900, Reason.SHUTDOWN),)
    again = pictured(times, values, kept_spans=spans, spans=newer)
    assert again.gaps[0].reason == "shutdown"


def test_of_many_gaps_the_longest_are_told() -> None:
    """A session in pieces stays within its points, and says how many gaps there were."""
    times = [2_000 * number + 10 * (number % 7) for number in range(2_000)]
    found = pictured(times, np.full((len(times), len(SIGNALS)), 30, np.float32))
    assert found.gap_count == 1_999
    assert len(found.gaps) == MOST_GAPS
    shortest = min(gap.end_ms - gap.start_ms for gap in found.gaps)
    lengths = sorted((b - a for a, b in pairwise(times)), reverse=True)
    assert shortest == lengths[MOST_GAPS - 1]
    assert len(found.curve.times_ms) <= MOST_POINTS


def test_of_no_frames_there_is_an_empty_picture() -> None:
    """A file of nothing has no bins, no line and no gap."""
    found = pictured([], np.empty((0, len(SIGNALS))))
    assert (found.frames, found.gaps, found.curve.times_ms) == (0, (), ())
    assert not found.curve.counted


def test_frames_that_came_twice_are_one() -> None:
    """What a client sent again has the same time, and is drawn and counted once."""
    found = pictured([0, 100, 200, 100, 200, 300], np.full((6, len(SIGNALS)), 30, np.float32))
    assert found.frames == 4
    assert found.curve.times_ms == (0, 100, 200, 300)
