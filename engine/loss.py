"""What a session has lost of what was due to it, and what its budget still allows.

Only integers, so that the same trace gives the same account wherever it is kept: the policy in
force and each candidate keep one a session.

What a client says it could not send is its word alone, and whoever is thought to have lost much is
spared. So of that an account holds at most one frame for each nineteen that came: with the default
budget, enough that the session need give nothing as long as the budgets suffice, and too little to
take it over its budget or to hide it from an overdraft. What was said beyond waits for more to
come.
"""

from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.policy import Policy

# Turned away for the client's reasons, so not due to the session.
_NOT_DUE = (
    Reason.CONSENT_REQUIRED,
    Reason.CONSENT_UNKNOWN,
    Reason.RATE_SESSION,
    Reason.RATE_ORG,
    Reason.MALFORMED,
)


# So the unsent are at most a twentieth of what is due: the default budget, 5 %.
_CAME_AN_UNSENT = 19


class LossAccount:
    """The frames that a session should have, those it lost, and its unbroken stretch of lost ones.

    A stretch goes from the first lost frame's time to the last one's; a batch that is taken, whole
    or thinned, ends it. `unsent` are those of the due and lost frames that only the client tells
    of.
    """

    __slots__ = ("_told", "due", "lost", "stretch_first_ms", "stretch_last_ms", "unsent")

    def __init__(self, due: int = 0, lost: int = 0) -> None:
        self.due = due
        self.lost = lost
        self.unsent = 0
        # All that the client told of, entered or not.
        self._told = 0
        self.stretch_first_ms: int | None = None
        self.stretch_last_ms = 0

    @classmethod
    def of_tally(cls, tally: Tally) -> "LossAccount":
        """Open the account of a session that goes on from its counts."""
        not_due = sum(tally.ended.get(reason, 0) for reason in _NOT_DUE)
        lost = sum(
            tally.count(outcome) for outcome in (Outcome.REFUSED, Outcome.SHED, Outcome.LOST)
        )
        account = cls(tally.seen - not_due, lost - not_due)
        account.leave_unsent(tally.count(Outcome.UNSENT))
        return account

    def copy(self) -> "LossAccount":
        """Give the same account, apart from this one."""
        other = LossAccount(self.due, self.lost)
        other.unsent, other._told = self.unsent, self._told
        other.stretch_first_ms = self.stretch_first_ms
        other.stretch_last_ms = self.stretch_last_ms
        return other

    def take(self, frames: int, dropped: int = 0) -> None:
        """Enter a batch that was taken, without those of its frames that thinning dropped."""
        self.due += frames
        self.lost += dropped
        self.stretch_first_ms = None

    def miss(self, frames: int, first_ms: int, last_ms: int) -> None:
        """Enter a batch that was not taken."""
        self.due += frames
        self.lose(frames, first_ms, last_ms)

    def lose(self, frames: int, first_ms: int, last_ms: int) -> None:
        """Enter frames that were taken and are lost after all; never more than were due."""
        self.lost = min(self.due, self.lost + frames)
        if self.stretch_first_ms is None:
            self.stretch_first_ms, self.stretch_last_ms = first_ms, last_ms
        else:
            self.stretch_first_ms = min(self.stretch_first_ms, first_ms)
            self.stretch_last_ms = max(self.stretch_last_ms, last_ms)

    def leave_unsent(self, frames: int) -> None:
        """Enter frames that the client could not send, as far as its word counts."""
        self._told += frames
        more = min(self._told, self.came // _CAME_AN_UNSENT) - self.unsent
        if more > 0:
            self.unsent += more
            self.due += more
            self.lost += more

    def stretch_with(self, first_ms: int, last_ms: int) -> int:
        """Give how long the stretch would be with these frames lost as well, in milliseconds."""
        if self.stretch_first_ms is None:
            return last_ms - first_ms
        # Not only `last_ms - stretch_first_ms`: a client's clock may have begun anew.
        return max(last_ms, self.stretch_last_ms) - min(first_ms, self.stretch_first_ms)

    @property
    def stretch_ms(self) -> int:
        """Give how long the stretch is, in milliseconds; 0 without one."""
        if self.stretch_first_ms is None:
            return 0
        return self.stretch_last_ms - self.stretch_first_ms

    @property
    def came(self) -> int:
        """Give the frames that were due and seen: all but those the client only tells of."""
        return self.due - self.unsent

    @property
    def share(self) -> float:
        """Give the share of lost frames, 0 to 1."""
        return self.lost / self.due if self.due else 0.0

    def over(self, policy: Policy) -> bool:
        """Say whether more is lost than the budget allows."""
        return (
            self.lost * 100 > policy.loss_percent * self.due
            or self.stretch_ms > policy.gap_seconds * 1000
        )

    def over_by_service(self, policy: Policy) -> bool:
        """Say whether that holds also without the frames that the client says it never sent."""
        lost = self.lost - self.unsent
        return (
            lost * 100 > policy.loss_percent * self.came
            or self.stretch_ms > policy.gap_seconds * 1000
        )
