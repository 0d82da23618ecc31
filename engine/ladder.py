"""The ladder: how far the policy goes, by the level of stress.

Theory of operation
-------------------
::

    CALM -> THIN -> REFUSE -> REFUSE_BULK

Up at once, over as many rungs as the level has reached the `_at` of. Down one rung at a time, when
the level has been below the rung's `_until` for `dwell_seconds` without a break; the next rung
down begins to wait anew.

So it cannot flap. A step down is at least `dwell_seconds` after the change before it, so there are
at most ``floor(T / dwell_seconds)`` of them in the first T seconds, and every step up beyond the
first three undoes one of them: at most ``2 * floor(T / dwell_seconds) + 3`` steps, whatever the
level does. Over any other T seconds it is two more, for a wait that had begun before.

An edit counts at once: a rung whose thresholds were moved and whose `_until` the level is below
ends without waiting, because the operator has decided it.
"""

from enum import IntEnum

from penstock.engine.policy import Policy


class Rung(IntEnum):
    """How far the policy goes; each rung includes those below it."""

    CALM = 0
    THIN = 1
    REFUSE = 2
    REFUSE_BULK = 3


class Ladder:
    """The rung in force for one policy."""

    __slots__ = ("_at", "_below_since", "_dwell", "_level", "_until", "rung")

    def __init__(self, policy: Policy) -> None:
        self.rung = Rung.CALM
        self._level = 0.0
        # Since when the level has been below the end of the rung; None while it is not.
        self._below_since: float | None = None
        self._at, self._until, self._dwell = _thresholds(policy)

    def climb(self, level: float, now: float) -> Rung:
        """Take the level in; give the rung that it leads to."""
        self._level = level
        rung = self.rung
        at = self._at
        while rung < Rung.REFUSE_BULK and level >= at[rung + 1]:
            rung = Rung(rung + 1)
        if rung is not self.rung or level >= self._until[rung]:
            self._below_since = None
        elif self._below_since is None:
            self._below_since = now
        elif now - self._below_since >= self._dwell:
            rung = Rung(rung - 1)
            self._below_since = now if level < self._until[rung] else None
        self.rung = rung
        return rung

    def adopt(self, policy: Policy, now: float) -> Rung:
        """Go on with other knobs from the rung where it stands."""
        before = self._at, self._until
        self._at, self._until, self._dwell = _thresholds(policy)
        if before != (self._at, self._until):
            while self._level < self._until[self.rung]:
                self.rung = Rung(self.rung - 1)
                self._below_since = None
        return self.climb(self._level, now)

    def fork(self, policy: Policy, now: float) -> "Ladder":
        """Give a ladder that stands where this one does, for another policy."""
        other = Ladder(policy)
        other.rung, other._level = self.rung, self._level
        other._below_since = self._below_since
        other._at, other._until = self._at, self._until
        other.adopt(policy, now)
        return other


def _thresholds(policy: Policy) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    # By rung. CALM is reached and never left downwards, whatever the level.
    never = float("-inf")
    at = (never, policy.thin_at, policy.refuse_at, policy.refuse_bulk_at)
    until = (never, policy.thin_until, policy.refuse_until, policy.refuse_bulk_until)
    return at, until, policy.dwell_seconds
