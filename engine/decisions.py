"""What the drop policy is asked, what it answers, and why.

Answers are tuples, and those that carry nothing are made once: they are given ten thousand times
a second.
"""

from enum import StrEnum
from typing import NamedTuple, Self

from penstock.engine.outcomes import Reason


class Verdict(StrEnum):
    """What can be decided about a batch."""

    ADMIT = "admit"
    THIN = "thin"
    REFUSE = "refuse"


class Cause(StrEnum):
    """Why it was decided so: the rule that spoke."""

    verdict: Verdict
    words: str
    number: int

    def __new__(cls, value: str, verdict: Verdict, words: str) -> Self:
        """Attach the verdict and the words to the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.verdict = verdict
        member.words = words
        member.number = len(cls.__members__)
        return member

    CALM = ("calm", Verdict.ADMIT, "nothing is under pressure")
    PROMISED = ("promised", Verdict.ADMIT, "the session waited as long as it was told")
    SPARED = (
        "spared",
        Verdict.ADMIT,
        "the session has used up its loss budget, or would if it gave this batch",
    )
    LEVEL = ("level", Verdict.ADMIT, "the session has given as large a share as the others")
    WHOLE = ("whole", Verdict.ADMIT, "the batch is too small to be thinned")
    MADE_ROOM = (
        "made_room",
        Verdict.ADMIT,
        "the session's inbox was full; its oldest batches gave way",
    )
    OVERLOAD_THINNED = (
        "overload_thinned",
        Verdict.THIN,
        "stress has reached thin_at, and the session has loss budget left",
    )
    BACKLOG_THINNED = (
        "backlog_thinned",
        Verdict.THIN,
        "the session's own inbox is above its soft bound, and it has loss budget left",
    )
    OVERDRAFT_THINNED = (
        "overdraft_thinned",
        Verdict.THIN,
        "stress stays at refuse_at beyond what the loss budgets can give; all give alike",
    )
    OVERLOAD_REFUSED = (
        "overload_refused",
        Verdict.REFUSE,
        "stress has reached refuse_at, and the session has loss budget left",
    )
    OVERDRAFT_REFUSED = (
        "overdraft_refused",
        Verdict.REFUSE,
        "stress stays at refuse_at beyond what the loss budgets can give; all give alike",
    )
    INBOX_FULL = ("inbox_full", Verdict.REFUSE, "the session's inbox is full")


class Offer(NamedTuple):
    """A batch that wants in, and what the session's inbox holds before it.

    `first_ms` and `last_ms` are the session times of its first and last frame.
    """

    frames: int
    first_ms: int
    last_ms: int
    held_bytes: int
    inbox_batches: int
    inbox_bytes: int


class Admit(NamedTuple):
    """Take the batch; first drop so many of the oldest that it fits, if `make_room`."""

    cause: Cause
    make_room: bool = False


class Thin(NamedTuple):
    """Take every `keep_every`th frame of the batch, beginning with the one at index `first`."""

    cause: Cause
    keep_every: int
    first: int
    kept: int
    dropped: int
    reason: Reason = Reason.POLICY_THINNED


class Refuse(NamedTuple):
    """Turn the batch away. A bound that was hit names its knob, its limit and the value seen."""

    cause: Cause
    reason: Reason
    retry_after: float
    knob: str | None = None
    limit: float | None = None
    seen: float | None = None


Decision = Admit | Thin | Refuse

ADMIT_CALM = Admit(Cause.CALM)
ADMIT_PROMISED = Admit(Cause.PROMISED)
ADMIT_SPARED = Admit(Cause.SPARED)
ADMIT_LEVEL = Admit(Cause.LEVEL)
ADMIT_WHOLE = Admit(Cause.WHOLE)
ADMIT_MAKING_ROOM = Admit(Cause.MADE_ROOM, make_room=True)


class Count(NamedTuple):
    """How many batches were decided so, and how many of their frames that cost."""

    batches: int
    frames_lost: int


class DecisionTally:
    """Counts every decision by its cause. Calm ones are what the others leave over."""

    __slots__ = ("_batches", "_frames_lost", "batches", "frames")

    def __init__(self) -> None:
        self.batches = 0
        self.frames = 0
        # By the causes' numbers: an enum's own hash takes longer than all the counting.
        self._batches = [0] * len(Cause)
        self._frames_lost = [0] * len(Cause)

    def note(self, cause: Cause, frames_lost: int) -> None:
        """Count a decision; its batch and frames have been added already."""
        number = cause.number
        self._batches[number] += 1
        self._frames_lost[number] += frames_lost

    def counts(self) -> dict[Cause, Count]:
        """Give the counts, every cause in its place."""
        counts = map(Count, self._batches, self._frames_lost)
        found = dict(zip(Cause, counts, strict=True))
        found[Cause.CALM] = Count(self.batches - sum(self._batches), 0)
        return found

    @property
    def frames_lost(self) -> int:
        """Give the frames that the decisions cost."""
        return sum(self._frames_lost)
