"""The console put together: its door, its looks, and a line for each of its pages."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
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
from penstock.http.admin_policy import PolicyAdmin
from penstock.http.cold_routes import ColdSurface
from penstock.http.console.assets import load_assets
from penstock.http.console.dashboard import dashboard_routes
from penstock.http.console.dashboard_home import Outlook
from penstock.http.console.door import Door
from penstock.http.console.flow_log import FlowLog
from penstock.http.console.flow_page import FlowPage
from penstock.http.console.flow_sampler import FlowSampler, FlowSources
from penstock.http.console.frame import Frame
from penstock.http.console.health_page import Found, Grade, HealthPage, Machine
from penstock.http.console.live_page import LivePage
from penstock.http.console.outbox_page import OutboxPage
from penstock.http.console.pages import Pages
from penstock.http.console.policy_forms import PolicyForms
from penstock.http.console.policy_page import PolicyPage
from penstock.http.console.settings_page import SettingsPage
from penstock.http.console.sign_in import SignIn
from penstock.http.console.surface import console_surface
from penstock.http.console.visits import Visits
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import Doors
from penstock.http.front import FrontStatistics
from penstock.http.health import Readiness
from penstock.http.meters import RequestMeter
from penstock.http.poller import PollerStatistics
from penstock.session_pages import session_pages
from penstock.setting_rows import setting_rows
from penstock.settings import Settings

if TYPE_CHECKING:
    from penstock.composition import Engine
    from penstock.platform_link import PlatformLink

_GRADES = {State.OK: Grade.OK, State.WARNING: Grade.WARNING, State.PROBLEM: Grade.PROBLEM}


@dataclass(slots=True, frozen=True)
class ConsoleSources:
    """What the console shows besides the engine."""

    doors: Doors
    keeping: Keeping
    readiness: Readiness
    meter: RequestMeter
    poller: Callable[[], PollerStatistics]
    connections: Callable[[], FrontStatistics]


@dataclass(slots=True, frozen=True)
class ConsoleParts:
    """The routes, and what runs beside them."""

    surfaces: tuple[ColdSurface, ...] = ()
    beside: tuple[Callable[[], Awaitable[None]], ...] = ()


def compose_console(
    settings: Settings, engine: "Engine", sources: ConsoleSources, stopping: trio.Event
) -> ConsoleParts:
    """Put the console together; nothing of it is there where it is not served."""
    if "console" not in settings.surfaces:
        return ConsoleParts()
    doors, keeping = sources.doors, sources.keeping
    clock = doors.clock
    assets = load_assets()
    door = Door(
        Visits(clock, settings.console_visit_hours),
        ProxyChain.of(settings.trusted_proxies),
        settings.tls_cert is not None,
        _origin(settings),
    )
    frame = Frame(door, Pages(assets.url, __version__))
    sampler = FlowSampler(_flow_sources(engine, sources), FlowLog(), clock, stopping)
    machine = Machine(lambda: _examine(settings), clock)
    log = sampler.log
    admin = PolicyAdmin(doors.users, engine.desk, engine.plant.sluice, clock)
    pages = (
        # One line a page; what a page needs of the engine comes in as arguments.
        *FlowPage(frame, sampler, settings.console_streams).routes(),
        *PolicyPage(frame, PolicyForms(admin), log).routes(),
        *session_pages(frame, engine, keeping),
        *HealthPage(frame, sources.readiness, machine, keeping).routes(),
        *OutboxPage(frame, keeping).routes(),
        *SettingsPage(frame, setting_rows(settings, engine.sources)).routes(),
        *dashboard_routes(frame, keeping, _outlook(engine.platform)),
        *LivePage(frame, engine.plant.watches, stopping).routes(),
    )
    surface = console_surface(frame, SignIn(frame, doors, keeping), assets, pages)
    return ConsoleParts((surface,), (sampler.run,))


def _flow_sources(engine: "Engine", sources: ConsoleSources) -> FlowSources:
    plant, sessions = engine.plant, engine.sessions
    return FlowSources(
        meter=sources.meter,
        frames=plant.ledger.process,
        sluice=plant.sluice,
        book=engine.desk.book,
        writer=plant.writer.statistics,
        poller=sources.poller,
        memory=plant.memory,
        inboxes=plant.inboxes,
        live_sessions=lambda: sessions.live,
        connections=lambda: sources.connections().connections,
        scheduler_delay=lambda: plant.pacer.statistics().scheduler_delay_seconds,
    )


def _outlook(platform: "PlatformLink") -> Outlook:
    return Outlook(platform.geo, platform.book, platform.sync)


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
