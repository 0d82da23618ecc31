"""The figures of two load runs. Noise is that of the seconds after the ramp.

What there is one of a run (a memory peak, a percentile over all of it) is shown without a verdict:
nothing in the two reports tells how much it would differ the next time.
"""

from collections.abc import Callable, Iterator

import numpy as np

from penstock.bench.report import units
from penstock.bench.report.figures import Figure, judged
from penstock.bench.report.models import LoadRun, Second
from penstock.bench.report.noise import Estimate, Samples, Statistic, of_seconds
from penstock.bench.report.sections import steady

_Row = Callable[[Second], tuple[float | None, ...]]

_BY_KIND = (
    ("p50", "p50_ms"),
    ("p90", "p90_ms"),
    ("p99", "p99_ms"),
    ("p99.9", "p999_ms"),
    ("max", "max_ms"),
)


def load_figures(a: LoadRun, b: LoadRun) -> Iterator[Figure]:
    """Give the figures that both runs have, those with a verdict first."""
    for name, unit, row, statistic, less in _OF_SECONDS:
        one, other = _estimate(a, row, statistic), _estimate(b, row, statistic)
        if one is not None and other is not None:
            yield judged(name, unit, one, other, less_is_better=less)
    for kind, latency in a.latency.items():
        if kind in b.latency:
            for name, field in _BY_KIND:
                values = [Estimate(getattr(found, field)) for found in (latency, b.latency[kind])]
                yield judged(f"{kind}: {name} of all", "ms", *values, less_is_better=True)
    for name, unit, field in (
        ("CPU a batch", "µs", "cpu_us_a_batch"),
        ("memory at the peak", "bytes", "rss_peak_bytes"),
        ("memory at the end", "bytes", "rss_last_bytes"),
        ("batches unanswered", "", "batches_unanswered"),
    ):
        found = [getattr(run, field) for run in (a, b)]
        if None not in found:
            yield judged(name, unit, *map(Estimate, found), less_is_better=True)


def _estimate(run: LoadRun, row: _Row, statistic: Statistic) -> Estimate | None:
    rows = [row(one) for one in steady(run)]
    known = [found for found in rows if None not in found]
    return of_seconds(np.array(known, dtype=np.float64), statistic) if known else None


def _mean(samples: Samples) -> Samples:
    return np.asarray(samples[:, :, 0].mean(axis=1), dtype=np.float64)


def _median(samples: Samples) -> Samples:
    return np.asarray(np.median(samples[:, :, 0], axis=1), dtype=np.float64)


def _quotient(samples: Samples) -> Samples:
    """Divide the sum of the first column by that of the second."""
    below = samples[:, :, 1].sum(axis=1)
    return np.asarray(samples[:, :, 0].sum(axis=1) / np.maximum(below, 1e-12), dtype=np.float64)


def _refused(one: Second) -> tuple[float, float]:
    refused = sum(count for what, count in one.outcomes.items() if not units.accepted(what))
    return float(refused), float(sum(one.outcomes.values()))


def _cost(one: Second) -> tuple[float | None, float]:
    share = one.server_cpu_share
    return None if share is None else share * 1e6, float(one.answered)


# Name, unit, what is taken of a second, how seconds become a figure, whether less is better.
_OF_SECONDS: tuple[tuple[str, str, _Row, Statistic, bool], ...] = (
    ("answered", "/s", lambda one: (float(one.answered),), _mean, False),
    ("answered of planned", "", lambda one: (float(one.answered), one.planned), _quotient, False),
    ("no 2xx, of the answers", "", _refused, _quotient, True),
    ("p50 of a second, median", "ms", lambda one: (one.p50_ms,), _median, True),
    ("p99 of a second, median", "ms", lambda one: (one.p99_ms,), _median, True),
    ("max of a second, median", "ms", lambda one: (one.max_ms,), _median, True),
    ("CPU an answer", "µs", _cost, _quotient, True),
)
