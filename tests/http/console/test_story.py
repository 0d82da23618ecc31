"""The operator's story in Chromium: see pressure, try a policy, enforce it, take it back."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from playwright.sync_api import Page

from console_rig import (
    WATCHDOG,
    Console,
    check_looks,
    look_everywhere,
    screenshot,
    signed_in,
    tell,
    until,
)
from penstock.service import Service
from portal_rig import Browsers

Serve = Callable[..., Any]
MIB = 1 << 20
PRESSURE = 0.6
SESSIONS = 6
THINNED = (
    "Number(document.querySelector('[data-column=\"frames.policy_thinned\"] .now')"
    ".textContent.replace(',', ''))"
)


@asynccontextmanager
async def _pressed(
    service: Service, console: Console, token: Any, batch: Any
) -> AsyncIterator[None]:
    """Hold a part of the frame memory, as a slow disk would, while patients exercise."""
    memory = service.sessions._plant.memory
    assert memory.limit is not None
    held = int(memory.limit * PRESSURE)
    assert memory.take_nowait(held)

    over = trio.Event()

    async def exercise(session: int) -> None:
        headers = {
            "Authorization": f"Bearer {token(session)}",
            "Content-Type": "application/octet-stream",
        }
        for second in itertools.count():
            if over.is_set():  # between two requests: a cut one would leave httpx's own half done
                return
            body = batch(10, second * 1000)
            answer = await console.client.post("/v1/pose/frames", content=body, headers=headers)
            assert answer.status_code in {202, 429}
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        for session in range(SESSIONS):
            nursery.start_soon(exercise, session)
        yield
        over.set()
    memory.give(held)


def _number(identifier: str) -> str:
    return f"Number(document.getElementById('{identifier}').textContent.replace(',', ''))"


def _sees_pressure(page: Page) -> None:
    page.goto("/console")
    until(page, f"{_number('now-stress')} > 50")
    until(page, f"{_number('now-batches')} > 0")
    until(page, "document.querySelector('#chart-batches path.line') !== null")
    assert page.locator("p.state").inner_text() == "live"
    assert page.locator("#changes").inner_text().count("started") == 2
    check_looks(page, "story-1-pressure")


def _proposes(page: Page) -> None:
    page.goto("/console/policy")
    # What contradicts something is told while it is typed, at both knobs.
    page.fill("[name='set.thin_until']", "60")
    until(page, "document.getElementById('preview').textContent.includes('thin_until is 60')")
    for knob in ("thin_until", "thin_at"):
        assert "must not be above thin_at" in page.inner_text(f"#error-{knob}")
    page.fill("[name='set.thin_until']", "")
    page.fill("[name='set.loss_percent']", "80")
    page.fill("[name='set.gap_seconds']", "60")
    until(page, "document.getElementById('preview').textContent.includes('loss_percent: 5 → 80')")
    assert page.inner_text("#error-thin_at") == ""
    check_looks(page, "story-2-preview")
    page.fill("#edit-reason", "patients would bear more")
    page.fill("#edit-name", "generous")
    page.click("text=Propose as a candidate")
    assert "candidate generous proposed" in page.inner_text(".notice.ok")


def _compares(page: Page) -> None:
    for _ in range(60):
        page.goto("/console/policy")
        verdict = page.locator("[data-candidate='generous'] .verdict")
        if verdict.count() and "frames more" in verdict.inner_text():
            break
        page.wait_for_timeout(500)
    else:
        raise AssertionError(page.inner_text("main"))
    until(page, "document.querySelectorAll('#compare path.line').length === 2")
    check_looks(page, "story-3-compared")


def _enforces(page: Page) -> None:
    card = page.locator("[data-candidate='generous']")
    assert card.locator("[name='expires']").input_value() == "3600"
    card.locator("text=Enforce").click()
    assert "loss_percent not set → 80" in page.inner_text(".notice.ok")
    row = page.locator(".knob[data-knob='loss_percent']")
    assert "until" in row.inner_text()
    screenshot(page, "story-4-enforced")
    page.goto("/console")
    until(page, f"{THINNED} > 0.2 * {_number('now-frames')}")
    until(page, "document.getElementById('changes').textContent.includes('loss_percent')")
    screenshot(page, "story-5-drops-change")


def _reverts(page: Page) -> None:
    page.goto("/console/policy")
    newest = page.locator("#history ~ .table-box tbody tr").first
    newest.locator("summary").click()
    newest.locator("[name='reason']").fill("the figures suffered")
    newest.locator("text=Revert this edit").click()
    assert "global reverted" in page.inner_text(".notice.ok")
    assert page.locator("text=Revert this edit").count() == 0
    page.goto("/console")
    until(page, f"{THINNED} < 0.1 * {_number('now-frames')}")
    screenshot(page, "story-6-reverted")


async def test_an_operator_tries_a_policy_and_takes_it_back(
    serve: Serve,
    browsers: Browsers,
    make_token: Callable[..., str],
    make_batch: Callable[..., bytes],
) -> None:
    """Pressure is seen; a candidate compared, enforced for an hour, its drops seen, reverted."""

    def story(page: Page) -> None:
        _sees_pressure(page)
        _proposes(page)
        _compares(page)
        _enforces(page)
        _reverts(page)

    async with (
        serve(frame_memory_bytes=16 * MIB, watchdog=WATCHDOG) as service,
        signed_in(service) as console,
        _pressed(service, console, make_token, make_batch),
    ):
        await tell(browsers, console, story)
        book = service.policies.book
        assert [change.action for change in book.history()] == ["reverted", "edited", "proposed"]


def _reads_a_chart(page: Page) -> None:
    """Without a mouse and without eyes: a moment by the keys, all of it as a table, and a pause."""
    chart = page.locator("#chart-stress")
    assert "level: 0 to" in (chart.locator(".chart-plot").get_attribute("aria-label") or "")
    chart.locator(".chart-plot").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    until(page, "document.querySelector('#chart-stress .readout').textContent.includes('level 0')")
    page.click("#chart-stress summary")
    until(page, "document.querySelectorAll('#chart-stress tbody tr').length > 1")
    page.click("[data-minutes='1']")
    assert page.get_attribute("[data-minutes='1']", "aria-pressed") == "true"
    page.click("#pause")
    assert page.inner_text("p.state") == "paused"
    page.click("#pause")
    until(page, "document.querySelector('p.state').textContent === 'live'")


@pytest.mark.parametrize(("path", "name"), [("/console", "flow"), ("/console/policy", "policy")])
async def test_the_pages_can_be_used_by_everybody(
    serve: Serve, browsers: Browsers, turn: Any, path: str, name: str
) -> None:
    """No serious finding of axe, and no page that scrolls sideways, in either theme."""
    async with serve(watchdog=WATCHDOG) as service, signed_in(service) as console:
        await turn(service, thin_at=45.0)

        def ready(page: Page) -> None:
            if name == "flow":
                until(page, f"{_number('now-sessions')} === 0")
                _reads_a_chart(page)

        await look_everywhere(browsers, console, path, name, ready)
