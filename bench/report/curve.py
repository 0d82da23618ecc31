"""The latency by percentile, read back from the histogram that a report carries."""

from math import ceil, log10

from penstock.bench.errors import BenchError
from penstock.bench.latencies import Latencies
from penstock.bench.report.models import Latency

_POINTS_A_NINE = 8
_US_A_MS = 1000.0


def curve(kind: str, latency: Latency) -> list[tuple[float, float]]:
    """Give (share of the answers, milliseconds within which they came), denser towards the tail.

    The fastest quarter is left out, for it tells nothing. The last point is the slowest answer.
    """
    if latency.count <= 0:
        return []
    try:
        held = Latencies.decode(latency.hdr)
    except BenchError as error:
        raise BenchError(f"the latencies of {kind!r} cannot be read: {error}") from None
    slowest = 1 - 1 / latency.count
    steps = ceil(_POINTS_A_NINE * log10(latency.count))
    shares = [1 - 10 ** (-step / _POINTS_A_NINE) for step in range(1, steps)]
    points = [(share, held.quantile_us(share) / _US_A_MS) for share in shares if share < slowest]
    return [*points, (slowest, latency.max_ms)]
