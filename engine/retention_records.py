"""What the ledger lets go of for its age: finals that have been delivered, and audit entries.

Ages are told by this service's clock. The embedded Core's figures are the patient's record; no age
limit removes them, only an erasure does.
"""

from dataclasses import dataclass

from penstock.engine.ledger_port import Entry, Query

# What a dry run counts up to: more is told as this many.
MOST_COUNTED = 100_000


@dataclass(slots=True, frozen=True)
class PruneFinals(Entry):
    """Removes so many sessions' finals, all revisions, that are older and wait for nothing.

    Its value is how many sessions they were of; fewer than `limit`, no more are left.
    """

    before_unix_ms: int
    limit: int


@dataclass(slots=True, frozen=True)
class PruneAudits(Entry):
    """Removes so many of the oldest audit entries, as far as they are older. Its value: how many.

    Fewer than `limit`, no more are left.
    """

    before_unix_ms: int
    limit: int


@dataclass(slots=True, frozen=True)
class PrunableFinals(Query[int]):
    """Counts the sessions whose finals `PruneFinals` would remove, up to MOST_COUNTED."""

    before_unix_ms: int


@dataclass(slots=True, frozen=True)
class PrunableAudits(Query[int]):
    """Counts the entries that `PruneAudits` would remove, up to MOST_COUNTED."""

    before_unix_ms: int
