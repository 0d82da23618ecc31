"""A service under a load that never ends, as far as the drop policy can tell it from a real one.

Theory of operation
-------------------
::

    places -> a session after the other in each -> batches, due as they were recorded
                                                        |  one under way a client, two waiting
    answers <- one server, a batch at a time <- a queue -┘
                    └-> the policy itself: the sluice and all behind it, at a clock moved by hand

The sluice is the one that serves. What is modelled is around it: how long a batch takes, and what
clients do. A batch takes `1 / capacity` seconds if it is taken whole; `COSTS` says what others take
of that. The capacity is what the places offer, divided by the load. The policy is sensed ten times
a second and told for how long the batch that is next has waited, which is what presses a service
whose processor is what it lacks. Disk and memory press it in no way here, nor do inboxes.

Clients are as `bench pressure` has them: who is refused sends nothing for the whole seconds that
Retry-After tells, and what was waiting is given up; two batches wait behind the one under way, and
when one more is due, the oldest is given up. What was not sent is told with the next batch.

Each session is looked at once a run, when the load has been there for a while: the place that comes
to play it does so from its beginning. Arrivals follow from the seed alone, so all policies are
tried on the same ones.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final, NamedTuple

import numpy as np

from penstock.bench.tune.fates import Codes, Fate, thinned
from penstock.bench.tune.takes import Outline
from penstock.engine.decisions import Offer, Refuse, Thin
from penstock.engine.loss import LossAccount
from penstock.engine.policy import Policy
from penstock.engine.sluice import Place, Sluice
from penstock.engine.stress import Readings
from penstock.engine.wire import BYTES_PER_FRAME

MOST_WAITING: Final = 2
# Places begin within so many seconds, and sessions are looked at from then on.
_BEGIN_SECONDS: Final = 5.0
WARM_SECONDS: Final = 20.0
_SENSE_SECONDS: Final = 0.1


class Costs(NamedTuple):
    """Processor time of a request, as a share of that of a batch which is taken whole."""

    refused: float
    thinned: float


# Over HTTP with batches of ten frames, the least of nine rounds, in microseconds: whole 121,
# refused 130, thinned to a half 110, to a tenth 128; in a shorter run on a quieter machine 103,
# 126, 124 and 106. So a thinned batch costs what a whole one does, and a refused one a little more:
# the frames have been received, inflated and read when the policy is asked.
COSTS: Final = Costs(refused=1.1, thinned=1.0)


class Scene(NamedTuple):
    """What all runs of a tuning have in common: the sessions, and how many places play them.

    Sessions are looked at from `warm_seconds` on. Without such a time the service is new, and all
    places begin with a session's beginning.
    """

    outlines: tuple[Outline, ...]
    places: int
    warm_seconds: float = WARM_SECONDS

    @property
    def batches_a_second(self) -> float:
        """Give what all places together offer."""
        batches = sum(len(one.frames) for one in self.outlines)
        return self.places * batches / sum(one.seconds for one in self.outlines)


class Modelled(NamedTuple):
    """One run: what became of each session's batches, and how the service fared meanwhile.

    `wait_seconds` is the mean time that a batch waited for its turn, `stress` the mean level.
    """

    codes: tuple[Codes, ...]
    wait_seconds: float
    stress: float


def simulate(scene: Scene, policy: Policy, load: float, seed: int) -> Modelled:
    """Run the scene under a policy, at a load in multiples of the capacity."""
    return _Run(scene, policy, load, seed).run()


@dataclass(slots=True)
class _Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


@dataclass(slots=True, frozen=True)
class _InForce:
    policy: Policy
    scopes: tuple[str, ...] = ("global",)


@dataclass(slots=True, frozen=True)
class _Book:
    """One policy for everybody."""

    base: _InForce

    @property
    def candidates(self) -> Mapping[str, object]:
        return {}

    def in_force(self, org_id: str, session_id: str) -> _InForce:  # noqa: ARG002  all have the same
        return self.base

    def candidate_in_force(self, name: str, org_id: str, session_id: str) -> _InForce:  # noqa: ARG002
        return self.base


@dataclass(slots=True, eq=False)
class _Play:
    """One session in one place, from one of its batches on, and the client that sends it."""

    outline: Outline
    place: int
    begins: float
    next: int
    codes: Codes
    looked_at: bool
    at_sluice: Place
    busy: bool = False
    waiting: deque[int] = field(default_factory=deque[int])
    until: float = -math.inf
    unsent: int = 0

    @property
    def due(self) -> float:
        """Give when the next batch is complete."""
        return self.begins + self.outline.last_ms[self.next] / 1000

    @property
    def over(self) -> bool:
        """Say whether nothing is due, under way or waiting any more."""
        return self.next == len(self.outline.frames) and not self.busy and not self.waiting


class _Run:
    """The places, the queue and the server of one run."""

    def __init__(self, scene: Scene, policy: Policy, load: float, seed: int) -> None:
        self.scene = scene
        self.seed = seed
        # What a batch takes that is taken whole.
        self.batch_seconds = load / scene.batches_a_second
        self.clock = _Clock()
        self.sluice = Sluice(_Book(_InForce(policy)), self.clock)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()
        self.queue: deque[tuple[_Play, int, float]] = deque()
        self.serving = False
        self.sensed_at = 0.0
        self.found: dict[int, Codes] = {}
        self.open = len(scene.outlines)
        self.waited = self.stressed = 0.0
        self.served = self.sensed = 0
        # One source of chance a place, so that arrivals do not depend on what is decided.
        self.chances = [self._chance(place) for place in range(scene.places)]
        for place, chance in enumerate(self.chances):
            self._at(chance.uniform(0.0, _BEGIN_SECONDS), partial(self._begin, place, first=True))

    def _chance(self, place: int) -> random.Random:
        return random.Random(f"{self.seed} place {place}")  # noqa: S311  it is to be repeatable

    def _at(self, at: float, then: Callable[[], None]) -> None:
        heapq.heappush(self.events, (at, next(self.numbers), then))

    def run(self) -> Modelled:
        """Go on until each session has been looked at, to its end."""
        while self.open:
            at, _, then = heapq.heappop(self.events)
            while self.sensed_at + _SENSE_SECONDS <= at:
                self._sense(self.sensed_at + _SENSE_SECONDS)
            self.clock.now = at
            then()
        return Modelled(
            tuple(self.found[number] for number in range(len(self.scene.outlines))),
            self.waited / max(1, self.served),
            self.stressed / max(1, self.sensed),
        )

    def _sense(self, now: float) -> None:
        self.clock.now = self.sensed_at = now
        delay = now - self.queue[0][2] if self.queue else 0.0
        stress = self.sluice.sense(Readings(0, 1, 0, 1, 0.0, delay), now, now)
        if now >= self.scene.warm_seconds:
            self.stressed += stress.level
            self.sensed += 1

    # Who plays what.

    def _begin(self, place: int, *, first: bool = False) -> None:
        """Let a session begin in a place; in the first one the place is somewhere in its midst."""
        now, chance, outlines = self.clock.now, self.chances[place], self.scene.outlines
        number = chance.randrange(len(outlines))
        share = chance.random() if first and self.scene.warm_seconds else 0.0
        looked_at = (
            now >= self.scene.warm_seconds and place < len(outlines) and place not in self.found
        )
        if looked_at:
            number = place
        outline = outlines[number]
        codes = np.zeros(len(outline.frames), np.uint8)
        if looked_at:
            self.found[number] = codes
        batch = int(share * len(outline.frames))
        # The id decides the session's turn among the others, so each seed has other ids.
        session_id = f"{self.seed}-{place}-{next(self.numbers)}"
        play = _Play(
            outline,
            place,
            now - outline.first_ms[batch] / 1000,
            batch,
            codes,
            looked_at,
            self.sluice.join(session_id, "org", LossAccount()),
        )
        self._at(play.due, partial(self._come_due, play))

    def _close_if_over(self, play: _Play) -> None:
        if play.over:
            self.sluice.leave(play.at_sluice)
            self.open -= play.looked_at

    # What clients do.

    def _come_due(self, play: _Play) -> None:
        number = play.next
        play.next += 1
        if play.next < len(play.outline.frames):
            self._at(max(self.clock.now, play.due), partial(self._come_due, play))
        else:
            ends = max(self.clock.now, play.begins + play.outline.seconds)
            self._at(ends, partial(self._begin, play.place))
        if self.clock.now < play.until:
            self._miss(play, number, Fate.WITHHELD)
        elif play.busy:
            play.waiting.append(number)
            if len(play.waiting) > MOST_WAITING:
                self._miss(play, play.waiting.popleft(), Fate.GIVEN_UP)
        else:
            self._send(play, number)
        self._close_if_over(play)

    def _miss(self, play: _Play, number: int, fate: Fate) -> None:
        play.codes[number] = fate
        play.unsent += play.outline.frames[number]

    def _send(self, play: _Play, number: int) -> None:
        play.busy = True
        self.queue.append((play, number, self.clock.now))
        if not self.serving:
            self._serve()

    # What the service does.

    def _serve(self) -> None:
        """Decide about the batch that is next, as its turn comes, and work on it."""
        play, number, came = self.queue.popleft()
        self.serving = True
        now = self.clock.now
        if now >= self.scene.warm_seconds:
            self.waited += now - came
            self.served += 1
        frames, first, last = (part[number] for part in play.outline[1:])
        unsent, play.unsent = play.unsent, 0
        offer = Offer(frames, first, last, frames * BYTES_PER_FRAME, 0, 0)
        decision = self.sluice.decide(play.at_sluice, offer)
        cost, wait = 1.0, 0
        if isinstance(decision, Refuse):
            # The header has whole seconds.
            cost, wait = COSTS.refused, max(1, math.ceil(decision.retry_after))
            play.codes[number] = Fate.REFUSED
        else:
            if isinstance(decision, Thin):
                cost = COSTS.thinned
                play.codes[number] = thinned(decision.keep_every, decision.first)
            if unsent:
                self.sluice.leave_unsent(play.at_sluice, unsent)
        self._at(now + cost * self.batch_seconds, partial(self._answer, play, wait))

    def _answer(self, play: _Play, wait: int) -> None:
        play.busy = False
        if wait:
            play.until = self.clock.now + wait
            while play.waiting:
                self._miss(play, play.waiting.popleft(), Fate.GIVEN_UP)
        elif play.waiting:
            self._send(play, play.waiting.popleft())
        self._close_if_over(play)
        self.serving = False
        if self.queue:
            self._serve()
