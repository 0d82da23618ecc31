"""Consents and quotas as rows."""

import orjson

from penstock.engine.core.grant_records import ConsentEntry, ConsentOf, QuotaEntry, QuotaOf
from penstock.engine.ports import Purpose, Quota
from penstock.storage.ledger.sql import Answers, Put, Puts, Statement, Steps, encode


def put_consent(entry: ConsentEntry) -> Steps[None]:
    """Store what a principal consents to, in the place of what was there."""
    yield Statement(
        "INSERT INTO consents (org_id, principal_id, purposes, updated_unix_ms, updated_by)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (org_id, principal_id) DO UPDATE SET"
        " purposes = excluded.purposes, updated_unix_ms = excluded.updated_unix_ms,"
        " updated_by = excluded.updated_by",
        (
            entry.org_id,
            entry.principal_id,
            encode(sorted(entry.purposes)),
            entry.updated_unix_ms,
            entry.updated_by,
        ),
    )


def put_quota(entry: QuotaEntry) -> Steps[None]:
    """Store what an organisation may send, in the place of what was there."""
    yield Statement(
        "INSERT INTO org_quotas (org_id, batches_per_second, updated_unix_ms, updated_by)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (org_id) DO UPDATE SET"
        " batches_per_second = excluded.batches_per_second,"
        " updated_unix_ms = excluded.updated_unix_ms, updated_by = excluded.updated_by",
        (
            entry.org_id,
            entry.quota.batches_per_second,
            entry.updated_unix_ms,
            entry.updated_by,
        ),
    )


def consent_of(query: ConsentOf) -> Steps[ConsentEntry | None]:
    """Give what a principal consents to."""
    rows = yield Statement(
        "SELECT purposes, updated_unix_ms, updated_by FROM consents"
        " WHERE org_id = ? AND principal_id = ?",
        (query.org_id, query.principal_id),
    )
    if not rows:
        return None
    purposes, updated_unix_ms, updated_by = rows[0]
    granted = frozenset(Purpose(purpose) for purpose in orjson.loads(purposes))
    return ConsentEntry(query.org_id, query.principal_id, granted, updated_unix_ms, updated_by)


def quota_of(query: QuotaOf) -> Steps[QuotaEntry | None]:
    """Give what an organisation may send."""
    rows = yield Statement(
        "SELECT batches_per_second, updated_unix_ms, updated_by FROM org_quotas WHERE org_id = ?",
        (query.org_id,),
    )
    if not rows:
        return None
    rate, updated_unix_ms, updated_by = rows[0]
    return QuotaEntry(query.org_id, Quota(rate), updated_unix_ms, updated_by)


PUTS: Puts = {ConsentEntry: Put(put_consent), QuotaEntry: Put(put_quota)}
ANSWERS: Answers = {ConsentOf: consent_of, QuotaOf: quota_of}
