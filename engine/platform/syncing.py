"""Keeps the list of privacy exclusions fresh: when asked to, and by itself once a period.

Theory of operation
-------------------
One task does all of it, so that no two syncs ever run. It waits until a sync is due or asked for,
fetches the whole list, writes it to disk, and puts it into force, in that order. Whatever fails on
the way leaves the list before in force and on disk, and is told in `state`; the next attempt comes
an hour later, or when the other side said.

The list's own file says when it was synced, so that a restart does not sync again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol
from uuid import uuid4

import trio

from penstock.engine.platform.exclusions import Exclusion, ExclusionBook, ExclusionEdition
from penstock.engine.platform.schedule import Schedule
from penstock.engine.ports import Clock

logger = logging.getLogger(__name__)


class SourceError(Exception):
    """The list could not be had. `reason` is stable, the text for people and without secrets."""

    def __init__(self, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


class Source(Protocol):
    """Where the list comes from."""

    async def exclusions(self) -> Sequence[Exclusion]:
        """Give the whole list; SourceError when that is not to be had."""
        ...


class Keeper(Protocol):
    """Where the list outlives the process. Blocks; OSError when it cannot be written."""

    def keep(self, edition: ExclusionEdition) -> None:
        """Have a list on disk on return."""
        ...


class SyncStatus(StrEnum):
    """What became of a sync."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True, frozen=True)
class SyncState:
    """The newest sync. `reason` and `detail` say why it failed."""

    batch_id: str
    status: SyncStatus
    started_unix_ms: int
    ended_unix_ms: int | None = None
    reason: str | None = None
    detail: str | None = None


class ExclusionSync:
    """Syncs, for as long as `run` runs. `period_seconds` of 0 leaves it to being asked."""

    def __init__(
        self,
        source: Source,
        keeper: Keeper,
        book: ExclusionBook,
        clock: Clock,
        period_seconds: float,
    ) -> None:
        self._source = source
        self._keeper = keeper
        self._book = book
        self._clock = clock
        self._schedule = Schedule(clock, period_seconds, self._synced_unix)
        self.state: SyncState | None = None
        self.done = self.failed = 0

    def ask_nowait(self) -> SyncState:
        """Have a sync begin now; the one that runs is given where there is one."""
        if not self._running:
            self._schedule.ask_nowait()
        return self._begun()

    async def run(self) -> None:
        """Sync when that is due or asked for, until cancelled."""
        while True:
            await self._schedule.wait_due()
            await self._sync(self._begun())

    @property
    def _running(self) -> bool:
        return self.state is not None and self.state.status is SyncStatus.RUNNING

    def _begun(self) -> SyncState:
        """Give the sync that runs or is about to; begin one where there is none."""
        if self.state is None or not self._running:
            self.state = SyncState(str(uuid4()), SyncStatus.RUNNING, self._now_ms())
        return self.state

    async def _sync(self, begun: SyncState) -> None:
        try:
            edition = await self._fetched(begun)
            await trio.to_thread.run_sync(self._keeper.keep, edition)
        except SourceError as error:
            self._fail(begun, error)
        except OSError as error:
            self._fail(begun, SourceError("disk", f"it could not be written: {error.strerror}"))
        else:
            self._book.adopt(edition)
            self.state = replace(begun, status=SyncStatus.DONE, ended_unix_ms=self._now_ms())
            self.done += 1
            logger.info("exclusions.synced", extra={"exclusions": len(edition)})

    async def _fetched(self, begun: SyncState) -> ExclusionEdition:
        found = await self._source.exclusions()
        if not found and len(self._book.edition):
            raise SourceError("empty", "the list is empty; the one in force is not")
        try:
            return await trio.to_thread.run_sync(
                ExclusionEdition, found, begun.batch_id, self._now_ms()
            )
        except (ValueError, OverflowError) as error:
            raise SourceError("malformed", f"the list cannot be held: {error}") from None

    def _fail(self, begun: SyncState, error: SourceError) -> None:
        self.failed += 1
        self._schedule.postpone(error.retry_after)
        self.state = replace(
            begun,
            status=SyncStatus.FAILED,
            ended_unix_ms=self._now_ms(),
            reason=error.reason,
            detail=error.detail,
        )
        logger.warning("exclusions.failed", extra={"reason": error.reason, "detail": error.detail})

    def _synced_unix(self) -> float | None:
        synced = self._book.edition.synced_unix_ms
        return None if synced is None else synced / 1000

    def _now_ms(self) -> int:
        return int(self._clock.unix() * 1000)
