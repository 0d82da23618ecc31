"""Tells actors when to flush: once for many batches.

Theory of operation
-------------------
An actor that has something to flush asks to be called a fixed delay later. Because the delay is the
same for everybody, the askers are due in the order in which they asked: one deque and one task
that looks at its left end serve ten thousand sessions, without a timer each.

The same task measures how late the scheduler runs it. That lateness is what every other task of
the process suffers too, so it is the engine's scheduler delay.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

from penstock.engine.ports import Clock

# Short ticks spread the actors' work, so that a tick never holds up the requests behind it: at
# 10,000 sessions a second, 10 ms is a hundred flushes, about a millisecond of work.
TICK_SECONDS = 0.010


@dataclass(slots=True, frozen=True)
class PacerStatistics:
    """How many wait to be called, and the scheduler's lateness, newest and worst since the mark."""

    waiting: int
    scheduler_delay_seconds: float
    scheduler_delay_peak_seconds: float


class Pacer:
    """Calls back whoever asked, `delay_seconds` later, in order."""

    def __init__(self, clock: Clock, delay_seconds: float) -> None:
        self._clock = clock
        self._delay = delay_seconds
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._lateness = 0.0
        self._worst = 0.0
        self._untold = 0.0

    def call_later(self, wake: Callable[[], None]) -> None:
        """Have `wake` called once. It must not fail and must not wait."""
        self._due.append((self._clock.monotonic() + self._delay, wake))

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            intended = self._clock.monotonic() + TICK_SECONDS
            await trio.sleep(TICK_SECONDS)
            now = self._clock.monotonic()
            self._lateness = max(0.0, now - intended)
            self._worst = max(self._worst, self._lateness)
            self._untold = max(self._untold, self._lateness)
            due = self._due
            while due and due[0][0] <= now:
                due.popleft()[1]()

    def statistics(self) -> PacerStatistics:
        """Give the state of the queue and the scheduler's lateness."""
        return PacerStatistics(len(self._due), self._lateness, self._worst)

    def take_lateness(self) -> float:
        """Give the worst lateness since this was last asked."""
        worst, self._untold = self._untold, 0.0
        return worst

    def reset_peak(self) -> None:
        """Begin a new high-water mark."""
        self._worst = self._lateness
