"""Counts and times of requests, cheap enough for every one of them."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

# Seconds. Fine around a millisecond, where answers are, and up to the request timeout.
BUCKETS = (
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


@dataclass(slots=True)
class Histogram:
    """Counts by bucket; the last one takes what is slower than all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total_seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total_seconds += seconds


class RequestMeter:
    """Requests by route and code, and how long the answers took by lane.

    Routes and codes are closed sets: the label values cannot grow with what clients send.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.latency: dict[str, Histogram] = {"express": Histogram(), "quart": Histogram()}

    def observe(self, lane: str, route: str, code: str, seconds: float) -> None:
        """Record one answered request."""
        self.requests[route, code] += 1
        self.latency[lane].observe(seconds)
