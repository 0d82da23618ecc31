"""What can become of a frame, and the one place where it is counted.

Theory of operation
-------------------
A frame is *seen* once its session is known (the token holds) and its count can be read. From then
on it is in exactly one place::

    seen = aggregated + refused{reason} + shed{reason} + lost{reason} + pending

Each reason belongs to one outcome. Only `FrameLedger` changes a `Tally`, and every method of it
keeps the law, for the session and for the process at the same time.

Frames that the client says it could not send never came, so they are *unsent* and not seen: they
are counted beside the law, by reason, and only the loss budget adds them to what was due.
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
    UNSENT = "unsent"  # never seen: not part of the law


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
        "Nobody could say whether the principal consents, or what the organisation may send.",
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
    POLICY_REFUSED = (
        "policy_refused",
        Outcome.REFUSED,
        "The service was overloaded, and the drop policy let this session give a batch.",
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
    SESSION_FINALIZED = (
        "session_finalized",
        Outcome.REFUSED,
        "The session had ended, or was ending, when the frames came.",
    )
    DRAINING = ("draining", Outcome.REFUSED, "The service was shutting down.")
    POLICY_THINNED = (
        "policy_thinned",
        Outcome.SHED,
        "The drop policy kept every so-manieth frame of the batch; this was one of the others.",
    )
    INBOX_DROPPED_OLDEST = (
        "inbox_dropped_oldest",
        Outcome.SHED,
        "The session's inbox was at its bound, and its oldest batches gave way to a new one.",
    )
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
    UNSENT_NETWORK = (
        "unsent_network",
        Outcome.UNSENT,
        "The client could not reach the service for so long that it dropped the frame.",
    )
    UNSENT_REFUSED = (
        "unsent_refused",
        Outcome.UNSENT,
        "The client had been told to wait, and dropped the frame meanwhile.",
    )
    UNSENT_CPU = ("unsent_cpu", Outcome.UNSENT, "The client was too busy to make the frame.")
    UNSENT_CAMERA = ("unsent_camera", Outcome.UNSENT, "The client's camera gave no picture.")
    UNSENT_HIDDEN = (
        "unsent_hidden",
        Outcome.UNSENT,
        "The client's page was in the background, where browsers give it no time.",
    )
    UNSENT_OTHER = ("unsent_other", Outcome.UNSENT, "The client gave another reason.")


REASONS = {reason.value: reason for reason in Reason}


@dataclass(slots=True)
class Tally:
    """The counts of one session, or of the process."""

    seen: int = 0
    pending: int = 0
    ended: dict[Reason, int] = field(default_factory=dict)
    unsent: dict[Reason, int] = field(default_factory=dict)

    def frames(self, reason: Reason) -> int:
        """Give the frames that ended so, or were never sent, for this reason."""
        counts = self.unsent if reason.outcome is Outcome.UNSENT else self.ended
        return counts.get(reason, 0)

    def count(self, outcome: Outcome) -> int:
        """Sum the frames that ended so, over its reasons."""
        counts = self.unsent if outcome is Outcome.UNSENT else self.ended
        return sum(n for reason, n in counts.items() if reason.outcome is outcome)

    @property
    def conserved(self) -> bool:
        """Say whether the law holds."""
        return self.seen == self.pending + sum(self.ended.values()) and self.pending >= 0

    def copy(self) -> "Tally":
        """Give the same counts, apart from these."""
        return Tally(self.seen, self.pending, dict(self.ended), dict(self.unsent))

    def settled(self) -> "Tally":
        """Copy the counts without the pending frames: what a checkpoint may claim."""
        return Tally(self.seen - self.pending, 0, dict(self.ended), dict(self.unsent))

    def plain(self) -> dict[str, int]:
        """Give the ended and unsent counts by reason, as a checkpoint stores them."""
        counts = {**self.ended, **self.unsent} if self.unsent else self.ended
        return {reason.value: n for reason, n in counts.items()}

    @classmethod
    def from_plain(cls, counts: Mapping[str, int]) -> Self:
        """Rebuild from `plain`; an unknown reason raises KeyError."""
        ended: dict[Reason, int] = {}
        unsent: dict[Reason, int] = {}
        for name, n in counts.items():
            reason = REASONS[name]
            (unsent if reason.outcome is Outcome.UNSENT else ended)[reason] = n
        return cls(sum(ended.values()), 0, ended, unsent)


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

    def leave_unsent(self, session: Tally | None, reason: Reason, frames: int) -> None:
        """Record what the client says it could not send; the session may not be live any more."""
        for tally in (session, self.process):
            if tally is not None:
                tally.unsent[reason] = tally.unsent.get(reason, 0) + frames
