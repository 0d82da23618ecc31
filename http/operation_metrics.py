"""What retention and erasures tell Prometheus."""

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.engine.erasures import ErasuresStatistics
from penstock.engine.retention import RetentionStatistics


def operation_metrics(
    retention: RetentionStatistics, erasures: ErasuresStatistics
) -> Iterable[Metric]:
    """Read everything once."""
    removed = CounterMetricFamily(
        "penstock_retention_removed",
        "Replays, sessions' finals and audit entries that were removed for their age or size.",
        labels=["what"],
    )
    for what in ("blobs", "finals", "audits"):
        removed.add_metric([what], getattr(retention, what))
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
