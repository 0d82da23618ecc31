"""What can become of a frame, and the one place where it is counted.

Theory of operation
-------------------
A frame is *seen* once its session is known (the token holds) and its count can be read. From then
on it is in exactly one place::

    seen = aggregated + refused{reason} + shed{reason} + lost{reason} + pending

Each reason belongs to one outcome. Only `FrameLedger` changes a `Tally`, and every method of it
keeps the law, for the session and for the process at the same time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self


class Outcome(StrEnum):
    """Where a frame can end. `pending` is not here: it is the one place that frames leave again."""

    AGGREGATED = "aggregated"
    REFUSED = "refused"
    SHED = "shed"
    LOST = "lost"


class Reason(StrEnum):
    """Why a frame ended there. Refusals carry the `code` that the client was answered."""

    outcome: Outcome
    meaning: str

    def __new__(cls, value: str, outcome: Outcome, meaning: str) -> Self:
        """Attach the outcome and its meaning to the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.outcome = outcome
        member.meaning = meaning
        return member

    USED = ("used", Outcome.AGGREGATED, "Its time is new to the session; on disk.")
    REPEATED = (
        "repeated",
        Outcome.AGGREGATED,
        "Its time is not after the newest one used (a client's overlapping batch): on disk for "
        "the replay, not used twice.",
    )
    CONSENT_REQUIRED = (
        "consent_required",
        Outcome.REFUSED,
        "The principal has not consented to the use of biometric data.",
    )
    CONSENT_UNKNOWN = (
        "consent_unknown",
        Outcome.REFUSED,
        "Nobody could say whether the principal consents.",
    )
    RATE_SESSION = (
        "rate_session_exceeded",
        Outcome.REFUSED,
        "The session sent batches faster than its sustained rate and burst allow.",
    )
    RATE_ORG = (
        "rate_org_exceeded",
        Outcome.REFUSED,
        "All sessions of the organisation together sent faster than its quota allows.",
    )
    MALFORMED = (
        "malformed",
        Outcome.REFUSED,
        "The batch or its sidecar was not valid; the answer's code says what was wrong.",
    )
    INBOX_FULL = (
        "inbox_full",
        Outcome.REFUSED,
        "The session's inbox was at its bound in batches or bytes.",
    )
    FRAME_MEMORY_FULL = (
        "frame_memory_full",
        Outcome.REFUSED,
        "Waiting frames had used up the frame-memory budget of the process.",
    )
    SESSIONS_FULL = (
        "sessions_full",
        Outcome.REFUSED,
        "The process held as many live sessions as it may.",
    )
    RECOVERY_FAILED = (
        "recovery_failed",
        Outcome.REFUSED,
        "The session's spool file could not be read, so the session could not go on.",
    )
    DRAINING = ("draining", Outcome.REFUSED, "The service was shutting down.")
    DISK_FULL = ("disk_full", Outcome.SHED, "The spool's disk or quota had no room.")
    SPOOL_UNWRITABLE = (
        "spool_unwritable",
        Outcome.SHED,
        "The spool's folder or file refused the write (read-only, rights, input/output error).",
    )
    ACTOR_CRASHED = (
        "actor_crashed",
        Outcome.LOST,
        "The session's actor failed while it held the frame.",
    )
    TORN_SPOOL = (
        "torn_spool",
        Outcome.LOST,
        "The process died while writing the frame; its half-written record was cut off.",
    )
    SHUTDOWN = ("shutdown", Outcome.LOST, "The frame was not on disk by the shutdown deadline.")


REASONS = {reason.value: reason for reason in Reason}


@dataclass(slots=True)
class Tally:
    """The counts of one session, or of the process."""

    seen: int = 0
    pending: int = 0
    ended: dict[Reason, int] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> int:
        """Sum the frames that ended so, over its reasons."""
        return sum(n for reason, n in self.ended.items() if reason.outcome is outcome)

    @property
    def conserved(self) -> bool:
        """Say whether the law holds."""
        return self.seen == self.pending + sum(self.ended.values()) and self.pending >= 0

    def settled(self) -> "Tally":
        """Copy the counts without the pending frames: what a checkpoint may claim."""
        return Tally(self.seen - self.pending, 0, dict(self.ended))

    def plain(self) -> dict[str, int]:
        """Give the ended counts by reason, as a checkpoint stores them."""
        return {reason.value: n for reason, n in self.ended.items()}

    @classmethod
    def from_plain(cls, counts: Mapping[str, int]) -> Self:
        """Rebuild from `plain`; an unknown reason raises KeyError."""
        ended = {REASONS[reason]: n for reason, n in counts.items()}
        return cls(sum(ended.values()), 0, ended)


class FrameLedger:
    """The choke point: each method moves frames for one session and for the process alike."""

    def __init__(self) -> None:
        self.process = Tally()

    def admit(self, session: Tally, frames: int) -> None:
        """Record that frames were accepted and now wait."""
        process = self.process
        session.seen += frames
        session.pending += frames
        process.seen += frames
        process.pending += frames

    def refuse(self, session: Tally | None, reason: Reason, frames: int) -> None:
        """Record that frames were turned away; the session may not be live."""
        for tally in (session, self.process):
            if tally is not None:
                tally.seen += frames
                tally.ended[reason] = tally.ended.get(reason, 0) + frames

    def settle(self, session: Tally, reason: Reason, frames: int) -> None:
        """Record where waiting frames ended."""
        if frames:
            process = self.process
            session.pending -= frames
            session.ended[reason] = session.ended.get(reason, 0) + frames
            process.pending -= frames
            process.ended[reason] = process.ended.get(reason, 0) + frames
