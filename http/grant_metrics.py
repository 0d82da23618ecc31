"""What Prometheus is told of consents and quotas: whether whoever knows them can be asked."""

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.engine.grants import GrantStatistics


def grant_metrics(grants: GrantStatistics) -> Iterable[Metric]:
    """Read everything once."""
    yield GaugeMetricFamily(
        "penstock_grants_entries", "Consents and quotas that are remembered.", grants.entries
    )
    yield CounterMetricFamily(
        "penstock_grants_asked", "Times that Core was asked for a consent or a quota.", grants.asked
    )
    yield CounterMetricFamily(
        "penstock_grants_failures", "Of these, those that got no answer.", grants.failures
    )
    yield GaugeMetricFamily(
        "penstock_grants_available",
        "1 while Core can be asked for consents and quotas, 0 since it could not.",
        float(grants.fault is None),
    )
