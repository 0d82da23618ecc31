"""What a session's motion costs: microseconds a batch, milliseconds for its figures, bytes kept.

Theory of operation
-------------------
Synthetic patients of every exercise are recorded once; many sessions share a recording, each at
another place in it. All begin at the same moment and live for some minutes, and every second the
turbine takes a batch of each in one turn: that is what it does in the service when the chunks of so
many sessions are settled at once. What is told is processor time of this thread over the whole life
and by the minute; what making a session's figures takes, at each whole minute; and how large states
are at the end.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from penstock.bench.patients import Exercise, draw_traits, record
from penstock.engine.figures import figures
from penstock.engine.inbox import Arrival
from penstock.engine.motion.motion import NO_MOTION, Motion, dumped
from penstock.engine.motion.track import quantile
from penstock.engine.outcomes import Tally
from penstock.engine.turbine import moved
from penstock.engine.wire import decode, encode

BATCH_FRAMES = 10
_RECORDINGS = 24
# Figures are made of so many sessions at each whole minute.
_CONCLUDED = 10


@dataclass(slots=True, frozen=True)
class MotionSpeed:
    """What was measured with so many sessions in a turn; figures: median, nine of ten, most."""

    in_a_turn: int
    us_a_batch: float
    minutes_us: tuple[float, ...]
    figures_ms: tuple[float, float, float]
    mean_bytes: int
    largest_bytes: int


def recorded(sessions: int, minutes: int, tell: Callable[[str], None]) -> list[list[Arrival]]:
    """Record the patients, long enough for so many sessions: for each, a batch a second."""
    found = []
    seconds = minutes * 60 + sessions // _RECORDINGS + 1
    kinds = list(Exercise)
    for seed in range(_RECORDINGS):
        traits = draw_traits(seed, kinds[seed % len(kinds)])
        seen = record(traits, seconds=seconds, fps=BATCH_FRAMES, seed=seed)
        arrivals = []
        for at in range(0, seconds * BATCH_FRAMES, BATCH_FRAMES):
            part = slice(at, at + BATCH_FRAMES)
            member = encode(seen.landmarks[part], seen.timestamps_ms[part])
            arrivals.append(Arrival(decode(member), 0))
        found.append(arrivals)
        tell(f"patient {seed + 1} of {_RECORDINGS}: {traits.exercise.value}")
    return found


def measure_motion(
    recordings: Sequence[Sequence[Arrival]],
    *,
    in_a_turn: int,
    minutes: int,
    tell: Callable[[str], None],
) -> MotionSpeed:
    """Let so many sessions live for some minutes, all in one turn each second."""
    motions = [NO_MOTION] * in_a_turn
    spent, took = [0.0] * minutes, list[float]()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for second in range(minutes * 60):
            parts = [(own, (_batch(recordings, n, second),)) for n, own in enumerate(motions)]
            begun = time.thread_time()
            motions = moved(parts)
            spent[second // 60] += time.thread_time() - begun
            if second % 60 == 59:
                took += [_figures_seconds(motions[n]) for n in _spread(in_a_turn)]
                gc.collect()
                tell(f"{in_a_turn} in a turn: minute {second // 60 + 1} of {minutes}")
    finally:
        if collecting:
            gc.enable()
    batches = in_a_turn * 60
    sizes = [len(dumped(motion)) for motion in motions]
    return MotionSpeed(
        in_a_turn,
        sum(spent) / (batches * minutes) * 1e6,
        tuple(one / batches * 1e6 for one in spent),
        (median(took) * 1e3, quantile(took, 0.9) * 1e3, max(took) * 1e3),
        sum(sizes) // len(sizes),
        max(sizes),
    )


def _batch(recordings: Sequence[Sequence[Arrival]], number: int, second: int) -> Arrival:
    # Sessions of the same patient begin a second after one another in the recording.
    return recordings[number % len(recordings)][second + number // len(recordings)]


def _spread(sessions: int) -> list[int]:
    number = min(_CONCLUDED, sessions)
    return [place * sessions // number for place in range(number)]


def _figures_seconds(motion: Motion) -> float:
    begun = time.thread_time()
    figures(motion, motion.folded.frames, Tally(), ())
    return time.thread_time() - begun
