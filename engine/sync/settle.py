"""What becomes of each record of a batch: new, replacing, there already, or refused.

Synchronous and pure: what the ledger holds and what was submitted in, what to write out. Records
are taken in their order, each after those before it, also within one batch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.engine.sync.ack import Rejection, SyncAck
from penstock.engine.sync.kinds import RecordKind
from penstock.engine.sync.sums import Deltas, Share, add_share

IMMUTABLE = "an event never changes, and another one has this id"


class Submitted(NamedTuple):
    """A valid record: its key, its canonical text with its digest, and what it adds.

    Both texts are made before the record comes to the ledger, where nothing may fail.
    """

    kind: RecordKind
    record_id: str
    digest: str
    body: str
    share: Share | None
    share_text: str | None


class Held(NamedTuple):
    """A record that the ledger has. `by_device`: the submitting device has sent it before."""

    digest: str
    share: Share | None
    by_device: bool


RecordKey = tuple[RecordKind, str]


@dataclass(slots=True)
class Settlement:
    """What a batch comes to."""

    ack: SyncAck
    # What is to be written, the last version of each.
    writes: dict[RecordKey, Submitted] = field(default_factory=dict)
    # What the device has now sent and had not before.
    gained: set[RecordKey] = field(default_factory=set)
    deltas: Deltas = field(default_factory=dict)


def settle(
    batch_id: str,
    submitted: Iterable[Submitted],
    rejected: Iterable[Rejection],
    held: Mapping[RecordKey, Held],
) -> Settlement:
    """Decide about every record of a batch. `rejected` are those that were not valid."""
    ack = SyncAck(batch_id, list(rejected))
    done = Settlement(ack)
    known = dict(held)
    for record in submitted:
        key = (record.kind, record.record_id)
        before = known.get(key)
        if before is not None and before.digest == record.digest:
            ack.duplicates[record.kind.plural] += 1
        elif before is not None and record.kind is RecordKind.EVENT:
            ack.rejected.append(Rejection(record.kind.value, record.record_id, IMMUTABLE))
            continue
        else:
            ack.accepted[record.kind.plural] += 1
            ack.updated[record.kind.plural] += before is not None
            done.writes[key] = record
            if before is not None and before.share is not None:
                add_share(done.deltas, before.share, -1)
            if record.share is not None:
                add_share(done.deltas, record.share)
        if before is None or not before.by_device:
            done.gained.add(key)
        known[key] = Held(record.digest, record.share, by_device=True)
    done.deltas = {cell: sums for cell, sums in done.deltas.items() if any(sums)}
    return done
