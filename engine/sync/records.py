"""What the sync surface keeps in the ledger, and what it asks for."""

from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.engine.ledger_port import Entry, Query
from penstock.engine.sync.ack import Counts, Rejection, no_counts
from penstock.engine.sync.settle import Submitted
from penstock.engine.sync.sums import Granularity, Grouping, Sums

# The detail of the outcome of a batch whose id the device has used for another one.
OTHER_CONTENT = "batch_id_payload_conflict"


@dataclass(slots=True, frozen=True)
class SyncBatchEntry(Entry):
    """A batch, with all that follows from it. Its key is (user, device, batch).

    The outcome's value is a `SyncAck`. Where the same content comes again it is that of a
    repetition, but for the same `attempt_id`: that is one request, told once more.
    """

    user_id: str
    device_id: str
    batch_id: str
    digest: str
    attempt_id: str
    received_unix_ms: int
    submitted: tuple[Submitted, ...]
    rejected: tuple[Rejection, ...]


@dataclass(slots=True, frozen=True)
class SyncResetEntry(Entry):
    """Forget what a device has sent, so many records at once. The value is a `ResetStep`.

    A record that another device of the user has sent as well stays.
    """

    user_id: str
    device_id: str
    records: int


@dataclass(slots=True, frozen=True)
class ResetStep:
    """What a step of a reset has cleared, and whether there is more."""

    cleared: Counts
    more: bool


@dataclass(slots=True, frozen=True)
class DeviceTokenEntry(Entry):
    """A device's token, by its digest; the token itself is nowhere."""

    digest: str
    user_id: str
    device_id: str
    minted_unix_ms: int
    minted_by: str

    @property
    def token_id(self) -> str:
        """Give the name by which it is listed and revoked."""
        return self.digest[:TOKEN_ID_CHARACTERS]


TOKEN_ID_CHARACTERS = 16


@dataclass(slots=True, frozen=True)
class RevokeTokensEntry(Entry):
    """Revoke a user's tokens: one, a device's, or all. The value is how many held until now.

    Where none did, there is nothing to revoke, and that is a conflict.
    """

    user_id: str
    revoked_unix_ms: int
    device_id: str | None = None
    token_id: str | None = None


class DeviceIdentity(NamedTuple):
    """Whom a device token speaks for."""

    user_id: str
    device_id: str


@dataclass(slots=True, frozen=True)
class DeviceOfToken(Query[DeviceIdentity | None]):
    """Whom the token of this digest speaks for; None when there is none that holds."""

    digest: str


@dataclass(slots=True, frozen=True)
class StoredToken:
    """A token as it is listed."""

    token_id: str
    user_id: str
    device_id: str
    minted_unix_ms: int
    minted_by: str
    revoked_unix_ms: int | None


@dataclass(slots=True, frozen=True)
class DeviceTokens(Query[list[StoredToken]]):
    """A user's newest tokens, newest first."""

    user_id: str
    limit: int


@dataclass(slots=True, frozen=True)
class DeviceStanding:
    """What a device has sent: its last batch, and its records by kind."""

    last_batch_id: str | None = None
    last_batch_unix_ms: int | None = None
    counts: Counts = field(default_factory=no_counts)


@dataclass(slots=True, frozen=True)
class StandingOf(Query[DeviceStanding]):
    """A device's standing; that of one which has sent nothing is empty."""

    user_id: str
    device_id: str


class RollupRow(NamedTuple):
    """One sum."""

    period: str
    key: str
    sums: Sums


@dataclass(slots=True, frozen=True)
class Rollups(Query[list[RollupRow]]):
    """A user's sums in order of period and key, behind `after` if that is given."""

    user_id: str
    granularity: Granularity
    grouping: Grouping
    limit: int
    first: str | None = None
    last: str | None = None
    after: tuple[str, str] | None = None


@dataclass(slots=True, frozen=True)
class RecordBodies(Query[list[str]]):
    """A user's records of a kind as canonical JSON, in order of their ids, behind `after`."""

    user_id: str
    kind: str
    limit: int
    after: str = ""
