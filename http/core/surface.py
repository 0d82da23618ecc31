"""The surface `core`: the embedded companion Core over HTTP, put together."""

from penstock.engine.blob_port import BlobStore
from penstock.http.cold_routes import ColdSurface
from penstock.http.core.analytics import Analytics
from penstock.http.core.documents import refuse
from penstock.http.core.grants import Forget, Grants, Invalidation
from penstock.http.core.keeping import Keeping
from penstock.http.core.reads import Reads
from penstock.http.core.replays import LinkTerms, Replays
from penstock.http.core.requests import Doors
from penstock.http.core.starts import Starts, TokenTerms
from penstock.http.core.subscriber import Subscriber


def core_surface(
    doors: Doors,
    keeping: Keeping,
    forget: Forget,
    blobs: BlobStore,
    tokens: TokenTerms,
    links: LinkTerms,
) -> ColdSurface:
    """Give every route of Core."""
    return ColdSurface(
        (
            *Starts(doors, keeping, tokens).routes(),
            *Reads(doors, keeping).routes(),
            *Replays(doors, keeping, blobs, links).routes(),
            *Analytics(doors, keeping).routes(),
            *Grants(doors, keeping, forget).routes(),
            *Subscriber(doors, keeping).routes(),
        ),
        refuse,
    )


def invalidation_surface(doors: Doors, forget: Forget) -> ColdSurface:
    """Give the route by which Core, embedded or not, tells of changes."""
    return ColdSurface(Invalidation(doors, forget).routes(), refuse)
