"""What deliveries tell Prometheus: replays to the blob store, aggregates to Core."""

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.engine.deliveries import DeliveriesStatistics


def delivery_metrics(deliveries: DeliveriesStatistics) -> Iterable[Metric]:
    """Read everything once. What the ledger could not be asked for is left out."""
    yield GaugeMetricFamily(
        "penstock_deliveries_under_way",
        "Finals whose replay is being stored or whose aggregates are being published.",
        deliveries.under_way,
    )
    yield CounterMetricFamily(
        "penstock_replays_stored", "Replays stored and verified.", deliveries.replays_stored
    )
    yield CounterMetricFamily(
        "penstock_aggregates_published", "Finals that Core has taken.", deliveries.published
    )
    yield CounterMetricFamily(
        "penstock_delivery_failures",
        "Attempts to deliver a final that failed and are repeated.",
        deliveries.failed_attempts,
    )
    last = GaugeMetricFamily(
        "penstock_delivery_last_success_timestamp_seconds",
        "When a step of a delivery last succeeded; 0 before the first.",
        labels=["step"],
    )
    last.add_metric(["store"], deliveries.last_stored_unix or 0.0)
    last.add_metric(["publish"], deliveries.last_published_unix or 0.0)
    yield last
    outbox = deliveries.outbox
    if outbox is not None:
        finals = GaugeMetricFamily(
            "penstock_outbox_finals", "Finals that are not delivered yet.", labels=["state"]
        )
        finals.add_metric(["pending"], outbox.pending)
        finals.add_metric(["dead"], outbox.dead)
        yield finals
        yield GaugeMetricFamily(
            "penstock_outbox_oldest_timestamp_seconds",
            "When the oldest final was made that is on its way; 0 when none is.",
            (outbox.oldest_unix_ms or 0) / 1000,
        )
