"""The sluice: the one thing that actors ask whether a batch may come in.

Theory of operation
-------------------
The sluice keeps a weir for the policies in force and one for each candidate. A session's `Place`
has a seat at each. Every offer and every reading goes to all of them; only the answer of the
policies in force is given to the actor. So what a candidate counts is what it would have decided on
the same offers, readings and edits, had it been in force; a session that rests gives its seats up,
and on waking goes on everywhere from the account that counts.

What is lost after all (see below) can only be lost of what came in. A candidate is charged what it
would have taken of such a batch, nothing if it would have refused it. Of a batch that was refused
in force it is charged nothing more, since nobody knows what would have become of it. So the count
is exact where such losses are of batches that both took; it may be too little where the candidate
takes more, and has the losses of the policy in force, not those that its own load would cause.

An edit is adopted by a new epoch: a place that sees it looks its policy up again before it decides.
So an edit costs the same with ten thousand sessions as with one, and holds for the very next batch
of each.

The actor asks `decide` first and does what it says. Frames that were taken and are lost later (no
frame memory, a full disk, a crash) it reports by `lose`; those that thinning, refusing and making
room cost are in the account already.
"""

from collections.abc import Mapping
from typing import Protocol

from penstock.engine.decision_log import DecisionLog, inputs_of
from penstock.engine.decisions import ADMIT_CALM, Decision, Offer, Refuse, Thin
from penstock.engine.ladder import Rung
from penstock.engine.loss import LossAccount
from penstock.engine.policy import Policy
from penstock.engine.ports import Clock
from penstock.engine.stress import Readings, Stress, StressGauge
from penstock.engine.weir import InForce, Lookup, Weir, WeirStatistics
from penstock.engine.works import Seat, WorksStatistics


class PoliciesInForce(Protocol):
    """What the sluice needs of the book of policies."""

    @property
    def candidates(self) -> Mapping[str, object]:
        """Give what each candidate proposes. An equal value is the same proposal, going on."""
        ...

    def in_force(self, org_id: str, session_id: str) -> InForce:
        """Give what holds for a session; cheap, and the same object until the next edit."""
        ...

    def candidate_in_force(self, name: str, org_id: str, session_id: str) -> InForce:
        """Give what would hold for a session if the candidate were in force."""
        ...


class Place:
    """One live session's seats."""

    __slots__ = ("epoch", "org_id", "seat", "session_id", "shadows")

    def __init__(self, session_id: str, org_id: str, seat: Seat) -> None:
        self.session_id = session_id
        self.org_id = org_id
        self.seat = seat
        self.shadows: tuple[tuple[Weir, Seat], ...] = ()
        # The sluice's epoch that the seats are of.
        self.epoch = -1

    @property
    def loss(self) -> LossAccount:
        """Give the account that counts."""
        return self.seat.loss

    @property
    def policy(self) -> Policy:
        """Give the policy that the newest decision was made by."""
        return self.seat.works.policy

    @property
    def works(self) -> WorksStatistics:
        """Give where the session's works stands."""
        return self.seat.works.statistics()

    @property
    def promised_at(self) -> float | None:
        """Give the time (monotonic, past or not) until which a refused client was told to wait.

        None when it was told nothing, or has been taken since.
        """
        return self.seat.promised_at

    @property
    def over_budget(self) -> bool:
        """Say whether the session has lost more than its budget."""
        return self.seat.loss.over(self.seat.works.policy)

    @property
    def over_budget_by_service(self) -> bool:
        """Say whether it has also without what its client says that it never sent."""
        return self.seat.loss.over_by_service(self.seat.works.policy)

    def candidate_loss(self, weir: Weir) -> LossAccount | None:
        """Give the account under a candidate."""
        return next((seat.loss for at, seat in self.shadows if at is weir), None)


class Sluice:
    """Decides about every batch, by the policy in force for its session."""

    def __init__(self, book: PoliciesInForce, clock: Clock) -> None:
        self.log = DecisionLog()
        # Steps of the global policy's ladder.
        self.rung_changes = 0
        self._book = book
        self._clock = clock
        self._gauge = StressGauge()
        self._weir = Weir(book.in_force, clock.monotonic())
        self._candidates: dict[str, tuple[object, Weir]] = {}
        self._places: dict[str, Place] = {}
        self._unix = clock.unix()
        self._epoch = 0
        # Whether the next unusual decision is to be written down.
        self._sampling = False
        self.adopt()

    # Who is there.

    def join(self, session_id: str, org_id: str, loss: LossAccount) -> Place:
        """Give a session its place. `loss` is what it lost so far; the place goes on with it."""
        now = self._clock.monotonic()
        place = Place(session_id, org_id, self._weir.seat(org_id, session_id, loss, None, now))
        place.shadows = tuple(
            (weir, weir.seat(org_id, session_id, loss.copy(), None, now))
            for _, weir in self._candidates.values()
        )
        self._places[session_id] = place
        return place

    def leave(self, place: Place) -> None:
        """Forget a session that is live no more."""
        self._weir.unseat(place.seat)
        for weir, seat in place.shadows:
            weir.unseat(seat)
        if self._places.get(place.session_id) is place:
            del self._places[place.session_id]

    def place(self, session_id: str) -> Place | None:
        """Find a live session's place."""
        return self._places.get(session_id)

    # What the actors ask and report.

    def decide(self, place: Place, offer: Offer) -> Decision:
        """Decide about a batch, and count it."""
        if place.epoch != self._epoch or self._sampling:
            return self._decide_aside(place, offer)
        seat = place.seat
        decision = seat.works.decide(seat, offer, self._clock)
        for _, shadow in place.shadows:
            its = shadow.works.decide(shadow, offer, self._clock)
            if its is not decision or shadow.taken_otherwise is not None:
                _tell_apart(shadow, offer, decision, its)
        if decision is not ADMIT_CALM:
            self._sampling = self.log.wants_sample
        return decision

    def lose(self, place: Place, frames: int, first_ms: int, last_ms: int) -> None:
        """Hear of a batch that is lost after all, not by the policy: the frames of it taken."""
        self._refresh(place)
        _lose(place.seat, frames, first_ms, last_ms)
        for _, shadow in place.shadows:
            otherwise = shadow.taken_otherwise
            its = None if otherwise is None else otherwise.find(first_ms, last_ms)
            _lose(shadow, frames if its is None else its, first_ms, last_ms)

    def leave_unsent(self, place: Place, frames: int) -> None:
        """Hear of frames that the client could not send."""
        self._refresh(place)
        for seat in (place.seat, *(seat for _, seat in place.shadows)):
            seat.loss.leave_unsent(frames)

    # What moves it.

    def sense(self, readings: Readings, now: float, unix: float) -> Stress:
        """Take in how hard the service is pressed; to be called ten times a second."""
        self._unix = unix
        stress = self._gauge.read(readings, now)
        before = self.rung
        self._weir.sense(stress.level, now)
        self.rung_changes += abs(self.rung - before)
        for _, weir in self._candidates.values():
            weir.sense(stress.level, now)
        self.log.refill()
        self._sampling = False
        for session_id in self.log.expire(now):
            self._look_again(session_id)
        return stress

    def adopt(self) -> None:
        """Go by the book as it is now, from the very next decision on."""
        now = self._clock.monotonic()
        # Candidates first: a new one begins where the policy in force stood until now.
        standing = self._weir.base
        candidates: dict[str, tuple[object, Weir]] = {}
        for name, proposal in self._book.candidates.items():
            look_up = self._candidate_lookup(name)
            known = self._candidates.get(name)
            if known is not None and known[0] == proposal:
                known[1].adopt(look_up, now)
                candidates[name] = known
            else:
                candidates[name] = proposal, Weir(look_up, now, standing=standing)
        self._candidates = candidates
        self._weir.adopt(self._book.in_force, now)
        self._epoch += 1

    def follow(self, session_id: str) -> bool:
        """Keep every decision about a session for a while; false when too many are followed."""
        follows = self.log.follow(session_id, self._clock.monotonic())
        self._look_again(session_id)
        return follows

    # What it says of itself.

    @property
    def stress(self) -> Stress:
        """Give the stress as it was last sensed."""
        return self._gauge.stress

    @property
    def policy(self) -> Policy:
        """Give the policy of sessions that have none of their own."""
        return self._weir.base.policy

    @property
    def rung(self) -> Rung:
        """Give the rung of the global policy."""
        return self._weir.base.rung

    @property
    def refuses_bulk(self) -> bool:
        """Say whether bulk writes are refused. They are no session's: the global policy holds."""
        return self._weir.base.rung is Rung.REFUSE_BULK

    def in_force(self) -> tuple[WorksStatistics, ...]:
        """Give where each works stands, by the scopes that its policy comes from."""
        return self._weir.statistics().works

    def statistics(self) -> WeirStatistics:
        """Give what was decided so far."""
        return self._weir.statistics()

    def candidates(self) -> dict[str, WeirStatistics]:
        """Give what each candidate would have decided since it was proposed."""
        return {name: weir.statistics() for name, (_, weir) in self._candidates.items()}

    def candidate_loss(self, name: str, place: Place) -> LossAccount | None:
        """Give a session's account under a candidate; None before its first batch under it."""
        known = self._candidates.get(name)
        return None if known is None else place.candidate_loss(known[1])

    def sessions_over_budget(self) -> int:
        """Count the live sessions that have lost more than their budget.

        By lost frames that came: what clients only say that they never sent alarms nobody.
        """
        return sum(
            place.loss.lost > 0 and place.over_budget_by_service for place in self._places.values()
        )

    # How a place keeps up with the book.

    def _decide_aside(self, place: Place, offer: Offer) -> Decision:
        """Decide with more around it: after an edit, for a followed session, for the sample."""
        self._refresh(place)
        seat = place.seat
        inputs = inputs_of(seat.works, seat.loss, self._gauge.stress)
        decision = seat.works.decide(seat, offer, self._clock)
        for _, shadow in place.shadows:
            its = shadow.works.decide(shadow, offer, self._clock)
            if its is not decision or shadow.taken_otherwise is not None:
                _tell_apart(shadow, offer, decision, its)
        self.log.enter(self._unix, place.session_id, offer, inputs, decision)
        if self._sampling:
            self._sampling = self.log.wants_sample
        return decision

    def _refresh(self, place: Place) -> None:
        if place.epoch == self._epoch:
            return
        now = self._clock.monotonic()
        seat, org_id, session_id = place.seat, place.org_id, place.session_id
        kept = {id(weir): shadow for weir, shadow in place.shadows}
        origin = seat.works
        shadows = []
        for _, weir in self._candidates.values():
            shadow = kept.get(id(weir))
            if shadow is None:
                shadow = weir.seat(org_id, session_id, seat.loss.copy(), origin, now)
                shadow.promised_at = seat.promised_at
                shadow.dropped_since_kept = seat.dropped_since_kept
            else:
                weir.reseat(shadow, org_id, session_id, now)
            shadows.append((weir, shadow))
        place.shadows = tuple(shadows)
        self._weir.reseat(seat, org_id, session_id, now)
        # A followed session is never up to date, so that it always takes the way of `_refresh`.
        place.epoch = -1 if self.log.follows(session_id) else self._epoch

    def _look_again(self, session_id: str) -> None:
        place = self._places.get(session_id)
        if place is not None:
            place.epoch = -1

    def _candidate_lookup(self, name: str) -> Lookup:
        return lambda org_id, session_id: self._book.candidate_in_force(name, org_id, session_id)


def _tell_apart(shadow: Seat, offer: Offer, decision: Decision, its: Decision) -> None:
    """Note what a candidate takes of a batch, if that may be lost and is not what comes in.

    Behind one of which it took otherwise, every batch is noted: their times may overlap.
    """
    if isinstance(decision, Refuse):
        return
    taken = _taken(its, offer.frames)
    if shadow.taken_otherwise is None and taken == _taken(decision, offer.frames):
        return
    shadow.take_otherwise(offer, taken)


def _taken(decision: Decision, frames: int) -> int:
    if isinstance(decision, Thin):
        return decision.kept
    return 0 if isinstance(decision, Refuse) else frames


def _lose(seat: Seat, frames: int, first_ms: int, last_ms: int) -> None:
    if frames:
        seat.loss.lose(frames, first_ms, last_ms)
        seat.stirred = True
