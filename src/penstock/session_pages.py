"""The console's pages about sessions, put together of the engine's parts."""

from typing import TYPE_CHECKING

from penstock.http.cold_routes import ColdRoute
from penstock.http.console.frame import Frame
from penstock.http.console.session_page import SessionPage
from penstock.http.console.sessions import SessionsPage
from penstock.http.core.keeping import Keeping
from penstock.session_pictures import SessionPictures

if TYPE_CHECKING:
    from penstock.composition import Engine


def session_pages(frame: Frame, engine: "Engine", keeping: Keeping) -> tuple[ColdRoute, ...]:
    """Give their routes."""
    sessions = engine.sessions
    pictures = SessionPictures(engine.spool, engine.blobs, keeping.clock)
    page = SessionPage(frame, sessions, keeping, pictures, engine.desk, engine.plant.sluice)
    return (*SessionsPage(frame, sessions, keeping).routes(), *page.routes())
