"""The works: one merged policy at work, with its ladder and its waterline, for all who share it.

Theory of operation
-------------------
Each batch is asked in this order; the first rule that speaks decides:

1. the inbox's hard bound: refuse it, or make room by dropping the oldest (`inbox_mode`);
2. a promise: who waited as long as a refusal told is taken whole;
3. on REFUSE and above, refuse it, if the session's share and stretch of loss stay in bounds;
4. on THIN and above, or with the inbox above its soft bound, thin it, if the share does;
5. take it.

Sessions that began together would also give together, whole seconds of them at once. So within one
batch's loss below the line each waits for its turn, a place in the order that comes from its id.
With the line at the budget there is nothing to wait for.

The bound of the share is the waterline, which is at the budget or below except in overdraft; that
of the stretch is `gap_seconds`, except in overdraft. The soft bound is an early warning, so it
respects the budget as well: what protects the memory is the hard bound, and a certain loss now is
no cure for a possible one later. The hard bound alone is stronger than budget and promise.

Making room costs about as many frames as came, since a session's batches are alike; that is what
the account is charged, so that a candidate, which has no inbox of its own, counts the same.

A refusal says when the session's next batch would be taken if stress stayed as it is, and holds
that moment for the session: what comes then or later is taken. A batch that comes too early never
puts the moment off; one that is taken before has used it up.
"""

import math
from typing import NamedTuple

from penstock.engine.decisions import (
    ADMIT_CALM,
    ADMIT_LEVEL,
    ADMIT_MAKING_ROOM,
    ADMIT_PROMISED,
    ADMIT_SPARED,
    ADMIT_WHOLE,
    Admit,
    Cause,
    Decision,
    DecisionTally,
    Offer,
    Refuse,
    Thin,
)
from penstock.engine.ladder import Ladder, Rung
from penstock.engine.loss import LossAccount
from penstock.engine.outcomes import Reason
from penstock.engine.policy import InboxMode, Policy
from penstock.engine.ports import Clock
from penstock.engine.taken_otherwise import TakenOtherwise
from penstock.engine.waterline import Waterline

# The Portal sends a batch a second; who comes back earlier has nothing new to send.
_LEAST_WAIT_SECONDS = 1.0
# As in `rate`: a wait that was told must not be told again for a rounding of the clock.
_ROUNDING_SECONDS = 1e-6
# Larger than any `keep_every`: after a whole batch was lost, the next frame is kept.
_LONG_AGO = 1_000


class Seat:
    """One session's place under one policy: its account, and what was promised to it.

    `turn` is where the session is in the order of giving, 0 to 1 (see `Works`).
    """

    __slots__ = (
        "dropped_since_kept",
        "loss",
        "promised_at",
        "stirred",
        "taken_otherwise",
        "turn",
        "works",
    )

    def __init__(self, works: "Works", loss: LossAccount, turn: float) -> None:
        self.works = works
        self.loss = loss
        self.turn = turn
        self.promised_at: float | None = None
        # Frames dropped since the last one that was kept, so that thinning goes on evenly.
        self.dropped_since_kept = 0
        # False while a batch that is taken has nothing to reset.
        self.stirred = True
        # A candidate's, once it decided otherwise.
        self.taken_otherwise: TakenOtherwise | None = None

    def take_otherwise(self, offer: Offer, taken: int) -> None:
        """Remember what a candidate takes of a batch of which another part comes in."""
        if self.taken_otherwise is None:
            self.taken_otherwise = TakenOtherwise()
        self.taken_otherwise.note(offer, taken)

    def settle(self) -> None:
        """Forget what a batch that is taken whole ends."""
        self.promised_at = None
        self.dropped_since_kept = 0
        self.loss.stretch_first_ms = None
        self.stirred = False


class WorksStatistics(NamedTuple):
    """Where one works stands."""

    scopes: tuple[str, ...]
    policy: Policy
    rung: Rung
    waterline: float
    overdraft: bool
    sessions: int


class Works:
    """What decides for all sessions whose policy comes from the same scopes."""

    __slots__ = (
        "_calm",
        "_calm_batches",
        "_calm_bytes",
        "_due",
        "_ladder",
        "_level",
        "_offered",
        "_refusing",
        "_sensed_at",
        "_tally",
        "_waterline",
        "policy",
        "scopes",
        "seats",
    )

    def __init__(self, policy: Policy, scopes: tuple[str, ...], tally: DecisionTally) -> None:
        self.scopes = scopes
        self.seats = 0
        self._tally = tally
        self._ladder = Ladder(policy)
        self._waterline = Waterline()
        self._level = 0.0
        self._sensed_at: float | None = None
        # Frames that came from the seats' sessions, without those offered since the last reading.
        # No frame that a client only tells of: one that lies would make the line slow for all.
        self._due = 0
        self._offered = 0
        self._turn(policy)

    @property
    def rung(self) -> Rung:
        """Give the rung in force."""
        return self._ladder.rung

    @property
    def rung_at(self) -> float | None:
        """Give the stress at which the rung in force begins; None when calm."""
        policy = self.policy
        return (None, policy.thin_at, policy.refuse_at, policy.refuse_bulk_at)[self.rung]

    @property
    def waterline(self) -> Waterline:
        """Give the line in force."""
        return self._waterline

    def statistics(self) -> WorksStatistics:
        """Give where the works stands."""
        line = self._waterline
        return WorksStatistics(
            self.scopes, self.policy, self.rung, line.share, line.overdraft, self.seats
        )

    # Who belongs to it.

    def enter(self, came: int) -> None:
        """Count a session in, with the frames that came from it so far."""
        self.seats += 1
        self._due += came

    def leave(self, came: int) -> None:
        """Count a session out."""
        self.seats -= 1
        self._due -= came

    # What moves it.

    def sense(self, level: float, now: float) -> None:
        """Take in the level of stress."""
        dt = 0.0 if self._sensed_at is None else max(0.0, now - self._sensed_at)
        self._sensed_at = now
        self._level = level
        offered, self._offered = self._offered, 0
        self._due += offered
        rung = self._ladder.climb(level, now)
        self._waterline.move(self.policy, rung, level, dt=dt, due=self._due, offered=offered)
        self._heed(rung)

    def adopt(self, policy: Policy, now: float) -> None:
        """Go on with other knobs from where it stands; they count for the very next batch."""
        before = self._ladder.rung
        rung = self._ladder.adopt(policy, now)
        self._waterline.adopt(policy, before, rung)
        self._turn(policy)

    def fork(
        self, policy: Policy, scopes: tuple[str, ...], tally: DecisionTally, now: float
    ) -> "Works":
        """Give a works that stands where this one does, for another policy and nobody yet."""
        other = Works(policy, scopes, tally)
        other._ladder = self._ladder.fork(policy, now)
        other._waterline = self._waterline.fork()
        other._waterline.adopt(policy, self.rung, other.rung)
        other._level, other._sensed_at = self._level, self._sensed_at
        other._turn(policy)
        return other

    def _turn(self, policy: Policy) -> None:
        self.policy = policy
        self._calm_batches = policy.inbox_soft_batches
        self._calm_bytes = policy.inbox_soft_bytes
        self._heed(self._ladder.rung)

    def _heed(self, rung: Rung) -> None:
        self._calm = rung is Rung.CALM
        self._refusing = rung >= Rung.REFUSE

    # Deciding.

    def decide(self, seat: Seat, offer: Offer, clock: Clock) -> Decision:
        """Decide about a batch and enter it into the account."""
        frames, _, _, held_bytes, batches, waiting_bytes = offer
        self._offered += frames
        tally = self._tally
        tally.batches += 1
        tally.frames += frames
        if (
            self._calm
            and batches < self._calm_batches
            and waiting_bytes + held_bytes <= self._calm_bytes
        ):
            seat.loss.due += frames
            if seat.stirred:
                seat.settle()
            return ADMIT_CALM
        return self._weigh(seat, offer, clock.monotonic())

    def _weigh(self, seat: Seat, offer: Offer, now: float) -> Decision:
        policy = self.policy
        if (
            offer.inbox_batches >= policy.inbox_batches
            or offer.inbox_bytes + offer.held_bytes > policy.inbox_bytes
        ):
            return self._overflow(seat, offer)
        promised_at = seat.promised_at
        if promised_at is not None and now >= promised_at - _ROUNDING_SECONDS:
            return self._take(seat, offer.frames, ADMIT_PROMISED)
        if self._refusing and self._may_refuse(seat, offer):
            return self._refuse(seat, offer, now)
        # Also when calm: then it is the inbox's soft bound that has brought the batch here.
        return self._thin_or_take(seat, offer)

    def _overflow(self, seat: Seat, offer: Offer) -> Decision:
        policy = self.policy
        seat.stirred = True
        seat.dropped_since_kept = _LONG_AGO
        seat.loss.miss(offer.frames, offer.first_ms, offer.last_ms)
        if policy.inbox_mode is InboxMode.DROP_OLDEST:
            seat.promised_at = None
            self._tally.note(Cause.MADE_ROOM, offer.frames)
            return ADMIT_MAKING_ROOM
        self._tally.note(Cause.INBOX_FULL, offer.frames)
        knob, limit, seen = "inbox_batches", policy.inbox_batches, offer.inbox_batches + 1
        if offer.inbox_batches < policy.inbox_batches:
            knob, limit = "inbox_bytes", policy.inbox_bytes
            seen = offer.inbox_bytes + offer.held_bytes
        return Refuse(Cause.INBOX_FULL, Reason.INBOX_FULL, _LEAST_WAIT_SECONDS, knob, limit, seen)

    def _may_refuse(self, seat: Seat, offer: Offer) -> bool:
        return self._gives(seat, offer.frames, offer.frames) and seat.loss.stretch_with(
            offer.first_ms, offer.last_ms
        ) <= self._longest_ms(offer)

    def _gives(self, seat: Seat, frames: int, cost: int) -> bool:
        """Say whether the session's share allows it to give `cost` of these frames."""
        line, loss = self._waterline, seat.loss
        due = loss.due + frames
        lost = (loss.lost + cost) * 100
        if lost <= self.policy.loss_percent * due:
            if line.at_budget:
                return True
        elif not line.overdraft:
            return False  # and the line need not hear of it: it is not lifted beyond budgets
        needed = lost + seat.turn * cost * 100
        if needed <= line.height * due:
            return True
        line.spared(needed / due)
        return False

    def _longest_ms(self, offer: Offer) -> float:
        longest = self.policy.gap_seconds * 1000.0
        if self._waterline.overdraft:
            longest = max(longest, self._waterline.run * _cadence_ms(offer))
        return longest

    def _refuse(self, seat: Seat, offer: Offer, now: float) -> Refuse:
        loss = seat.loss
        loss.miss(offer.frames, offer.first_ms, offer.last_ms)
        self._waterline.gave()
        seat.stirred = True
        seat.dropped_since_kept = _LONG_AGO
        wait = self._wait(loss, offer)
        promised_at = seat.promised_at
        if promised_at is None or now + wait < promised_at:
            seat.promised_at = now + wait
        else:  # a promise is never put off
            wait = max(_LEAST_WAIT_SECONDS, promised_at - now)
        over = loss.over(self.policy)
        cause = Cause.OVERDRAFT_REFUSED if over else Cause.OVERLOAD_REFUSED
        self._tally.note(cause, offer.frames)
        return Refuse(cause, Reason.POLICY_REFUSED, wait)

    def _wait(self, loss: LossAccount, offer: Offer) -> float:
        """Foretell when the next batch would be taken, in the session's own cadence."""
        cadence_ms = _cadence_ms(offer)
        # How many more the stretch allows, and how many the share does.
        more = (self._longest_ms(offer) - loss.stretch_ms) / cadence_ms
        height = self._waterline.height
        if height < 100.0:
            left = height * loss.due - loss.lost * 100
            more = min(more, left / (offer.frames * (100.0 - height)))
        seconds = (math.floor(max(0.0, more)) + 1) * cadence_ms / 1000.0
        return min(self.policy.retry_after_max_seconds, max(_LEAST_WAIT_SECONDS, seconds))

    def _thin_or_take(self, seat: Seat, offer: Offer) -> Decision:
        frames = offer.frames
        policy, line, loss = self.policy, self._waterline, seat.loss
        every = policy.keep_every
        # The next kept frame is `every` after the last one; a batch always keeps one.
        first = min(frames - 1, max(0, every - 1 - seat.dropped_since_kept))
        kept = (frames - 1 - first) // every + 1
        dropped = frames - kept
        if not dropped:
            return self._take(seat, frames, ADMIT_WHOLE)
        over = (loss.lost + dropped) * 100 > policy.loss_percent * (loss.due + frames)
        if not self._gives(seat, frames, dropped) and (over or not self._over_soft_bounds(offer)):
            return self._take(seat, frames, ADMIT_SPARED if over else ADMIT_LEVEL)
        loss.take(frames, dropped)
        line.gave()
        seat.promised_at = None
        seat.dropped_since_kept = (frames - 1 - first) % every
        seat.stirred = True
        if over:
            cause = Cause.OVERDRAFT_THINNED
        elif self._calm:
            cause = Cause.BACKLOG_THINNED
        else:
            cause = Cause.OVERLOAD_THINNED
        self._tally.note(cause, dropped)
        return Thin(cause, every, first, kept, dropped)

    def _over_soft_bounds(self, offer: Offer) -> bool:
        return (
            offer.inbox_batches >= self._calm_batches
            or offer.inbox_bytes + offer.held_bytes > self._calm_bytes
        )

    def _take(self, seat: Seat, frames: int, admit: Admit) -> Admit:
        seat.loss.due += frames
        seat.settle()
        self._tally.note(admit.cause, 0)
        return admit


def _cadence_ms(offer: Offer) -> float:
    """Give the time from one batch's first frame to the next one's, as far as a batch shows it."""
    span = offer.last_ms - offer.first_ms
    if offer.frames < 2 or span <= 0:
        return 1000.0
    return span * offer.frames / (offer.frames - 1)
