"""The composition root: opens every part in order, runs them, stops them in reverse.

Theory of operation
-------------------
::

    data folder's lock > ledger > spool > writer > sessions > front

Each is opened inside the one before it and closed before it. To stop: readiness turns, the notice
passes, the listener stops accepting, requests under way are answered, actors bring their frames to
disk, the writer empties. Each step has a share of `shutdown_seconds`; a second signal shortens what
is left of it. A failure of the writer or of the machine is not contained: it ends the process.
"""

import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from penstock import __version__
from penstock.blob_stores import open_blob_store
from penstock.composition import Engine, compose_front, session_secrets
from penstock.core_link import open_core
from penstock.engine.abandonment import Abandonment, AbandonmentLimits
from penstock.engine.deliveries import Deliveries, DeliveryLimits
from penstock.engine.ledger_port import Ledger
from penstock.engine.level import Level
from penstock.engine.media.folder import MediaFolder
from penstock.engine.outcomes import FrameLedger
from penstock.engine.pacer import Pacer
from penstock.engine.policy_desk import PolicyDesk, StoreUnavailableError
from penstock.engine.ports import Clock
from penstock.engine.senses import Senses
from penstock.engine.session import Plant
from penstock.engine.sessions import Sessions, SessionsLimits, open_sessions
from penstock.engine.sluice import Sluice
from penstock.engine.turbine import Turbine
from penstock.engine.writer import Writer
from penstock.errors import StartupError
from penstock.http.front import Front, open_front
from penstock.ledgers import open_ledger
from penstock.logs import configure_logs
from penstock.operations import Operations, open_operations
from penstock.platform_link import open_platform
from penstock.policy_store import LedgerPolicyStore, load_policy_book
from penstock.process import (
    allow_seconds_to_stop,
    open_file_limit,
    raise_open_file_limit,
    tune_garbage_collection,
)
from penstock.rotation import check_rotation
from penstock.settings import DEFAULT_SOURCE, Settings, shown
from penstock.storage.ledger import LedgerOpenError
from penstock.storage.lock import DataDirLockedError, lock_data_dir
from penstock.storage.spool import SpoolFolder
from penstock.welcome import print_welcome

logger = logging.getLogger(__name__)

# Of the shutdown's time, requests under way get this share; the rest brings frames to disk.
_FRONT_SHARE = 0.6
_HURRIED_SECONDS = 2.0
_FEWEST_FILES = 64
# Connections may grow by this part of the open-file limit between two looks.
_SPARE_SHARE = 10
_PROBE_SECONDS = 1.0
_EXPIRE_SECONDS = 1.0


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
    policies: PolicyDesk
    operations: Operations
    stopping: trio.Event
    hurry: trio.Event = field(default_factory=trio.Event)

    @property
    def address(self) -> str:
        """Give the URL that the service answers at."""
        return self.front.addresses[0]


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    dev: bool = False,
    clock: Clock | None = None,
    sources: Mapping[str, str] | None = None,
) -> AsyncIterator[Service]:
    """Run a whole service around the block; raise StartupError when it cannot begin.

    `sources` says where each setting comes from, for operators to see.
    """
    clock = clock or SystemClock()
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_data_dir(settings.data_dir):
            if not dev:  # generated secrets come and go with explicit ones
                _check_rotation(settings, clock)
            async with open_ledger(settings) as ledger:
                with SpoolFolder(
                    settings.data_dir / "spool", max_open_files=_spool_files(settings, 0)
                ) as spool:
                    async with _open_engine(
                        settings, ledger, spool, clock, sources, dev=dev
                    ) as service:
                        yield service
    except (DataDirLockedError, LedgerOpenError) as error:
        raise StartupError(str(error)) from None


@asynccontextmanager
async def _open_engine(
    settings: Settings,
    ledger: Ledger,
    spool: SpoolFolder,
    clock: Clock,
    sources: Mapping[str, str] | None,
    *,
    dev: bool,
) -> AsyncIterator[Service]:
    book = await load_policy_book(ledger)
    sluice = Sluice(book, clock)
    turbine = Turbine()
    writer = Writer(
        spool,
        clock,
        max_queued_chunks=settings.spool_queue_chunks,
        group_settled=turbine.turn_nowait,
        ledger=ledger,
        max_queued_entries=settings.writer_queue_entries,
        ledger_wait_seconds=settings.ledger_wait_seconds,
    )
    desk = PolicyDesk(book, LedgerPolicyStore(writer), clock, sluice.adopt)
    plant = Plant(
        FrameLedger(),
        Level(settings.frame_memory_bytes),
        Level(),
        Level(),
        Pacer(clock, settings.spool_flush_seconds),
        writer,
        turbine,
        sluice,
        clock,
        settings.spool_flush_bytes,
    )
    limits = SessionsLimits(
        settings.max_live_sessions,
        settings.max_resting_sessions,
        settings.session_rest_seconds,
        settings.end_wait_seconds,
        settings.session_idle_seconds,
    )
    blobs = await open_blob_store(settings)
    delivery = DeliveryLimits(settings.outbox_max_attempts)
    async with (
        open_core(settings, writer, ledger, clock, dev=dev) as core,
        open_platform(settings, writer, sluice, clock) as platform,
        trio.open_nursery() as nursery,
    ):
        deliveries = Deliveries(writer, ledger, blobs, core.core, spool, clock, delivery)
        await nursery.start(writer.run)
        nursery.start_soon(_watch_spool, spool)
        await nursery.start(deliveries.run)
        async with open_sessions(plant, spool, ledger, deliveries, limits) as sessions:
            stopping = trio.Event()
            keeping = AbandonmentLimits(
                settings.session_idle_seconds, settings.provisional_keep_seconds
            )
            abandonment = Abandonment(sessions, spool, ledger, clock, keeping)
            folder = MediaFolder(
                ledger, writer, clock, lambda: sluice.refuses_bulk, abandonment.close_silent
            )
            operations = open_operations(
                settings,
                plant,
                ledger,
                blobs,
                spool,
                sessions,
                deliveries,
                core,
                platform.enrichment.actors,
            )
            nursery.start_soon(operations.retention.run)
            nursery.start_soon(operations.erasures.run)
            engine = Engine(
                plant,
                spool,
                ledger,
                sessions,
                deliveries,
                desk,
                blobs,
                core,
                folder,
                operations,
                platform,
                sources,
            )
            front = compose_front(settings, engine, stopping)
            service = Service(
                settings, front, sessions, plant.ledger, writer, desk, operations, stopping
            )
            poller = front.poller
            senses = Senses(plant, lambda: sessions.live, lambda: poller.statistics().delay_seconds)
            nursery.start_soon(senses.run)
            nursery.start_soon(_expire_policies, desk)
            nursery.start_soon(folder.run)
            nursery.start_soon(_share_descriptors, settings, front, spool)
            nursery.start_soon(abandonment.run)
            async with open_front(front):
                yield service
                stopping.set()
                share = settings.shutdown_seconds * _FRONT_SHARE
                await _within(share, service.hurry, front.drain)
            share = settings.shutdown_seconds * (1 - _FRONT_SHARE)
            await _within(share, service.hurry, sessions.drain)
        nursery.cancel_scope.cancel()


async def run_service(settings: Settings, sources: Mapping[str, str], *, dev: bool) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order. A second signal hurries."""
    configure_logs(settings.log_level, settings.log_format)
    raise_open_file_limit()
    tune_garbage_collection()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            async with open_service(settings, dev=dev, sources=sources) as service:
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


async def _expire_policies(desk: PolicyDesk) -> None:
    """End policies whose time has passed; what cannot be saved is tried again."""
    while True:
        await trio.sleep(_EXPIRE_SECONDS)
        try:
            made = await desk.expire()
        except StoreUnavailableError as error:
            logger.warning("policy.expiry_not_saved", extra={"error": str(error)})
            continue
        for change in made:
            logger.info("policy.expired", extra={"scope": change.scope, "was": change.reason})


async def _share_descriptors(settings: Settings, front: Front, spool: SpoolFolder) -> None:
    """Keep as many spool files open as the connections leave descriptors for."""
    while True:
        await trio.sleep(_PROBE_SECONDS)
        spool.allow_open_files(_spool_files(settings, front.statistics().connections))


def _spool_files(settings: Settings, connections: int) -> int:
    """Give the spool the descriptors that connections do not use, less room for new ones."""
    limit = open_file_limit()
    spare = max(_FEWEST_FILES, limit // _SPARE_SHARE)
    left = max(_FEWEST_FILES, limit - connections - spare)
    return min(left, settings.spool_open_files)


def _check_rotation(settings: Settings, clock: Clock) -> None:
    current, *previous = session_secrets(settings)
    check_rotation(
        settings.data_dir,
        current=current,
        previous=previous[0] if previous else None,
        overlap_seconds=settings.session_secret_overlap_seconds,
        now_unix=clock.unix(),
    )


def _last_words(service: Service) -> dict[str, int]:
    tally = service.ledger.process
    return {"frames_seen": tally.seen, **tally.plain()}
