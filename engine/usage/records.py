"""What the usage surface keeps in the ledger, and what it asks for."""

from dataclasses import dataclass

from penstock.engine.ledger_port import Entry, Query
from penstock.engine.usage.report import UsageCounters, UsageReport

# The detail of the outcome of a report by somebody who has not opted in (any more).
OPTED_OUT = "telemetry_disabled"


@dataclass(slots=True, frozen=True)
class UsageEntry(Entry):
    """A report. Its key is the user with the day; what it gives replaces what was there.

    The outcome's value is the day as it is then, a `UsageDay`.
    """

    user_id: str
    report: UsageReport
    reported_unix_ms: int


@dataclass(slots=True, frozen=True)
class UsageOptEntry(Entry):
    """A user's decision whether usage is taken from them."""

    user_id: str
    opted_in: bool
    changed_unix_ms: int


@dataclass(slots=True, frozen=True)
class UsageDay:
    """One day of one user."""

    user_id: str
    window_unix_ms: int
    counters: UsageCounters
    reported_unix_ms: int


@dataclass(slots=True, frozen=True)
class UsageOptedIn(Query[bool]):
    """Whether a user has opted in. Nobody has who never said so."""

    user_id: str


@dataclass(slots=True, frozen=True)
class UsageDays(Query[list[UsageDay]]):
    """A user's newest days, newest first."""

    user_id: str
    limit: int
