import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Page

from console_rig import (
    ADMIN,
    WATCHDOG,
    Console,
    check_looks,
    signed_in,
    tell,
    until,
    user_token,
    visitor,
)
from penstock.engine.records import AuditEntry, AuditPage
from penstock.http.console import sign_in
from penstock.http.roles import Role
from penstock.ledgers import LEDGER_FILE, open_ledger
from penstock.service import Service
from portal_rig import Browsers

Serve = Callable[..., Any]
COOKIE = "penstock-visit"


async def _audited(service: Service) -> list[AuditEntry]:
    async with open_ledger(service.settings) as ledger:
        return [stored.entry for stored in await ledger.read(AuditPage(50))]


async def test_an_operator_signs_in_looks_around_and_signs_out(serve: Serve) -> None:
    """The whole way, and each step of it is in the audit with a shortened address."""
    async with serve() as service, visitor(service) as console:
        asked = await console.get("/console/health?x=1")
        assert asked.status_code == 303
        assert asked.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fhealth%3Fx%3D1"
        form = await console.get(asked.headers["location"])
        assert 'name="next" value="/console/health?x=1"' in form.text
        entered = await console.sign_in(user_token(service), "/console/health?x=1")
        assert entered.status_code == 303
        assert entered.headers["location"] == "/console/health?x=1"
        assert (await console.get("/console/health")).status_code == 200
        # Who is in is not asked again.
        again = await console.get("/console/sign-in?next=/console/health")
        assert again.headers["location"] == "/console/health#"
        left = await console.post("/console/sign-out")
        assert left.status_code == 303
        assert "Max-Age=0" in left.headers["set-cookie"]
        assert (await console.get("/console/health")).status_code == 303
        entries = await _audited(service)
        assert [entry.action for entry in entries] == ["console.sign_out", "console.sign_in"]
        assert {entry.actor for entry in entries} == {f"user:{ADMIN}"}
        assert {entry.subject for entry in entries} == {"console"}
        assert {entry.detail["address"] for entry in entries} == {"127.0.0.0/24"}


async def test_the_cookie_is_httponly_and_strict(serve: Serve) -> None:
    """Scripts cannot read it, other sites do not send it, and it ends with the visit."""
    async with serve() as service, visitor(service) as console:
        answer = await console.sign_in(user_token(service, seconds=100))
        name, *flags = answer.headers["set-cookie"].split("; ")
        assert name.startswith(f"{COOKIE}=")
        assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(flags)
        age = next(int(flag[8:]) for flag in flags if flag.startswith("Max-Age="))
        assert 0 < age <= 100


async def test_a_sign_in_never_continues_an_offered_visit(serve: Serve) -> None:
    """Fixation: an id that was there before is not used, and if it was a visit, that has ended."""
    async with serve() as service, visitor(service) as console:
        planted = await console.sign_in(user_token(service), Cookie=f"{COOKIE}=planted")
        first = console.client.cookies.get(COOKIE) or ""
        assert planted.headers["set-cookie"].startswith(f"{COOKIE}={first};")
        assert len(first) > 40
        async with visitor(service) as other:
            old = {"Cookie": f"{COOKIE}={first}"}
            assert (await other.get("/console/health", **old)).status_code == 200
            await console.sign_in(user_token(service))
            assert console.client.cookies.get(COOKIE) != first
            assert (await other.get("/console/health", **old)).status_code == 303


@pytest.mark.parametrize("role", [Role.PATIENT, Role.SPECIALIST, Role.CLINIC_ADMIN])
async def test_other_roles_are_refused_and_told_why(serve: Serve, role: Role) -> None:
    """Only platform admins come in; who tries with another token is named in the audit."""
    async with serve() as service, visitor(service) as console:
        answer = await console.sign_in(user_token(service, role))
        assert answer.status_code == 403
        assert "platform_admin" in answer.text
        assert role in answer.text
        assert "set-cookie" not in answer.headers
        # Nor is the token itself a way in.
        bearer = {"Authorization": f"Bearer {user_token(service, role)}"}
        assert (await console.get("/console/health", **bearer)).status_code == 303
        (entry,) = await _audited(service)
        assert entry.action == "console.sign_in_failed"
        assert entry.actor == f"user:{ADMIN}"
        assert entry.detail["reason"] == "role_required"
        assert entry.detail["status"] == "denied"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "user_token_missing"),
        ("   ", "user_token_missing"),
        ("nonsense", "user_token_malformed"),
        ("<script>alert(1)</script>", "user_token_malformed"),
        ("\u00e9" * 3000, "user_token_malformed"),
        ("v1.e30.e30", "user_token_malformed"),
    ],
)
async def test_what_is_no_token_is_refused(serve: Serve, token: str, reason: str) -> None:
    """The page says what is wrong and repeats nothing of what was sent; nobody is named."""
    async with serve() as service, visitor(service) as console:
        answer = await console.sign_in(token)
        assert answer.status_code == 401
        assert "aria-invalid" in answer.text
        assert "alert(1)" not in answer.text
        (entry,) = await _audited(service)
        assert (entry.actor, entry.detail["reason"]) == ("anonymous", reason)


async def test_an_expired_token_is_refused(serve: Serve) -> None:
    """A token holds as long as it says, here too."""
    async with serve() as service, visitor(service) as console:
        answer = await console.sign_in(user_token(service, seconds=60, now=1_700_000_000))
        assert answer.status_code == 401
        assert "expired" in answer.text


async def test_a_token_may_be_pasted_with_what_stands_before_it(serve: Serve) -> None:
    """`Bearer` and spaces around are no part of it."""
    async with serve() as service, visitor(service) as console:
        answer = await console.sign_in(f"  Bearer {user_token(service)}\n")
        assert answer.status_code == 303


async def test_an_address_that_fails_too_often_waits(serve: Serve) -> None:
    """After as many failures as it may have, even a good token waits, and the audit is bounded."""
    async with serve() as service, visitor(service) as console:
        for _ in range(int(sign_in.FAILURES_AT_ONCE)):
            assert (await console.sign_in("nonsense")).status_code == 401
        for token in ("nonsense", user_token(service)):
            answer = await console.sign_in(token)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 31
            assert "ry again in" in answer.text
        assert len(await _audited(service)) == sign_in.FAILURES_AT_ONCE


async def test_forms_of_another_site_are_refused(serve: Serve) -> None:
    """A sign-in that another page sends is refused before the token is looked at."""
    async with serve() as service, visitor(service) as console:
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await console.sign_in(user_token(service), **headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers


async def _leave(console: Console, **fields: str) -> int:
    answer = await console.client.post("/console/sign-out", data=fields)
    return answer.status_code


async def test_a_form_needs_the_csrf_token_of_its_own_visit(serve: Serve) -> None:
    """Missing, wrong, or another visit's: refused, and the visit goes on."""
    async with serve() as service, signed_in(service) as console, signed_in(service) as other:
        assert await _leave(console, other="x") == 403
        assert await _leave(console, csrf="wrong") == 403
        assert await _leave(console, csrf="\u00e9") == 403
        assert await _leave(console, csrf=await other.csrf()) == 403
        assert (await console.get("/console/health")).status_code == 200
        assert await _leave(console, csrf=await console.csrf()) == 303
        assert (await other.get("/console/health")).status_code == 200


async def test_a_form_without_a_visit_is_refused(serve: Serve) -> None:
    """A page is led to the sign-in, a script gets 401; neither does anything."""
    async with serve() as service, visitor(service) as console:
        assert (await console.post("/console/sign-out")).status_code == 303
        answer = await console.post("/console/sign-out", accept="application/json")
        assert answer.status_code == 401
        assert answer.json()["code"] == "signed_out"


async def test_a_restart_signs_everybody_out(serve: Serve) -> None:
    """Visits live in memory: the cookie of one process is nothing to the next."""
    async with serve() as service, signed_in(service) as console:
        cookie = console.client.cookies.get(COOKIE) or ""
    async with serve() as service, visitor(service) as console:
        console.client.cookies.set(COOKIE, cookie)
        assert (await console.get("/console/health")).status_code == 303


async def test_a_ledger_that_takes_nothing_keeps_no_operator_out(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Who comes because the ledger is broken gets in; the log has what the audit cannot take."""
    async with serve(ledger_wait_seconds=0.2) as service, visitor(service) as console:
        with closing(sqlite3.connect(service.settings.data_dir / LEDGER_FILE)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await console.sign_in(user_token(service))
            other.rollback()
        assert answer.status_code == 303
        assert "console.not_audited" in caplog.text


async def test_a_browser_signs_in_and_out(serve: Serve, browsers: Browsers) -> None:
    """In Chromium, with its own Origin and cookies: a bad token is told, a good one leads on."""
    async with serve(watchdog=WATCHDOG) as service, visitor(service) as nobody:
        token = user_token(service)

        def story(page: Page) -> None:
            page.goto("/console/health")
            page.fill("#field-token", "nonsense")
            page.click("button.main")
            assert "not a JWT" in page.inner_text("#error-token")
            check_looks(page, "sign-in")
            page.fill("#field-token", token)
            page.click("button.main")
            assert page.inner_text("h1") == "Health"
            page.click("button.theme")
            assert page.evaluate("document.documentElement.dataset.theme") == "dark"
            page.reload()
            assert page.evaluate("document.documentElement.dataset.theme") == "dark"
            page.click("text=Sign out")
            assert page.inner_text("h1") == "Sign in"
            page.go_back()
            page.reload()
            assert page.inner_text("h1") == "Sign in"

        await tell(browsers, nobody, story)


async def test_a_links_token_stays_in_no_address(serve: Serve, browsers: Browsers) -> None:
    """Whether its reader is signed in or not, what a link has behind its # is gone on arrival."""
    async with serve(watchdog=WATCHDOG) as service, visitor(service) as nobody:
        token = user_token(service)
        link = f"/console/sign-in?next=%2Fconsole%2Fhealth#token={token}"

        def story(page: Page) -> None:
            page.goto(link)
            assert page.input_value("#field-token") == token
            assert token not in page.url
            page.fill("#field-token", "")
            page.goto(link)
            until(page, f"document.getElementById('field-token').value === '{token}'")
            assert token not in page.url
            page.click("button.main")
            assert page.inner_text("h1") == "Health"
            assert token not in page.url
            page.goto(link)
            assert page.inner_text("h1") == "Health"
            assert token not in page.evaluate("location.href")

        await tell(browsers, nobody, story)
