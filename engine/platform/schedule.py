"""When something that is fetched from elsewhere is due: a period after the last time, or if asked.

The wall clock may be set, and a file may be replaced by hand: what is due is looked at again each
hour.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import trio

from penstock.engine.ports import Clock

RETRY_SECONDS = 3600.0
_LOOK_SECONDS = 3600.0


@dataclass(slots=True)
class Schedule:
    """Tells one task when to begin. `last_unix` gives when it last succeeded; None, never.

    A `period_seconds` of 0 leaves it to being asked.
    """

    clock: Clock
    period_seconds: float
    last_unix: Callable[[], float | None]
    _asked: trio.Event = field(default_factory=trio.Event)
    _not_before: float = -inf

    def ask_nowait(self) -> None:
        """Have it begin now."""
        self._asked.set()

    async def wait_due(self) -> None:
        """Wait until it is due or asked for; asking is forgotten with that."""
        while not self._asked.is_set() and self._seconds_to_due() > 0:
            with trio.move_on_after(min(self._seconds_to_due(), _LOOK_SECONDS)):
                await self._asked.wait()
        self._asked = trio.Event()

    def postpone(self, retry_after: float | None) -> None:
        """After a failure: not again by itself for a while, nor before the other side said."""
        self._not_before = self.clock.unix() + max(RETRY_SECONDS, retry_after or 0.0)

    def _seconds_to_due(self) -> float:
        if not self.period_seconds:
            return inf
        now, last = self.clock.unix(), self.last_unix()
        # A time that has not come yet was told by another clock.
        due = -inf if last is None else min(last, now) + self.period_seconds
        return max(due, self._not_before) - now
