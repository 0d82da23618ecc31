"""The front put together: every gate, surface and route over the engine's parts."""

import platform
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from penstock import __version__, findings
from penstock.console_link import ConsoleSources, compose_console
from penstock.core_link import CoreLink, Grants, core_doors, core_surfaces
from penstock.engine.blob_port import BlobStore
from penstock.engine.deliveries import Deliveries
from penstock.engine.grants import GrantStatistics
from penstock.engine.ledger_port import Ledger
from penstock.engine.media.folder import MediaFolder
from penstock.engine.policy_desk import PolicyDesk
from penstock.engine.session import Plant
from penstock.engine.sessions import Sessions
from penstock.errors import StartupError
from penstock.http.admin_policy import PolicyAdmin
from penstock.http.app import AppLimits, Parts, create_app
from penstock.http.core.keeping import Keeping
from penstock.http.edge import CorsRules, Edge
from penstock.http.ends import ENDS, SessionEnds
from penstock.http.front import Bind, Front, FrontLimits, make_config
from penstock.http.gates import RateGate, RateLimits
from penstock.http.health import Readiness
from penstock.http.known_heads import KnownHeads
from penstock.http.media_events import MEDIA_EVENTS, MediaEvents
from penstock.http.media_statistics import MediaStatistics
from penstock.http.meters import RequestMeter
from penstock.http.metrics import Exposition, PenstockCollector, Sources
from penstock.http.operations.surface import operations_surface
from penstock.http.platform.callers import visitor_in
from penstock.http.policy_metrics import PolicySources
from penstock.http.portal_assets import load_portal
from penstock.http.pose import PoseFrames
from penstock.http.runs.openapi import runs_document
from penstock.http.runs.pages import pages_surface
from penstock.http.runs.surface import HOT as HOT_RUNS
from penstock.http.session_tokens import TokenVerifier
from penstock.operations import Operations
from penstock.platform_link import PlatformLink, platform_surfaces
from penstock.rollup_surfaces import compose_sync, compose_usage, user_tokens
from penstock.runs_surface import compose_runs
from penstock.settings import Settings, secret_bytes
from penstock.storage.grants import FileGrants
from penstock.storage.spool import SpoolFolder

if TYPE_CHECKING:
    from penstock.http.hot_routes import Route, Surface


def session_secrets(settings: Settings) -> list[bytes]:
    """Give the secrets of session tokens, the current one first."""
    secrets = (settings.session_secret, settings.session_secret_previous)
    return [secret_bytes(secret) for secret in secrets if secret is not None]


@dataclass(slots=True, frozen=True)
class Engine:
    """Everything behind the front, open."""

    plant: Plant
    spool: SpoolFolder
    ledger: Ledger
    sessions: Sessions
    deliveries: Deliveries
    desk: PolicyDesk
    blobs: BlobStore
    core: CoreLink
    folder: MediaFolder
    operations: Operations
    platform: PlatformLink
    # Where each setting comes from, where somebody knows.
    sources: Mapping[str, str] | None = None


def compose_front(settings: Settings, engine: Engine, stopping: trio.Event) -> Front:
    """Put the front together; raise StartupError where a setting makes that impossible."""
    plant, spool, sessions, desk = engine.plant, engine.spool, engine.sessions, engine.desk
    clock, grants = plant.clock, engine.core.grants
    tokens = TokenVerifier(
        session_secrets(settings),
        cache_entries=settings.token_cache_entries,
        leeway_seconds=settings.token_leeway_seconds,
    )
    rate = RateGate(RateLimits(settings.rate_batches_per_second, settings.rate_burst))
    known_heads = KnownHeads(settings.token_cache_entries)
    pose = PoseFrames(tokens, known_heads, grants, grants, rate, sessions, clock)
    ends = SessionEnds(tokens, sessions, clock)
    enrichment = engine.platform.enrichment
    media = MediaEvents(
        tokens,
        grants,
        grants,
        rate,
        plant.writer,
        clock,
        lambda head: enrichment.surroundings(visitor_in(head)),
    )
    edge = Edge(CorsRules(settings.cors_origins, settings.cors_max_age_seconds), clock)
    meter = RequestMeter()
    readiness = Readiness(
        (
            lambda: findings.draining(stopping),
            lambda: findings.spool(spool.health()),
            lambda: findings.lag(plant.writer, settings.spool_flush_seconds),
            lambda: findings.ledger(plant.writer),
            lambda: findings.grants(grants.problem if isinstance(grants, FileGrants) else None),
        ),
        (engine.platform.geo_note, engine.platform.exclusions_note)
        if "platform" in settings.surfaces
        else (),
    )
    exposition = Exposition(
        PenstockCollector(
            Sources(
                meter=meter,
                frames=plant.ledger.process,
                policy=PolicySources(plant.sluice, desk.book, clock),
                memory=plant.memory,
                inboxes=plant.inboxes,
                sessions=sessions.statistics,
                writer=plant.writer.statistics,
                deliveries=engine.deliveries.statistics,
                media=engine.folder.statistics,
                pacer=plant.pacer.statistics,
                spool=spool.statistics,
                spool_health=spool.health,
                tokens=tokens.statistics,
                connections=lambda: front.statistics(),  # noqa: PLW0108 - the front is made below
                poller=lambda: front.poller.statistics(),  # noqa: PLW0108 - as below  # noqa: PLW0108 - as above
                grants=lambda: _grant_statistics(grants),
                retention=engine.operations.retention.statistics,
                erasures=engine.operations.erasures.statistics,
                platform=engine.platform.statistics,
                reset_peaks=lambda: _reset_peaks(plant, front),
                version=__version__,
                python=platform.python_version(),
            )
        )
    )
    users = user_tokens(settings, clock)
    surfaces = [
        PolicyAdmin(users, desk, plant.sluice, clock).surface(),
        load_portal(__version__).surface(),
    ]
    takes_sessions = "sessions" in settings.surfaces
    hot: dict[Route, Surface] = {ENDS: ends, MEDIA_EVENTS: media} if takes_sessions else {}
    if "platform" in settings.surfaces:
        surfaces.append(MediaStatistics(users, engine.ledger, clock).surface())
    runs = None
    if "runs" in settings.surfaces:
        runs = compose_runs(settings, engine.ledger, plant)
        surfaces += [runs.surface(), pages_surface(runs_document(runs.limits))]
        if runs.hot:
            hot[HOT_RUNS] = runs
    if "usage" in settings.surfaces:
        surfaces.append(compose_usage(settings, users, engine.ledger, plant))
    if "sync" in settings.surfaces:
        surfaces += compose_sync(settings, users, engine.ledger, plant)
    keeping = Keeping(engine.ledger, plant.writer, clock)
    doors, operations = core_doors(settings, users, clock), engine.operations
    surfaces += core_surfaces(
        settings, engine.core, keeping, doors, engine.blobs, session_secrets(settings)
    )
    surfaces += platform_surfaces(settings, engine.platform, doors, keeping)
    surfaces.append(operations_surface(doors, keeping, operations.retention, operations.erasures))
    console = compose_console(
        settings,
        engine,
        ConsoleSources(
            doors,
            keeping,
            readiness,
            meter,
            poller=lambda: front.poller.statistics(),  # noqa: PLW0108 - as below
            connections=lambda: front.statistics(),  # noqa: PLW0108 - the front is made below
        ),
        stopping,
    )
    surfaces += console.surfaces
    app = create_app(
        Parts(
            pose if takes_sessions else None,
            edge,
            meter,
            readiness,
            exposition,
            AppLimits(settings.request_timeout_seconds, settings.max_header_count),
            __version__,
            ends if takes_sessions else None,
            tuple(surfaces),
            None if runs is None else runs.totals,
            media if takes_sessions else None,
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
    beside = console.beside
    front = Front(
        app, pose, edge, meter, front_limits, config, hot, beside, takes_pose=takes_sessions
    )
    return front


def _grant_statistics(grants: Grants) -> GrantStatistics | None:
    return None if isinstance(grants, FileGrants) else grants.statistics()


def _reset_peaks(plant: Plant, front: Front) -> None:
    for part in (plant.memory, plant.inboxes, plant.writer, plant.pacer, front.poller):
        part.reset_peak()
