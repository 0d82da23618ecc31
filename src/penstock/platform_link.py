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
from penstock.engine.platform.statistics import PlatformStatistics
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
# GeoLite's licence has a database replaced within thirty days of a newer one, and there are two a
# week.
OLDEST_GEO_DAYS = 30
# A list that was not renewed for so many of its periods is told of.
_MISSED_SYNCS = 2


@dataclass(slots=True, frozen=True)
class PlatformLink:
    """What there is of the platform in this process."""

    enrichment: Enrichment
    geo: GeoDatabase
    book: ExclusionBook
    sync: ExclusionSync
    updates: GeoUpdates
    retention: Retention
    clock: Clock
    account_missing: str | None
    sync_days: int

    def geo_note(self) -> Finding | None:
        """Tell that no request has a country, and why; or that the countries may be out of date."""
        status = self.geo.status
        if status is None:
            why = self.geo.problem or "no geo database has been downloaded"
            return Finding("geo_unavailable", f"{why}; requests are stored without a country")
        days = int((self.clock.unix() - status.built_unix) // DAY_SECONDS)
        if days > OLDEST_GEO_DAYS:
            return Finding(
                "geo_old",
                f"the geo database was built {status.build_date}, {days} days ago; countries may "
                f"be wrong, and MaxMind's licence has it replaced within {OLDEST_GEO_DAYS} days",
            )
        return None

    def exclusions_note(self) -> Finding | None:
        """Tell that the list of privacy exclusions is not kept up although it should be."""
        if not self.sync_days:
            return None
        synced = self.book.edition.synced_unix_ms
        if synced is None:
            return Finding("exclusions_missing", "the privacy exclusions have never been synced")
        days = int((self.clock.unix() - synced / 1000) // DAY_SECONDS)
        if days <= _MISSED_SYNCS * self.sync_days:
            return None
        return Finding(
            "exclusions_old",
            f"the privacy exclusions were synced {days} days ago; privacy_sync_days is "
            f"{self.sync_days}",
        )

    def statistics(self) -> PlatformStatistics:
        """Count everything once."""
        geo, synced = self.geo.status, self.book.edition.synced_unix_ms
        return PlatformStatistics(
            None if geo is None else geo.built_unix,
            self.geo.lookups,
            self.updates.done,
            self.updates.failed,
            len(self.book.edition),
            None if synced is None else synced / 1000,
            self.sync.done,
            self.sync.failed,
            self.book.excluded,
            self.retention.removed,
        )


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
            # Without an account, nothing is fetched by itself.
            days = 0 if missing is not None else settings.privacy_sync_days
            geo_days = 0 if missing is not None else settings.geo_update_days
            sync = ExclusionSync(maxmind, file, book, clock, days * DAY_SECONDS)
            updates = GeoUpdates(maxmind, clock, geo_days * DAY_SECONDS)
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
            yield PlatformLink(
                enrichment, geo, book, sync, updates, retention, clock, missing, days
            )
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
        raise StartupError(
            "actor_hash_secret: not set, and there is no user_jwt_secret that it could follow from"
        )
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
