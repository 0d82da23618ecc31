"""Devices as rows: their tokens, what they have sent, and how that is forgotten."""

from collections import defaultdict

from penstock.engine.ledger_port import Verdict
from penstock.engine.sync.ack import no_counts
from penstock.engine.sync.kinds import KINDS
from penstock.engine.sync.records import (
    DeviceIdentity,
    DeviceOfToken,
    DeviceStanding,
    DeviceTokenEntry,
    DeviceTokens,
    ResetStep,
    RevokeTokensEntry,
    StandingOf,
    StoredToken,
    SyncResetEntry,
)
from penstock.engine.sync.sums import Deltas, add_share
from penstock.storage.ledger.bulk import for_ids
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    Row,
    Statement,
    Steps,
    compare,
)
from penstock.storage.ledger.sync_batches import KIND_COLUMNS, lock_user, read_share
from penstock.storage.ledger.sync_rollups import apply_deltas

_TOKEN_COLUMNS = "token_id, user_id, device_id, minted_unix_ms, minted_by"  # noqa: S105 - names


def put_token(entry: DeviceTokenEntry) -> Steps[None]:
    """Store a token's digest."""
    row = (
        entry.digest,
        entry.token_id,
        entry.user_id,
        entry.device_id,
        entry.minted_unix_ms,
        entry.minted_by,
    )
    done = yield Statement(
        f"INSERT INTO sync_tokens (digest, {_TOKEN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (digest) DO NOTHING RETURNING 1",
        row,
    )
    if not done:
        (there,) = yield Statement(
            f"SELECT digest, {_TOKEN_COLUMNS} FROM sync_tokens WHERE digest = ?", row[:1]
        )
        compare(there, row, "another device has this token")


def revoke_tokens(entry: RevokeTokensEntry) -> Steps[int]:
    """Revoke what still holds."""
    where, values = "user_id = ? AND revoked_unix_ms IS NULL", [entry.user_id]
    for name, value in (("device_id", entry.device_id), ("token_id", entry.token_id)):
        if value is not None:
            where += f" AND {name} = ?"
            values.append(value)
    rows = yield Statement(
        f"UPDATE sync_tokens SET revoked_unix_ms = ? WHERE {where} RETURNING 1",
        (entry.revoked_unix_ms, *values),
    )
    if not rows:
        raise RejectedError(Verdict.CONFLICT, "the user has no such token that holds")
    return len(rows)


def device_of_token(query: DeviceOfToken) -> Steps[DeviceIdentity | None]:
    """Find whom a token speaks for."""
    rows = yield Statement(
        "SELECT user_id, device_id FROM sync_tokens WHERE digest = ? AND revoked_unix_ms IS NULL",
        (query.digest,),
    )
    return DeviceIdentity(*rows[0]) if rows else None


def device_tokens(query: DeviceTokens) -> Steps[list[StoredToken]]:
    """List a user's tokens."""
    rows = yield Statement(
        f"SELECT {_TOKEN_COLUMNS}, revoked_unix_ms FROM sync_tokens WHERE user_id = ?"
        " ORDER BY minted_unix_ms DESC, token_id LIMIT ?",
        (query.user_id, query.limit),
    )
    return [StoredToken(*row) for row in rows]


def standing_of(query: StandingOf) -> Steps[DeviceStanding]:
    """Give what a device has sent."""
    rows = yield Statement(
        f"SELECT last_batch_id, last_batch_unix_ms, {', '.join(KIND_COLUMNS)} FROM sync_devices"
        " WHERE user_id = ? AND device_id = ?",
        (query.user_id, query.device_id),
    )
    if not rows:
        return DeviceStanding()
    batch_id, unix_ms, *counts = rows[0]
    return DeviceStanding(batch_id, unix_ms, dict(zip(KIND_COLUMNS, counts, strict=True)))


def put_reset(entry: SyncResetEntry) -> Steps[ResetStep]:
    """Clear some of what a device has sent, and with the last of it its standing."""
    yield from lock_user(entry.user_id)
    device = (entry.user_id, entry.device_id)
    # From here on a batch that comes again is a new one.
    yield Statement("DELETE FROM sync_batches WHERE user_id = ? AND device_id = ?", device)
    holdings = yield Statement(
        "SELECT kind, record_id FROM sync_holdings WHERE user_id = ? AND device_id = ?"
        " ORDER BY kind, record_id LIMIT ?",
        (*device, entry.records),
    )
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, record_id in holdings:
        by_kind[kind].append(record_id)
    cleared = no_counts()
    deltas: Deltas = {}
    others = yield from _other_devices(entry)
    for kind, ids in by_kind.items():
        cleared[KINDS[kind].plural] = len(ids)
        yield from for_ids(
            "DELETE FROM sync_holdings WHERE user_id = ? AND device_id = ? AND kind = ?"
            " AND record_id",
            (*device, kind),
            ids,
        )
        yield from _forget(entry.user_id, kind, ids, others, deltas)
    yield from apply_deltas(entry.user_id, {cell: s for cell, s in deltas.items() if any(s)})
    more = len(holdings) == entry.records
    if more:
        sums = ", ".join(f"{name} = {name} - ?" for name in KIND_COLUMNS)
        yield Statement(
            f"UPDATE sync_devices SET last_batch_id = NULL, last_batch_unix_ms = NULL, {sums}"
            " WHERE user_id = ? AND device_id = ?",
            (*cleared.values(), *device),
        )
    else:
        yield Statement("DELETE FROM sync_devices WHERE user_id = ? AND device_id = ?", device)
    return ResetStep(cleared, more)


def _other_devices(entry: SyncResetEntry) -> Steps[list[str]]:
    rows = yield Statement(
        "SELECT device_id FROM sync_devices WHERE user_id = ? AND device_id <> ?",
        (entry.user_id, entry.device_id),
    )
    return [device_id for (device_id,) in rows]


def _forget(
    user_id: str, kind: str, ids: list[str], others: list[str], deltas: Deltas
) -> Steps[None]:
    """Remove the records that no other device has sent, and take what they added away."""
    kept: set[str] = set()
    for device_id in others:
        rows: list[Row] = yield from for_ids(
            "SELECT record_id FROM sync_holdings WHERE user_id = ? AND device_id = ? AND kind = ?"
            " AND record_id",
            (user_id, device_id, kind),
            ids,
        )
        kept.update(record_id for (record_id,) in rows)
    gone = yield from for_ids(
        "DELETE FROM sync_records WHERE user_id = ? AND kind = ? AND record_id",
        (user_id, kind),
        [record_id for record_id in ids if record_id not in kept],
        "RETURNING share",
    )
    for (text,) in gone:
        share = read_share(text)
        if share is not None:
            add_share(deltas, share, -1)


PUTS: Puts = {
    DeviceTokenEntry: Put(put_token),
    RevokeTokensEntry: Put(revoke_tokens),
    SyncResetEntry: Put(put_reset, may_half_write=True),
}
ANSWERS: Answers = {
    DeviceOfToken: device_of_token,
    DeviceTokens: device_tokens,
    StandingOf: standing_of,
}
