"""What the engine needs from the ledger: the store of everything that may not be lost.

What is written is a frozen *entry*, what is asked a frozen *query*; the kinds of both are named
where they belong (`records` for the engine's own), and the store knows how to write and answer
each. The writer hands entries over in groups. A group is one transaction, but its entries do not
depend on one another: each is stored whole or not at all, and what is wrong with one is told in its
own outcome.

Entries carry keys (session and revision, revision, id), so that writing one again changes nothing.
That is needed: where a commit fails late, nobody can know whether it took place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

T = TypeVar("T")


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
    UNREACHABLE = ("ledger_unreachable", "The ledger's database could not be reached.")
    # The writer's.
    QUEUE_FULL = ("ledger_queue_full", "As many entries waited for the ledger as may.")
    OVERDUE = ("ledger_overdue", "The ledger was too slow to come to it in time.")
    DRAINING = ("ledger_draining", "The service stopped before it could be written.")
    # The entry's, for good.
    CONFLICT = ("ledger_conflict", "Another entry has its key.")
    UNFIT = ("ledger_unfit", "It is nothing that the ledger can hold.")
    FULL = ("ledger_full", "Whatever it belongs to has as many entries as it may.")


class LedgerUnavailableError(Exception):
    """The ledger cannot be used now. Of a group that was to be committed, nothing counts as stored.

    Writing the same entries again is always right.
    """

    def __init__(self, reason: LedgerReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Entry:
    """What can be written: the kinds are frozen dataclasses of this class."""

    __slots__ = ()


class Query(Generic[T]):
    """What can be asked, and by its parameter what the answer is."""

    __slots__ = ()


@dataclass(slots=True, frozen=True)
class OrgQuery(Query[T]):
    """A question within one organisation: nothing of another one is ever in the answer."""

    org_id: str


@dataclass(slots=True, frozen=True)
class Together(Entry):
    """Entries that are stored together or not at all, such as a change and its audit."""

    entries: tuple[Entry, ...]


class Verdict(StrEnum):
    """What became of an entry."""

    STORED = "stored"
    # It was there already, exactly so. Of a `Together` nothing is then written again.
    REPEATED = "repeated"
    CONFLICT = "conflict"
    UNFIT = "unfit"
    # What it belongs to has as many as it may.
    FULL = "full"


class EntryOutcome(NamedTuple):
    """A verdict; `detail` says for an operator what was wrong, and holds nothing of the entry.

    Some kinds of entry have a `value`: what the store made of it, the same when it is repeated.
    """

    verdict: Verdict
    detail: str = ""
    value: Any = None


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

    async def read(self, query: Query[T]) -> T:
        """Answer a question."""
        ...

    async def scrub(self) -> bool:
        """Leave nothing of what was deleted in the store's files; say whether that was possible.

        A server's files are its own: of those it cannot be said.
        """
        ...

    def statistics(self) -> LedgerStatistics:
        """Count what was done. Never blocks."""
        ...
