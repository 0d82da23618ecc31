"""The acknowledgement as collectors read it: strictly, before they take a batch for sent."""

from typing import Literal

from pydantic import Field

from penstock.engine.sync.ack import Rejection, SyncAck, no_counts
from penstock.http.sync.parts import Count, Key, Part


class Counts(Part):
    """One counter for each kind of record."""

    sources: Count
    accounts: Count
    source_account_assignments: Count = 0
    subscriptions: Count
    events: Count
    summaries: Count


class RejectedRecord(Part):
    """One refused record."""

    kind: str
    id: str | None = None
    reason: str


class Ack(Part):
    """The answer to a batch. For each kind accepted + duplicates + rejected = submitted."""

    schema_version: Literal["sync_ack.v1"]
    batch_id: Key
    accepted: Counts
    duplicates: Counts
    updated: Counts | None = Field(default=None, description="Of those accepted.")
    rejected: list[RejectedRecord]

    def read(self) -> SyncAck:
        """Give it as the engine has it."""
        return SyncAck(
            self.batch_id,
            [Rejection(one.kind, one.id, one.reason) for one in self.rejected],
            self.accepted.model_dump(),
            self.duplicates.model_dump(),
            no_counts() if self.updated is None else self.updated.model_dump(),
        )
