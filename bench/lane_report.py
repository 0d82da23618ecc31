"""What the lane's comparison found: the figures of rounds, put together, judged and shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from penstock.bench.closed_loop import LoadResult
from penstock.bench.histogram import LatencyHistogram
from penstock.bench.tables import facts, mebibytes, milliseconds, table

# Above this, the answers' rate is no longer that of the work: refusals are cheaper than batches.
MOST_REFUSED_SHARE = 0.01
# A generator busier than this may have been what was measured.
BUSY_GENERATOR = 0.9

BASE = "plain"

_ACCEPTED = 202
_REFUSED = 429
_HEAD = (
    "server",
    "req/s (min to max)",
    f"ratio to {BASE}",
    "p50",
    "p99",
    "max",
    "CPU/request",
    "not 202",
    "memory",
    "generator",
)


@dataclass(slots=True, frozen=True)
class Round:
    """One server's turn. `idle_cpu_share` is what the other servers used of the core meanwhile."""

    server: str
    load: LoadResult
    cpu_seconds: float
    resident_bytes: int
    idle_cpu_share: float

    @property
    def cpu_microseconds(self) -> float:
        """Give the server's processor time a request."""
        return self.cpu_seconds / max(1, self.load.requests) * 1e6


@dataclass(slots=True, frozen=True)
class Summary:
    """All rounds of one server: rates and times are medians, latencies are of all requests."""

    server: str
    rate: float
    slowest: float
    fastest: float
    p50: float
    p99: float
    longest: float
    cpu_microseconds: float
    not_accepted: dict[str, int]
    requests: int
    resident_bytes: int
    generator_cpu_share: float
    idle_cpu_share: float

    @property
    def refused_share(self) -> float:
        """Give the share of requests that were refused for their rate."""
        return self.not_accepted.get(str(_REFUSED), 0) / max(1, self.requests)


def summarize(rounds: Sequence[Round]) -> Summary:
    """Put the rounds of one server together."""
    rates = [one.load.rate for one in rounds]
    latencies = LatencyHistogram()
    others: Counter[str] = Counter()
    for one in rounds:
        latencies.add(one.load.latencies)
        others.update({str(s): n for s, n in one.load.by_status.items() if s != _ACCEPTED})
        others.update(
            closed=one.load.closed,
            unreadable=one.load.unreadable,
            unanswered=one.load.unanswered,
        )
    return Summary(
        server=rounds[0].server,
        rate=median(rates),
        slowest=min(rates),
        fastest=max(rates),
        p50=latencies.quantile(0.5),
        p99=latencies.quantile(0.99),
        # In a closed loop a stall holds up one request a connection, however long it is; so few
        # can be above every quantile. The longest shows it.
        longest=latencies.greatest,
        cpu_microseconds=median(one.cpu_microseconds for one in rounds),
        not_accepted={what: count for what, count in others.items() if count},
        requests=sum(one.load.requests for one in rounds),
        resident_bytes=max(one.resident_bytes for one in rounds),
        generator_cpu_share=max(one.load.generator_cpu_share for one in rounds),
        idle_cpu_share=max(one.idle_cpu_share for one in rounds),
    )


def faults(summaries: Sequence[Summary]) -> list[str]:
    """Say why the figures must not be used; nothing when they may."""
    lines = []
    for one in summaries:
        if one.requests == 0:
            lines.append(f"{one.server} answered nothing")
        wrong = {what: n for what, n in one.not_accepted.items() if what != str(_REFUSED)}
        if wrong:
            lines.append(f"{one.server} gave other answers than 202 and 429: {_told(wrong)}")
        if one.refused_share > MOST_REFUSED_SHARE:
            lines.append(
                f"{one.server} refused {one.refused_share:.1%} of the requests (429), more than "
                f"{MOST_REFUSED_SHARE:.0%}: take more sessions, or raise rate_batches_per_second"
            )
    return lines


def remarks(summaries: Sequence[Summary]) -> list[str]:
    """Say what a reader should know although the figures may be used."""
    lines = [
        f"the generator used {one.generator_cpu_share:.0%} of its core against {one.server}: it "
        "may have been the bottleneck, and the rate is a lower bound"
        for one in summaries
        if one.generator_cpu_share > BUSY_GENERATOR
    ]
    idle = max(one.idle_cpu_share for one in summaries)
    lines.append(f"the server whose turn it was not used at most {idle:.1%} of the core")
    return lines


def render(summaries: Sequence[Summary], about: Mapping[str, str]) -> str:
    """Lay out the report for people."""
    base = next((one.rate for one in summaries if one.server == BASE), 0.0)
    rows = [
        (
            one.server,
            f"{one.rate:,.0f} ({one.slowest:,.0f} to {one.fastest:,.0f})",
            f"{one.rate / base:.2f}" if base else "-",
            milliseconds(one.p50),
            milliseconds(one.p99),
            milliseconds(one.longest),
            f"{one.cpu_microseconds:.0f} µs",
            _told(one.not_accepted),
            mebibytes(one.resident_bytes),
            f"{one.generator_cpu_share:.0%}",
        )
        for one in summaries
    ]
    notes = "\n".join(f"note: {line}" for line in remarks(summaries))
    return "\n\n".join((table(_HEAD, rows), notes, facts(about)))


def plain_load(load: LoadResult) -> dict[str, Any]:
    """Give a run's figures as JSON can hold them."""
    return {
        "requests": load.requests,
        "seconds": load.seconds,
        "rate": load.rate,
        "by_status": {str(status): count for status, count in load.by_status.items()},
        "closed": load.closed,
        "unreadable": load.unreadable,
        "unanswered": load.unanswered,
        "reconnects": load.reconnects,
        "p50_seconds": load.latencies.quantile(0.5) if load.requests else None,
        "p99_seconds": load.latencies.quantile(0.99) if load.requests else None,
        "max_seconds": load.latencies.greatest,
        "generator_cpu_share": load.generator_cpu_share,
    }


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what}: {count:,}" for what, count in counts.items()) or "none"
