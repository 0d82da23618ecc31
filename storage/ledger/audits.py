"""Audit entries as rows, each a link of the chain."""

import orjson

from penstock.engine.platform.audit_chain import (
    BEGINNING,
    content_of,
    digest_of,
    link_hash,
)
from penstock.engine.platform.records import AuditChain, AuditChainOf, AuditLink, AuditLinks
from penstock.engine.platform.security import kind_of
from penstock.engine.records import AuditEntry, AuditPage, StoredAudit
from penstock.storage.ledger.sql import Answers, Put, Puts, Row, Statement, Steps, compare, encode

COLUMNS = "entry_id, at_unix_ms, actor, action, subject, detail"
_SERVICE = "penstock"
_REDACTED, _BLINDED = "audit.redacted", "blinded"


def put_audit(entry: AuditEntry) -> Steps[None]:
    """Store an entry behind all others, linked to the last of them."""
    row = (
        entry.entry_id,
        entry.at_unix_ms,
        entry.actor,
        entry.action,
        entry.subject,
        encode(entry.detail),
    )
    # Not by "ON CONFLICT": that would spend a position on each repetition.
    there = yield Statement(
        f"SELECT {COLUMNS} FROM audit_entries WHERE entry_id = ?",
        row[:1],
    )
    if there:
        compare(there[0], row, "another audit entry has this id")
    # From here to the commit nobody else can link: the chain's row is held.
    rows = yield Statement("UPDATE audit_chain SET links = links + 1 RETURNING links, hash")
    link, before = rows[0]
    if before == BEGINNING:
        link, before = yield from _link_older(link)
    digest = digest_of(content_in(row))
    found = link_hash(before, link, digest)
    yield Statement(
        f"INSERT INTO audit_entries ({COLUMNS}, link, hash, digest, security)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, link, found, digest, kind_of(entry.action, entry.detail)),
    )
    yield Statement("UPDATE audit_chain SET links = ?, hash = ?", (link, found))


def _link_older(link: int) -> Steps[tuple[int, str]]:
    """Link what was stored before there was a chain; give the next link and the hash before it."""
    rows = yield Statement(
        f"SELECT position, {COLUMNS} FROM audit_entries WHERE link IS NULL ORDER BY position"
    )
    before = BEGINNING
    for position, *row in rows:
        digest = digest_of(content_in(tuple(row)))
        before = link_hash(before, link, digest)
        yield Statement(
            "UPDATE audit_entries SET link = ?, hash = ?, digest = ? WHERE position = ?",
            (link, before, digest, position),
        )
        link += 1
    return link, before


def content_in(row: Row) -> str:
    """Give what is hashed of an entry, of its columns."""
    entry_id, at_unix_ms, actor, action, subject, detail = row
    return content_of(AuditEntry(at_unix_ms, actor, action, subject, {}, entry_id), detail)


def audit_page(query: AuditPage) -> Steps[list[StoredAudit]]:
    """Give the newest entries before a position, newest first."""
    bound = "" if query.before is None else " WHERE position < ?"
    before = () if query.before is None else (query.before,)
    rows = yield Statement(
        "SELECT position, at_unix_ms, actor, action, subject, detail, entry_id FROM audit_entries"
        f"{bound} ORDER BY position DESC LIMIT ?",
        (*before, query.limit),
    )
    return [
        StoredAudit(
            position, AuditEntry(at_unix_ms, actor, action, subject, orjson.loads(detail), entry_id)
        )
        for position, at_unix_ms, actor, action, subject, detail, entry_id in rows
    ]


def audit_links(query: AuditLinks) -> Steps[list[AuditLink]]:
    """Give the links behind one, in their order."""
    rows = yield Statement(
        f"SELECT link, hash, digest, redacted, {COLUMNS} FROM audit_entries WHERE link > ?"
        " ORDER BY link LIMIT ?",
        (query.after, query.limit),
    )
    return [read_link(row) for row in rows]


def read_link(row: Row) -> AuditLink:
    """Read a link: its number, hash and digest, whether it is redacted, and COLUMNS."""
    link, found, digest, redacted, *content = row
    told = tuple(content)
    return AuditLink(link, found, digest, content_in(told), bool(redacted), _blinded(told))


def put_redacted(erasure_id: str, at_unix_ms: int, blinded: list[tuple[int, str]]) -> Steps[None]:
    """Append the record of a redaction: the links, and digests of what was left of them."""
    subject, detail = f"erasure:{erasure_id}", {_BLINDED: blinded}
    yield from put_audit(AuditEntry(at_unix_ms, _SERVICE, _REDACTED, subject, detail))


def _blinded(row: Row) -> tuple[tuple[int, str], ...]:
    _, _, _, action, _, detail = row
    # Services send entries with any action, but nothing of theirs is at the detail's top.
    told = orjson.loads(detail).get(_BLINDED, ()) if action == _REDACTED else ()
    return tuple((link, digest) for link, digest in told)


def audit_chain(_query: AuditChainOf) -> Steps[AuditChain]:
    """Give the chain's ends."""
    rows = yield Statement("SELECT links, hash, removed_links, removed_hash FROM audit_chain")
    unlinked = yield Statement("SELECT count(*) FROM audit_entries WHERE link IS NULL")
    links, found, removed_links, removed_hash = rows[0]
    return AuditChain(links, found, removed_links, removed_hash, unlinked[0][0])


# It counts a link before it stores the entry.
PUTS: Puts = {AuditEntry: Put(put_audit, may_half_write=True)}
ANSWERS: Answers = {
    AuditPage: audit_page,
    AuditLinks: audit_links,
    AuditChainOf: audit_chain,
}
