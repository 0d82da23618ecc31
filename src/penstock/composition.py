"""The front put together: every gate, surface and route over the engine's parts."""

import platform
import ssl
from typing import TYPE_CHECKING

import trio

from penstock import __version__, findings
from penstock.engine.ledger_port import Ledger
from penstock.engine.policy_desk import PolicyDesk
from penstock.engine.session import Plant
from penstock.engine.sessions import Sessions
from penstock.errors import StartupError
from penstock.http.admin_policy import PolicyAdmin
from penstock.http.app import AppLimits, Parts, create_app
from penstock.http.edge import CorsRules, Edge
from penstock.http.ends import ENDS, SessionEnds
from penstock.http.front import Bind, Front, FrontLimits, make_config
from penstock.http.gates import RateGate, RateLimits
from penstock.http.health import Readiness
from penstock.http.known_heads import KnownHeads
from penstock.http.meters import RequestMeter
from penstock.http.metrics import Exposition, PenstockCollector, Sources
from penstock.http.policy_metrics import PolicySources
from penstock.http.pose import PoseFrames
from penstock.http.runs.gate import AddressLimit, Gate, SharedToken
from penstock.http.runs.openapi import runs_document
from penstock.http.runs.pages import pages_surface
from penstock.http.runs.surface import HOT as HOT_RUNS
from penstock.http.runs.surface import Runs, RunsLimits, StoreFacts
from penstock.http.session_tokens import TokenVerifier
from penstock.http.user_tokens import UserTokenVerifier
from penstock.ledgers import LEDGER_FILE
from penstock.settings import Settings, secret_bytes
from penstock.storage.grants import ClosedGrants, FileGrants, PermissiveGrants
from penstock.storage.spool import SpoolFolder

if TYPE_CHECKING:
    from penstock.http.hot_routes import Route, Surface

Grants = ClosedGrants | FileGrants | PermissiveGrants


def session_secrets(settings: Settings) -> list[bytes]:
    """Give the secrets of session tokens, the current one first."""
    secrets = (settings.session_secret, settings.session_secret_previous)
    return [secret_bytes(secret) for secret in secrets if secret is not None]


def compose_front(
    settings: Settings,
    grants: Grants,
    spool: SpoolFolder,
    plant: Plant,
    sessions: Sessions,
    desk: PolicyDesk,
    stopping: trio.Event,
    ledger: Ledger,
) -> Front:
    """Put the front together; raise StartupError where a setting makes that impossible."""
    clock = plant.clock
    tokens = TokenVerifier(
        session_secrets(settings),
        cache_entries=settings.token_cache_entries,
        leeway_seconds=settings.token_leeway_seconds,
    )
    rate = RateGate(RateLimits(settings.rate_batches_per_second, settings.rate_burst))
    known_heads = KnownHeads(settings.token_cache_entries)
    pose = PoseFrames(tokens, known_heads, grants, grants, rate, sessions, clock)
    ends = SessionEnds(tokens, sessions, clock)
    edge = Edge(CorsRules(settings.cors_origins, settings.cors_max_age_seconds), clock)
    meter = RequestMeter()
    readiness = Readiness(
        (
            lambda: findings.draining(stopping),
            lambda: findings.spool(spool.health()),
            lambda: findings.lag(plant.writer, settings.spool_flush_seconds),
            lambda: findings.ledger(plant.writer),
            lambda: findings.grants(grants.problem if isinstance(grants, FileGrants) else None),
        )
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
                pacer=plant.pacer.statistics,
                spool=spool.statistics,
                spool_health=spool.health,
                tokens=tokens.statistics,
                connections=lambda: front.statistics(),  # noqa: PLW0108 - the front is made below
                poller=lambda: front.poller.statistics(),  # noqa: PLW0108 - as above
                reset_peaks=lambda: _reset_peaks(plant, front),
                version=__version__,
                python=platform.python_version(),
            )
        )
    )
    runs = _runs(settings, plant, ledger) if "runs" in settings.surfaces else None
    surfaces = [_policy_admin(settings, plant, desk).surface()]
    hot: dict[Route, Surface] = {ENDS: ends}
    if runs is not None:
        surfaces += [runs.surface(), pages_surface(runs_document(runs.limits))]
        if runs.hot:
            hot[HOT_RUNS] = runs
    app = create_app(
        Parts(
            pose,
            edge,
            meter,
            readiness,
            exposition,
            AppLimits(settings.request_timeout_seconds, settings.max_header_count),
            __version__,
            ends,
            tuple(surfaces),
            None if runs is None else runs.totals,
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
    front = Front(app, pose, edge, meter, front_limits, config, hot)
    return front


def _runs(settings: Settings, plant: Plant, ledger: Ledger) -> Runs:
    token = settings.runs_auth_token if settings.runs_auth_enabled else None
    limited = settings.runs_rate_limit_enabled
    return Runs(
        ledger,
        plant.writer,
        plant.clock,
        _store_facts(settings),
        Gate(
            None if token is None else SharedToken(secret_bytes(token)),
            AddressLimit(settings.runs_rate_limit_rpm) if limited else None,
        ),
        RunsLimits(
            settings.runs_body_bytes,
            settings.runs_batch_body_bytes,
            settings.runs_batch_length,
            settings.runs_text_length,
        ),
        lambda: plant.sluice.refuses_bulk,
    )


def _store_facts(settings: Settings) -> StoreFacts:
    if settings.database_url is not None:
        # Its log is a write-ahead log; that it syncs is the doctor's to check. The URL has secrets.
        return StoreFacts("postgresql", "WAL", "FULL")
    path = str(settings.data_dir / LEDGER_FILE)
    return StoreFacts(path, settings.ledger_journal_mode.upper(), "FULL")


def _policy_admin(settings: Settings, plant: Plant, desk: PolicyDesk) -> PolicyAdmin:
    if settings.user_jwt_secret is None:
        raise StartupError("user_jwt_secret: not set")
    verifier = UserTokenVerifier(
        secret_bytes(settings.user_jwt_secret),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_seconds=settings.token_leeway_seconds,
    )
    return PolicyAdmin(verifier, desk, plant.sluice, plant.clock)


def _reset_peaks(plant: Plant, front: Front) -> None:
    for part in (plant.memory, plant.inboxes, plant.writer, plant.pacer, front.poller):
        part.reset_peak()
