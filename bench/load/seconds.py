"""From the workers' ticks to the seconds of the report. Pure, but for what it is handed.

A second is whole once every worker has told its part. Percentiles are of all latencies together:
those of single workers cannot be averaged.
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.bench.load.worker import Tick
from penstock.bench.report.models import Second


@dataclass(slots=True, frozen=True)
class ServerLook:
    """What /proc said of the server at one moment; None is a server that cannot be looked at."""

    at: float
    cpu_seconds: float | None
    rss_bytes: int | None


class Seconds:
    """Collects ticks by second until each worker's is there."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._open: dict[int, dict[int, Tick]] = {}

    def add(self, worker: int, tick: Tick) -> list[Tick] | None:
        """Take one worker's tick; give that second's, by worker, when it was the last to come."""
        ticks = self._open.setdefault(tick.at, {})
        ticks[worker] = tick
        if len(ticks) < self._workers:
            return None
        del self._open[tick.at]
        return [ticks[number] for number in sorted(ticks)]


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
    if before.cpu_seconds is None or now.cpu_seconds is None or now.at <= before.at:
        return None
    return (now.cpu_seconds - before.cpu_seconds) / (now.at - before.at)
