"""The console as a surface: every page's routes, and a page for what is not there."""

from collections.abc import Iterable

from penstock.http.cold_routes import Call, ColdRoute, ColdSurface, RefusedError
from penstock.http.console.assets import Assets
from penstock.http.console.door import DASHBOARD, PREFIX, see_other
from penstock.http.console.frame import Frame
from penstock.http.console.sign_in import SignIn
from penstock.http.console.visits import Visit
from penstock.http.exchange import Answer
from penstock.http.problems import Problem


def console_surface(
    frame: Frame, sign_in: SignIn, assets: Assets, pages: Iterable[ColdRoute]
) -> ColdSurface:
    """Give all routes; strangers learn of none of them whether it is there."""

    async def nothing(_visit: Visit, call: Call) -> Answer:
        raise RefusedError(Problem.NOT_FOUND, "there is no such page", seen=call.path[:80])

    async def home(_visit: Visit, _call: Call) -> Answer:
        return see_other(PREFIX)

    routes = (
        *assets.routes(),
        *sign_in.routes(),
        *pages,
        frame.page(f"{PREFIX}/", home),
        frame.page(f"{PREFIX}/<path:rest>", nothing),
        frame.page(f"{DASHBOARD}/<path:rest>", nothing),
    )
    frame.pages.announce(route.rule for route in routes)
    return ColdSurface(routes, frame.pages.refuse, (PREFIX, DASHBOARD))
