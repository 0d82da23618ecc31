"""What was decided, and upon what: a sample for the process, everything for followed sessions.

The sample is of batches that were not simply taken, since those are what somebody asks about; so
many a second at most, so that an overload is not made worse by writing about it. A followed
session's decisions are kept one and all, for as long as it is followed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from penstock.engine.decisions import Admit, Cause, Decision, Offer, Refuse, Thin, Verdict
from penstock.engine.ladder import Rung
from penstock.engine.loss import LossAccount
from penstock.engine.stress import Stress
from penstock.engine.works import Works

MAX_FOLLOWED = 16
FOLLOWED_SECONDS = 600.0
SAMPLED_ENTRIES = 512
FOLLOWED_ENTRIES = 256
# Ten readings a second: at most fifty entries a second.
_ENTRIES_A_READING = 5


class Inputs(NamedTuple):
    """What a decision was made upon, as it was before the decision."""

    rung: Rung
    stress: Stress
    waterline: float
    overdraft: bool
    due: int
    lost: int
    stretch_ms: int
    loss_percent: float
    gap_seconds: float
    scopes: tuple[str, ...]
    # The stress at which the rung begins; None when calm.
    rung_at: float | None


class Entry(NamedTuple):
    """One decision. `frames_lost` are those of the batch that it cost."""

    unix: float
    session_id: str
    verdict: Verdict
    cause: Cause
    frames_lost: int
    retry_after: float | None
    offer: Offer
    inputs: Inputs

    @property
    def words(self) -> str:
        """Say in a sentence what was decided and why."""
        what = {
            Verdict.ADMIT: "taken",
            Verdict.THIN: f"thinned by {self.frames_lost} of {self.offer.frames} frames",
            Verdict.REFUSE: "refused",
        }[self.verdict]
        inputs = self.inputs
        rung = inputs.rung.name
        if inputs.rung_at is not None:
            rung = f"{rung} from {inputs.rung_at:g}"
        share = 100.0 * inputs.lost / inputs.due if inputs.due else 0.0
        return (
            f"{what}: {self.cause.words} (stress {inputs.stress.level:.0f}, {rung}; "
            f"lost {share:.1f} % of {inputs.due} frames, waterline {100 * inputs.waterline:.1f} %, "
            f"budget {inputs.loss_percent:g} %)"
        )


@dataclass(slots=True, frozen=True)
class Run:
    """Decisions about one session, one after the other and for the same cause.

    `from_ms` and `until_ms` are the session times of their frames, `words` those of the newest.
    """

    cause: Cause
    first_unix: float
    last_unix: float
    from_ms: int
    until_ms: int
    batches: int
    frames: int
    frames_lost: int
    words: str

    @property
    def costs(self) -> bool:
        """Say whether frames were given up."""
        return self.cause.verdict is not Verdict.ADMIT or self.cause is Cause.MADE_ROOM

    def then(self, entry: Entry) -> "Run":
        """Go on with one more of the same cause."""
        return replace(
            self,
            last_unix=entry.unix,
            from_ms=min(self.from_ms, entry.offer.first_ms),
            until_ms=max(self.until_ms, entry.offer.last_ms),
            batches=self.batches + 1,
            frames=self.frames + entry.offer.frames,
            frames_lost=self.frames_lost + entry.frames_lost,
            words=entry.words,
        )


def runs_of(newest: Sequence[Entry]) -> list[Run]:
    """Put a session's decisions, given the newest first, together by cause, the oldest first."""
    runs: list[Run] = []
    for entry in reversed(newest):
        if runs and runs[-1].cause is entry.cause:
            runs[-1] = runs[-1].then(entry)
            continue
        offer = entry.offer
        runs.append(
            Run(
                entry.cause,
                entry.unix,
                entry.unix,
                offer.first_ms,
                offer.last_ms,
                1,
                offer.frames,
                entry.frames_lost,
                entry.words,
            )
        )
    return runs


def inputs_of(works: Works, loss: LossAccount, stress: Stress) -> Inputs:
    """Write down what the next decision will be made upon."""
    policy = works.policy
    line = works.waterline
    return Inputs(
        works.rung,
        stress,
        line.share,
        line.overdraft,
        loss.due,
        loss.lost,
        loss.stretch_ms,
        policy.loss_percent,
        policy.gap_seconds,
        works.scopes,
        works.rung_at,
    )


class _Followed:
    __slots__ = ("entries", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.entries: deque[Entry] = deque(maxlen=FOLLOWED_ENTRIES)


class DecisionLog:
    """The rings. `wants_sample` says whether the next unusual decision is to be entered."""

    __slots__ = ("_followed", "_left", "_sampled")

    def __init__(self) -> None:
        self._sampled: deque[Entry] = deque(maxlen=SAMPLED_ENTRIES)
        self._followed: dict[str, _Followed] = {}
        self._left = _ENTRIES_A_READING

    @property
    def wants_sample(self) -> bool:
        """Say whether there is room in the sample before the next reading."""
        return self._left > 0

    def follow(self, session_id: str, now: float) -> bool:
        """Keep everything about a session for a while; false when too many are followed."""
        followed = self._followed.get(session_id)
        if followed is None:
            self.expire(now)
            if len(self._followed) >= MAX_FOLLOWED:
                return False
            followed = self._followed[session_id] = _Followed(now)
        followed.until = now + FOLLOWED_SECONDS
        return True

    def follows(self, session_id: str) -> bool:
        """Say whether everything about the session is kept."""
        return session_id in self._followed

    def expire(self, now: float) -> list[str]:
        """Stop following whom nobody has asked about for long; give their ids."""
        over = [name for name, followed in self._followed.items() if followed.until <= now]
        for name in over:
            del self._followed[name]
        return over

    def refill(self) -> None:
        """Let the sample take some more."""
        self._left = _ENTRIES_A_READING

    def enter(
        self, unix: float, session_id: str, offer: Offer, inputs: Inputs, decision: Decision
    ) -> None:
        """Write a decision down, where it belongs."""
        followed = self._followed.get(session_id)
        unusual = decision.cause.verdict is not Verdict.ADMIT or decision.cause is Cause.MADE_ROOM
        sampled = unusual and self._left > 0
        if followed is None and not sampled:
            return
        entry = _entry(unix, session_id, offer, inputs, decision)
        if followed is not None:
            followed.entries.append(entry)
        if sampled:
            self._left -= 1
            self._sampled.append(entry)

    def newest(self, limit: int, session_id: str | None = None) -> list[Entry]:
        """Give the newest entries, newest first: of a session, or the sample."""
        if session_id is None:
            entries = list(self._sampled)
        elif session_id in self._followed:
            entries = list(self._followed[session_id].entries)
        else:
            entries = [entry for entry in self._sampled if entry.session_id == session_id]
        return entries[::-1][:limit]


def _entry(unix: float, session_id: str, offer: Offer, inputs: Inputs, decision: Decision) -> Entry:
    lost, retry_after = 0, None
    match decision:
        case Admit(make_room=True):
            lost = offer.frames
        case Thin(dropped=dropped):
            lost = dropped
        case Refuse(retry_after=wait):
            lost, retry_after = offer.frames, wait
        case Admit():
            pass
    cause = decision.cause
    return Entry(unix, session_id, cause.verdict, cause, lost, retry_after, offer, inputs)
