"""`/console/health`: what is wrong with the service, what could become so, and what to do about it.

The first table is what `/readyz` says, with a remedy for each finding. The second is what
`penstock doctor` finds on this machine, looked at from inside: once in a while, not at each visit,
since one of its checks writes a file and syncs it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import trio

from penstock.engine.delivery_records import OutboxCounts
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.outcomes import Reason
from penstock.engine.ports import Clock
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.console.frame import Frame
from penstock.http.console.visits import Visit
from penstock.http.core.keeping import Keeping
from penstock.http.exchange import Answer
from penstock.http.health import Readiness

PATH = "/console/health"
LOOKED_SECONDS = 10.0
_OLD_DELIVERY_SECONDS = 3600.0

_ROOM = "Free space on the disk of data_dir, or make the file system larger; it goes on by itself."
_DATABASE = (
    "See whether the database runs and takes connections at database_url; it goes on by itself."
)
REMEDIES = {
    "draining": "Nothing: the service is stopping, and what is under way is being finished.",
    Reason.DISK_FULL.value: _ROOM,
    Reason.SPOOL_UNWRITABLE.value: (
        "See that data_dir is mounted for writing and belongs to the service's user; look into the "
        "kernel's log for errors of the disk."
    ),
    "spool_stalled": (
        "The disk is slower than the frames come: look at its load (iostat -x), and at what else "
        "writes to it."
    ),
    LedgerReason.DISK_FULL.value: _ROOM,
    LedgerReason.IO_ERROR.value: "Look into the kernel's log for errors of the disk of data_dir.",
    LedgerReason.LOCKED.value: (
        "End the program that has the ledger's file open: a backup or a database shell."
    ),
    LedgerReason.UNWRITABLE.value: (
        "Give the ledger back to the service's user: rights, read-only mount, or a database that "
        "only reads."
    ),
    LedgerReason.CORRUPT.value: (
        "Stop the service, keep a copy of data_dir, and restore the ledger from its newest backup."
    ),
    LedgerReason.UNREACHABLE.value: _DATABASE,
    "grants_file_invalid": "Mend the file that grants_file names; it is read again by itself.",
    "geo_unavailable": (
        "Set maxmind_account_id and maxmind_license_key, then POST /v1/admin/geo/update; or leave "
        "it, if countries are not wanted."
    ),
}
_NO_REMEDY = "Look for the code in the errors reference, and into the service's log."


class Grade(StrEnum):
    """How bad it is."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"
    OK = "ok"


@dataclass(slots=True, frozen=True)
class Found:
    """What was found, and what to do about it where there is something to do."""

    what: str
    grade: Grade
    seen: str
    advice: str = ""


Examine = Callable[[], Awaitable[Sequence[Found]]]


@dataclass(slots=True)
class Machine:
    """The machine as it was looked at last; one look at a time serves all who ask."""

    examine: Examine
    clock: Clock
    _found: Sequence[Found] = ()
    _looked: float | None = None
    _looking: trio.Lock = field(default_factory=trio.Lock)

    async def look(self) -> Sequence[Found]:
        """Give what was found at most LOOKED_SECONDS ago."""
        async with self._looking:
            now = self.clock.monotonic()
            if self._looked is None or now - self._looked >= LOOKED_SECONDS:
                self._found = await self.examine()
                self._looked = now
            return self._found


@dataclass(slots=True, frozen=True)
class HealthPage:
    """The page."""

    frame: Frame
    readiness: Readiness
    machine: Machine
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give its route."""
        return (self.frame.page(PATH, self._show),)

    async def _show(self, visit: Visit, _call: Call) -> Answer:
        reasons = [_found(f.code, f.detail, Grade.PROBLEM) for f in self.readiness.findings()]
        notes = [_found(f.code, f.detail, Grade.NOTE) for f in self.readiness.notes()]
        return self.frame.pages.render(
            visit,
            "health.html",
            "Health",
            PATH,
            ready=not reasons,
            reasons=[*reasons, *notes],
            machine=sorted(
                [await self._outbox(), *await self.machine.look()],
                key=lambda found: list(Grade).index(found.grade),
            ),
        )

    async def _outbox(self) -> Found:
        try:
            state = await self.keeping.read(OutboxCounts())
        except RefusedError as refused:
            return _found("outbox", refused.problem.meaning, Grade.WARNING, refused.problem.code)
        if state.dead:
            return Found(
                "outbox",
                Grade.WARNING,
                f"{state.dead} finals were given up after outbox_max_attempts",
                "See why with `penstock outbox list --dead`, mend that, then `penstock outbox "
                "retry`.",
            )
        oldest = state.oldest_unix_ms
        seconds = 0.0 if oldest is None else self.keeping.clock.unix() - oldest / 1000
        if seconds > _OLD_DELIVERY_SECONDS:
            return Found(
                "outbox",
                Grade.WARNING,
                f"{state.pending} finals are on their way, the oldest for "
                f"{seconds / 3600:.1f} hours",
                "See with `penstock outbox list` whether it is the blob store or Core that is "
                "away.",
            )
        return Found("outbox", Grade.OK, f"{state.pending} finals on their way")


def _found(what: str, seen: str, grade: Grade, code: str | None = None) -> Found:
    return Found(what, grade, seen, REMEDIES.get(code or what, _NO_REMEDY))
