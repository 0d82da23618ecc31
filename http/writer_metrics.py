"""What the writer's lanes tell Prometheus: frames go to the spool, results to the ledger."""

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.engine.ledger_lanes import LedgerLanesStatistics
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.ports import SpoolHealth, SpoolStatistics
from penstock.engine.writer import WriterStatistics


def writer_metrics(
    writer: WriterStatistics, spool: SpoolStatistics, health: SpoolHealth
) -> Iterable[Metric]:
    """Read everything once."""
    yield from _spool_metrics(writer, spool, health)
    if writer.ledger is not None:
        yield from _ledger_metrics(writer.ledger)


def _spool_metrics(
    writer: WriterStatistics, spool: SpoolStatistics, health: SpoolHealth
) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "penstock_writer_queued_chunks", "Chunks waiting for the writer.", writer.queued_chunks
    )
    yield GaugeMetricFamily(
        "penstock_writer_queued_peak_chunks",
        "Most chunks waiting for the writer since the last scrape.",
        writer.peak_queued_chunks,
    )
    yield GaugeMetricFamily(
        "penstock_spool_lag_seconds",
        "Age of the oldest chunk that is not on disk yet.",
        writer.oldest_age_seconds,
    )
    yield GaugeMetricFamily(
        "penstock_spool_append_seconds",
        "How long the newest group of appends took.",
        writer.last_append_seconds,
    )
    chunks = CounterMetricFamily(
        "penstock_spool_chunks", "Chunks appended or failed.", labels=["result"]
    )
    chunks.add_metric(["appended"], writer.chunks - writer.failed_chunks)
    chunks.add_metric(["failed"], writer.failed_chunks)
    yield chunks
    yield CounterMetricFamily(
        "penstock_spool_groups", "Groups of chunks that were appended in one go.", writer.groups
    )
    yield GaugeMetricFamily("penstock_spool_open_files", "Spool files kept open.", spool.open_files)
    yield GaugeMetricFamily(
        "penstock_spool_left_behind",
        "Spool files of sessions without an actor: at rest, or left by an earlier process.",
        spool.left_behind,
    )
    yield CounterMetricFamily(
        "penstock_spool_bytes", "Bytes appended to spool files.", spool.appended_bytes
    )
    yield GaugeMetricFamily(
        "penstock_spool_writable",
        "1 while appends work, else 0.",
        float(health.writable),
    )


def _ledger_metrics(ledger: LedgerLanesStatistics) -> Iterable[Metric]:
    lanes = {"final": ledger.finals, "durable": ledger.durable}
    queued = GaugeMetricFamily(
        "penstock_writer_queued_entries", "Results that wait for the ledger.", labels=["lane"]
    )
    peak = GaugeMetricFamily(
        "penstock_writer_queued_peak_entries",
        "Most results that waited for the ledger since the last scrape.",
        labels=["lane"],
    )
    oldest = GaugeMetricFamily(
        "penstock_writer_oldest_seconds", "Age of the oldest result that waits.", labels=["lane"]
    )
    entries = CounterMetricFamily(
        "penstock_ledger_entries",
        "Results by what became of them: committed, or the reason why not.",
        labels=["lane", "result"],
    )
    for lane, statistics in lanes.items():
        queued.add_metric([lane], statistics.queued)
        peak.add_metric([lane], statistics.peak_queued)
        oldest.add_metric([lane], statistics.oldest_age_seconds)
        entries.add_metric([lane, "committed"], statistics.committed)
        for reason in LedgerReason:
            entries.add_metric([lane, reason.value], statistics.refused.get(reason, 0))
    yield from (queued, peak, oldest, entries)
    yield CounterMetricFamily(
        "penstock_ledger_commits", "Groups of results that were committed in one go.", ledger.groups
    )
    yield CounterMetricFamily(
        "penstock_ledger_failures", "Groups that the ledger could not take then.", ledger.failures
    )
    yield GaugeMetricFamily(
        "penstock_ledger_commit_seconds",
        "How long the newest commit took.",
        ledger.last_commit_seconds,
    )
    yield GaugeMetricFamily(
        "penstock_ledger_last_success_timestamp_seconds",
        "When the newest commit succeeded; 0 before the first.",
        ledger.last_success_unix or 0.0,
    )
    yield GaugeMetricFamily(
        "penstock_ledger_writable",
        "1 while commits work, else 0.",
        float(ledger.unavailable is None),
    )
