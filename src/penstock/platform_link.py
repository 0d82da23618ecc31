"""What the platform surface is made of: looked up in files, fetched from MaxMind, kept up by tasks.

The list of privacy exclusions must be readable before anything is served: without it, people who
asked that nothing be told about them would be told about. A geo database may be missing or
damaged; then no request has a country, which readiness tells.
"""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from penstock.engine.platform.actors import ActorNames
from penstock.engine.platform.addresses import ProxyChain
from penstock.engine.platform.context import Enrichment
from penstock.engine.platform.exclusions import ExclusionBook
from penstock.engine.platform.geo_updates import GeoUpdates
from penstock.engine.platform.records import Kept
from penstock.engine.platform.retention import Retention
from penstock.engine.platform.syncing import ExclusionSync
from penstock.engine.ports import Clock
from penstock.engine.rate import TokenBuckets
from penstock.engine.sluice import Sluice
from penstock.engine.writer import Writer
from penstock.errors import StartupError
from penstock.http.cold_routes import ColdSurface
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors
from penstock.http.health import Finding
from penstock.http.platform.admin import PlatformAdmin
from penstock.http.platform.callers import Callers, RequestRates
from penstock.http.platform.ingest import Ingest
from penstock.http.platform.surface import platform_surface
from penstock.http.user_agents import surroundings_of
from penstock.maxmind import MaxMindAccount, open_maxmind
from penstock.settings import Settings, secret_bytes
from penstock.storage.platform.exclusions_file import ExclusionsFile, ExclusionsFileError
from penstock.storage.platform.geo import GeoDatabase

DAY_SECONDS = 24 * 3600
FOLDER = "platform"


@dataclass(slots=True, frozen=True)
class PlatformLink:
    """What there is of the platform in this process."""

    enrichment: Enrichment
    geo: GeoDatabase
    book: ExclusionBook
    sync: ExclusionSync
    updates: GeoUpdates
    account_missing: str | None

    def notes(self) -> Finding | None:
        """Tell that no request has a country, and why."""
        if self.geo.status is None:
            why = self.geo.problem or "no geo database has been downloaded"
            return Finding("geo_unavailable", f"{why}; requests are stored without a country")
        return None


@asynccontextmanager
async def open_platform(
    settings: Settings, writer: Writer, sluice: Sluice, clock: Clock
) -> AsyncIterator[PlatformLink]:
    """Have it around the block, with the tasks that keep it up; StartupError if impossible."""
    folder = settings.data_dir / FOLDER
    file = ExclusionsFile(folder / "privacy-exclusions.jsonl")
    try:
        book = ExclusionBook(await trio.to_thread.run_sync(file.load))
    except ExclusionsFileError as error:
        raise StartupError(
            f"the list of privacy exclusions cannot be read: {error}; restore it, or remove it and "
            "sync again before anything else is served"
        ) from None
    geo = GeoDatabase(folder / "geo.mmdb")
    # The first header takes a quarter of a second: the patterns are read.
    await trio.to_thread.run_sync(surroundings_of, b"Mozilla/5.0")
    try:
        async with (
            open_maxmind(_account(settings), geo) as maxmind,
            trio.open_nursery() as nursery,
        ):
            missing = _missing(settings)
            days = 0 if missing is not None else settings.privacy_sync_days
            sync = ExclusionSync(maxmind, file, book, clock, days * DAY_SECONDS)
            updates = GeoUpdates(maxmind)
            retention = Retention(writer, clock, _days(settings), lambda: sluice.refuses_bulk)
            nursery.start_soon(sync.run)
            nursery.start_soon(updates.run)
            nursery.start_soon(retention.run)
            enrichment = Enrichment(
                ProxyChain.of(settings.trusted_proxies),
                book,
                geo,
                surroundings_of,
                ActorNames(
                    _actor_secret(settings),
                    settings.actor_hash_days * DAY_SECONDS,
                    _former_actor_secrets(settings),
                ),
                clock,
            )
            yield PlatformLink(enrichment, geo, book, sync, updates, missing)
            nursery.cancel_scope.cancel()
    finally:
        geo.close()


def platform_surfaces(
    settings: Settings, link: PlatformLink, doors: Doors, keeping: Keeping
) -> tuple[ColdSurface, ...]:
    """Give the platform's own routes, where they are served."""
    if "platform" not in settings.surfaces:
        return ()
    callers = Callers(
        doors,
        link.enrichment,
        keeping,
        RequestRates(settings.platform_requests_per_second, settings.platform_burst),
        TokenBuckets(),
        TokenBuckets(),
    )
    admin = PlatformAdmin(
        callers, link.geo, link.updates, link.book, link.sync, link.account_missing
    )
    return (platform_surface(Ingest(callers, keeping), admin),)


def _account(settings: Settings) -> MaxMindAccount:
    key = settings.maxmind_license_key
    return MaxMindAccount(
        settings.maxmind_account_id,
        None if key is None else key.get_secret_value(),
        settings.privacy_exclusions_url,
        settings.geo_update_url,
    )


def _missing(settings: Settings) -> str | None:
    for name in ("maxmind_account_id", "maxmind_license_key"):
        if getattr(settings, name) is None:
            return name
    return None


def _days(settings: Settings) -> dict[Kept, int]:
    return {kept: getattr(settings, f"retention_{kept.value}_days") for kept in Kept}


def _actor_secret(settings: Settings) -> bytes:
    if settings.actor_hash_secret is not None:
        return secret_bytes(settings.actor_hash_secret)
    if settings.user_jwt_secret is None:
        raise StartupError("user_jwt_secret: not set")
    return _derived(secret_bytes(settings.user_jwt_secret))


def _former_actor_secrets(settings: Settings) -> tuple[bytes, ...]:
    if settings.actor_hash_secret_previous is None:
        return ()
    # It may have been either: that of the names, or that which they followed from.
    previous = secret_bytes(settings.actor_hash_secret_previous)
    return (previous, _derived(previous))


def _derived(secret: bytes) -> bytes:
    # Another key than that which signs: who learns one has not learnt the other.
    return hmac.digest(secret, b"penstock actor names", "sha256")
