"""What the drop policy takes of a batch: deciding, and counting what was decided.

Theory of operation
-------------------
::

    for each state and number of candidates: a sluice with its sessions, driven into that state
    repeat: the empty loop, then each of them in turn, so many batches

In process, without HTTP, since the policy costs microseconds and a request a hundred of them. A
round of all sessions is a second of the policy's time, in which stress is sensed ten times, as in
the service; that is in the figure. In the states thinning and refusing the policy has no loss
budget to mind, so nearly every batch is what the state is called. It is processor time of this
thread, so that what else the machine does counts little; the rest of it is in the range of repeats.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from types import MappingProxyType
from typing import Final, Literal

from penstock.bench.report.models import PolicyCost, PolicyCostRun
from penstock.engine.decisions import Decision, Offer, Refuse, Thin
from penstock.engine.loss import LossAccount
from penstock.engine.outcomes import FrameLedger, Reason, Tally
from penstock.engine.policy import DEFAULT_POLICY, Policy
from penstock.engine.sluice import Place, Sluice
from penstock.engine.stress import Readings

State = Literal["calm", "thinning", "refusing"]

# By a half between where a state's rung begins and where the next one does.
_LEVELS: Final[Mapping[State, int]] = MappingProxyType({"calm": 0, "thinning": 60, "refusing": 80})
STATES: Final[tuple[State, ...]] = ("calm", "thinning", "refusing")
CANDIDATES: Final = (0, 3)

_NO_BUDGET = replace(DEFAULT_POLICY, loss_percent=100.0, gap_seconds=600.0)
_FRAMES, _FRAME_MS, _HELD_BYTES = 10, 100, 5_000
_SENSED_A_SECOND = 10
# So many seconds of the policy's time until it stands where it will stay.
_WARM_SECONDS = 120


@dataclass(slots=True)
class _HandClock:
    """Moves only when it is told to."""

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
class _OneBook:
    """The same policy for everybody, and candidates that thin a little sooner or later."""

    base: _InForce
    proposed: Mapping[str, _InForce]

    @property
    def candidates(self) -> Mapping[str, object]:
        return self.proposed

    def in_force(self, org_id: str, session_id: str) -> _InForce:  # noqa: ARG002  all have the same
        return self.base

    def candidate_in_force(self, name: str, org_id: str, session_id: str) -> _InForce:  # noqa: ARG002
        return self.proposed[name]


@dataclass(slots=True)
class _Bench:
    """One sluice in one state, and where its sessions are in their time."""

    state: State
    candidates: int
    sluice: Sluice
    clock: _HandClock
    places: list[tuple[Place, Tally]]
    readings: Readings
    ledger: FrameLedger = field(default_factory=FrameLedger)
    second: int = 0
    repeats_us: list[float] = field(default_factory=list[float])
    outcomes: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    def make(cls, state: State, candidates: int, sessions: int) -> "_Bench":
        policy = DEFAULT_POLICY if state == "calm" else _NO_BUDGET
        proposed = {
            f"candidate-{n}": _InForce(replace(policy, thin_at=policy.thin_at - n - 1.0))
            for n in range(candidates)
        }
        clock = _HandClock()
        sluice = Sluice(_OneBook(_InForce(policy), proposed), clock)
        places = [
            (sluice.join(f"session-{n}", "org", LossAccount()), Tally()) for n in range(sessions)
        ]
        # Of the parts of stress, the memory's is the plainest: its percentage is the level.
        readings = Readings(_LEVELS[state], 100, 0, 1, 0.0, 0.0)
        made = cls(state, candidates, sluice, clock, places, readings)
        for _ in range(_WARM_SECONDS):
            made.pass_second()
        made.outcomes.clear()
        return made

    def pass_second(self) -> None:
        """Let each session offer a batch, and count what is decided as the actors do."""
        sluice, clock, ledger = self.sluice, self.clock, self.ledger
        decide, admit, refuse, settle = sluice.decide, ledger.admit, ledger.refuse, ledger.settle
        first_ms = self.second * _FRAMES * _FRAME_MS
        last_ms = first_ms + (_FRAMES - 1) * _FRAME_MS
        every = max(1, len(self.places) // _SENSED_A_SECOND)
        thinned = refused = 0
        for number, (place, tally) in enumerate(self.places):
            if number % every == 0:
                clock.now += 1.0 / _SENSED_A_SECOND
                sluice.sense(self.readings, clock.now, clock.now)
            decision: Decision = decide(place, Offer(_FRAMES, first_ms, last_ms, _HELD_BYTES, 0, 0))
            if isinstance(decision, Refuse):
                refuse(tally, decision.reason, _FRAMES)
                refused += 1
                continue
            admit(tally, _FRAMES)
            if isinstance(decision, Thin):
                settle(tally, Reason.POLICY_THINNED, decision.dropped)
                thinned += 1
        self.second += 1
        self.outcomes.update(
            admit=len(self.places) - thinned - refused, thin=thinned, refuse=refused
        )

    def pass_empty_second(self) -> None:
        """Go round the sessions, and ask nobody."""
        every = max(1, len(self.places) // _SENSED_A_SECOND)
        turns = 0
        for number, (_place, _tally) in enumerate(self.places):
            if number % every == 0:
                turns += 1


def measure_policy_cost(
    *, sessions: int, seconds: int, repeats: int, tell: Callable[[str], None]
) -> PolicyCostRun:
    """Measure every state with and without candidates. A repeat is `seconds` rounds of all."""
    benches = []
    for state in STATES:
        for candidates in CANDIDATES:
            tell(f"bringing a policy to where it is {state}, with {candidates} candidates")
            benches.append(_Bench.make(state, candidates, sessions))
    batches = sessions * seconds
    empty: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for repeat in range(repeats):
            empty.append(_us_a_batch(benches[0].pass_empty_second, seconds, batches))
            for one in benches:
                one.repeats_us.append(_us_a_batch(one.pass_second, seconds, batches))
            gc.collect()
            tell(f"repeat {repeat + 1} of {repeats}")
    finally:
        if collecting:
            gc.enable()
    nothing = median(empty)
    return PolicyCostRun(
        batches=batches,
        sessions=sessions,
        empty_loop_us=nothing,
        costs=[
            PolicyCost(
                state=one.state,
                candidates=one.candidates,
                us_a_batch=median(one.repeats_us) - nothing,
                repeats_us=[value - nothing for value in one.repeats_us],
                outcomes={what: count for what, count in one.outcomes.items() if count},
            )
            for one in benches
        ],
    )


def _us_a_batch(pass_second: Callable[[], None], seconds: int, batches: int) -> float:
    begun = time.thread_time()
    for _ in range(seconds):
        pass_second()
    return (time.thread_time() - begun) / batches * 1e6
