"""The surfaces of sums put together: usage rollups and sync, and the tokens of their users."""

from penstock.engine.ledger_port import Ledger
from penstock.engine.ports import Clock
from penstock.engine.session import Plant
from penstock.errors import StartupError
from penstock.http.cold_routes import ColdSurface
from penstock.http.jwks import JwksCache, JwksRules
from penstock.http.sync.dashboard import Dashboard
from penstock.http.sync.device_tokens import DeviceGate
from penstock.http.sync.surface import SyncLimits, SyncSurface
from penstock.http.sync.token_admin import DeviceTokenAdmin
from penstock.http.usage import UsageSurface
from penstock.http.user_tokens import UserTokenVerifier
from penstock.key_fetch import key_fetcher
from penstock.settings import Settings, secret_bytes


def user_tokens(settings: Settings, clock: Clock) -> UserTokenVerifier:
    """Give the one verifier of people's tokens, with the provider's keys where there are any."""
    secret = settings.user_jwt_secret
    if secret is None and settings.jwks_url is None:
        raise StartupError("user_jwt_secret: not set, and no jwks_url either")
    keys = None
    if settings.jwks_url is not None:
        rules = JwksRules(settings.jwks_floor_seconds, settings.jwks_keep_seconds)
        keys = JwksCache(key_fetcher(settings.jwks_url), clock, rules)
    return UserTokenVerifier(
        None if secret is None else secret_bytes(secret),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_seconds=settings.token_leeway_seconds,
        keys=keys,
    )


def compose_usage(
    settings: Settings, users: UserTokenVerifier, ledger: Ledger, plant: Plant
) -> ColdSurface:
    """Put the surface of usage rollups together."""
    claims = settings.usage_user_claims
    return UsageSurface(users, ledger, plant.writer, plant.clock, claims).surface()


def compose_sync(
    settings: Settings, users: UserTokenVerifier, ledger: Ledger, plant: Plant
) -> tuple[ColdSurface, ColdSurface]:
    """Put the surface of sync together, and that of its device tokens."""
    devices = DeviceGate(ledger)
    limits = SyncLimits(
        settings.sync_batch_bytes,
        settings.sync_batch_records,
        settings.sync_batch_sums,
        settings.ledger_wait_seconds,
    )
    sync = SyncSurface(
        devices,
        Dashboard(devices, users, ledger, plant.clock),
        ledger,
        plant.writer,
        plant.clock,
        limits,
        lambda: plant.sluice.refuses_bulk,
    )
    admin = DeviceTokenAdmin(users, ledger, plant.writer, plant.clock)
    return sync.surface(), admin.surface()
