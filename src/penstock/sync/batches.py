"""Batches made of records: how many go together, and how one is split that is too large."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.engine.sync.ack import Counts, no_counts
from penstock.engine.sync.kinds import BATCH_VERSION, RecordKind
from penstock.sync.folder import LocalRecord

_ENVELOPE_BYTES = 512


@dataclass(slots=True, frozen=True)
class Batch:
    """Records that are sent together, under one id."""

    batch_id: str
    device_id: str
    created_at: str
    records: tuple[LocalRecord, ...]

    @property
    def counts(self) -> Counts:
        """Count the records of each kind."""
        counts = no_counts()
        for record in self.records:
            counts[record.kind.plural] += 1
        return counts

    def body(self) -> bytes:
        """Write the document. Arrays without a record are left out."""
        document: dict[str, Any] = {
            "schema_version": BATCH_VERSION,
            "batch_id": self.batch_id,
            "device_id": self.device_id,
            "created_at": self.created_at,
        }
        for kind in RecordKind:
            bodies = [orjson.Fragment(one.body) for one in self.records if one.kind is kind]
            if bodies:
                document[kind.plural] = bodies
        return orjson.dumps(document)

    def halves(self) -> tuple["Batch", "Batch"]:
        """Split it in two, under ids of their own; there must be two records."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        return (
            Batch(f"{self.batch_id}_part_1_of_2", self.device_id, self.created_at, first),
            Batch(f"{self.batch_id}_part_2_of_2", self.device_id, self.created_at, second),
        )


def make_batches(
    records: Sequence[LocalRecord],
    *,
    device_id: str,
    unix_ms: int,
    created_at: str,
    most_records: int,
    most_bytes: int,
) -> list[Batch]:
    """Divide records, in their order; a single one is sent however large it is."""
    parts = list(_parts(records, most_records, most_bytes))
    name = f"batch_{unix_ms}"
    if len(parts) == 1:
        return [Batch(name, device_id, created_at, parts[0])]
    return [
        Batch(f"{name}_part_{number}_of_{len(parts)}", device_id, created_at, part)
        for number, part in enumerate(parts, 1)
    ]


def _parts(
    records: Sequence[LocalRecord], most_records: int, most_bytes: int
) -> Iterator[tuple[LocalRecord, ...]]:
    part: list[LocalRecord] = []
    size = _ENVELOPE_BYTES
    for record in records:
        own = len(record.body) + 1
        if part and (len(part) == most_records or size + own > most_bytes):
            yield tuple(part)
            part, size = [], _ENVELOPE_BYTES
        part.append(record)
        size += own
    if part:
        yield tuple(part)
