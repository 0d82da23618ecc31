"""The composition root: opens every part in order, runs them, stops them in reverse.

Theory of operation
-------------------
::

    data folder's lock > spool > writer > sessions > front

Each is opened inside the one before it and closed before it. To stop: readiness turns, the notice
passes, the listener stops accepting, requests under way are answered, actors bring their frames to
disk, the writer empties. Each step has a share of `shutdown_seconds`; a second signal shortens what
is left of it. A failure of the writer or of the machine is not contained: it ends the process.
"""

import logging
import platform
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from penstock import __version__
from penstock.engine.level import Level
from penstock.engine.outcomes import FrameLedger
from penstock.engine.pacer import Pacer
from penstock.engine.ports import Clock
from penstock.engine.session import Plant, SessionLimits
from penstock.engine.sessions import Sessions, SessionsLimits, open_sessions
from penstock.engine.turbine import Turbine
from penstock.engine.writer import Writer
from penstock.errors import StartupError
from penstock.http.app import AppLimits, Parts, create_app
from penstock.http.edge import CorsRules, Edge
from penstock.http.front import Bind, Front, FrontLimits, make_config, open_front
from penstock.http.gates import RateGate, RateLimits
from penstock.http.health import Finding, Readiness
from penstock.http.known_heads import KnownHeads
from penstock.http.meters import RequestMeter
from penstock.http.metrics import Exposition, PenstockCollector, Sources
from penstock.http.pose import PoseFrames
from penstock.http.session_tokens import TokenVerifier
from penstock.logs import configure_logs
from penstock.process import (
    allow_seconds_to_stop,
    open_file_limit,
    raise_open_file_limit,
    tune_garbage_collection,
)
from penstock.rotation import check_rotation
from penstock.settings import DEFAULT_SOURCE, Settings, secret_bytes, shown
from penstock.storage.grants import ClosedGrants, FileGrants, GrantsFileError, PermissiveGrants
from penstock.storage.lock import DataDirLockedError, lock_data_dir
from penstock.storage.spool import SpoolFolder
from penstock.welcome import print_welcome

logger = logging.getLogger(__name__)

# Of the shutdown's time, requests under way get this share; the rest brings frames to disk.
_FRONT_SHARE = 0.6
_HURRIED_SECONDS = 2.0
_STALLED_SECONDS = 5.0
_FEWEST_FILES = 64
# Connections may grow by this part of the open-file limit between two looks.
_SPARE_SHARE = 10
_PROBE_SECONDS = 1.0


Grants = ClosedGrants | FileGrants | PermissiveGrants


class SystemClock:
    """The operating system's clocks."""

    def monotonic(self) -> float:
        """Give seconds that only grow."""
        return time.monotonic()

    def unix(self) -> float:
        """Give seconds since 1970 UTC."""
        return time.time()


@dataclass(slots=True, frozen=True)
class Service:
    """A running service. Leave the block of `open_service` to stop it."""

    settings: Settings
    front: Front
    sessions: Sessions
    ledger: FrameLedger
    writer: Writer
    stopping: trio.Event = field(default_factory=trio.Event)
    hurry: trio.Event = field(default_factory=trio.Event)

    @property
    def address(self) -> str:
        """Give the URL that the service answers at."""
        return self.front.addresses[0]


@asynccontextmanager
async def open_service(
    settings: Settings, *, dev: bool = False, clock: Clock | None = None
) -> AsyncIterator[Service]:
    """Run a whole service around the block; raise StartupError when it cannot begin."""
    clock = clock or SystemClock()
    grants = _open_grants(settings, clock, dev=dev)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_data_dir(settings.data_dir):
            if not dev:  # generated secrets come and go with explicit ones
                _check_rotation(settings, clock)
            with SpoolFolder(
                settings.data_dir / "spool", max_open_files=_spool_files(settings, 0)
            ) as spool:
                async with _open_engine(settings, grants, spool, clock) as service:
                    yield service
    except DataDirLockedError as locked:
        raise StartupError(str(locked)) from None


@asynccontextmanager
async def _open_engine(
    settings: Settings, grants: Grants, spool: SpoolFolder, clock: Clock
) -> AsyncIterator[Service]:
    ledger = FrameLedger()
    turbine = Turbine()
    writer = Writer(
        spool,
        clock,
        max_queued_chunks=settings.spool_queue_chunks,
        group_settled=turbine.turn_nowait,
    )
    plant = Plant(
        ledger,
        Level(settings.frame_memory_bytes),
        Level(),
        Pacer(clock, settings.spool_flush_seconds),
        writer,
        turbine,
        clock,
        SessionLimits(settings.inbox_batches, settings.inbox_bytes, settings.spool_flush_bytes),
    )
    limits = SessionsLimits(
        settings.max_live_sessions, settings.max_resting_sessions, settings.session_rest_seconds
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        nursery.start_soon(_watch_spool, spool)
        async with open_sessions(plant, spool, limits) as sessions:
            service = _compose(settings, grants, spool, plant, sessions)
            nursery.start_soon(_share_descriptors, settings, service.front, spool)
            async with open_front(service.front):
                yield service
                service.stopping.set()
                share = settings.shutdown_seconds * _FRONT_SHARE
                await _within(share, service.hurry, service.front.drain)
            share = settings.shutdown_seconds * (1 - _FRONT_SHARE)
            await _within(share, service.hurry, sessions.drain)
        nursery.cancel_scope.cancel()


def _compose(
    settings: Settings,
    grants: Grants,
    spool: SpoolFolder,
    plant: Plant,
    sessions: Sessions,
) -> Service:
    clock = plant.clock
    tokens = TokenVerifier(
        _session_secrets(settings),
        cache_entries=settings.token_cache_entries,
        leeway_seconds=settings.token_leeway_seconds,
    )
    rate = RateGate(RateLimits(settings.rate_batches_per_second, settings.rate_burst))
    known_heads = KnownHeads(settings.token_cache_entries)
    pose = PoseFrames(tokens, known_heads, grants, grants, rate, sessions, clock)
    edge = Edge(CorsRules(settings.cors_origins, settings.cors_max_age_seconds), clock)
    meter = RequestMeter()
    stopping = trio.Event()
    readiness = Readiness(
        (
            lambda: _draining(stopping),
            lambda: _spool_finding(spool),
            lambda: _lag_finding(plant.writer, settings.spool_flush_seconds),
            lambda: _grants_finding(grants),
        )
    )
    exposition = Exposition(
        PenstockCollector(
            Sources(
                meter=meter,
                frames=plant.ledger.process,
                memory=plant.memory,
                inboxes=plant.inboxes,
                sessions=sessions.statistics,
                writer=plant.writer.statistics,
                pacer=plant.pacer.statistics,
                spool=spool.statistics,
                spool_health=spool.health,
                tokens=tokens.statistics,
                connections=lambda: front.statistics(),  # noqa: PLW0108 - the front is made below
                reset_peaks=lambda: _reset_peaks(plant),
                version=__version__,
                python=platform.python_version(),
            )
        )
    )
    app = create_app(
        Parts(
            pose,
            edge,
            meter,
            readiness,
            exposition,
            AppLimits(settings.request_timeout_seconds, settings.max_header_count),
            __version__,
        )
    )
    front_limits = FrontLimits(
        max_connections=settings.max_connections,
        max_header_bytes=settings.max_header_bytes,
        max_header_count=settings.max_header_count,
        request_timeout_seconds=settings.request_timeout_seconds,
        idle_timeout_seconds=settings.idle_timeout_seconds,
        linger_seconds=settings.linger_seconds,
        listen_backlog=settings.listen_backlog,
        express_lane=settings.express_lane,
    )
    bind = Bind(
        settings.host,
        settings.port,
        None if settings.tls_cert is None else str(settings.tls_cert),
        None if settings.tls_key is None else str(settings.tls_key),
    )
    config = make_config(bind, front_limits)
    try:
        config.create_ssl_context()
    except (ssl.SSLError, OSError) as error:
        raise StartupError(
            f"tls_cert and tls_key: {bind.tls_cert} and {bind.tls_key} are no PEM certificate with "
            f"its key: {error}"
        ) from None
    front = Front(app, pose, edge, meter, front_limits, config)
    return Service(settings, front, sessions, plant.ledger, plant.writer, stopping)


async def run_service(settings: Settings, sources: Mapping[str, str], *, dev: bool) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order. A second signal hurries."""
    configure_logs(settings.log_level, settings.log_format)
    raise_open_file_limit()
    tune_garbage_collection()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            async with open_service(settings, dev=dev) as service:
                logger.info(
                    "service.started",
                    extra={
                        "address": service.address,
                        "version": __version__,
                        "settings": {
                            name: f"{shown(settings, name)} ({source})"
                            for name, source in sources.items()
                            if source != DEFAULT_SOURCE
                        },
                    },
                )
                if dev:
                    print_welcome(settings, service.address)
                nursery.start_soon(_watch_signals, signals, service)
                await service.stopping.wait()
                allow_seconds_to_stop(settings.shutdown_notice_seconds + settings.shutdown_seconds)
                with trio.move_on_after(settings.shutdown_notice_seconds):
                    await service.hurry.wait()
            logger.info("service.stopped", extra=_last_words(service))
            nursery.cancel_scope.cancel()


async def _watch_signals(signals: AsyncIterator[int], service: Service) -> None:
    async for number in signals:
        name = signal.Signals(number).name
        if service.stopping.is_set():
            logger.warning("service.hurried", extra={"signal": name})
            service.hurry.set()
            allow_seconds_to_stop(2 * _HURRIED_SECONDS)
            return
        logger.info("service.stopping", extra={"signal": name})
        service.stopping.set()


async def _within(seconds: float, hurry: trio.Event, step: Callable[[], Awaitable[None]]) -> None:
    """Run a step of the shutdown; cut it off when its time is over."""
    with trio.move_on_after(seconds) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hurry, hurry, scope)
            await step()
            nursery.cancel_scope.cancel()
    if scope.cancelled_caught:
        logger.warning("shutdown.cut_short", extra={"step": step.__qualname__})


async def _hurry(hurry: trio.Event, scope: trio.CancelScope) -> None:
    await hurry.wait()
    scope.deadline = min(scope.deadline, trio.current_time() + _HURRIED_SECONDS)


async def _watch_spool(spool: SpoolFolder) -> None:
    """Find out by itself when a spool that could not be written can be again."""
    while True:
        await trio.sleep(_PROBE_SECONDS)
        if not spool.health().writable and (await trio.to_thread.run_sync(spool.probe)).writable:
            logger.info("spool.writable_again")


async def _share_descriptors(settings: Settings, front: Front, spool: SpoolFolder) -> None:
    """Keep as many spool files open as the connections leave descriptors for."""
    while True:
        await trio.sleep(_PROBE_SECONDS)
        spool.allow_open_files(_spool_files(settings, front.statistics().connections))


def _open_grants(settings: Settings, clock: Clock, *, dev: bool) -> Grants:
    if settings.grants_file is None:
        return PermissiveGrants() if dev else ClosedGrants()
    try:
        return FileGrants(settings.grants_file, clock)
    except GrantsFileError as error:
        raise StartupError(f"grants_file: {error}") from None


def _spool_files(settings: Settings, connections: int) -> int:
    """Give the spool the descriptors that connections do not use, less room for new ones."""
    limit = open_file_limit()
    spare = max(_FEWEST_FILES, limit // _SPARE_SHARE)
    left = max(_FEWEST_FILES, limit - connections - spare)
    return min(left, settings.spool_open_files)


def _session_secrets(settings: Settings) -> list[bytes]:
    secrets = (settings.session_secret, settings.session_secret_previous)
    return [secret_bytes(secret) for secret in secrets if secret is not None]


def _check_rotation(settings: Settings, clock: Clock) -> None:
    current, *previous = _session_secrets(settings)
    check_rotation(
        settings.data_dir,
        current=current,
        previous=previous[0] if previous else None,
        overlap_seconds=settings.session_secret_overlap_seconds,
        now_unix=clock.unix(),
    )


def _draining(stopping: trio.Event) -> Finding | None:
    if not stopping.is_set():
        return None
    return Finding("draining", "the service is shutting down")


def _spool_finding(spool: SpoolFolder) -> Finding | None:
    health = spool.health()
    if health.writable or health.reason is None:
        return None
    return Finding(health.reason.value, f"{health.reason.meaning} {health.detail}")


def _lag_finding(writer: Writer, flush_seconds: float) -> Finding | None:
    lag = writer.statistics().oldest_age_seconds
    if lag <= max(_STALLED_SECONDS, 5 * flush_seconds):
        return None
    return Finding("spool_stalled", f"the oldest unwritten frames have waited for {lag:.0f} s")


def _grants_finding(grants: Grants) -> Finding | None:
    if not isinstance(grants, FileGrants) or grants.problem is None:
        return None
    return Finding("grants_file_invalid", grants.problem)


def _reset_peaks(plant: Plant) -> None:
    for part in (plant.memory, plant.inboxes, plant.writer, plant.pacer):
        part.reset_peak()


def _last_words(service: Service) -> dict[str, int]:
    tally = service.ledger.process
    return {"frames_seen": tally.seen, **tally.plain()}
