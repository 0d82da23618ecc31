"""What the service tells Prometheus.

Nothing is counted here. Each part gives its own `statistics()`; this module reads them when it is
scraped. High-water marks begin anew with each scrape: a peak between two of them is not missed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from penstock.engine.deliveries import DeliveriesStatistics
from penstock.engine.erasures import ErasuresStatistics
from penstock.engine.grants import GrantStatistics
from penstock.engine.level import Level
from penstock.engine.media.folder import MediaFolderStatistics
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.pacer import PacerStatistics
from penstock.engine.platform.statistics import PlatformStatistics
from penstock.engine.ports import SpoolHealth, SpoolStatistics
from penstock.engine.retention import RetentionStatistics
from penstock.engine.sessions import SessionsStatistics
from penstock.engine.writer import WriterStatistics
from penstock.http.delivery_metrics import delivery_metrics
from penstock.http.front import FrontStatistics
from penstock.http.grant_metrics import grant_metrics
from penstock.http.meters import BUCKETS, RequestMeter
from penstock.http.operation_metrics import operation_metrics
from penstock.http.platform_metrics import platform_metrics
from penstock.http.policy_metrics import PolicySources, policy_metrics
from penstock.http.poller import PollerStatistics
from penstock.http.session_tokens import TokenCacheStatistics
from penstock.http.writer_metrics import writer_metrics

_OPEN_METRICS = "application/openmetrics-text"


@dataclass(slots=True, frozen=True)
class Sources:
    """Where the numbers are read."""

    meter: RequestMeter
    frames: Tally
    policy: PolicySources
    memory: Level
    inboxes: Level
    sessions: Callable[[], SessionsStatistics]
    writer: Callable[[], WriterStatistics]
    deliveries: Callable[[], DeliveriesStatistics]
    media: Callable[[], MediaFolderStatistics]
    pacer: Callable[[], PacerStatistics]
    spool: Callable[[], SpoolStatistics]
    spool_health: Callable[[], SpoolHealth]
    tokens: Callable[[], TokenCacheStatistics]
    connections: Callable[[], FrontStatistics]
    poller: Callable[[], PollerStatistics]
    # None where they come from a file.
    grants: Callable[[], GrantStatistics | None]
    retention: Callable[[], RetentionStatistics]
    erasures: Callable[[], ErasuresStatistics]
    platform: Callable[[], PlatformStatistics]
    reset_peaks: Callable[[], None]
    version: str
    python: str


class PenstockCollector:
    """All metric families, in one place."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Read everything once."""
        yield from self._requests()
        yield from self._frames()
        yield from self._sessions()
        yield from self._levels()
        yield from policy_metrics(self._sources.policy)
        yield from writer_metrics(
            self._sources.writer(), self._sources.spool(), self._sources.spool_health()
        )
        yield from delivery_metrics(self._sources.deliveries())
        yield _media(self._sources.media())
        grants = self._sources.grants()
        if grants is not None:
            yield from grant_metrics(grants)
        platform = self._sources.platform()
        yield from operation_metrics(
            self._sources.retention(), self._sources.erasures(), platform.removed
        )
        yield from platform_metrics(platform)
        yield from self._process()

    def _requests(self) -> Iterable[Metric]:
        meter = self._sources.meter
        requests = CounterMetricFamily(
            "penstock_requests",
            "Requests answered, by route and by the answer's code (see the errors reference).",
            labels=["route", "code"],
        )
        for (route, code), count in sorted(meter.requests.items()):
            requests.add_metric([route, code], count)
        yield requests
        latency = HistogramMetricFamily(
            "penstock_request_seconds",
            "Time from a request's bytes being read to its answer being written, by lane.",
            labels=["lane"],
        )
        for lane, histogram in meter.latency.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*BUCKETS, float("inf")), histogram.counts, strict=True):
                total += count
                buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", total))
            latency.add_metric([lane], buckets, histogram.total_seconds)
        yield latency
        front = self._sources.connections()
        yield _gauge("penstock_connections", "Connections open now.", front.connections)
        connections = CounterMetricFamily(
            "penstock_connections_ended",
            "Connections accepted, turned away at max_connections, ended by a time limit.",
            labels=["what"],
        )
        connections.add_metric(["accepted"], front.accepted)
        connections.add_metric(["turned_away"], front.turned_away)
        connections.add_metric(["timed_out"], front.timed_out)
        yield connections
        poller = self._sources.poller()
        yield _gauge(
            "penstock_requests_queued", "Pose batches that are there to be read.", poller.queued
        )
        yield _gauge(
            "penstock_requests_urgent",
            "Requests under way that are no pose batches, and so go first.",
            poller.urgent,
        )
        yield _gauge(
            "penstock_request_delay_seconds",
            "How long the oldest queued pose batch has been there.",
            poller.delay_seconds,
        )
        yield _gauge(
            "penstock_request_delay_peak_seconds",
            "The worst of it since the last scrape.",
            poller.delay_peak_seconds,
        )
        tokens = self._sources.tokens()
        yield _gauge("penstock_token_cache_entries", "Verified tokens kept.", tokens.entries)
        cache = CounterMetricFamily(
            "penstock_token_cache", "Look-ups of verified tokens.", labels=["result"]
        )
        cache.add_metric(["hit"], tokens.hits)
        cache.add_metric(["miss"], tokens.misses)
        yield cache

    def _frames(self) -> Iterable[Metric]:
        tally = self._sources.frames
        yield CounterMetricFamily(
            "penstock_frames_seen", "Frames whose session and number were known.", tally.seen
        )
        frames = CounterMetricFamily(
            "penstock_frames",
            "Frames by where they ended and why. With the pending ones: all that were seen.",
            labels=["outcome", "reason"],
        )
        unsent = CounterMetricFamily(
            "penstock_frames_unsent",
            "Frames that clients say they never sent, by reason. They were not seen.",
            labels=["reason"],
        )
        for reason in Reason:
            if reason.outcome is Outcome.UNSENT:
                unsent.add_metric([reason.value], tally.frames(reason))
            else:
                frames.add_metric([reason.outcome.value, reason.value], tally.frames(reason))
        yield frames
        yield unsent
        yield _gauge(
            "penstock_frames_pending", "Frames accepted and not yet settled.", tally.pending
        )

    def _sessions(self) -> Iterable[Metric]:
        statistics = self._sources.sessions()
        sessions = GaugeMetricFamily("penstock_sessions", "Sessions by state.", labels=["state"])
        for state in ("recovering", "live", "resting", "failed"):
            sessions.add_metric([state], getattr(statistics, state))
        yield sessions
        changes = CounterMetricFamily(
            "penstock_session_changes",
            "Sessions started new, woken from rest, recovered from their file, crashed.",
            labels=["what"],
        )
        for what in ("started", "woken", "recovered", "crashed"):
            changes.add_metric([what], getattr(statistics, what))
        yield changes

    def _levels(self) -> Iterable[Metric]:
        for name, what, level in (
            (
                "penstock_frame_memory",
                "of frames accepted and not yet settled",
                self._sources.memory,
            ),
            ("penstock_inbox", "in the inboxes of all sessions", self._sources.inboxes),
        ):
            statistics = level.statistics()
            yield _gauge(f"{name}_bytes", f"Bytes {what}.", statistics.held)
            yield _gauge(
                f"{name}_peak_bytes", f"Most bytes {what} since the last scrape.", statistics.peak
            )
            if statistics.limit is not None:
                yield _gauge(f"{name}_limit_bytes", f"Bound of bytes {what}.", statistics.limit)

    def _process(self) -> Iterable[Metric]:
        pacer = self._sources.pacer()
        yield _gauge(
            "penstock_scheduler_delay_seconds",
            "How late the scheduler ran a task that was due.",
            pacer.scheduler_delay_seconds,
        )
        yield _gauge(
            "penstock_scheduler_delay_peak_seconds",
            "The worst of it since the last scrape.",
            pacer.scheduler_delay_peak_seconds,
        )
        build = GaugeMetricFamily(
            "penstock_build_info",
            "Always 1; the labels say what runs.",
            labels=["version", "python"],
        )
        build.add_metric([self._sources.version, self._sources.python], 1)
        yield build
        self._sources.reset_peaks()


def asks_for_text(accept: str) -> bool:
    """Say whether a request's Accept names a format that scrapers read."""
    kinds = (kind.partition(";")[0].strip().lower() for kind in accept.split(","))
    return any(kind.startswith("text/") or kind == _OPEN_METRICS for kind in kinds)


class Exposition:
    """Writes the metrics in the text format that the scraper asks for."""

    def __init__(self, collector: PenstockCollector) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the text and its content type."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it trips over versions that are no numbers
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type


def _media(statistics: MediaFolderStatistics) -> Metric:
    folds = CounterMetricFamily(
        "penstock_media_folds",
        "Sessions whose media figures were made anew for the statistics, by how that ended. Of one "
        "that is refused the statistics do not hold what it was counted for; the log names it.",
        labels=["result"],
    )
    folds.add_metric(["stored"], statistics.folded)
    folds.add_metric(["refused"], statistics.refused)
    return folds


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value)
