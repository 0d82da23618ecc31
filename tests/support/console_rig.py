"""What the tests of the console stand on: a signed-in operator, over plain HTTP and in Chromium.

Over HTTP:

    async with signed_in(service) as console:
        answer = await console.get("/console/health")
        answer = await console.post("/console/policy/edit", {"reason": "a test"})

In the browser, whose thread runs a story (see `portal_rig.Browsers`):

    def story(page: Page) -> None:
        page.goto(f"{page.base}/console/health")  # or `look(page, …)`
        ...
    await tell(browsers, console, story, theme="dark", width=360)

`look` opens a path, checks it with axe, and takes a screenshot into $SCREENSHOTS_FOLDER where
that is set. `look_everywhere` does so in both themes and at 360 px.
"""

import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
import trio
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page

from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt
from penstock.service import Service
from portal_rig import PATIENCE_MS, Browsers

T = TypeVar("T")

ADMIN, ADMINS_ORG = str(UUID(int=0xAD)), str(UUID(int=0x0A))
SCREENSHOTS = "SCREENSHOTS_FOLDER"
# Narrow is a small telephone, wide a small laptop.
NARROW, WIDE = 360, 1280
THEMES = ("light", "dark")
# axe takes a second a page: both themes and both widths are covered by two of the four.
_CHECKED = frozenset({("light", WIDE), ("dark", NARROW)})
# What a story in a browser may take on a machine that is busy otherwise, in seconds.
WATCHDOG = 300.0
_SERIOUS = frozenset({"serious", "critical"})
_REFUSED = tuple(
    f"Failed to load resource: the server responded with a status of {status}"
    for status in ("4", "503")
)
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def user_token(
    service: Service,
    role: Role = Role.PLATFORM_ADMIN,
    *,
    principal_id: str = ADMIN,
    org_id: str = ADMINS_ORG,
    seconds: float = 3600,
    now: float | None = None,
) -> str:
    """Mint a user token that the service takes."""
    secret = service.settings.user_jwt_secret
    assert secret is not None
    began = int(time.time() if now is None else now)
    return mint_user_jwt(
        secret.get_secret_value().encode(),
        principal_id=principal_id,
        org_id=org_id,
        role=role,
        consent_level=3,
        issuer=service.settings.jwt_issuer,
        audience=service.settings.jwt_audience,
        issued_unix=began,
        expires_unix=int(began + seconds),
    )


@dataclass(slots=True)
class Console:
    """One operator's browser, without a browser. Redirects are not followed."""

    client: httpx.AsyncClient
    base: str

    async def sign_in(self, token: str, target: str = "", **headers: str) -> httpx.Response:
        """Send the sign-in's form."""
        fields = {"token": token} | ({"next": target} if target else {})
        return await self.client.post("/console/sign-in", data=fields, headers=headers)

    async def get(self, path: str, accept: str = "text/html", **headers: str) -> httpx.Response:
        """Ask for a page; `accept` for what a script would fetch."""
        return await self.client.get(path, headers={"Accept": accept, **headers})

    async def post(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        accept: str = "text/html",
        **headers: str,
    ) -> httpx.Response:
        """Send a form with this visit's CSRF token; `csrf` among the fields takes its place."""
        form = {"csrf": await self.csrf(), **(fields or {})}
        return await self.client.post(path, data=form, headers={"Accept": accept, **headers})

    async def csrf(self) -> str:
        """Read the visit's CSRF token from a page, as a browser does."""
        found = _CSRF.search((await self.get("/console/health")).text)
        return "" if found is None else found[1]


@asynccontextmanager
async def visitor(service: Service) -> AsyncIterator[Console]:
    """Give somebody who is not signed in."""
    async with httpx.AsyncClient(base_url=service.address, timeout=30) as client:
        yield Console(client, service.address)


@asynccontextmanager
async def signed_in(service: Service, token: str | None = None) -> AsyncIterator[Console]:
    """Give an operator who has signed in with a platform admin's token."""
    async with visitor(service) as console:
        answer = await console.sign_in(token or user_token(service))
        assert answer.status_code == 303, answer.text
        yield console


@contextmanager
def open_page(
    browser: Browser, console: Console, *, theme: str = "light", width: int = WIDE
) -> Iterator[Page]:
    """Open a page of the signed-in operator; what goes wrong in its scripts fails the test."""
    context = browser.new_context(
        base_url=console.base,
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": width, "height": 800},
        reduced_motion="reduce",
    )
    context.add_cookies(
        [
            {"name": cookie.name, "value": cookie.value or "", "url": console.base}
            for cookie in console.client.cookies.jar
        ]
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    faults: list[str] = []

    def _note(told: ConsoleMessage) -> None:
        # A page that refuses a form says so by its status, which Chromium counts as an error.
        if told.type == "error" and not told.text.startswith(_REFUSED):
            faults.append(told.text)

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", _note)
    try:
        yield page
        assert not faults, faults
    finally:
        context.close()


async def tell(
    browsers: Browsers,
    console: Console,
    story: Callable[[Page], T],
    *,
    theme: str = "light",
    width: int = WIDE,
) -> T:
    """Run a story on a page of the operator's, in the browser's thread; the service runs on."""

    def told(browser: Browser) -> T:
        with open_page(browser, console, theme=theme, width=width) as page:
            return story(page)

    return await trio.to_thread.run_sync(browsers.tell, told)


def until(page: Page, expression: str, patience_ms: int = 30_000) -> None:
    """Wait until an expression holds. Playwright's own waiting evaluates text: CSP forbids that."""
    for _ in range(patience_ms // 20):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"it never held: {expression}")


def screenshot(page: Page, name: str) -> None:
    """Keep how the whole page looks, where somebody wants to look at it."""
    folder = os.environ.get(SCREENSHOTS)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def check_access(page: Page) -> None:
    """Have axe look at the page; fail on serious and critical findings."""
    found: Any = Axe().run(page).response["violations"]
    bad = [
        f"{one['impact']} {one['id']}: {one['help']}: {[node['html'] for node in one['nodes']][:5]}"
        for one in found
        if one["impact"] in _SERIOUS
    ]
    assert not bad, "\n".join(bad)


def check_fits(page: Page) -> None:
    """Fail where the page as a whole scrolls sideways."""
    root = "document.documentElement"
    wide = page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
    if wide > 0:
        guilty = page.evaluate(
            "[...document.querySelectorAll('body *')].filter((one) => "
            "one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.table-box, pre'))"
            ".map((one) => `${one.tagName}.${one.className}`).slice(0, 5)"
        )
        raise AssertionError(f"the page is {wide} px too wide, for {guilty}")


def check_looks(page: Page, name: str) -> None:
    """Check the page as it stands: it fits, axe finds nothing serious; keep a screenshot."""
    screenshot(page, name)
    check_fits(page)
    check_access(page)


async def look_everywhere(
    browsers: Browsers,
    console: Console,
    path: str,
    name: str,
    ready: Callable[[Page], None] = lambda _page: None,
) -> None:
    """Look at a path in both themes, wide and at 360 px; `ready` waits for what comes later.

    Open the service with `watchdog=WATCHDOG`.
    """
    for theme in THEMES:
        for width in (WIDE, NARROW):
            shot, checked = f"{name}-{theme}-{width}", (theme, width) in _CHECKED

            def story(page: Page, shot: str = shot, *, checked: bool = checked) -> None:
                answer = page.goto(path)
                assert answer is not None
                assert answer.status == 200
                ready(page)
                screenshot(page, shot)
                check_fits(page)
                if checked:
                    check_access(page)

            await tell(browsers, console, story, theme=theme, width=width)
