"""Every page of the dashboard, the outbox and the settings in Chromium: readable for everybody."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page

from console_rig import NARROW, SCREENSHOTS, THEMES, WIDE, check_looks, screenshot, signed_in, tell
from dashboard_rows import ORG, audit, event, keep, media, report
from penstock.engine.delivery_records import DeliveryEntry, Progress, ProgressEntry
from penstock.engine.ledger_port import Entry
from penstock.engine.media.events import MediaKind
from penstock.engine.records import FinalEntry
from portal_rig import Browsers

Serve = Callable[..., Any]
FAR_MS = 4_000_000_000_000


def rows(now: int) -> Iterator[Entry]:
    """Make some of everything, of the last hour, as a service would have it."""
    actions = [
        ("policy.edited", {"author": "ada", "reason": "a noisy clinic"}),
        ("patient.view", {"status": "success", "status_code": 200, "org_id": ORG}),
        ("admin.geo.update", {"status": "failed", "reason": "maxmind_denied"}),
        ("patient.view", {"status": "denied", "status_code": 403}),
        ("outbox.retried", {}),
    ]
    for number in range(30):
        at = now - number * 60_000
        action, detail = actions[number % len(actions)]
        yield replace(audit(number, action, **detail), at_unix_ms=at)
        yield replace(event(number), received_unix_ms=at, at_unix_ms=at)
        yield replace(
            report(number, message="The segment did not load: the network has gone away."),
            received_unix_ms=at,
            stack="Error: fetch failed\n    at load (player.js:20:4)\n    at play (player.js:9:1)",
        )
        for kind in (MediaKind.SESSION_START, MediaKind.PLAY, MediaKind.BUFFERING_START):
            yield media(number + 1, kind=kind, at_ms=at + len(kind), received_ms=at + len(kind))
    for session in (1, 2, 3):
        name = str(UUID(int=session))
        yield FinalEntry(name, ORG, str(UUID(int=7)), 1, "completed", now, {})
        yield DeliveryEntry(name, 1, ORG, replay_due=False, created_unix_ms=now - 7_200_000)
        error = "core: HTTP 503 of POST /v1/internal/telemetry/session-aggregated"
        yield ProgressEntry(
            name,
            1,
            Progress(
                replay_due=False, attempts=8, next_unix_ms=FAR_MS, error=error, dead=session > 1
            ),
        )


# Each page once, half of them so and half otherwise; in every way where somebody wants to see them.
LOOKS = [("light", WIDE, 0), ("dark", NARROW, 1)]
if SCREENSHOTS in os.environ:
    LOOKS = [*product(THEMES, (WIDE, NARROW), (0, 1))]


@pytest.mark.parametrize(("theme", "width", "part"), LOOKS)
async def test_every_page_can_be_read_by_everybody(
    serve: Serve, browsers: Browsers, theme: str, width: int, part: int
) -> None:
    """It fits, in both themes and on a small telephone, and axe finds nothing serious."""
    async with serve(core_api_url="http://127.0.0.1:1") as service, signed_in(service) as console:
        made = list(rows(int(time.time() * 1000)))
        for entry in made:
            await keep(service, entry)
        ids = {type(entry).__name__: entry for entry in made}
        one: Any = ids["AuditEntry"]
        fault: Any = ids["ErrorReportEntry"]
        happened: Any = ids["AnalyticsEntry"]
        paths = {
            "home": "/dashboard/",
            "audit": "/dashboard/audit",
            "security": "/dashboard/security",
            "analytics": "/dashboard/analytics",
            "analytics-none": "/dashboard/analytics?event=none",
            "errors": "/dashboard/errors",
            "media": "/dashboard/media",
            "detail-audit": f"/dashboard/detail/audit/{one.entry_id}",
            "detail-error": f"/dashboard/detail/error/{fault.report_id}",
            "detail-analytics": f"/dashboard/detail/analytics/{happened.event_id}",
            "detail-media": f"/dashboard/detail/media/{UUID(int=3)}",
            "detail-session": f"/dashboard/detail/session/{UUID(int=3)}",
            "outbox": "/console/outbox?retried=1",
            "settings": "/console/settings",
        }

        def story(page: Page) -> None:
            for name, path in [*paths.items()][part::2]:
                page.goto(path)
                check_looks(page, f"dashboard-{name}-{theme}-{width}")
            if part:
                return
            # Chromium reports a page of status 400 as a fault: it is put into the one that is open.
            wrong = page.request.get("/dashboard/audit?from=2026-02-30T00:00&org=mine&actor=x")
            page.set_content(wrong.text())
            assert page.locator(".error").count() == 2
            check_looks(page, f"dashboard-wrong-{theme}-{width}")

        await tell(browsers, console, story, theme=theme, width=width)


async def test_an_operator_follows_a_refusal_and_retries_what_is_stuck(
    serve: Serve, browsers: Browsers
) -> None:
    """From the number of the day to the entry, to what else its actor did; then the outbox."""
    async with serve(core_api_url="http://127.0.0.1:1") as service, signed_in(service) as console:
        for entry in rows(int(time.time() * 1000)):
            await keep(service, entry)

        def story(page: Page) -> str:
            page.goto("/dashboard/")
            page.locator(".figure", has_text="Refusals").get_by_role("link").click()
            page.wait_for_url("**/dashboard/security?**")
            assert page.locator("tbody tr").count() == 6
            page.locator("tbody th a").first.click()
            page.wait_for_url("**/dashboard/detail/audit/**")
            assert page.get_by_text("as it was written").is_visible()
            page.get_by_role("link", name="What this actor did").click()
            page.wait_for_url("**/dashboard/audit?**")
            page.get_by_label("Status").fill("denied")
            page.get_by_role("button", name="Filter").click()
            page.wait_for_url("**status=denied**")
            assert page.locator("tbody tr").count() == 6
            with page.expect_download() as downloading:
                page.get_by_role("link", name="CSV").click()
            file = downloading.value
            page.goto("/console/outbox")
            page.get_by_role("button", name=f"Try session {UUID(int=2)} again").click()
            page.get_by_text("1 delivery is tried again now.").wait_for()
            page.get_by_role("button", name="Try all 1 dead again").click()
            page.get_by_text("1 delivery is tried again now.").wait_for()
            assert page.get_by_text("Try all").count() == 0
            screenshot(page, "outbox-after")
            return file.path().read_text()

        text = await tell(browsers, console, story)
        assert text.count("\n") == 7
        assert text.startswith("at,entry_id,actor,action,")
