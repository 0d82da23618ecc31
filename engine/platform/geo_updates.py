"""Has the geo database fetched when asked to, one fetch at a time.

It goes on when whoever asked has gone away: a download may take longer than a request.
"""

import logging
from dataclasses import dataclass, field
from typing import Protocol

import trio

from penstock.engine.platform.syncing import SourceError

logger = logging.getLogger(__name__)


class GeoSource(Protocol):
    """Where the database comes from, and to where it is put into force."""

    async def update(self) -> None:
        """Have the newest database in force on return; SourceError leaves the one before."""
        ...


@dataclass(slots=True)
class GeoUpdate:
    """One update, under way or over. `error` says why it failed."""

    ended: trio.Event = field(default_factory=trio.Event)
    error: SourceError | None = None


class GeoUpdates:
    """Updates, for as long as `run` runs."""

    def __init__(self, source: GeoSource) -> None:
        self._source = source
        self._asked = trio.Event()
        self.newest: GeoUpdate | None = None

    def ask_nowait(self) -> GeoUpdate:
        """Have an update begin now; the one under way is given where there is one."""
        if self.newest is None or self.newest.ended.is_set():
            self.newest = GeoUpdate()
            self._asked.set()
        return self.newest

    async def run(self) -> None:
        """Update when asked to, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            update = self.ask_nowait()
            try:
                await self._source.update()
            except SourceError as error:
                update.error = error
                logger.warning("geo.failed", extra={"reason": error.reason, "detail": error.detail})
            finally:
                update.ended.set()
