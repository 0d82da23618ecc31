"""The kinds of records that a batch carries: the array, the id and the version of each."""

from enum import StrEnum
from typing import Self


class RecordKind(StrEnum):
    """A kind, by the name that rejections use."""

    # The key of its array in a batch and of its counter in an acknowledgement.
    plural: str
    # The key of a record's stable id.
    id_field: str
    schema_version: str

    def __new__(cls, value: str, plural: str, id_field: str, schema_version: str) -> Self:
        """Attach the names to the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.plural = plural
        member.id_field = id_field
        member.schema_version = schema_version
        return member

    SOURCE = ("source", "sources", "source_id", "source_location.v1")
    ACCOUNT = ("account", "accounts", "provider_account_id", "provider_account.v1")
    ASSIGNMENT = (
        "source_account_assignment",
        "source_account_assignments",
        "assignment_id",
        "source_account_assignment.v1",
    )
    SUBSCRIPTION = ("subscription", "subscriptions", "subscription_id", "subscription.v1")
    EVENT = ("event", "events", "event_id", "usage_event.v1")
    SUMMARY = ("summary", "summaries", "summary_id", "usage_summary.v1")

    @property
    def is_metadata(self) -> bool:
        """Say whether it describes where usage comes from, and is sent with every batch."""
        return self not in {RecordKind.EVENT, RecordKind.SUMMARY}


KINDS = {kind.value: kind for kind in RecordKind}
BATCH_VERSION = "sync_batch.v1"
ACK_VERSION = "sync_ack.v1"
# Of an id, and of whatever sums are grouped by: a database's index takes no text of any length.
MOST_ID_BYTES = 256
# Of a counter: what a JSON number holds exactly in every client (RFC 8259, section 6).
MOST_COUNT = 2**53 - 1


def key_fault(text: str) -> str | None:
    """Say why a text cannot be a key; None when it can."""
    if not text:
        return "must not be empty"
    if len(text.encode("utf-8", "surrogatepass")) > MOST_ID_BYTES:
        return f"must have at most {MOST_ID_BYTES} bytes"
    # PostgreSQL keeps no NUL in a text.
    return "must hold no NUL character" if "\0" in text else None
