"""The console put together: its door, its looks, and a line for each of its pages."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import trio

from penstock import __version__
from penstock.doctor import Machine as Host
from penstock.doctor.finding import State
from penstock.doctor.folder import check_folder
from penstock.doctor.machine import check_clock, check_open_files
from penstock.doctor.secrets import check_secrets
from penstock.doctor.stores import check_spool, lock_holder
from penstock.engine.platform.addresses import ProxyChain
from penstock.http.cold_routes import Call, ColdSurface
from penstock.http.console.assets import load_assets
from penstock.http.console.door import PREFIX, Door, see_other
from penstock.http.console.frame import Frame
from penstock.http.console.health_page import PATH as HEALTH
from penstock.http.console.health_page import Found, Grade, HealthPage, Machine
from penstock.http.console.pages import Pages
from penstock.http.console.sign_in import SignIn
from penstock.http.console.surface import console_surface
from penstock.http.console.visits import Visit, Visits
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors
from penstock.http.exchange import Answer
from penstock.http.health import Readiness
from penstock.session_pages import MakeRoutes
from penstock.settings import Settings

_GRADES = {State.OK: Grade.OK, State.WARNING: Grade.WARNING, State.PROBLEM: Grade.PROBLEM}


def console_surfaces(
    settings: Settings,
    doors: Doors,
    keeping: Keeping,
    readiness: Readiness,
    session_routes: MakeRoutes,
) -> tuple[ColdSurface, ...]:
    """Give the console's routes, where they are served."""
    if "console" not in settings.surfaces:
        return ()
    clock = doors.clock
    assets = load_assets()
    door = Door(
        Visits(clock, settings.console_visit_hours),
        ProxyChain.of(settings.trusted_proxies),
        settings.tls_cert is not None,
        _origin(settings),
    )
    frame = Frame(door, Pages(assets.url, __version__))
    machine = Machine(lambda: _examine(settings), clock)
    pages = (
        # One line a page; what a page needs of the engine comes in as arguments.
        frame.page(PREFIX, _home),
        *session_routes(frame),
        *HealthPage(frame, readiness, machine, keeping).routes(),
    )
    return (console_surface(frame, SignIn(frame, doors, keeping), assets, pages),)


async def _home(_visit: Visit, _call: Call) -> Answer:
    return see_other(HEALTH)


async def _examine(settings: Settings) -> Sequence[Found]:
    """Have the doctor look at what can be looked at beside a running service."""

    def look() -> list[Found]:
        host = Host()
        folder = settings.data_dir
        findings = (
            *check_folder(folder, host, sessions=settings.max_live_sessions),
            *check_open_files(settings, host),
            *check_clock(folder, host),
            # What a start requires is there, as this service has started.
            *check_secrets(settings, host, dev=True),
            *check_spool(folder, lock_holder(folder)),
        )
        return [Found(f.check, _GRADES[f.state], f.seen, f.advice) for f in findings]

    return await trio.to_thread.run_sync(look)


def _origin(settings: Settings) -> str:
    parts = urlsplit(settings.public_url or "")
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""
