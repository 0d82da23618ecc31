"""What the engine needs from the ledger: the store of everything that may not be lost.

What is written is a frozen *entry*. The writer hands entries over in groups. A group is one
transaction, but its entries do not depend on one another: each is stored whole or not at all, and
what is wrong with one is told in its own outcome.

Entries carry keys (session and revision, revision, id), so that writing one again changes nothing.
That is needed: where a commit fails late, nobody can know whether it took place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self
from uuid import uuid4


class LedgerReason(StrEnum):
    """Why an entry was not stored."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Attach the meaning to the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # The ledger's own, for the moment.
    DISK_FULL = ("ledger_disk_full", "The ledger's disk had no room.")
    IO_ERROR = ("ledger_io_error", "The ledger could not be read or written.")
    LOCKED = ("ledger_locked", "Another process kept the ledger to itself.")
    UNWRITABLE = ("ledger_unwritable", "The ledger refused the write (read-only, rights).")
    CORRUPT = ("ledger_corrupt", "The ledger is damaged.")
    # The writer's.
    QUEUE_FULL = ("ledger_queue_full", "As many entries waited for the ledger as may.")
    OVERDUE = ("ledger_overdue", "The ledger was too slow to come to it in time.")
    DRAINING = ("ledger_draining", "The service stopped before it could be written.")
    # The entry's, for good.
    CONFLICT = ("ledger_conflict", "Another entry has its key.")
    UNFIT = ("ledger_unfit", "It is nothing that the ledger can hold.")


class LedgerUnavailableError(Exception):
    """The ledger cannot be used now. Of a group that was to be committed, nothing counts as stored.

    Writing the same entries again is always right.
    """

    def __init__(self, reason: LedgerReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


# A dict must be what JSON can hold, and must not be changed once they are part of an entry.


@dataclass(slots=True, frozen=True)
class FinalEntry:
    """One revision of a session's final. Its key is the session with the revision."""

    session_id: str
    org_id: str
    principal_id: str
    revision: int
    status: str
    ended_unix_ms: int
    body: dict[str, Any]


@dataclass(slots=True, frozen=True)
class PolicyEntry:
    """A change of the policy book and the book that it made. Its key is the book's revision.

    Revisions only rise: what comes after a newer one is in conflict with it.
    """

    revision: int
    change: dict[str, Any]
    book: dict[str, Any]


@dataclass(slots=True, frozen=True)
class AuditEntry:
    """Who did what to whom. Its key is an id of its own."""

    at_unix_ms: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    entry_id: str = field(default_factory=lambda: str(uuid4()))


Single = FinalEntry | PolicyEntry | AuditEntry


@dataclass(slots=True, frozen=True)
class Together:
    """Entries that are stored together or not at all, such as a change and its audit."""

    entries: tuple[Single, ...]


Entry = Single | Together


class Verdict(StrEnum):
    """What became of an entry."""

    STORED = "stored"
    # It was there already, exactly so. Of a `Together` nothing is then written again.
    REPEATED = "repeated"
    CONFLICT = "conflict"
    UNFIT = "unfit"


class EntryOutcome(NamedTuple):
    """A verdict; `detail` says for an operator what was wrong, and holds nothing of the entry."""

    verdict: Verdict
    detail: str = ""


class StoredBook(NamedTuple):
    """The newest policy book."""

    revision: int
    book: dict[str, Any]


class StoredChange(NamedTuple):
    """A change of the policy book."""

    revision: int
    change: dict[str, Any]


class StoredAudit(NamedTuple):
    """An audit entry and its position. A later entry has a higher one; there may be holes."""

    position: int
    entry: AuditEntry


@dataclass(slots=True, frozen=True)
class LedgerStatistics:
    """What the ledger's store has done since it was opened, and how large it is."""

    commits: int
    stored: int
    repeated: int
    rejected: int
    failures: int
    reads: int
    file_bytes: int
    schema_version: int


class Ledger(Protocol):
    """The store. Every method that waits raises LedgerUnavailableError.

    Reads never wait for commits. A commit or a probe comes to an end by itself in bounded time, and
    is not cancelled once it has begun: whoever was promised something must be told.
    """

    async def commit(self, group: Sequence[Entry]) -> list[EntryOutcome]:
        """Store what can be stored, in one transaction, on disk on return; an outcome for each."""
        ...

    async def probe(self) -> None:
        """Write and sync something small: return when the ledger can be written again."""
        ...

    async def final_of(self, session_id: str) -> FinalEntry | None:
        """Give a session's final of the highest revision."""
        ...

    async def policy_book(self) -> StoredBook | None:
        """Give the newest policy book."""
        ...

    async def policy_changes(self, limit: int) -> list[StoredChange]:
        """Give the newest changes, newest first."""
        ...

    async def audit(self, limit: int, before: int | None = None) -> list[StoredAudit]:
        """Give the newest audit entries, newest first; `before` a position, for the next page."""
        ...

    def statistics(self) -> LedgerStatistics:
        """Count what was done. Never blocks."""
        ...
