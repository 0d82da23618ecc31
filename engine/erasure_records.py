"""What the ledger keeps of erasures: whose data is being removed, how far it is, what stays of it.

An erasure is a row that names the person only until it is done; what has been removed is counted
in it by the transaction that removed it, so that a crash neither loses a count nor doubles it. A
session that was erased leaves its id and its organisation: by these it is known that nothing may be
stored of it again. Who the person was is then told by a digest alone, which somebody who knows the
id can compare.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from penstock.engine.ledger_port import Entry, Query


@dataclass(slots=True, frozen=True)
class BeginErasure(Entry):
    """The order to remove all that is kept of a person, whose consents go at once. By its id.

    Its value is the erasure's id: that of the one under way where the person has one already.
    """

    erasure_id: str
    principal_id: str
    asked_unix_ms: int
    asked_by: str


@dataclass(slots=True, frozen=True)
class EraseSession(Entry):
    """Removes every row of a session, for good. Its value is how many rows there were.

    No final and no figures of it are stored from then on. `UnsweptSessions` names it until it is
    swept: until what is not in the ledger is gone as well.
    """

    session_id: str
    org_id: str
    erasure_id: str


@dataclass(slots=True, frozen=True)
class SweptSession(Entry):
    """Says of an erased session that nothing of it is left elsewhere, and what there was."""

    session_id: str
    erasure_id: str
    blobs: int
    files: int


@dataclass(slots=True, frozen=True)
class EraseRows(Entry):
    """Removes some of the rows that are a person's own. Its value is how many; 0, none is left."""

    erasure_id: str
    principal_id: str
    limit: int


@dataclass(slots=True, frozen=True)
class RedactAudits(Entry):
    """Puts a stand-in where audit entries name a person, by id or as an actor by another name.

    Its value is how many of them did. A link of the chain records what was left of them.
    """

    erasure_id: str
    positions: tuple[int, ...]
    principal_id: str
    at_unix_ms: int
    names: frozenset[str] = frozenset()


@dataclass(slots=True, frozen=True)
class FinishErasure(Entry):
    """Says that an erasure is done: from here on its row does not name the person."""

    erasure_id: str
    done_unix_ms: int


class Erasure(NamedTuple):
    """An erasure. `principal_id` is None when it is done; the counts are what is gone so far."""

    erasure_id: str
    digest: str
    principal_id: str | None
    asked_unix_ms: int
    asked_by: str
    done_unix_ms: int | None
    rows: int
    sessions: int
    blobs: int
    files: int
    audits: int
    texts: int


class OwnedSession(NamedTuple):
    """A session, and the organisation that its blob is kept under."""

    session_id: str
    org_id: str


@dataclass(slots=True, frozen=True)
class OpenErasures(Query[list[Erasure]]):
    """The erasures that are not done, the oldest first."""


@dataclass(slots=True, frozen=True)
class ErasureOf(Query[Erasure | None]):
    """One erasure."""

    erasure_id: str


@dataclass(slots=True, frozen=True)
class NewestErasures(Query[list[Erasure]]):
    """The newest erasures, the newest first."""

    limit: int


@dataclass(slots=True, frozen=True)
class SessionsOf(Query[list[OwnedSession]]):
    """Sessions of a person that the ledger has rows of."""

    principal_id: str
    limit: int


@dataclass(slots=True, frozen=True)
class ConsentOrgsOf(Query[list[str]]):
    """The organisations that have a person's consents or sessions."""

    principal_id: str


@dataclass(slots=True, frozen=True)
class UnsweptSessions(Query[list[OwnedSession]]):
    """Sessions of an erasure that something may be left of outside of the ledger."""

    erasure_id: str
    limit: int


class AuditsNaming(NamedTuple):
    """Where audit entries name somebody, and behind which one to look on; None at the end."""

    positions: tuple[int, ...]
    after: int | None


@dataclass(slots=True, frozen=True)
class AuditsThatName(Query[AuditsNaming]):
    """Looks through so many audit entries behind a position for those that name a person.

    They have the id somewhere, or one of the names as their actor.
    """

    principal_id: str
    limit: int
    after: int = 0
    names: frozenset[str] = frozenset()


class Holdings(NamedTuple):
    """What the ledger has of a person."""

    sessions: int
    rows: int
    consents: int


@dataclass(slots=True, frozen=True)
class HoldingsOf(Query[Holdings]):
    """Counts what an erasure would remove from the ledger."""

    principal_id: str


def digest_of(principal_id: str) -> str:
    """Give what stands for a person whose data was erased: the same for the same id."""
    return hashlib.sha256(f"penstock erasure {principal_id}".encode()).hexdigest()


def stand_in(principal_id: str) -> str:
    """Give what takes a person's id's place in audit entries."""
    return f"erased:{digest_of(principal_id)[:32]}"
