"""From the workers' ticks to the seconds of the report. Pure, but for what it is handed.

A second is whole once every worker that has not ended before it has told its part. Percentiles are
of all latencies together: those of single workers cannot be averaged.
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.bench.load.worker import Tick
from penstock.bench.report.models import Second

_LEAST_SECONDS = 0.25


@dataclass(slots=True, frozen=True)
class ServerLook:
    """What /proc said of the server at one moment; None is a server that cannot be looked at."""

    at: float
    cpu_seconds: float | None
    rss_bytes: int | None


class Seconds:
    """Collects ticks by second until those of all workers are there."""

    def __init__(self, workers: int) -> None:
        self._running = set(range(workers))
        # In order of time: each worker's ticks come one after the other, none left out.
        self._open: dict[int, dict[int, Tick]] = {}

    def add(self, worker: int, tick: Tick) -> list[list[Tick]]:
        """Take one worker's tick; give the seconds that are whole now, each by worker."""
        self._open.setdefault(tick.at, {})[worker] = tick
        return self._whole()

    def ended(self, worker: int) -> list[list[Tick]]:
        """Learn that no more ticks come from a worker; give the seconds that waited for it."""
        self._running.discard(worker)
        return self._whole()

    def _whole(self) -> list[list[Tick]]:
        whole = []
        for at in sorted(self._open):
            if not self._running <= self._open[at].keys():
                break
            ticks = self._open.pop(at)
            whole.append([ticks[number] for number in sorted(ticks)])
        return whole


def merge(ticks: Sequence[Tick], before: ServerLook, now: ServerLook, *, cores: int) -> Second:
    """Make one second of the workers' ticks and what the server took meanwhile.

    `cores` are those that the workers take in turn.
    """
    outcomes: Counter[str] = Counter()
    latencies = array("I")
    for tick in ticks:
        outcomes.update(tick.outcomes)
        latencies.extend(tick.latencies_us)
    ordered = sorted(latencies)
    return Second(
        at=ticks[0].at,
        planned=sum(tick.planned for tick in ticks),
        sent=sum(tick.sent for tick in ticks),
        answered=sum(tick.answered for tick in ticks),
        outcomes=dict(sorted(outcomes.items())),
        p50_ms=_quantile_ms(ordered, 0.5),
        p99_ms=_quantile_ms(ordered, 0.99),
        max_ms=_quantile_ms(ordered, 1.0),
        backlog=sum(tick.backlog for tick in ticks),
        lag_ms=max(tick.lag_us for tick in ticks) / 1000,
        server_cpu_share=_cpu_share(before, now),
        server_rss_bytes=now.rss_bytes,
        # The busiest core is the one whose figures are the harness's first.
        harness_cpu_share=max(
            sum(tick.cpu_share for tick in ticks[core::cores]) for core in range(cores)
        ),
    )


def _quantile_ms(ordered: Sequence[int], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1000


def _cpu_share(before: ServerLook, now: ServerLook) -> float | None:
    # The kernel counts in hundredths of a second: of a moment, they say nothing.
    if now.at - before.at < _LEAST_SECONDS or before.cpu_seconds is None or now.cpu_seconds is None:
        return None
    return (now.cpu_seconds - before.cpu_seconds) / (now.at - before.at)
