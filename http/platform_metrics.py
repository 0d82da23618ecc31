"""What Prometheus is told of the geo database and of the privacy exclusions."""

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.engine.platform.statistics import Lookup, PlatformStatistics


def platform_metrics(platform: PlatformStatistics) -> Iterable[Metric]:
    """Read everything once."""
    yield GaugeMetricFamily(
        "penstock_geo_built_timestamp_seconds",
        "When the geo database in force was built; 0 without one.",
        platform.geo_built_unix or 0.0,
    )
    lookups = CounterMetricFamily(
        "penstock_geo_lookups",
        "Addresses whose country was looked for, by what came of it.",
        labels=["result"],
    )
    for result in Lookup:
        lookups.add_metric([result.value], platform.lookups.get(result, 0))
    yield lookups
    yield _attempts(
        "penstock_geo_updates",
        "Downloads of the geo database, by what came of them.",
        platform.geo_updates,
        platform.geo_failures,
    )
    yield GaugeMetricFamily(
        "penstock_privacy_exclusions", "Privacy exclusions in force.", platform.exclusions
    )
    yield GaugeMetricFamily(
        "penstock_privacy_synced_timestamp_seconds",
        "When the privacy exclusions in force were synced; 0 before the first time.",
        platform.synced_unix or 0.0,
    )
    yield _attempts(
        "penstock_privacy_syncs",
        "Syncs of the privacy exclusions, by what came of them.",
        platform.syncs,
        platform.sync_failures,
    )
    yield CounterMetricFamily(
        "penstock_privacy_excluded_requests",
        "Requests from addresses under a privacy exclusion.",
        platform.excluded,
    )


def _attempts(name: str, meaning: str, done: int, failed: int) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=["result"])
    family.add_metric(["done"], done)
    family.add_metric(["failed"], failed)
    return family
