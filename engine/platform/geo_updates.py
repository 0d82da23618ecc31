"""Has the geo database fetched when that is due or asked for, one fetch at a time.

It goes on when whoever asked has gone away: a download may take longer than a request. The
database in force says when it was fetched, so that a restart does not fetch it again; what fails
leaves it in force.
"""

import logging
from dataclasses import dataclass, field
from typing import Protocol

import trio

from penstock.engine.platform.schedule import Schedule
from penstock.engine.platform.syncing import SourceError
from penstock.engine.ports import Clock

logger = logging.getLogger(__name__)


class GeoSource(Protocol):
    """Where the database comes from, and to where it is put into force."""

    async def update(self) -> None:
        """Have the newest database in force on return; SourceError leaves the one before."""
        ...

    def fetched_unix(self) -> float | None:
        """Give when the database in force was fetched; None without one."""
        ...


@dataclass(slots=True)
class GeoUpdate:
    """One update, under way or over. `error` says why it failed."""

    ended: trio.Event = field(default_factory=trio.Event)
    error: SourceError | None = None


class GeoUpdates:
    """Updates, for as long as `run` runs. `period_seconds` of 0 leaves it to being asked."""

    def __init__(self, source: GeoSource, clock: Clock, period_seconds: float) -> None:
        self._source = source
        self._schedule = Schedule(clock, period_seconds, source.fetched_unix)
        self.newest: GeoUpdate | None = None
        self.done = self.failed = 0

    def ask_nowait(self) -> GeoUpdate:
        """Have an update begin now; the one under way is given where there is one."""
        if self.newest is None or self.newest.ended.is_set():
            self.newest = GeoUpdate()
            self._schedule.ask_nowait()
        return self.newest

    async def run(self) -> None:
        """Update when that is due or asked for, until cancelled."""
        while True:
            await self._schedule.wait_due()
            if self.newest is None or self.newest.ended.is_set():
                self.newest = GeoUpdate()
            update = self.newest
            try:
                await self._source.update()
            except SourceError as error:
                update.error = error
                self.failed += 1
                self._schedule.postpone(error.retry_after)
                logger.warning("geo.failed", extra={"reason": error.reason, "detail": error.detail})
            else:
                self.done += 1
            finally:
                update.ended.set()
