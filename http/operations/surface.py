"""The routes of whoever runs the service: the outbox, what is kept for how long, erasures."""

from penstock.http.cold_routes import ColdSurface
from penstock.http.core.documents import refuse
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors
from penstock.http.operations.erasures import Eraser, ErasureRoutes
from penstock.http.operations.outbox import Outbox
from penstock.http.operations.retention import Janitor, RetentionRoutes


def operations_surface(
    doors: Doors, keeping: Keeping, janitor: Janitor, eraser: Eraser
) -> ColdSurface:
    """Give every route."""
    return ColdSurface(
        (
            *Outbox(doors, keeping).routes(),
            *RetentionRoutes(doors, janitor).routes(),
            *ErasureRoutes(doors, keeping, eraser).routes(),
        ),
        refuse,
    )
