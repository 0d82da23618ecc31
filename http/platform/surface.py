"""The surface `platform`, put together."""

from penstock.http.cold_routes import ColdSurface
from penstock.http.platform.admin import PlatformAdmin
from penstock.http.platform.ingest import Ingest


def platform_surface(ingest: Ingest, admin: PlatformAdmin) -> ColdSurface:
    """Give every route that stands on its own; those of players and statistics are elsewhere."""
    return ColdSurface((*ingest.routes(), *admin.routes()))
