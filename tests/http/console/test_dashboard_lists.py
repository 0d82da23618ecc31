"""`/dashboard/<list>`: what is looked for is found, page by page, and nothing in it is markup."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from console_rig import Console, signed_in
from dashboard_rows import ACTOR, AROUND, BEGAN_MS, ORG, audit, event, keep, media, report
from penstock.engine.records import AuditEntry
from penstock.http.console import dashboard
from penstock.http.console.dashboard import PAGE_ROWS

Serve = Callable[..., Any]
LISTS = ("audit", "security", "analytics", "errors", "media")
EVIL = "<script>alert(1)</script>"
_DETAIL = re.compile(r'href="(/dashboard/detail/[^"]+)"')
_NEXT = re.compile(r'<a href="([^"]+)" rel="next">')


async def ids(console: Console, address: str) -> tuple[list[str], str]:
    """Give the rows of a page by their ids, and the address of the next page."""
    page = await console.get(address)
    assert page.status_code == 200, page.text
    following = _NEXT.search(page.text)
    found = [href.rpartition("/")[2] for href in _DETAIL.findall(page.text)]
    return found, "" if following is None else unescape(following[1])


async def test_pages_are_whole_while_rows_come_in(serve: Serve) -> None:
    """Following the links gives each row that was there once, however many come meanwhile."""
    async with serve() as service, signed_in(service) as console:
        there = [event(number // 3) for number in range(2 * PAGE_ROWS + 7)]
        await keep(service, *there)
        address, seen, pages = "/dashboard/analytics", list[str](), 0
        while address:
            found, address = await ids(console, address)
            assert len(found) <= PAGE_ROWS
            seen += found
            pages += 1
            # Newer than all, and of a moment that pages have come to.
            await keep(service, event(10_000 + pages), event(20))
        assert pages >= 3
        assert len(set(seen)) == len(seen)
        assert {one.event_id for one in there} <= set(seen)


FINDS = [
    ("", {1, 2, 3}),
    ("event=goal.met", {2}),
    ("category=other", {3}),
    (f"actor={ACTOR}", {1, 2}),
    ("actor=somebody", {3}),
    ("org=00000000-0000-0000-0000-000000000009", {2}),
    ("from=2026-02-17T10:00:02", {2, 3}),
    ("from=2026-02-17T10:00:02Z&to=2026-02-17T11:00:03%2B01:00", {2}),
    ("to=2026-02-18", {1, 2, 3}),
    ("event=goal.met&category=other", set()),
    ("event=&actor=%20", {1, 2, 3}),
]


async def test_filters_find_what_they_say(serve: Serve) -> None:
    """Each alone and several together; one that is left empty is none."""
    rows = {
        1: event(1),
        2: event(2, name="goal.met", org_id="00000000-0000-0000-0000-000000000009"),
        3: event(3, category="other", circumstances=AROUND._replace(actor="somebody")),
    }
    async with serve() as service, signed_in(service) as console:
        await keep(service, *rows.values())
        for query, found in FINDS:
            got, _ = await ids(console, f"/dashboard/analytics?{query}")
            assert set(got) == {rows[number].event_id for number in found}, query


WRONG = [
    ("audit", "from=yesterday", "from", "such as 2026-05-07T10:30"),
    ("audit", "from=2026-02-18&to=2026-02-17", "to", "later"),
    ("audit", "org=mine", "org", "UUID"),
    ("audit", "action=%3Cb%3E", "action", "letters"),
    ("audit", "to=99999-01-01", "to", "such as"),
    ("security", "kind=all", "kind", "one of"),
    ("analytics", "actor=a%00b", "actor", "control"),
    ("analytics", f"actor={'a' * 201}", "actor", "201 characters"),
    ("errors", "fingerprint=%25", "fingerprint", "letters"),
    ("media", "status=over", "status", "one of active, completed, abandoned"),
]


async def test_a_wrong_filter_is_told_beside_its_field(serve: Serve) -> None:
    """And nothing is shown that would look like what was asked for; the other fields stay."""
    async with serve() as service, signed_in(service) as console:
        await keep(service, audit(1), event(1), report(1), media(1))
        for path, query, field, words in WRONG:
            answer = await console.get(f"/dashboard/{path}?{query}")
            assert answer.status_code == 400, query
            told = re.search(rf'<p class="error" id="error-{field}">([^<]*)</p>', answer.text)
            assert told is not None, query
            assert words in unescape(told[1]), query
            assert "/dashboard/detail/" not in answer.text
            assert "Nothing was looked for" in answer.text
            # An export has no page to tell it on.
            refused = await console.get(f"/dashboard/{path}.csv?{query}")
            assert refused.status_code == 400
            assert field in refused.text


async def test_what_no_link_of_ours_has_is_refused(serve: Serve) -> None:
    """A cursor that was made up, and a parameter that nobody reads."""
    async with serve() as service, signed_in(service) as console:
        for query in ("cursor=x", "cursor=1.a", "cursor=-1.5", "cursor=", "sort=actor"):
            answer = await console.get(f"/dashboard/audit?{query}")
            assert answer.status_code == 400, query
            assert "parameter_malformed" in answer.text


async def test_what_is_stored_is_never_markup(serve: Serve) -> None:
    """Whatever clients have put into any field, pages show it as text."""
    evil = AROUND._replace(actor=EVIL, country_code=EVIL, device_type=EVIL, request_id=EVIL)
    rows = (
        event(1, name=EVIL, category=EVIL, resource_type=EVIL, resource_id=EVIL, page_url=EVIL,
              properties={EVIL: EVIL}, circumstances=evil),
        report(1, error_type=EVIL, error_code=EVIL, feature=EVIL, message=EVIL, stack=EVIL,
               detail={EVIL: EVIL}, fingerprint=EVIL, circumstances=evil),
        AuditEntry(
            BEGAN_MS, EVIL, f"policy.{EVIL}", EVIL, {"status": EVIL, "reason": EVIL}, "<img src=x>"
        ),
        AuditEntry(BEGAN_MS, EVIL, EVIL, EVIL, {"status": "denied", EVIL: [EVIL]}, '" onload="x'),
        media(1, media_id=EVIL),
    )  # fmt: skip
    async with serve() as service, signed_in(service) as console:
        await keep(service, *rows)
        addresses = [f"/dashboard/{name}" for name in LISTS]
        seen = 0
        while addresses:
            page = await console.get(addresses.pop())
            assert page.status_code == 200, page.url
            assert "<script>alert" not in page.text, page.url
            assert "<img src=x" not in page.text, page.url
            assert '" onload="' not in page.text, page.url
            seen += "&lt;script&gt;" in page.text
            if "/detail/" not in str(page.url):
                addresses += {unescape(href) for href in _DETAIL.findall(page.text)}
        assert seen >= 8
        sent = await console.get(f"/dashboard/audit?actor={EVIL}&subject={EVIL}")
        assert "<script>alert" not in sent.text
        assert sent.text.count("&lt;script&gt;") >= 2


async def test_security_is_the_part_of_the_audit_that_is_worth_a_look(serve: Serve) -> None:
    """Sign-ins, refusals and changes are on it, and can be told apart; a patient's view is not."""
    async with serve() as service, signed_in(service) as console:
        await keep(
            service,
            audit(1),
            audit(2, "policy.edited"),
            audit(3, status="denied"),
            audit(4, "patient.view", status="success"),
        )
        assert (await console.sign_in("nonsense")).status_code == 401
        page = (await console.get("/dashboard/security")).text
        assert page.count("/dashboard/detail/audit/") == 4
        for action in ("console.sign_in", "console.sign_in_failed", "policy.edited"):
            assert f"<code>{action}</code>" in page
        found, _ = await ids(console, "/dashboard/security?kind=denied")
        assert len(found) == 1
        found, _ = await ids(console, "/dashboard/security?kind=sign_in_failed")
        assert len(found) == 1


async def test_a_list_says_how_far_back_it_looked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is rare is not said to be missing: a page tells when it stopped, and goes on there."""
    monkeypatch.setattr(dashboard, "PAGE_LOOKS", 2)
    monkeypatch.setattr(dashboard, "LOOKED_ROWS", 10)
    rare = event(0, name="rare")
    async with serve() as service, signed_in(service) as console:
        await keep(service, rare, *(event(number) for number in range(1, 40)))
        address = "/dashboard/analytics?event=rare"
        page = (await console.get(address)).text
        assert "Looked back to" in page
        assert "Look further back" in page
        assert "Nothing fits" not in page
        found, address = await ids(console, address)
        assert (found, bool(address)) == ([], True)
        found, address = await ids(console, address)
        assert (found, bool(address)) == ([rare.event_id], True)
        assert await ids(console, address) == ([], "")


async def test_media_sessions_do_not_say_whose_they_are(serve: Serve) -> None:
    """An operator looks at playbacks, not at people."""
    async with serve() as service, signed_in(service) as console:
        await keep(service, media(1), media(2, 5), replace(media(3), org_id=ORG))
        page = (await console.get("/dashboard/media")).text
        assert page.count("/dashboard/detail/media/") == 3
        assert "00000000-0000-0000-0000-000000000007" not in page
        found, _ = await ids(console, "/dashboard/media?status=active&from=2026-02-17T10:00:05")
        assert found == ["00000000-0000-0000-0000-000000000002"]


async def test_nothing_is_said_where_there_is_nothing(serve: Serve) -> None:
    """An empty list says so, and what a filter compares."""
    async with serve() as service, signed_in(service) as console:
        for name in ("analytics", "errors", "media"):
            page = (await console.get(f"/dashboard/{name}")).text
            assert "There is nothing of this kind." in page
        page = (await console.get("/dashboard/analytics?event=x.y")).text
        assert "Nothing fits these filters." in page


async def test_the_dashboard_has_one_address(serve: Serve) -> None:
    """Without its slash it leads to the page with it."""
    async with serve() as service, signed_in(service) as console:
        answer = await console.get("/dashboard")
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/")
        assert (await console.get("/dashboard/")).status_code == 200
