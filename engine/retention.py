"""What is kept no longer than its settings say: replays, finals, audit entries.

Theory of operation
-------------------
A run goes over what has a limit, in this order: replays, then finals, then audit entries. It has no
state that could be lost: what it removed is gone, and the next run finds the rest. From the ledger
it removes a few rows at a time and then rests for longer than that took, and it waits while the
service refuses bulk, so a final never waits behind it. Finals stay where the replays' part did not
come to its end: by the final it is known whose a replay is.

One run at a time: the service's own, each hour, or an operator's. What it removed is one audit
entry; an hourly run that found nothing leaves none.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import trio

from penstock.engine.ledger_port import Entry, Ledger, LedgerUnavailableError
from penstock.engine.ports import Clock
from penstock.engine.receipts import Committed, Lane
from penstock.engine.records import AuditEntry
from penstock.engine.retention_records import (
    PrunableAudits,
    PrunableFinals,
    PruneAudits,
    PruneFinals,
)
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)

SERVICE = "penstock"
_EVERY_SECONDS = 3600.0
_FINALS_AT_ONCE = 50
_AUDITS_AT_ONCE = 500
_BUSY_SECONDS = 1.0
# After a step, a rest of so many times as long: the ledger is anybody else's for most of the time.
_REST_SHARE = 4.0
_LEAST_REST_SECONDS = 0.005


@dataclass(slots=True, frozen=True)
class RetentionRules:
    """What may be kept, by the settings' names. None is no limit."""

    blob_max_age_seconds: float | None = None
    blob_max_bytes: int | None = None
    finals_max_age_seconds: float | None = None
    audit_max_age_seconds: float | None = None

    @property
    def for_blobs(self) -> bool:
        """Say whether replays have a limit."""
        return self.blob_max_age_seconds is not None or self.blob_max_bytes is not None

    @property
    def any(self) -> bool:
        """Say whether anything has one."""
        return any(limit is not None for limit in asdict(self).values())


class BlobsSwept(NamedTuple):
    """What became of the replays. `stopped` says why it did not come to its end, if it did not."""

    found: int
    found_bytes: int
    removed: int
    removed_bytes: int
    stopped: str | None = None


# Given the time and whether to remove nothing.
Sweep = Callable[[float, bool], Awaitable[BlobsSwept]]


@dataclass(slots=True, frozen=True)
class RetentionReport:
    """One run. What has no limit is None; `finished_unix` is None while it is under way.

    In a dry run the counts are what would go. `stopped` says what was in the way, if anything was.
    """

    number: int
    dry_run: bool
    asked_by: str
    started_unix: float
    finished_unix: float | None = None
    blobs: BlobsSwept | None = None
    finals: int | None = None
    audits: int | None = None
    stopped: str | None = None

    @property
    def removed(self) -> int:
        """Count what went, or would go."""
        blobs = 0 if self.blobs is None else self.blobs.removed
        return blobs + (self.finals or 0) + (self.audits or 0)


@dataclass(slots=True, frozen=True)
class RetentionStatistics:
    """What was removed since the start, and when a run last came to its end."""

    blobs: int
    blob_bytes: int
    finals: int
    audits: int
    stopped_runs: int
    last_finished_unix: float | None


class RetentionRunningError(Exception):
    """A run is under way already."""


class _StoppedError(Exception):
    """Something is in the way of a run."""


class Retention:
    """Runs by itself each hour, where there is a limit, and when somebody asks for it."""

    def __init__(
        self,
        writer: Writer,
        ledger: Ledger,
        sweep: Sweep,
        clock: Clock,
        rules: RetentionRules,
        *,
        busy: Callable[[], bool],
    ) -> None:
        """Work by the rules; while `busy`, wait."""
        self.rules = rules
        self._writer = writer
        self._ledger = ledger
        self._sweep = sweep
        self._clock = clock
        self._busy = busy
        self._woken = trio.Event()
        self._report: RetentionReport | None = None
        self._runs = 0
        self._statistics = RetentionStatistics(0, 0, 0, 0, 0, None)

    @property
    def newest(self) -> RetentionReport | None:
        """Give the newest run, under way or done."""
        return self._report

    @property
    def running(self) -> bool:
        """Say whether a run is under way."""
        return self._report is not None and self._report.finished_unix is None

    def begin_nowait(self, asked_by: str, *, dry_run: bool) -> RetentionReport:
        """Begin a run that somebody asked for; RetentionRunningError."""
        if self.running:
            raise RetentionRunningError
        report = self._begin(asked_by, dry_run=dry_run)
        self._woken.set()
        return report

    async def run(self) -> None:
        """Do the runs that are asked for, and one each hour, until cancelled."""
        while True:
            if not self.running and self.rules.any:
                self._begin(SERVICE, dry_run=False)
            if self.running:
                await self._finish()
            self._woken = trio.Event()
            with trio.move_on_after(_EVERY_SECONDS):
                await self._woken.wait()

    def statistics(self) -> RetentionStatistics:
        """Count what was removed."""
        return self._statistics

    def _begin(self, asked_by: str, *, dry_run: bool) -> RetentionReport:
        self._runs += 1
        self._report = RetentionReport(self._runs, dry_run, asked_by, self._clock.unix())
        return self._report

    def _note(self, **found: Any) -> RetentionReport:  # noqa: ANN401 - the report's own fields
        assert self._report is not None  # noqa: S101 - it has begun
        self._report = replace(self._report, **found)
        return self._report

    async def _finish(self) -> None:
        """Bring the run that has begun to its end."""
        try:
            await self._go_over_blobs()
            await self._go_over_ledger()
            report = self._note(finished_unix=self._clock.unix())
        except (_StoppedError, LedgerUnavailableError) as error:
            report = self._note(stopped=str(error), finished_unix=self._clock.unix())
            logger.warning("retention.stopped", extra={"error": str(error)})
        self._count(report)
        if not report.dry_run and (report.removed or report.asked_by != SERVICE):
            await self._audit(report)

    async def _go_over_blobs(self) -> None:
        report = self._note()
        if not self.rules.for_blobs:
            return
        swept = await self._sweep(report.started_unix, report.dry_run)
        self._note(blobs=swept)
        if swept.stopped is not None:
            raise _StoppedError(swept.stopped)

    async def _go_over_ledger(self) -> None:
        report = self._note()
        if (age := self.rules.finals_max_age_seconds) is not None:
            before = int((report.started_unix - age) * 1000)
            if report.dry_run:
                self._note(finals=await self._ledger.read(PrunableFinals(before)))
            else:
                await self._prune("finals", PruneFinals(before, _FINALS_AT_ONCE), _FINALS_AT_ONCE)
        if (age := self.rules.audit_max_age_seconds) is not None:
            before = int((report.started_unix - age) * 1000)
            if report.dry_run:
                self._note(audits=await self._ledger.read(PrunableAudits(before)))
            else:
                await self._prune("audits", PruneAudits(before, _AUDITS_AT_ONCE), _AUDITS_AT_ONCE)

    async def _prune(self, what: str, step: Entry, at_once: int) -> None:
        """Repeat a step until it finds no more."""
        total = 0
        removed = at_once
        while removed == at_once:
            while self._busy():  # noqa: ASYNC110 - pressure is a number, it has no event
                await trio.sleep(_BUSY_SECONDS)
            began = self._clock.monotonic()
            answer = await self._writer.enter_nowait(step, Lane.DURABLE).wait()
            if not isinstance(answer, Committed):
                raise _StoppedError(f"{answer.reason}: {answer.detail}")
            value: Any = answer.value
            removed = value
            total += removed
            self._note(**{what: total})
            took = self._clock.monotonic() - began
            await trio.sleep(max(_LEAST_REST_SECONDS, _REST_SHARE * took))

    def _count(self, report: RetentionReport) -> None:
        before = self._statistics
        gone = report if not report.dry_run else replace(report, blobs=None, finals=0, audits=0)
        blobs = gone.blobs or BlobsSwept(0, 0, 0, 0)
        self._statistics = RetentionStatistics(
            before.blobs + blobs.removed,
            before.blob_bytes + blobs.removed_bytes,
            before.finals + (gone.finals or 0),
            before.audits + (gone.audits or 0),
            before.stopped_runs + (report.stopped is not None),
            before.last_finished_unix if report.stopped else report.finished_unix,
        )

    async def _audit(self, report: RetentionReport) -> None:
        blobs = None if report.blobs is None else report.blobs._asdict()
        detail = {
            "blobs": blobs,
            "finals": report.finals,
            "audits": report.audits,
            "stopped": report.stopped,
            "rules": asdict(self.rules),
        }
        now = int(self._clock.unix() * 1000)
        entry = AuditEntry(now, report.asked_by, "retention.run", "retention", detail)
        answer = await self._writer.enter_nowait(entry, Lane.DURABLE).wait()
        if not isinstance(answer, Committed):
            logger.error("retention.not_audited", extra={"error": answer.detail, **detail})
