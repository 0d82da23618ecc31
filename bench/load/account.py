"""What became of every request of one worker: the seconds as they pass, and the whole. Pure.

Every frame that was sent is in exactly one of accepted, thinned, refused and unanswered. Every
request that came due has exactly one outcome:

    an answer      its status, and a problem document's code behind it: `202`, `429 inbox_full`
    closed         the connection ended first          unreadable   what came was no answer
    unanswered     the run ended first                 unsent       it never got a connection
    held           a slow client was not cut off       unfinished   a slow client when the run ended
    withheld       it came due while its patient had been told to wait
    given up       it waited in its patient's client until newer ones took its place, or the patient
                   was refused, or ended

A `Tick` counts honest patients' requests only, of all kinds, but the latencies are those of poses
that were accepted: refusals are quick, and would make a server that refuses much look fast.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.bench.answers import UnreadableAnswerError
from penstock.bench.latencies import Latencies
from penstock.bench.load.hostile import is_right
from penstock.bench.load.ledger import SessionLedger
from penstock.bench.load.losses import LossTable
from penstock.bench.load.plan import Kind
from penstock.bench.load.replies import Reply, read_accepted

_MOST_EXAMPLES = 20
_TAKEN = "202"
# Under this name, beside the kinds of request, are the latencies of poses that were refused.
POSE_REFUSED = "pose refused"
# Those of accepted poses, once more, of all organisations but the first.
POSE_OF_OTHERS = "pose of the others"
# Of what a server says: as much as an identifier is long.
_MOST_NAMED = 64
# What the server says itself that it did not take; after any other 5xx nobody knows.
_CERTAIN = 503


@dataclass(slots=True)
class Tick:
    """One second of one worker; `at` counts from the run's begin.

    `latencies_us` holds one value for each pose accepted in this second. `backlog` are requests
    that are due and not sent, `lag_us` is how late the worker itself looked at the latest request,
    `cpu_share` its processor time.
    """

    at: int
    planned: int = 0
    sent: int = 0
    answered: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    latencies_us: "array[int]" = field(default_factory=lambda: array("I"))
    backlog: int = 0
    lag_us: int = 0
    cpu_share: float = 0.0
    open_connections: int = 0


@dataclass
class WorkerAccount:
    """The whole run of one worker; picklable.

    `latencies` are histograms as `Latencies` encodes them, by kind, refused poses apart.
    Frames are those of honest patients' poses; `frames_refused` is by code, or by status where
    there is none. `hostile_frames` says, by outcome, how many frames malformed batches claimed.
    `frames_told` are frames withheld or given up that the server was told of in a request that it
    took, by the reason told, and `frames_told_perhaps` in one that it refused or left without an
    answer.
    """

    latencies: dict[str, bytes] = field(default_factory=dict)
    outcomes: dict[Kind, dict[str, int]] = field(default_factory=dict)
    frames_sent: int = 0
    frames_accepted: int = 0
    frames_thinned: int = 0
    frames_withheld: int = 0
    frames_given_up: int = 0
    frames_told: dict[str, int] = field(default_factory=dict)
    frames_told_perhaps: dict[str, int] = field(default_factory=dict)
    frames_refused: dict[str, int] = field(default_factory=dict)
    frames_unanswered: int = 0
    batches_unanswered: int = 0
    hostile_frames: dict[str, int] = field(default_factory=dict)
    mismatches: int = 0
    mismatch_examples: list[str] = field(default_factory=list)
    wrong_hostile: dict[str, int] = field(default_factory=dict)
    retry_after: dict[str, int] = field(default_factory=dict)
    losses: LossTable = field(default_factory=LossTable)
    sessions_started: int = 0
    connects_refused: int = 0


class Account:
    """Counts into the tick of the current second and into the whole."""

    def __init__(self) -> None:
        self.tick = Tick(0)
        self.backlog = 0
        self._whole = WorkerAccount()
        self._latencies: dict[str, Latencies] = {}
        self._poses = Latencies()

    def next_tick(self) -> Tick:
        """Give the second that is over, and begin the next."""
        done, self.tick = self.tick, Tick(self.tick.at + 1)
        done.backlog = self.backlog
        self._poses.record_all(done.latencies_us)
        return done

    def finish(self, connects_refused: int, losses: LossTable) -> WorkerAccount:
        """Give the whole, after the last tick."""
        whole = self._whole
        whole.connects_refused = connects_refused
        whole.losses = losses
        if self._poses:
            self._latencies[Kind.POSE.value] = self._poses
        whole.latencies = {name: found.encode() for name, found in self._latencies.items()}
        return whole

    def came_due(self, lag_us: int) -> None:
        """Count an honest request."""
        tick = self.tick
        tick.planned += 1
        self.backlog += 1
        tick.lag_us = max(tick.lag_us, lag_us)

    def session_started(self) -> None:
        """Count a session."""
        self._whole.sessions_started += 1

    def was_sent(self) -> None:
        """Count that an honest request got its connection."""
        self.tick.sent += 1
        self.backlog -= 1

    def pose_sent(self, ledger: SessionLedger, frames: int) -> None:
        """Count the frames of a batch that goes out."""
        ledger.count_sent(frames)
        self._whole.frames_sent += frames

    def withheld(self, frames: int) -> None:
        """Count a batch that is not sent, since its patient has been told to wait."""
        self.backlog -= 1
        self._whole.frames_withheld += frames

    def given_up(self, frames: int) -> None:
        """Count a batch that waited in its client, and is not sent any more."""
        self.backlog -= 1
        self._whole.frames_given_up += frames

    def told(self, tells: Mapping[str, int], *, taken: bool) -> None:
        """Count the frames never sent that a request named."""
        whole = self._whole
        counts = whole.frames_told if taken else whole.frames_told_perhaps
        for reason, frames in tells.items():
            counts[reason] = counts.get(reason, 0) + frames

    def pose_answered(
        self, ledger: SessionLedger, session_id: str, frames: int, reply: Reply
    ) -> str:
        """Count the frames of an answered batch; give its outcome."""
        whole = self._whole
        if reply.status != 202:
            if reply.status < 300:
                return self.pose_lost(ledger, frames, "unreadable")
            code = reply.code or str(reply.status)
            ledger.count_refused(frames, certain=reply.status < 500 or reply.status == _CERTAIN)
            whole.frames_refused[code] = whole.frames_refused.get(code, 0) + frames
            if reply.retry_after is not None:
                wait = str(reply.retry_after)
                whole.retry_after[wait] = whole.retry_after.get(wait, 0) + 1
            return reply.outcome
        try:
            named, accepted, position = read_accepted(reply.body)
        except UnreadableAnswerError:
            return self.pose_lost(ledger, frames, "unreadable")
        before = ledger.accepted
        wrong = ledger.count_accepted(frames, accepted, position)
        believed = ledger.accepted - before
        whole.frames_accepted += believed
        whole.frames_thinned += frames - believed
        if wrong is None and named != session_id:
            wrong = f"an answer for session {named[:_MOST_NAMED]!r}"
        if wrong is not None:
            self._mismatch(f"session {session_id}: {wrong}")
        return _TAKEN

    def pose_lost(self, ledger: SessionLedger, frames: int, how: str) -> str:
        """Count the frames of a batch without an answer; give its outcome."""
        ledger.count_unanswered(frames)
        self._whole.frames_unanswered += frames
        self._whole.batches_unanswered += 1
        return how

    def concluded(
        self, kind: Kind, outcome: str, latency_us: int | None, *, others: bool = False
    ) -> None:
        """Count an honest request's outcome, with its latency when it was answered."""
        tick = self.tick
        tick.outcomes[outcome] = tick.outcomes.get(outcome, 0) + 1
        self._count(kind, outcome)
        if latency_us is None:
            return
        tick.answered += 1
        if kind is not Kind.POSE:
            self._record(kind.value, latency_us)
        elif outcome == _TAKEN:
            tick.latencies_us.append(latency_us)
            if others:
                self._record(POSE_OF_OTHERS, latency_us)
        else:
            self._record(POSE_REFUSED, latency_us)

    def hostile_concluded(
        self, kind: Kind, outcome: str, latency_us: int | None, frames: int
    ) -> None:
        """Count what a hostile client got, and whether it was right."""
        self._count(kind, outcome)
        if latency_us is not None:
            self._record(kind.value, latency_us)
        if frames:
            claimed = self._whole.hostile_frames
            claimed[outcome] = claimed.get(outcome, 0) + frames
        if not is_right(kind, outcome):
            wrong = self._whole.wrong_hostile
            name = f"{kind.value}: {outcome}"
            wrong[name] = wrong.get(name, 0) + 1

    def _count(self, kind: Kind, outcome: str) -> None:
        outcomes = self._whole.outcomes.get(kind)
        if outcomes is None:
            outcomes = self._whole.outcomes[kind] = {}
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    def _record(self, name: str, latency_us: int) -> None:
        if name not in self._latencies:
            self._latencies[name] = Latencies()
        self._latencies[name].record(latency_us)

    def _mismatch(self, told: str) -> None:
        self._whole.mismatches += 1
        if len(self._whole.mismatch_examples) < _MOST_EXAMPLES:
            self._whole.mismatch_examples.append(told)
