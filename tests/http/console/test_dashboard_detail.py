"""`/dashboard/detail/<type>/<id>`: everything that is kept of one row, and where to go from it."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from console_rig import signed_in
from dashboard_rows import ACTOR, ORG, audit, event, keep, media, past, report
from penstock.engine.delivery_records import DeliveryEntry
from penstock.engine.erasure_records import BeginErasure
from penstock.engine.records import FinalEntry
from penstock.http.console import dashboard_detail

Serve = Callable[..., Any]
SESSION = str(UUID(int=5))


async def test_each_type_shows_all_that_is_kept(serve: Serve) -> None:
    """Facts, texts and a link to what belongs to it."""
    one, two, three = audit(1, status="success", org_id=ORG), event(2), report(3)
    final = FinalEntry(SESSION, ORG, "p", 1, "completed", 1_771_322_400_000, {"secret": "body"})
    order = DeliveryEntry(SESSION, 1, ORG, replay_due=False, created_unix_ms=1_771_322_400_000)
    wanted = {
        f"audit/{one.entry_id}": ("patient:1", "as it was written", "Every such action", ORG),
        f"analytics/{two.event_id}": (
            "page.view",
            "/library",
            "Properties",
            "Events of this actor",
        ),
        f"error/{three.report_id}": ("it broke", "at x", "78.3", "Reports of this error"),
        f"media/{UUID(int=5)}": ("1 of 1 events", "position_seconds", "active", "The session"),
        f"session/{SESSION}": ("completed", "Delivery", "Its media events"),
        "erasure/e-1": ("Asked by", "ada", "Rows removed"),
    }
    async with serve(core_api_url="http://127.0.0.1:1") as service, signed_in(service) as console:
        await keep(service, one, two, three, media(5), final, order)
        await keep(service, BeginErasure("e-1", str(UUID(int=99)), 5, "ada"))
        for path, words in wanted.items():
            page = await console.get(f"/dashboard/detail/{path}")
            assert page.status_code == 200, path
            for word in words:
                assert word in page.text, (path, word)
        page = (await console.get(f"/dashboard/detail/session/{SESSION}")).text
        assert "secret" not in page  # what was measured of a person is not an operator's


async def test_an_unknown_type_is_told_with_those_that_are_known(serve: Serve) -> None:
    """And an unknown id is not there, whatever it is made of."""
    async with serve() as service, signed_in(service) as console:
        answer = await console.get(f"/dashboard/detail/patient/{SESSION}")
        assert answer.status_code == 404
        assert "there are audit, analytics, error, media, session, erasure" in answer.text
        for kind in ("audit", "analytics", "error", "media", "session", "erasure"):
            for key in (SESSION, "x", "%00", "' OR 1=1 --", "a" * 300, "%F0%9F%98%80"):
                answer = await console.get(f"/dashboard/detail/{kind}/{key}")
                assert answer.status_code == 404, (kind, key)
                assert f"there is no {kind} entry of this id" in answer.text


async def test_links_lead_to_lists_that_find_the_row(serve: Serve) -> None:
    """What belongs together is one click away."""
    one = event(2)
    async with serve() as service, signed_in(service) as console:
        await keep(service, one, event(3, name="other"))
        page = await console.get(f"/dashboard/detail/analytics/{one.event_id}")
        assert "/dashboard/analytics?event=page.view" in page.text
        found = await console.get(f"/dashboard/analytics?actor={ACTOR}")
        assert one.event_id in found.text


async def test_a_long_session_shows_its_first_events(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a bound, and says of how many; in the client's order."""
    monkeypatch.setattr(dashboard_detail, "SHOWN_EVENTS", 3)
    async with serve() as service, signed_in(service) as console:
        await keep(service, *(media(5, number) for number in (4, 2, 3, 1)))
        page = (await console.get(f"/dashboard/detail/media/{UUID(int=5)}")).text
        assert "3 of 4 events" in page
        shown = re.findall(r">2026-02-17 10:00:0(\d)\.000<", page)
        assert shown == ["1", "2", "3"]


async def test_an_entry_that_was_changed_is_shown_as_changed(serve: Serve) -> None:
    """The page does not take the ledger's word for what an entry once said."""
    entries = [audit(number) for number in range(3)]
    async with serve() as service, signed_in(service) as console:
        await keep(service, *entries)
        changed = entries[1].entry_id
        past(service, f"UPDATE audit_entries SET actor = 'eve' WHERE entry_id = '{changed}'")
        page = (await console.get(f"/dashboard/detail/audit/{changed}")).text
        assert "it is not what it was when it was written" in page
        page = (await console.get(f"/dashboard/detail/audit/{entries[2].entry_id}")).text
        assert "as it was written" in page
        home = (await console.get("/dashboard/")).text
        assert "It breaks at link" in home
