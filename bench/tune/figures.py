"""What a session's figures are under each fate of its batches, against those of all its frames.

One session at a time: its signals are measured once, and each run folds what that run has left of
them, many runs in one pass. Runs that left the same frames are folded once.

A figure that cannot be told any more, where the whole session tells it, is wrong by all of it: a
range of 80 degrees that is null counts as an error of 80. So losing figures never looks better than
having wrong ones. Where the whole session does not tell it, there is nothing to compare.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.bench.tune.fates import Codes, Fate, Kept, is_thinned, kept_frames
from penstock.bench.tune.takes import Take
from penstock.engine.motion.metrics import session_metrics
from penstock.engine.motion.motion import NO_MOTION, advance, conclude

Errors = npt.NDArray[np.float64]

# Of a usual minute at 25 frames a second, this many copies take about four megabytes.
_RUNS_AT_ONCE: Final = 32


class Column(NamedTuple):
    """Where each number of a row of `Errors` is."""

    due: int = 0
    lost: int = 1
    thinned: int = 2
    refused: int = 3
    withheld: int = 4
    given_up: int = 5
    batches: int = 6
    batches_refused: int = 7
    gap_ms: int = 8
    repetitions: int = 9
    range_degrees: int = 10
    tempo_ms: int = 11


COLUMN: Final = Column()
COLUMNS: Final = len(COLUMN)


class Told(NamedTuple):
    """The three figures that are compared; None where the session does not carry them."""

    repetitions: int
    range_degrees: float | None
    tempo_ms: float | None


def told(take: Take, kept: Kept) -> Told:
    """Give the figures of the frames that are left."""
    return _told(take, [kept])[0]


def errors(take: Take, whole: Told, fates: npt.NDArray[np.uint8]) -> Errors:
    """Give a row for each of the runs, whose codes are the rows of `fates`."""
    rows, back = np.unique(fates, axis=0, return_inverse=True)
    found = np.empty((len(rows), COLUMNS))
    for start in range(0, len(rows), _RUNS_AT_ONCE):
        some = rows[start : start + _RUNS_AT_ONCE]
        masks = [kept_frames(take.sizes, row) for row in some]
        for place, (row, mask, one) in enumerate(
            zip(some, masks, _told(take, masks), strict=True), start
        ):
            found[place] = _row(take, whole, row, mask, one)
    return found[back.reshape(-1)]


def _row(take: Take, whole: Told, codes: Codes, kept: Kept, one: Told) -> list[float]:
    sizes = np.array(take.sizes)
    lost = int((~kept).sum())

    def frames(fate: Fate) -> int:
        return int(sizes[codes == fate].sum())

    refused, withheld = frames(Fate.REFUSED), frames(Fate.WITHHELD)
    given_up = frames(Fate.GIVEN_UP)
    thinned = int(sizes[is_thinned(codes)].sum()) - int(
        kept[np.repeat(is_thinned(codes), sizes)].sum()
    )
    return [
        len(kept),
        lost,
        thinned,
        refused,
        withheld,
        given_up,
        len(codes),
        int((codes == Fate.REFUSED).sum()),
        longest_gap_ms(take, kept),
        abs(one.repetitions - whole.repetitions),
        _off(one.range_degrees, whole.range_degrees),
        _off(one.tempo_ms, whole.tempo_ms),
    ]


def longest_gap_ms(take: Take, kept: Kept) -> float:
    """Give the longest time that lost frames leave between two kept ones; 0 without loss.

    At the edges it counts from the session's first frame and to its last.
    """
    places = np.concatenate(([-1], np.flatnonzero(kept), [len(kept)]))
    behind = np.diff(places) > 1
    if not behind.any():
        return 0.0
    times = np.concatenate((take.times[:1], take.times[kept], take.times[-1:]))
    return float(np.diff(times)[behind].max())


def _off(found: float | None, whole: float | None) -> float:
    if whole is None:
        return np.nan
    return abs(whole if found is None else found - whole)


def _told(take: Take, masks: list[Kept]) -> list[Told]:
    begun = NO_MOTION.told(world=take.world, exercise=take.exercise)
    found = [Told(0, None, None)] * len(masks)
    some = [place for place, mask in enumerate(masks) if mask.any()]
    if not some:
        return found
    moved = advance(
        [begun] * len(some),
        [int(masks[place].sum()) for place in some],
        np.concatenate([take.times[masks[place]] for place in some]),
        np.concatenate([take.values[masks[place]] for place in some]),
    )
    for place, motion in zip(some, moved, strict=True):
        figures = session_metrics(conclude(motion))
        seconds = figures["rep_seconds_mean"]
        found[place] = Told(
            figures["rep_count"],
            figures["rep_range_median_deg"],
            None if seconds is None else 1000.0 * seconds,
        )
    return found
