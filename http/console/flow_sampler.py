"""Reads the engine's counters once a second and writes down how fast they move.

Everything is read from what each part says of itself anyway; nothing is counted here, and nothing
that is read grows with sessions. Latency comes from the request meter's histograms: of the requests
of the last LATENCY_SECONDS, it is known between which two bounds a percentile lies, and no more is
claimed.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from penstock.engine.level import Level
from penstock.engine.outcomes import Outcome, Tally
from penstock.engine.policy_book import PolicyBook
from penstock.engine.policy_editions import Action, PolicyChange
from penstock.engine.ports import Clock
from penstock.engine.sluice import Sluice
from penstock.engine.weir import WeirStatistics
from penstock.engine.writer import WriterStatistics
from penstock.http.console.flow_log import FlowLog, Mark
from penstock.http.ends import ENDED, ENDS
from penstock.http.meters import BUCKETS, RequestMeter
from penstock.http.poller import PollerStatistics
from penstock.http.pose import PATH as POSE

logger = logging.getLogger(__name__)

LATENCY_SECONDS = 10
_PERIOD_SECONDS = 1.0
_SHORT_REASON = 120
_PERCENTILES = (50, 99)


@dataclass(slots=True, frozen=True)
class FlowSources:
    """Where the numbers are read."""

    meter: RequestMeter
    frames: Tally
    sluice: Sluice
    book: PolicyBook
    writer: Callable[[], WriterStatistics]
    poller: Callable[[], PollerStatistics]
    memory: Level
    inboxes: Level
    live_sessions: Callable[[], int]
    connections: Callable[[], int]
    scheduler_delay: Callable[[], float]


@dataclass(slots=True)
class FlowSampler:
    """Fills the log. `sampled` is set, and replaced, at every sample.

    The last sample is taken when the service begins to stop, so that whoever waits learns of it.
    """

    sources: FlowSources
    log: FlowLog
    clock: Clock
    stopping: trio.Event
    sampled: trio.Event = field(default_factory=trio.Event)
    _before: dict[str, int] = field(default_factory=dict[str, int])
    _at: float = 0.0
    _revision: int = -1
    _latencies: deque[list[int]] = field(
        default_factory=lambda: deque[list[int]](maxlen=LATENCY_SECONDS + 1)
    )

    async def run(self) -> None:
        """Sample once a second until the service stops."""
        self._begin()
        while not self.stopping.is_set():
            with trio.move_on_after(_PERIOD_SECONDS):
                await self.stopping.wait()
            try:
                self.sample()
            except Exception:  # what only looks must not end what it looks at
                logger.exception("console.sample_failed")

    def _begin(self) -> None:
        self._at = self.clock.monotonic()
        self._before = dict(self._counters())
        self._latencies.append(self._latency_counts())
        self._revision = self.sources.book.revision
        at = int(self.clock.unix() * 1000)
        self.log.append(at, self._levels(), (Mark(at, "started", "The service started."),))

    def sample(self) -> None:
        """Take one sample and tell whoever waits for it."""
        now = self.clock.monotonic()
        elapsed = max(now - self._at, 1e-3)
        counters = dict(self._counters())
        rates = {
            name: (count - self._before.get(name, 0)) / elapsed for name, count in counters.items()
        }
        self._at, self._before = now, counters
        self._latencies.append(self._latency_counts())
        values = {**rates, **self._levels(), **dict(self._percentiles())}
        self.log.append(int(self.clock.unix() * 1000), values, tuple(self._marks()))
        sampled, self.sampled = self.sampled, trio.Event()
        sampled.set()

    def _counters(self) -> Iterator[tuple[str, int]]:
        """Give everything that only grows, by its column."""
        sources = self.sources
        yield "ends", 0
        for (route, code), count in sources.meter.requests.items():
            if route == POSE:
                yield f"batches.{code}", count
            elif route == ENDS.path and code == ENDED:
                yield "ends", count
        tally = sources.frames
        yield "frames_seen", tally.seen
        for reason, count in tally.ended.items():
            yield f"frames.{reason.value}", count
        for outcome in Outcome:
            if outcome is not Outcome.UNSENT:
                yield f"outcomes.{outcome.value}", tally.count(outcome)
        yield from _decided("policy", sources.sluice.statistics())
        for name, statistics in sources.sluice.candidates().items():
            yield from _decided(f"candidate.{name}", statistics)

    def _levels(self) -> dict[str, float]:
        """Give everything that goes up and down."""
        sources = self.sources
        stress, writer = sources.sluice.stress, sources.writer()
        values: dict[str, float] = {
            **{f"stress.{name}": part for name, part in stress._asdict().items()},
            "rung": float(sources.sluice.rung),
            "sessions": sources.live_sessions(),
            "connections": sources.connections(),
            "requests_queued": sources.poller().queued,
            "scheduler_delay": sources.scheduler_delay(),
            "memory.held": sources.memory.held,
            "memory.limit": sources.memory.limit or 0,
            "inboxes.held": sources.inboxes.held,
            "spool.queued": writer.queued_chunks,
            "spool.lag": writer.oldest_age_seconds,
        }
        if writer.ledger is not None:
            for name in ("finals", "durable"):
                lane = getattr(writer.ledger, name)
                values |= {f"{name}.queued": lane.queued, f"{name}.lag": lane.oldest_age_seconds}
        return values

    def _latency_counts(self) -> list[int]:
        histograms = self.sources.meter.latency.values()
        return [sum(counts) for counts in zip(*(h.counts for h in histograms), strict=True)]

    def _percentiles(self) -> Iterator[tuple[str, float]]:
        oldest, newest = self._latencies[0], self._latencies[-1]
        counts = [now - before for before, now in zip(oldest, newest, strict=True)]
        for percent in _PERCENTILES:
            found = bounds_of(counts, percent / 100)
            if found is not None:
                low, high = found
                yield f"latency.p{percent}.low", low * 1000
                if high is not None:
                    yield f"latency.p{percent}.high", high * 1000

    def _marks(self) -> Iterator[Mark]:
        book = self.sources.book
        if book.revision == self._revision:
            return
        made = [change for change in book.history() if change.revision > self._revision]
        self._revision = book.revision
        for change in reversed(made):
            yield Mark(int(change.made_unix * 1000), f"r{change.revision}", words_of(change))


def bounds_of(counts: Sequence[int], quantile: float) -> tuple[float, float | None] | None:
    """Say between which bounds of the meter (in seconds) a quantile lies; None of no requests.

    The upper one is None beyond the last bound.
    """
    total = sum(counts)
    if total == 0:
        return None
    rank = max(1, -int(-quantile * total // 1))
    below = 0
    for index, count in enumerate(counts):
        below += count
        if below >= rank:
            low = BUCKETS[index - 1] if index else 0.0
            return low, BUCKETS[index] if index < len(BUCKETS) else None
    return None


def words_of(change: PolicyChange) -> str:
    """Say in a line what a change of the policy did."""
    what = {
        Action.EDITED: f"{change.scope} edited",
        Action.REVERTED: f"{change.scope} reverted",
        Action.EXPIRED: f"an edition of {change.scope} expired",
        Action.PROPOSED: f"candidate {change.candidate} proposed",
        Action.WITHDRAWN: f"candidate {change.candidate} withdrawn",
    }[change.action]
    turned = ", ".join(_turned(change.before or {}, change.after or {}))
    reason = change.reason[:_SHORT_REASON]
    return f"{what}{f': {turned}' if turned else ''} ({reason})"


def _turned(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield f"{name} {shown_value(before.get(name))} → {shown_value(after.get(name))}"


def shown_value(value: object) -> str:
    """Write a knob's value; None is one that is not set."""
    if value is None:
        return "not set"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _decided(prefix: str, statistics: WeirStatistics) -> Iterator[tuple[str, int]]:
    verdicts = {"admit": 0, "thin": 0, "refuse": 0}
    for cause, count in statistics.by_cause.items():
        verdicts[cause.verdict.value] += count.batches
    yield f"{prefix}.frames", statistics.frames
    yield f"{prefix}.lost", statistics.frames_lost
    for verdict, batches in verdicts.items():
        yield f"{prefix}.{verdict}", batches
