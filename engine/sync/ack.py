"""What a batch is answered: how many of each kind were taken, were there, and were refused."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import orjson

from penstock.engine.sync.kinds import ACK_VERSION, RecordKind

Counts = dict[str, int]


class Rejection(NamedTuple):
    """One record that was refused, and why, in words for the user."""

    kind: str
    id: str | None
    reason: str


def no_counts() -> Counts:
    """Give a zero for each kind."""
    return {kind.plural: 0 for kind in RecordKind}


@dataclass(slots=True)
class SyncAck:
    """The acknowledgement. For each kind: accepted + duplicates + rejected = submitted."""

    batch_id: str
    rejected: list[Rejection]
    accepted: Counts = field(default_factory=no_counts)
    duplicates: Counts = field(default_factory=no_counts)
    # Of those accepted.
    updated: Counts = field(default_factory=no_counts)

    def repeated(self) -> "SyncAck":
        """Give the answer to the same batch when it comes again: all of it is there."""
        duplicates = {
            plural: count + self.accepted[plural] for plural, count in self.duplicates.items()
        }
        return SyncAck(self.batch_id, self.rejected, duplicates=duplicates)

    def plain(self) -> dict[str, Any]:
        """Give the document that is sent."""
        return {
            "schema_version": ACK_VERSION,
            "batch_id": self.batch_id,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "updated": self.updated,
            "rejected": [rejection._asdict() for rejection in self.rejected],
        }

    def text(self) -> str:
        """Write it down."""
        return orjson.dumps(self.plain()).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `text` wrote."""
        plain = orjson.loads(text)
        return cls(
            plain["batch_id"],
            [Rejection(one["kind"], one["id"], one["reason"]) for one in plain["rejected"]],
            plain["accepted"],
            plain["duplicates"],
            plain["updated"],
        )
