"""`/dashboard/`: the day in numbers, the chain, and what is known of addresses."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from console_rig import Console, signed_in
from dashboard_rows import audit, event, keep, media, past, report
from penstock.http.console import dashboard_home

Serve = Callable[..., Any]
_FIGURE = re.compile(r'<dt>([^<]+)</dt><dd><a class="value" href="([^"]+)">([^<]+)</a>')


async def figures(console: Console) -> dict[str, tuple[str, str]]:
    """Give the numbers of the day with the lists that they count."""
    page = await console.get("/dashboard/")
    assert page.status_code == 200
    return {
        unescape(name): (value, unescape(href)) for name, href, value in _FIGURE.findall(page.text)
    }


async def test_the_day_is_counted_and_leads_to_its_lists(serve: Serve) -> None:
    """What is older than a day does not count; each number's list is there."""
    now = int(time.time() * 1000)
    async with serve() as service, signed_in(service) as console:
        await keep(
            service,
            event(1),
            *(replace(event(1), event_id=str(n), received_unix_ms=now - n) for n in range(3)),
            replace(report(1), received_unix_ms=now - 5000),
            media(1),
            replace(audit(1, "policy.edited"), at_unix_ms=now - 9000),
            replace(audit(1, status="denied"), at_unix_ms=now - 9000),
        )
        found = await figures(console)
        assert found["Events"][0] == "3"
        assert found["Errors"][0] == "1"
        assert found["Media sessions"][0] == "0"
        assert found["Refusals"][0] == "1"
        assert found["Policy changes"][0] == "1"
        assert found["Admins' changes"][0] == "0"
        assert found["Failed sign-ins"][0] == "0"
        for name, (_, href) in found.items():
            assert (await console.get(href)).status_code == 200, name
        page = (await console.get("/dashboard/")).text
        assert "policy.edited" in page
        assert "it broke" in page


async def test_it_says_what_is_known_of_addresses(serve: Serve) -> None:
    """Without a geo database or a sync, it says so."""
    async with serve() as service, signed_in(service) as console:
        page = (await console.get("/dashboard/")).text
        assert "requests are stored without a country" in page
        assert "Privacy exclusions" in page


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit_entries SET actor = 'eve' WHERE link = 6", "not what it was"),
        ("DELETE FROM audit_entries WHERE link = 6", "it is missing"),
        ("DELETE FROM audit_entries WHERE link = 5", "it is missing"),
        ("UPDATE audit_chain SET hash = 'x'", "its hash is not the one that the chain ends with"),
    ],
)
async def test_the_newest_links_are_followed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, statement: str, words: str
) -> None:
    """What was changed or taken out among them is told by its link, however few are followed."""
    async with serve() as service, signed_in(service) as console:
        await keep(service, *(audit(number) for number in range(6)))  # after the sign-in
        for followed in (2, 1000):
            monkeypatch.setattr(dashboard_home, "FOLLOWED_LINKS", followed)
            page = unescape((await console.get("/dashboard/")).text)
            assert f"The newest {min(followed, 7)} links hold" in page
        past(service, statement)
        for followed in (2, 1000):
            monkeypatch.setattr(dashboard_home, "FOLLOWED_LINKS", followed)
            page = unescape((await console.get("/dashboard/")).text)
            assert "It breaks at link" in page
            assert words in page
