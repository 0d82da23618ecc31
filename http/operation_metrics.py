"""What retention and erasures tell Prometheus."""

from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.engine.erasures import ErasuresStatistics
from penstock.engine.platform.records import Kept
from penstock.engine.retention import RetentionStatistics


def operation_metrics(
    retention: RetentionStatistics, erasures: ErasuresStatistics, aged: Mapping[Kept, int]
) -> Iterable[Metric]:
    """Read everything once. `aged` are the rows of each class that grew too old."""
    removed = CounterMetricFamily(
        "penstock_retention_removed",
        "What was removed for its age or size: replays, sessions' finals, audit entries, and rows "
        "of analytics, errors and media.",
        labels=["what"],
    )
    for what in ("blobs", "finals", "audits"):
        removed.add_metric([what], getattr(retention, what))
    for kept in Kept:
        removed.add_metric([kept.value], aged.get(kept, 0))
    yield removed
    yield CounterMetricFamily(
        "penstock_retention_removed_bytes", "Bytes of these replays.", retention.blob_bytes
    )
    yield CounterMetricFamily(
        "penstock_retention_stopped_runs",
        "Runs of retention that did not come to their end.",
        retention.stopped_runs,
    )
    yield GaugeMetricFamily(
        "penstock_retention_last_run_timestamp_seconds",
        "When a run of retention last came to its end; 0 before the first.",
        retention.last_finished_unix or 0.0,
    )
    yield GaugeMetricFamily(
        "penstock_erasures_under_way", "Erasures that are not done.", erasures.under_way
    )
    yield CounterMetricFamily("penstock_erasures_done", "Erasures done.", erasures.done)
    yield CounterMetricFamily(
        "penstock_erasure_delays",
        "Attempts at an erasure that something was in the way of, and that are repeated.",
        erasures.delays,
    )
