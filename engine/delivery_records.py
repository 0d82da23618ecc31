"""What the ledger keeps of finals on their way: the outbox, one row for each revision of a final.

A delivery has two steps, in this order: the replay is stored, the aggregates are published. What
has been done is never undone by a later write, so telling the ledger twice does no harm.
"""

from dataclasses import dataclass
from typing import NamedTuple

from penstock.engine.ledger_port import Entry, Query
from penstock.engine.records import FinalEntry


class StoredReplay(NamedTuple):
    """Where a replay is, and what it is."""

    url: str
    size: int
    sha256: str


@dataclass(slots=True, frozen=True)
class Progress:
    """How far a delivery has come. `replay_due` says that there is a replay to store first.

    `superseded` by a newer revision, or `dead` after too many attempts: nothing is tried any more.
    """

    replay_due: bool
    replay: StoredReplay | None = None
    published_unix_ms: int | None = None
    attempts: int = 0
    next_unix_ms: int = 0
    error: str = ""
    dead: bool = False
    superseded: bool = False

    @property
    def stored(self) -> bool:
        """Say whether the replay needs no more work."""
        return self.replay is not None or not self.replay_due

    @property
    def done(self) -> bool:
        """Say whether nothing is left to be done."""
        return self.superseded or (self.stored and self.published_unix_ms is not None)


@dataclass(slots=True, frozen=True)
class Delivery:
    """A final and how far it has come."""

    final: FinalEntry
    progress: Progress


@dataclass(slots=True, frozen=True)
class DeliveryEntry(Entry):
    """The order to deliver a final: written in the same transaction. Its key is the final's.

    Older revisions of the session that are still on their way are superseded by it. Where no replay
    is due, the one that an older revision has stored is taken over.
    """

    session_id: str
    revision: int
    org_id: str
    replay_due: bool
    created_unix_ms: int


@dataclass(slots=True, frozen=True)
class ProgressEntry(Entry):
    """How far a delivery has come by now. Its key is the final's."""

    session_id: str
    revision: int
    progress: Progress


@dataclass(slots=True, frozen=True)
class RetryEntry(Entry):
    """An operator's wish to try dead deliveries again: one session's, or all. Has no key.

    Its value is how many there were.
    """

    now_unix_ms: int
    session_id: str | None = None


@dataclass(slots=True, frozen=True)
class DueDeliveries(Query[list[Delivery]]):
    """The deliveries whose time has come, the longest due first."""

    now_unix_ms: int
    limit: int


@dataclass(slots=True, frozen=True)
class DeliveryOf(Query[Delivery | None]):
    """The delivery of a session's newest final."""

    session_id: str


class OutboxState(NamedTuple):
    """How many deliveries are on their way, and since when; how many are dead."""

    pending: int
    oldest_unix_ms: int | None
    dead: int


@dataclass(slots=True, frozen=True)
class OutboxCounts(Query[OutboxState]):
    """How full the outbox is."""


class OutboxRow(NamedTuple):
    """A delivery as an operator sees it."""

    session_id: str
    revision: int
    org_id: str
    created_unix_ms: int
    progress: Progress


@dataclass(slots=True, frozen=True)
class OutboxPage(Query[list[OutboxRow]]):
    """Deliveries that are not done, by session; `after` a session, for the next page."""

    limit: int
    after: str = ""
    only_dead: bool = False
