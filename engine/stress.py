"""One number for how hard the service is pressed, from four that say where."""

import math
from dataclasses import dataclass
from typing import NamedTuple

# Where a part is full. A writer that is five seconds behind loses five seconds of frames to a
# kill. Requests wait in a line that is never longer than there are connections: with two thousand
# that is a quarter of a second or more, and an overload must show before the line is full.
WRITER_LAG_FULL_SECONDS = 5.0
REQUEST_DELAY_FULL_SECONDS = 0.25

# One slow tick is no overload. Three ticks' worth of smoothing hides it, and shows a real rise
# within half a second.
SMOOTHING_SECONDS = 0.3


@dataclass(slots=True, frozen=True)
class Readings:
    """What the engine's parts say of themselves at one moment."""

    memory_held: int
    memory_limit: int
    inbox_held: int
    inbox_room: int
    writer_lag_seconds: float
    request_delay_seconds: float


class Stress(NamedTuple):
    """From 0 (idle) to 100 (full). The level is the largest of the parts."""

    level: float = 0.0
    memory: float = 0.0
    backlog: float = 0.0
    writer: float = 0.0
    delay: float = 0.0


NO_STRESS = Stress()


class StressGauge:
    """Smooths the parts over time; the first readings count as they are."""

    __slots__ = ("_at", "stress")

    def __init__(self) -> None:
        self._at: float | None = None
        self.stress = NO_STRESS

    def read(self, readings: Readings, now: float) -> Stress:
        """Take in what was read at `now`; give the new stress."""
        weight = 1.0
        if self._at is not None:
            weight = 1.0 - math.exp(-max(0.0, now - self._at) / SMOOTHING_SECONDS)
        self._at = now
        before = self.stress
        memory, backlog, writer, delay = (
            old + weight * (new - old)
            for old, new in zip(before[1:], _parts(readings), strict=True)
        )
        self.stress = Stress(max(memory, backlog, writer, delay), memory, backlog, writer, delay)
        return self.stress


def _parts(readings: Readings) -> tuple[float, float, float, float]:
    return (
        _percent(readings.memory_held, readings.memory_limit),
        _percent(readings.inbox_held, readings.inbox_room),
        _percent(readings.writer_lag_seconds, WRITER_LAG_FULL_SECONDS),
        _percent(readings.request_delay_seconds, REQUEST_DELAY_FULL_SECONDS),
    )


def _percent(held: float, full: float) -> float:
    if full <= 0:  # nothing has room where there is none
        return 100.0 if held > 0 else 0.0
    return min(100.0, max(0.0, 100.0 * held / full))
