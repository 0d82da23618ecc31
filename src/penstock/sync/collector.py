"""One run of sync: what is to go, where it goes, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from penstock.engine.sync.ack import Counts, Rejection, no_counts
from penstock.engine.sync.settle import RecordKey
from penstock.sync.batches import Batch
from penstock.sync.folder import LocalRecord
from penstock.sync.sender import Sender, Sent
from penstock.sync.store import SyncStore


@dataclass(slots=True)
class SyncReport:
    """What a run did. `mismatches`: kind, how many are here, how many there."""

    batches: int = 0
    accepted: Counts = field(default_factory=no_counts)
    duplicates: Counts = field(default_factory=no_counts)
    updated: Counts = field(default_factory=no_counts)
    rejected: list[Rejection] = field(default_factory=list)
    mismatches: list[tuple[str, int, int]] = field(default_factory=list)


def pending(
    records: list[LocalRecord], sent: Mapping[RecordKey, str], *, since_last: bool
) -> list[LocalRecord]:
    """Give what is to be sent; none where nothing has changed since the last time.

    Metadata goes along as it is now: the service is told what the usage belongs to.
    """
    if not since_last:
        return records
    changed = {record.key for record in records if sent.get(record.key) != record.digest}
    if not changed:
        return []
    return [record for record in records if record.kind.is_metadata or record.key in changed]


def send_all(
    batches: list[Batch],
    sender: Sender,
    store: SyncStore,
    sink: str,
    target: str,
    told: Callable[[int], None] = lambda _: None,
) -> SyncReport:
    """Send batches one after the other; each is noted as sent before the next begins."""
    report = SyncReport()
    for batch in batches:
        for sent in sender.send(batch):
            report.batches += 1
            report.rejected += sent.ack.rejected
            for mine, its in (
                (report.accepted, sent.ack.accepted),
                (report.duplicates, sent.ack.duplicates),
                (report.updated, sent.ack.updated),
            ):
                for plural, count in its.items():
                    mine[plural] += count
            store.note_sent(sink, target, _taken(sent))
        told(len(batch.records))
    return report


def _taken(sent: Sent) -> list[LocalRecord]:
    """Give the records that the service has now.

    Of a kind of which it refuses one without its id, none is taken for sent: it may be any.
    """
    refused = {(one.kind, one.id) for one in sent.ack.rejected}
    unknown = {
        kind
        for kind, _ in refused - {(one.kind.value, one.record_id) for one in sent.batch.records}
    }
    return [
        record
        for record in sent.batch.records
        if record.kind.value not in unknown and (record.kind.value, record.record_id) not in refused
    ]


def compare_counts(records: list[LocalRecord], remote: Counts) -> list[tuple[str, int, int]]:
    """Give each kind of which the service has more or fewer records than there are here."""
    local = no_counts()
    for record in records:
        local[record.kind.plural] += 1
    return [
        (plural, local[plural], count) for plural, count in remote.items() if count != local[plural]
    ]
