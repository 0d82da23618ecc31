"""Keeps the list of privacy exclusions fresh: when asked to, and by itself once a period.

Theory of operation
-------------------
One task does all of it, so that no two syncs ever run. It waits until a sync is due or asked for,
fetches the whole list, writes it to disk, and puts it into force, in that order. Whatever fails on
the way leaves the list before in force and on disk, and is told in `state`; the next attempt comes
after RETRY_SECONDS, or when the other side said.

The list's own file says when it was synced, so that a restart does not sync again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import Protocol
from uuid import uuid4

import trio

from penstock.engine.platform.exclusions import Exclusion, ExclusionBook, ExclusionEdition
from penstock.engine.ports import Clock

logger = logging.getLogger(__name__)

RETRY_SECONDS = 3600.0
# The wall clock may be set: what is due is looked at again this often.
_LOOK_SECONDS = 3600.0


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
        self._period = period_seconds
        self._asked = trio.Event()
        self._not_before = -inf
        self.state: SyncState | None = None

    def ask_nowait(self) -> SyncState:
        """Have a sync begin now; the one that runs is given where there is one."""
        if self.state is not None and self.state.status is SyncStatus.RUNNING:
            return self.state
        self.state = SyncState(str(uuid4()), SyncStatus.RUNNING, self._now_ms())
        self._asked.set()
        return self.state

    async def run(self) -> None:
        """Sync when that is due or asked for, until cancelled."""
        while True:
            with trio.move_on_after(max(0.0, min(self._seconds_to_due(), _LOOK_SECONDS))):
                await self._asked.wait()
            if self._asked.is_set() or self._seconds_to_due() <= 0:
                await self._sync(self.ask_nowait())

    async def _sync(self, begun: SyncState) -> None:
        self._asked = trio.Event()
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
        self._not_before = self._clock.unix() + max(RETRY_SECONDS, error.retry_after or 0.0)
        self.state = replace(
            begun,
            status=SyncStatus.FAILED,
            ended_unix_ms=self._now_ms(),
            reason=error.reason,
            detail=error.detail,
        )
        logger.warning("exclusions.failed", extra={"reason": error.reason, "detail": error.detail})

    def _seconds_to_due(self) -> float:
        if not self._period:
            return inf
        synced = self._book.edition.synced_unix_ms
        due = -inf if synced is None else synced / 1000 + self._period
        return max(due, self._not_before) - self._clock.unix()

    def _now_ms(self) -> int:
        return int(self._clock.unix() * 1000)
