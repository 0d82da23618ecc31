"""Consents and quotas as the ledger keeps them. What was said last holds."""

from dataclasses import dataclass

from penstock.engine.ledger_port import Entry, OrgQuery
from penstock.engine.ports import Purpose, Quota


@dataclass(slots=True, frozen=True)
class ConsentEntry(Entry):
    """What a principal consents to in an organisation, all of it; nothing is a withdrawal."""

    org_id: str
    principal_id: str
    purposes: frozenset[Purpose]
    updated_unix_ms: int
    updated_by: str


@dataclass(slots=True, frozen=True)
class QuotaEntry(Entry):
    """What an organisation may send."""

    org_id: str
    quota: Quota
    updated_unix_ms: int
    updated_by: str


@dataclass(slots=True, frozen=True)
class ConsentOf(OrgQuery[ConsentEntry | None]):
    """What a principal consents to; None when nothing was ever said."""

    principal_id: str


@dataclass(slots=True, frozen=True)
class QuotaOf(OrgQuery[QuotaEntry | None]):
    """What an organisation may send; None when nothing was ever said."""
