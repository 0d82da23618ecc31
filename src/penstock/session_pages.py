"""The console's pages about sessions, put together of the engine's parts."""

from collections.abc import Callable

from penstock.engine.blob_port import BlobStore
from penstock.engine.policy_desk import PolicyDesk
from penstock.engine.sessions import Sessions
from penstock.engine.sluice import Sluice
from penstock.http.cold_routes import ColdRoute
from penstock.http.console.frame import Frame
from penstock.http.console.session_page import SessionPage
from penstock.http.console.sessions import SessionsPage
from penstock.http.core.keeping import Keeping
from penstock.session_pictures import SessionPictures
from penstock.storage.spool import SpoolFolder

MakeRoutes = Callable[[Frame], tuple[ColdRoute, ...]]


def session_pages(
    sessions: Sessions,
    keeping: Keeping,
    desk: PolicyDesk,
    sluice: Sluice,
    spool: SpoolFolder,
    blobs: BlobStore,
) -> MakeRoutes:
    """Give what makes their routes, once there is a frame."""
    pictures = SessionPictures(spool, blobs)
    return lambda frame: (
        *SessionsPage(frame, sessions, keeping).routes(),
        *SessionPage(frame, sessions, keeping, pictures, desk, sluice).routes(),
    )
