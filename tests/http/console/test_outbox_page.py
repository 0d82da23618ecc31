"""`/console/outbox`: what is stuck is seen with its reason, and tried again by a form."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from uuid import UUID

from console_rig import ADMIN, Console, signed_in
from dashboard_rows import keep
from penstock.engine.delivery_records import DeliveryEntry, Progress, ProgressEntry
from penstock.engine.records import AuditPage, FinalEntry
from penstock.http.console import outbox_page
from penstock.ledgers import open_ledger
from penstock.service import Service

Serve = Callable[..., Any]
PATH = "/console/outbox"
# Nothing answers there: what is pending stays so, in longer and longer steps.
AWAY = {"core_api_url": "http://127.0.0.1:1", "errors": 0}
FAR_MS = 4_000_000_000_000
EVIL = "core: <script>alert(1)</script>"
_FIGURE = re.compile(r"<dt>([^<]+)</dt><dd><span class=\"value\">([^<]+)<")


def name(session: int) -> str:
    return str(UUID(int=session))


def delivery(session: int, *, dead: bool, error: str = "core: away") -> list[Any]:
    """Make a final that waits, or was given up."""
    final = FinalEntry(name(session), name(8), name(7), 1, "completed", 1_771_322_400_000, {})
    order = DeliveryEntry(name(session), 1, name(8), replay_due=False, created_unix_ms=FAR_MS)
    progress = Progress(replay_due=False, attempts=3, next_unix_ms=FAR_MS, error=error, dead=dead)
    return [final, order, ProgressEntry(name(session), 1, progress)]


async def fill(service: Service, *deliveries: list[Any]) -> None:
    for entries in deliveries:
        for entry in entries:
            await keep(service, entry)


async def counts(console: Console, query: str = "") -> dict[str, str]:
    """Read the page's numbers."""
    page = await console.get(f"{PATH}{query}")
    assert page.status_code == 200, page.text
    return dict(_FIGURE.findall(page.text))


async def test_what_waits_is_shown_with_its_reason(serve: Serve) -> None:
    """By session, with its age, its attempts and its error, which is never markup."""
    async with serve(**AWAY) as service, signed_in(service) as console:
        assert "Nothing waits." in (await console.get(PATH)).text
        await fill(service, delivery(1, dead=False), delivery(2, dead=True, error=EVIL))
        page = (await console.get(PATH)).text
        assert await counts(console) == {"On their way": "1", "Oldest for": "0 s", "Dead": "1"}
        assert name(1) in page
        assert "<script>alert" not in page
        assert EVIL in unescape(page)
        assert page.count('name="session_id"') == 1  # only what is dead waits for somebody
        dead = (await console.get(f"{PATH}?state=dead")).text
        assert name(1) not in dead
        assert name(2) in dead


async def test_a_dead_delivery_is_tried_again(serve: Serve) -> None:
    """One by its own button, the rest by one; each is audited, and the page says how many."""
    async with serve(**AWAY) as service, signed_in(service) as console:
        await fill(service, *(delivery(session, dead=True) for session in (1, 2, 3)))
        answer = await console.post(f"{PATH}/retry", {"session_id": name(2)})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}?retried=1")
        page = (await console.get(answer.headers["location"])).text
        assert "1 delivery is tried again now." in page
        assert (await counts(console))["Dead"] == "2"
        answer = await console.post(f"{PATH}/retry", {"all": "yes"})
        assert (
            "2 deliveries are tried again now."
            in (await console.get(answer.headers["location"])).text
        )
        assert (await counts(console))["Dead"] == "0"
        again = await console.post(f"{PATH}/retry", {"session_id": name(2)})
        assert "Nothing was dead" in (await console.get(again.headers["location"])).text
        async with open_ledger(service.settings) as ledger:
            entries = [row.entry for row in await ledger.read(AuditPage(20))]
        told = [(e.actor, e.subject) for e in entries if e.action == "outbox.retried"]
        one = (ADMIN, f"session:{name(2)}")
        assert told == [one, (ADMIN, "outbox"), one]


async def test_a_form_that_is_not_the_page_s_does_nothing(serve: Serve) -> None:
    """Another visit's token, another site's form, and fields that say nothing or too much."""
    async with serve(**AWAY) as service, signed_in(service) as console:
        await fill(service, delivery(1, dead=True))
        refused = [
            await console.post(f"{PATH}/retry", {"all": "yes", "csrf": "another"}),
            await console.post(f"{PATH}/retry", {"all": "yes"}, **{"Sec-Fetch-Site": "cross-site"}),
            await console.post(f"{PATH}/retry", {}),
            await console.post(f"{PATH}/retry", {"all": "no"}),
            await console.post(f"{PATH}/retry", {"all": "yes", "session_id": name(1)}),
            await console.post(f"{PATH}/retry", {"session_id": "1 OR 1=1"}),
        ]
        assert [answer.status_code for answer in refused] == [403, 403, 400, 400, 400, 400]
        assert (await counts(console))["Dead"] == "1"
        for query in ("state=all", "after=1", "retried=-1", "limit=5"):
            assert (await console.get(f"{PATH}?{query}")).status_code == 400, query


async def test_the_list_goes_on(serve: Serve, monkeypatch: Any) -> None:
    """Page by page, each delivery once."""
    monkeypatch.setattr(outbox_page, "PAGE_ROWS", 2)
    async with serve(**AWAY) as service, signed_in(service) as console:
        await fill(service, *(delivery(session, dead=True) for session in range(1, 6)))
        address, seen = f"{PATH}?state=dead", list[str]()
        while address:
            page = (await console.get(address)).text
            seen += re.findall(r'name="session_id" value="([^"]+)"', page)
            following = re.search(r'<a href="([^"]+)" rel="next">', page)
            address = "" if following is None else unescape(following[1])
        assert seen == [name(session) for session in range(1, 6)]
