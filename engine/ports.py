"""What the engine needs from outside, as protocols; storage and the composition root provide it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from penstock.engine.blob_port import Content
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason


class Clock(Protocol):
    """Where time comes from. Decisions never ask the operating system themselves."""

    def monotonic(self) -> float:
        """Give seconds that only grow, for intervals and deadlines."""
        ...

    def unix(self) -> float:
        """Give seconds since 1970 UTC, for tokens and records."""
        ...


class Purpose(StrEnum):
    """What a principal consents to."""

    BIOMETRIC = "biometric"
    ANALYTICS = "analytics"


class ConsentUnknownError(Exception):
    """Nobody can say whether the principal consents, or what the organisation may send.

    Asking again later may help.
    """

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Consents(Protocol):
    """Who consents to what."""

    async def granted(self, principal_id: str, org_id: str, purpose: Purpose) -> bool:
        """Say whether the principal consents in this organisation, or raise ConsentUnknownError."""
        ...

    def granted_nowait(self, principal_id: str, org_id: str, purpose: Purpose) -> bool | None:
        """Say so where it is known already; None where `granted` would have to wait."""
        ...


@dataclass(slots=True, frozen=True)
class Quota:
    """What an organisation may send. None is no limit."""

    batches_per_second: float | None = None


class Quotas(Protocol):
    """What organisations may send."""

    async def of_org(self, org_id: str) -> Quota:
        """Give the quota in force, or raise ConsentUnknownError."""
        ...

    def of_org_nowait(self, org_id: str) -> Quota | None:
        """Give it where it is known already; None where `of_org` would have to wait."""
        ...


# A chunk of this many batches, each with the largest sidecar, fits into every spool's record of it.
MAX_CHUNK_BATCHES = 15


class SpoolChunk(NamedTuple):
    """What one append adds to one session's file: the state before it, then the batches.

    At most MAX_CHUNK_BATCHES. None is allowed: the checkpoint alone is then written.
    """

    before: Checkpoint
    batches: tuple[Arrival, ...]


@dataclass(slots=True, frozen=True, eq=False)
class Recovered:
    """What a spool file gave back: the state before its last chunk, and that chunk's whole batches.

    The state's motion is that of the newest checkpoint which has one; `earlier` are the batches
    between it and the last chunk, which are in everything else of the state already.
    `torn_frames` were announced by the last chunk but not written whole; they have been cut off.
    """

    before: Checkpoint
    batches: tuple[Arrival, ...]
    torn_frames: int
    earlier: tuple[Arrival, ...] = ()


class RecoveryError(Exception):
    """A session's file could not be read. The message is for the operator's log."""


@dataclass(slots=True, frozen=True)
class SpoolHealth:
    """Whether appends work. `reason` and `detail` tell of the newest failure while they do not."""

    writable: bool
    reason: Reason | None = None
    detail: str = ""


@dataclass(slots=True, frozen=True)
class SpoolStatistics:
    """What a spool has open and has done. `left_behind` counts the sessions that it `holds`."""

    open_files: int
    appended_bytes: int
    appends: int
    failures: int
    left_behind: int


class Spool(Protocol):
    """One append-only file a live session. Methods block; the writer calls them from a thread."""

    def append(self, chunks: Sequence[SpoolChunk]) -> list[Reason | None]:
        """Append each chunk to its session's file: None is done, a reason is why it was shed.

        A chunk is written whole or not at all.
        """
        ...

    def holds(self, session_id: str) -> bool:
        """Say whether a file of this session was left by an earlier process. Never blocks."""
        ...

    def recover(self, session_id: str) -> Recovered | None:
        """Read a session's file, cut off a torn end; None when there is no file.

        Raises RecoveryError.
        """
        ...

    def release(self, session_id: str) -> None:
        """Close the session's file; the next append opens it again."""
        ...

    def in_use(self, session_id: str) -> bool:
        """Say whether this process may append to the session's file as it is. Never blocks."""
        ...

    def touched_unix(self, session_id: str) -> float:
        """Say when a session's file was last written; 0 when there is none."""
        ...

    def left_behind(self) -> list[str]:
        """Give the sessions that the spool `holds`. Never blocks."""
        ...

    def content(self, session_id: str) -> Content:
        """Give a session's file as content for the blob store."""
        ...

    def remove(self, session_id: str) -> None:
        """Remove a session's file, if there is one. What is not there is fine."""
        ...

    def owner(self, session_id: str) -> SessionIdentity | None:
        """Say whose a session's file is; None when there is none, or nobody can tell."""
        ...

    def erase(self, session_id: str) -> int:
        """Remove a session's file and whatever was saved of it as damaged; say how many files."""
        ...

    def probe(self) -> SpoolHealth:
        """Try a small write and tell how the spool does."""
        ...

    def health(self) -> SpoolHealth:
        """Tell how the newest append or probe went. Never blocks."""
        ...

    def statistics(self) -> SpoolStatistics:
        """Count files, bytes and failures since the start. Never blocks."""
        ...
