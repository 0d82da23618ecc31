"""What the engine itself keeps in the ledger: finals, policies, audit; and what it asks for."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from penstock.engine.ledger_port import Entry, Query

# A dict must be what JSON can hold, and must not be changed once they are part of an entry.


@dataclass(slots=True, frozen=True)
class FinalEntry(Entry):
    """One revision of a session's final. Its key is the session with the revision."""

    session_id: str
    org_id: str
    principal_id: str
    revision: int
    status: str
    ended_unix_ms: int
    body: dict[str, Any]


@dataclass(slots=True, frozen=True)
class PolicyEntry(Entry):
    """A change of the policy book and the book that it made. Its key is the book's revision.

    Revisions only rise: what comes after a newer one is in conflict with it.
    """

    revision: int
    change: dict[str, Any]
    book: dict[str, Any]


@dataclass(slots=True, frozen=True)
class AuditEntry(Entry):
    """Who did what to whom. Its key is an id of its own."""

    at_unix_ms: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    entry_id: str = field(default_factory=lambda: str(uuid4()))


class ErasedSession(NamedTuple):
    """What is left of a session whose person's data was erased: it takes nothing any more."""

    session_id: str


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
class FinalOf(Query[FinalEntry | ErasedSession | None]):
    """A session's final of the highest revision, or that the session was erased."""

    session_id: str


@dataclass(slots=True, frozen=True)
class NewestBook(Query[StoredBook | None]):
    """The newest policy book."""


@dataclass(slots=True, frozen=True)
class NewestChanges(Query[list[StoredChange]]):
    """The newest changes of the policy book, newest first."""

    limit: int


@dataclass(slots=True, frozen=True)
class AuditPage(Query[list[StoredAudit]]):
    """The newest audit entries, newest first; `before` a position, for the next page."""

    limit: int
    before: int | None = None
