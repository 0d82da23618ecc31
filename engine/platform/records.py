"""What the platform surface keeps in the ledger, and what it asks for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from penstock.engine.ledger_port import Entry, OrgQuery, Query

# A dict must be what JSON can hold, and must not be changed once they are part of an entry.


class Circumstances(NamedTuple):
    """What is stored of a request's context beside what it brought."""

    actor: str | None
    actor_type: str
    country_code: str | None
    device_type: str | None
    browser_family: str | None
    connection_type: str | None
    request_id: str


@dataclass(slots=True, frozen=True)
class AnalyticsEntry(Entry):
    """One event of analytics. Its key is its id."""

    event_id: str
    org_id: str
    at_unix_ms: int
    received_unix_ms: int
    name: str
    category: str
    resource_type: str | None
    resource_id: str | None
    page_url: str | None
    referrer_url: str | None
    numeric_value: float | None
    properties: dict[str, Any]
    circumstances: Circumstances


@dataclass(slots=True, frozen=True)
class ErrorReportEntry(Entry):
    """One report of an error, which counts in the group of its fingerprint. Its key is its id."""

    report_id: str
    org_id: str
    fingerprint: str
    received_unix_ms: int
    error_type: str
    error_code: str | None
    feature: str | None
    message: str
    stack: str
    detail: dict[str, Any]
    circumstances: Circumstances


class ErrorGroup(NamedTuple):
    """All reports of one error. The texts are those of the oldest one that is kept."""

    org_id: str
    fingerprint: str
    error_type: str
    error_code: str | None
    feature: str | None
    message: str
    stack: str
    reports: int
    first_seen_unix_ms: int
    last_seen_unix_ms: int


class Kept(StrEnum):
    """The classes of data that are kept for a time of their own."""

    ANALYTICS = "analytics"
    ERRORS = "errors"
    MEDIA = "media"


@dataclass(slots=True, frozen=True)
class ExpiryEntry(Entry):
    """The removal of what came before a moment, at most so many rows of it; the value is how many.

    Removing again what is gone changes nothing.
    """

    kept: Kept
    before_unix_ms: int
    limit: int


@dataclass(slots=True, frozen=True)
class AnalyticsPage(OrgQuery[list[AnalyticsEntry]]):
    """An organisation's newest events, newest first."""

    limit: int


@dataclass(slots=True, frozen=True)
class ErrorGroups(OrgQuery[list[ErrorGroup]]):
    """An organisation's groups of errors, those seen last first."""

    limit: int


@dataclass(slots=True, frozen=True)
class ErrorReports(OrgQuery[list[ErrorReportEntry]]):
    """A group's reports, newest first."""

    fingerprint: str
    limit: int


@dataclass(slots=True, frozen=True)
class AuditLinks(Query["list[AuditLink]"]):
    """The links of the audit's chain behind one, in their order."""

    after: int
    limit: int


@dataclass(slots=True, frozen=True)
class AuditChainOf(Query["AuditChain"]):
    """What the chain says of itself."""


class AuditLink(NamedTuple):
    """An audit entry's place in the chain, its hash, and the digest that was hashed with the last.

    `content` is what the digest is of, or where a person was taken out of it (`redacted`) what is
    left. Of a record of such redactions, `blinded` has the links and the digests of what was left.
    """

    link: int
    hash: str
    digest: str
    content: str
    redacted: bool = False
    blinded: tuple[tuple[int, str], ...] = ()


class AuditChain(NamedTuple):
    """The chain's ends: the last link there is, and the last one that was removed by age.

    `unlinked` counts entries that are not part of it.
    """

    links: int
    hash: str
    removed_links: int
    removed_hash: str
    unlinked: int
