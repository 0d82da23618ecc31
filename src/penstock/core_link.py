"""Which Core this process has, and who says what is consented to.

=====================  =====================================  =====================================
                       aggregates go to                       consents and quotas come from
=====================  =====================================  =====================================
by default             the ledger                             the ledger
`core_api_url` is set  `POST …/session-aggregated`            `GET …/consents` and `…/quotas`
`grants_file` is set   as above                               the file
=====================  =====================================  =====================================
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from penstock.engine.blob_port import BlobStore
from penstock.engine.core.embedded import EmbeddedCore
from penstock.engine.core.grants import LedgerGrants
from penstock.engine.core.records import AggregateEntry
from penstock.engine.core_port import Core
from penstock.engine.grants import CachedGrants, GrantLimits, GrantSource
from penstock.engine.ledger_port import Ledger
from penstock.engine.ports import Clock, Purpose
from penstock.engine.writer import Writer
from penstock.errors import StartupError
from penstock.http.cold_routes import ColdSurface
from penstock.http.core.bodies import read_event
from penstock.http.core.grants import Forget
from penstock.http.core.keeping import Keeping
from penstock.http.core.replays import LinkTerms
from penstock.http.core.requests import Doors
from penstock.http.core.starts import TokenTerms
from penstock.http.core.surface import core_surface, invalidation_surface
from penstock.http.service_tokens import ServiceTokenVerifier
from penstock.http.user_tokens import UserTokenVerifier
from penstock.remote_core import ServiceAccount, open_remote_core
from penstock.settings import Settings, secret_bytes
from penstock.storage.grants import FileGrants, GrantsFileError

Grants = CachedGrants | FileGrants


@dataclass(slots=True, frozen=True)
class CoreLink:
    """What this process has of Core. `embedded` says that its routes may be served here."""

    core: Core
    grants: Grants
    embedded: bool


@asynccontextmanager
async def open_core(
    settings: Settings, writer: Writer, ledger: Ledger, clock: Clock, *, dev: bool
) -> AsyncIterator[CoreLink]:
    """Give what there is of Core around the block; raise StartupError where settings forbid it."""
    if settings.core_api_url is None:
        core = EmbeddedCore(writer, _reader(clock))
        grants = _grants(settings, LedgerGrants(ledger), clock, dev=dev)
        yield CoreLink(core, grants, embedded=True)
        return
    async with open_remote_core(
        settings.core_api_url,
        _account(settings),
        clock,
        timeout_seconds=settings.core_timeout_seconds,
    ) as remote:
        grants = _grants(settings, remote, clock, dev=dev)
        yield CoreLink(remote, grants, embedded=False)


def core_doors(settings: Settings, users: UserTokenVerifier, clock: Clock) -> Doors:
    """Give who may come in: people, and service accounts."""
    account = _account(settings)
    services = ServiceTokenVerifier(
        account.secret,
        issuer=account.issuer,
        audience=account.audience,
        leeway_seconds=settings.token_leeway_seconds,
    )
    return Doors(users, services, clock)


def core_surfaces(
    settings: Settings,
    link: CoreLink,
    keeping: Keeping,
    doors: Doors,
    blobs: BlobStore,
    session_secrets: list[bytes],
) -> tuple[ColdSurface, ...]:
    """Give the routes of Core that are served here."""
    forget = forget_of(link.grants)
    surfaces = [invalidation_surface(doors, forget)]
    if link.embedded and "core" in settings.surfaces:
        surfaces.append(
            core_surface(
                doors,
                keeping,
                forget,
                blobs,
                TokenTerms(session_secrets[0], settings.session_token_ttl_seconds),
                LinkTerms(session_secrets, settings.replay_url_seconds, settings.public_url or ""),
            )
        )
    return tuple(surfaces)


def _grants(settings: Settings, source: GrantSource, clock: Clock, *, dev: bool) -> Grants:
    if settings.grants_file is not None:
        try:
            return FileGrants(settings.grants_file, clock)
        except GrantsFileError as error:
            raise StartupError(f"grants_file: {error}") from None
    limits = GrantLimits(
        settings.consent_ttl_seconds,
        settings.consent_stale_seconds,
        settings.consent_cache_entries,
    )
    without_record = frozenset(Purpose) if dev else frozenset[Purpose]()
    return CachedGrants(source, clock, limits, without_record=without_record)


def forget_of(grants: Grants) -> Forget:
    """Give what has this process ask anew for a consent or a quota."""

    def nothing(_org_id: str, _principal_id: str | None) -> None:
        """Leave a file alone: it is looked at by itself."""

    return nothing if isinstance(grants, FileGrants) else grants.forget


def _account(settings: Settings) -> ServiceAccount:
    if settings.service_jwt_secret is None:
        raise StartupError("service_jwt_secret: not set")
    return ServiceAccount(
        secret_bytes(settings.service_jwt_secret), settings.jwt_issuer, settings.jwt_audience
    )


def _reader(clock: Clock) -> Callable[[dict[str, Any]], AggregateEntry]:
    return lambda event: read_event(event, int(clock.unix() * 1000))
