"""A weir: everything that one set of policies decides, be it the one in force or a candidate.

Sessions whose policy comes from the same scopes share a works. An edit turns the works' knobs; a
scope that gets its first edition, or loses its last, moves its sessions to another works, which
begins where the one they come from stands.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from penstock.engine.decisions import Cause, Count, DecisionTally
from penstock.engine.loss import LossAccount
from penstock.engine.policy import Policy
from penstock.engine.works import Seat, Works, WorksStatistics


class InForce(Protocol):
    """The policy that holds for a session, and the scopes that it was merged from."""

    @property
    def policy(self) -> Policy:
        """Give the merged policy."""
        ...

    @property
    def scopes(self) -> tuple[str, ...]:
        """Give the scopes, the widest first. The same scopes mean the same policy."""
        ...


Lookup = Callable[[str, str], InForce]
"""Gives what is in force, by organisation and session. `("", "")` stands for nobody's own."""


class WeirStatistics(NamedTuple):
    """What a set of policies has decided so far, and where it stands."""

    batches: int
    frames: int
    frames_lost: int
    by_cause: dict[Cause, Count]
    works: tuple[WorksStatistics, ...]


class Weir:
    """The works of one set of policies. `base` is the one that works for nobody's own policy."""

    __slots__ = ("_look_up", "_works", "base", "tally")

    def __init__(self, look_up: Lookup, now: float, *, standing: Works | None = None) -> None:
        """Begin calm, or where another weir's base stands."""
        self._look_up = look_up
        self.tally = DecisionTally()
        found = look_up("", "")
        self.base = (
            Works(found.policy, found.scopes, self.tally)
            if standing is None
            else standing.fork(found.policy, found.scopes, self.tally, now)
        )
        self._works = {found.scopes: self.base}

    def adopt(self, look_up: Lookup, now: float) -> None:
        """Turn the base to what is in force now; sessions follow by `reseat` when they offer."""
        self._look_up = look_up
        before = self.base
        self.base = self._works_for("", "", before, now)
        if before is not self.base and not before.seats:
            del self._works[before.scopes]

    def seat(
        self, org_id: str, session_id: str, loss: LossAccount, origin: Works | None, now: float
    ) -> Seat:
        """Seat a session; a works that has to be made for it begins where `origin` stands."""
        works = self._works_for(org_id, session_id, origin or self.base, now)
        works.enter(loss.came)
        turn = zlib.crc32(session_id.encode()) / 2**32
        return Seat(works, loss, turn)

    def reseat(self, seat: Seat, org_id: str, session_id: str, now: float) -> None:
        """Move a session to where it belongs since the last edit."""
        before = seat.works
        works = self._works_for(org_id, session_id, before, now)
        if works is not before:
            self.unseat(seat)
            works.enter(seat.loss.came)
            seat.works = works

    def unseat(self, seat: Seat) -> None:
        """Let a session go."""
        works = seat.works
        works.leave(seat.loss.came)
        if not works.seats and works is not self.base:
            self._works.pop(works.scopes, None)

    def sense(self, level: float, now: float) -> None:
        """Take in the level of stress."""
        for works in self._works.values():
            works.sense(level, now)

    def statistics(self) -> WeirStatistics:
        """Give the counts and where each works stands."""
        tally = self.tally
        works = tuple(works.statistics() for works in self._works.values())
        return WeirStatistics(tally.batches, tally.frames, tally.frames_lost, tally.counts(), works)

    def _works_for(self, org_id: str, session_id: str, origin: Works, now: float) -> Works:
        found = self._look_up(org_id, session_id)
        works = self._works.get(found.scopes)
        if works is None:
            works = origin.fork(found.policy, found.scopes, self.tally, now)
            self._works[found.scopes] = works
        elif works.policy is not found.policy and works.policy != found.policy:
            works.adopt(found.policy, now)
        return works
