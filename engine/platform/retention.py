"""Removes what has been kept for as long as its class of data may be.

A few rows at a time, each step an entry of the durable lane among all others: nobody waits for a
large removal. Between two steps there is a pause, so that results have the ledger for themselves
most of the time; while bulk is refused, nothing is removed.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from penstock.engine.platform.records import ExpiryEntry, Kept
from penstock.engine.ports import Clock
from penstock.engine.receipts import Committed, Lane
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)

STEP_ROWS = 500
PAUSE_SECONDS = 0.5
# Not while a service that has just started has other work.
FIRST_LOOK_SECONDS = 60.0
LOOK_SECONDS = 3600.0
_DAY_MS = 24 * 3600 * 1000


@dataclass(slots=True)
class Retention:
    """Removes, for as long as `run` runs. A class without days is kept for ever."""

    writer: Writer
    clock: Clock
    days: Mapping[Kept, int]
    rests: Callable[[], bool] = lambda: False
    removed: dict[Kept, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Look once an hour, until cancelled."""
        await trio.sleep(FIRST_LOOK_SECONDS)
        while True:
            for kept, days in self.days.items():
                if days:
                    await self._remove(kept, int(self.clock.unix() * 1000) - days * _DAY_MS)
            await trio.sleep(LOOK_SECONDS)

    async def _remove(self, kept: Kept, before_unix_ms: int) -> None:
        total = 0
        while not self.rests():
            entry = ExpiryEntry(kept, before_unix_ms, STEP_ROWS)
            told = await self.writer.enter_nowait(entry, Lane.DURABLE).wait()
            # What is in the ledger's way is told by the writer; the next look tries again.
            if not isinstance(told, Committed) or not isinstance(told.value, int) or not told.value:
                break
            total += told.value
            self.removed[kept] = self.removed.get(kept, 0) + told.value
            await trio.sleep(PAUSE_SECONDS)
        if total:
            logger.info("retention.removed", extra={"kept": kept.value, "rows": total})
