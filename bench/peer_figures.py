"""What turns of servers say together: medians, ratios, and what speaks against using them. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from penstock.bench.closed_loop import LoadResult
from penstock.bench.peers.catalogue import Form
from penstock.bench.report.models import Peer, PeerRound

# The base of ratios where it takes part: the same framework as Penstock's, written plainly.
BASE = "plain"
# Above this, the answers' rate is no longer that of the work: refusals are cheaper than batches.
MOST_REFUSED_SHARE = 0.01
# A generator busier than this may have been what was measured.
BUSY_GENERATOR = 0.9
# Servers that wait must leave the core to the one whose turn it is.
MOST_IDLE_SHARE = 0.05

_ACCEPTED, _REFUSED = "202", "429"


@dataclass(slots=True, frozen=True)
class Turns:
    """One server in one form, and its turns in the order of the rounds."""

    name: str
    form: Form
    told: str
    rounds: Sequence[PeerRound]


def round_of(
    load: LoadResult, *, cpu_seconds: float, resident_bytes: int, idle_cpu_share: float
) -> PeerRound:
    """Put one turn into the report's terms."""
    latency = load.latencies.as_latency()
    return PeerRound(
        rate=load.rate,
        p50_ms=latency.p50_ms,
        p99_ms=latency.p99_ms,
        # In a closed loop a stall holds up one request a connection, however long it is; so few
        # can be above every quantile. The longest shows it.
        max_ms=latency.max_ms,
        cpu_us_a_request=cpu_seconds / max(1, load.requests) * 1e6,
        resident_bytes=resident_bytes,
        generator_cpu_share=load.generator_cpu_share,
        idle_cpu_share=idle_cpu_share,
        by_status={str(status): count for status, count in load.by_status.items()},
        failures=load.failures,
    )


def choose_base(forms: Mapping[str, frozenset[Form]]) -> str:
    """Take BASE where it runs, else the server with most forms; of several the first."""
    return BASE if BASE in forms else max(forms, key=lambda name: len(forms[name]))


def compare(turns: Sequence[Turns], base: str) -> list[Peer]:
    """Give every server's medians and its ratio to the base in the same form.

    `ratio` is of the median rates; `ratio_low` and `ratio_high` are the least and the greatest of
    the rounds' own ratios, each between turns of the same round: a few rounds carry no finer
    interval. Where the base does not have the form, or answered nothing, there is none.
    """
    bases = {one.form: one.rounds for one in turns if one.name == base}
    return [_compared(one, bases.get(one.form, ())) for one in turns]


def faults(peers: Sequence[Peer]) -> list[str]:
    """Say why the figures must not be used; nothing when they may."""
    return [f"{one.name} {one.form} {fault}" for one in peers for fault in _faults(one)]


def _compared(one: Turns, base: Sequence[PeerRound]) -> Peer:
    rate = median(turn.rate for turn in one.rounds)
    base_rate = median(turn.rate for turn in base) if base else 0.0
    pairs = zip(one.rounds, base, strict=False)
    ratios = [mine.rate / other.rate for mine, other in pairs if other.rate > 0]
    return Peer(
        name=one.name,
        form=one.form,
        told=one.told,
        rate=rate,
        ratio=rate / base_rate if base_rate else None,
        ratio_low=min(ratios, default=None) if base_rate else None,
        ratio_high=max(ratios, default=None) if base_rate else None,
        rounds=list(one.rounds),
    )


def _faults(peer: Peer) -> list[str]:
    by_status: Counter[str] = Counter()
    for one in peer.rounds:
        by_status.update(one.by_status)
    requests = by_status.total()
    failures = sum(one.failures for one in peer.rounds)
    found = []
    if requests == 0:
        found.append("answered nothing")
    wrong = {status: n for status, n in by_status.items() if status not in {_ACCEPTED, _REFUSED}}
    if wrong:
        told = ", ".join(f"{status}: {n:,}" for status, n in wrong.items())
        found.append(f"gave other answers than 202 and 429: {told}")
    if failures:
        found.append(f"left {failures:,} requests without an answer that could be read")
    refused = by_status[_REFUSED] / max(1, requests)
    if refused > MOST_REFUSED_SHARE:
        found.append(
            f"refused {refused:.1%} of the requests (429), more than {MOST_REFUSED_SHARE:.0%}: "
            "take more sessions, or raise rate_batches_per_second"
        )
    busy = max((one.generator_cpu_share for one in peer.rounds), default=0.0)
    if busy > BUSY_GENERATOR:
        found.append(
            f"kept the generator busy for {busy:.0%} of its core: it may have been the "
            "bottleneck, and the rate is a lower bound"
        )
    idle = max((one.idle_cpu_share for one in peer.rounds), default=0.0)
    if idle > MOST_IDLE_SHARE:
        found.append(f"shared its core: servers that had to wait used {idle:.1%} of it")
    return found
