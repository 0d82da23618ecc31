"""Sync batches as rows: records once each, what they add to the rollups, and the answer.

The first statement of a batch writes the user's row, which in PostgreSQL keeps it locked to the end
of the transaction: two processes never work on one user's records at once.
"""

from collections import defaultdict

from penstock.engine.ledger_port import Verdict
from penstock.engine.sync.ack import SyncAck
from penstock.engine.sync.kinds import RecordKind
from penstock.engine.sync.records import OTHER_CONTENT, RecordBodies, SyncBatchEntry
from penstock.engine.sync.settle import Held, RecordKey, Settlement, Submitted, settle
from penstock.engine.sync.sums import Share
from penstock.storage.ledger.bulk import for_ids, insert_many
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    RepeatedError,
    Row,
    Statement,
    Steps,
)
from penstock.storage.ledger.sync_rollups import apply_deltas

# How long a batch's id is remembered. Its records are known for ever.
_REMEMBERED_MS = 30 * 86_400_000

KIND_COLUMNS = tuple(kind.plural for kind in RecordKind)


def put_batch(entry: SyncBatchEntry) -> Steps[SyncAck]:
    """Store a batch's records, the sums, the device's standing and the answer, or nothing."""
    yield from lock_user(entry.user_id)
    yield from _look_for(entry)
    held = yield from _held(entry)
    done = settle(entry.batch_id, entry.submitted, entry.rejected, held)
    yield from _write(entry, done)
    yield from apply_deltas(entry.user_id, done.deltas)
    yield from _stand(entry, done)
    return done.ack


def lock_user(user_id: str) -> Steps[None]:
    """Keep everybody else from this user's records until the transaction ends."""
    yield Statement(
        "INSERT INTO sync_users (user_id, changes) VALUES (?, 1)"
        " ON CONFLICT (user_id) DO UPDATE SET changes = sync_users.changes + 1",
        (user_id,),
    )


def read_share(text: str | None) -> Share | None:
    """Read a stored share."""
    return None if text is None else Share.from_text(text)


def record_bodies(query: RecordBodies) -> Steps[list[str]]:
    """Give a page of records as they are kept."""
    rows = yield Statement(
        "SELECT body FROM sync_records WHERE user_id = ? AND kind = ? AND record_id > ?"
        " ORDER BY record_id LIMIT ?",
        (query.user_id, query.kind, query.after, query.limit),
    )
    return [body for (body,) in rows]


def _look_for(entry: SyncBatchEntry) -> Steps[None]:
    rows = yield Statement(
        "SELECT digest, attempt_id, ack FROM sync_batches"
        " WHERE user_id = ? AND device_id = ? AND batch_id = ?",
        (entry.user_id, entry.device_id, entry.batch_id),
    )
    if not rows:
        return
    digest, attempt_id, text = rows[0]
    if digest != entry.digest:
        raise RejectedError(Verdict.CONFLICT, OTHER_CONTENT)
    ack = SyncAck.from_text(text)
    raise RepeatedError(ack if attempt_id == entry.attempt_id else ack.repeated())


def _held(entry: SyncBatchEntry) -> Steps[dict[RecordKey, Held]]:
    """Find what the ledger has of the records that the batch names."""
    wanted: dict[RecordKind, dict[str, None]] = defaultdict(dict)
    for record in entry.submitted:
        wanted[record.kind][record.record_id] = None
    held: dict[RecordKey, Held] = {}
    for kind, ids in wanted.items():
        rows = yield from for_ids(
            "SELECT r.record_id, r.digest, r.share, h.record_id FROM sync_records AS r"
            " LEFT JOIN sync_holdings AS h ON h.user_id = r.user_id AND h.device_id = ?"
            " AND h.kind = r.kind AND h.record_id = r.record_id"
            " WHERE r.user_id = ? AND r.kind = ? AND r.record_id",
            (entry.device_id, entry.user_id, kind.value),
            list(ids),
        )
        for record_id, digest, share, holding in rows:
            held[kind, record_id] = Held(digest, read_share(share), holding is not None)
    return held


def _write(entry: SyncBatchEntry, done: Settlement) -> Steps[None]:
    yield from insert_many(
        "INSERT INTO sync_records (user_id, kind, record_id, digest, body, share, stored_unix_ms)",
        [_row(entry, record) for record in done.writes.values()],
        "ON CONFLICT (user_id, kind, record_id) DO UPDATE SET digest = excluded.digest,"
        " body = excluded.body, share = excluded.share, stored_unix_ms = excluded.stored_unix_ms",
    )
    yield from insert_many(
        "INSERT INTO sync_holdings (user_id, device_id, kind, record_id)",
        [(entry.user_id, entry.device_id, kind.value, name) for kind, name in sorted(done.gained)],
        "ON CONFLICT DO NOTHING",
    )


def _row(entry: SyncBatchEntry, record: Submitted) -> Row:
    return (
        entry.user_id,
        record.kind.value,
        record.record_id,
        record.digest,
        record.body,
        record.share_text,
        entry.received_unix_ms,
    )


def _stand(entry: SyncBatchEntry, done: Settlement) -> Steps[None]:
    """Count what the device has gained, and remember the batch with its answer."""
    gained = dict.fromkeys(KIND_COLUMNS, 0)
    for kind, _ in done.gained:
        gained[kind.plural] += 1
    columns = ", ".join(KIND_COLUMNS)
    marks = ", ".join("?" for _ in KIND_COLUMNS)
    sums = ", ".join(f"{name} = sync_devices.{name} + excluded.{name}" for name in KIND_COLUMNS)
    device = (entry.user_id, entry.device_id)
    yield Statement(
        "INSERT INTO sync_devices (user_id, device_id, last_batch_id, last_batch_unix_ms,"
        f" {columns}) VALUES (?, ?, ?, ?, {marks}) ON CONFLICT (user_id, device_id) DO UPDATE"
        " SET last_batch_id = excluded.last_batch_id,"
        f" last_batch_unix_ms = excluded.last_batch_unix_ms, {sums}",
        (*device, entry.batch_id, entry.received_unix_ms, *gained.values()),
    )
    yield Statement(
        "DELETE FROM sync_batches WHERE user_id = ? AND device_id = ? AND received_unix_ms < ?",
        (*device, entry.received_unix_ms - _REMEMBERED_MS),
    )
    yield Statement(
        "INSERT INTO sync_batches (user_id, device_id, batch_id, digest, attempt_id, ack,"
        " received_unix_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *device,
            entry.batch_id,
            entry.digest,
            entry.attempt_id,
            done.ack.text(),
            entry.received_unix_ms,
        ),
    )


PUTS: Puts = {SyncBatchEntry: Put(put_batch, may_half_write=True)}
ANSWERS: Answers = {RecordBodies: record_bodies}
