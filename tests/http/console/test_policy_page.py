import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any
from uuid import UUID

import httpx
import pytest

from console_rig import ADMIN, Console, signed_in
from penstock.engine.policy import KNOBS
from penstock.engine.policy_book import HISTORY_KEPT, MAX_CANDIDATES
from penstock.engine.records import AuditPage
from penstock.ledgers import open_ledger
from penstock.service import Service

Serve = Callable[..., Any]
PATH = "/console/policy"
ORG = f"org:{UUID(int=8)}"


async def _send(
    console: Console, service: Service, what: str = "", **fields: str
) -> httpx.Response:
    """Send a form as the page would, on the book as it is."""
    form = {"revision": str(service.policies.book.revision), "reason": "a test", **fields}
    return await console.post(f"{PATH}{what}", form)


def _knob(name: str, value: str) -> dict[str, str]:
    return {f"set.{name}": value}


async def test_the_page_shows_every_knob_and_where_it_comes_from(serve: Serve, turn: Any) -> None:
    """All of them, with value, source, meaning and what is allowed, for whichever scope."""
    async with serve() as service, signed_in(service) as console:
        await turn(service, thin_at=45.0)
        page = unescape((await console.get(PATH)).text)
        for name, knob in KNOBS.items():
            assert f'data-knob="{name}"' in page
            assert knob.meaning in page
        assert re.search(
            r'data-knob="thin_at".*?global</span>.*?<strong>45</strong>', page, re.DOTALL
        )
        await _send(console, service, scope=ORG, **_knob("keep_every", "3"))
        page = (await console.get(f"{PATH}?scope={ORG}")).text
        assert re.search(
            rf'data-knob="keep_every".*?{ORG}</span>.*?<strong>3</strong>', page, re.DOTALL
        )
        assert re.search(
            r'data-knob="thin_at".*?global</span>.*?<strong>45</strong>', page, re.DOTALL
        )


async def test_a_change_is_signed_audited_and_in_force(serve: Serve) -> None:
    """What the form sets holds for the very next batch, by the visit's principal, with its end."""
    async with serve() as service, signed_in(service) as console:
        answer = await _send(console, service, expires="900", **_knob("thin_at", "40"))
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{PATH}?scope=global&done=1"
        book = service.policies.book
        assert book.in_force(None, None).policy.thin_at == 40
        (change,) = book.history()
        assert (change.author, change.reason) == (ADMIN, "a test")
        assert change.expires_unix == pytest.approx(change.made_unix + 900)
        page = (await console.get(answer.headers["location"])).text
        assert "Revision 1 is in force" in page
        async with open_ledger(service.settings) as ledger:
            entries = [stored.entry for stored in await ledger.read(AuditPage(5))]
        assert [entry.action for entry in entries][:1] == ["policy.edited"]
        assert entries[0].actor == ADMIN


async def test_what_is_refused_is_told_beside_the_knob_and_kept(serve: Serve) -> None:
    """A contradiction names both knobs; the typed values are still there; nothing has changed."""
    async with serve() as service, signed_in(service) as console:
        answer = await _send(
            console, service, **_knob("thin_until", "60"), **_knob("gap_seconds", "2")
        )
        assert answer.status_code == 422
        assert "Nothing was changed" in answer.text
        for knob in ("thin_until", "thin_at"):
            error = re.search(rf'id="error-{knob}">([^<]*)<', answer.text)
            assert error is not None
            assert "thin_until is 60; it must not be above thin_at, 50" in error[1]
        assert 'name="set.gap_seconds" value="2"' in answer.text
        assert (
            'name="reason" required maxlength="500" autocomplete="off" value="a test"'
            in answer.text
        )
        assert service.policies.book.revision == 0


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"set.thin_at": "a lot"}, 422, "it must be a number from 0 to 100"),
        ({"set.thin_at": "1e999"}, 422, "it must be a number from 0 to 100"),
        ({"set.thin_at": "60", "expires": "1e999"}, 400, "expires_in_seconds"),
        ({"set.nonsense": "1"}, 422, "there is no such knob"),
        ({}, 422, "the edit names no knob"),
        ({"set.thin_at": "40", "reason": " "}, 400, "reason"),
        ({"set.thin_at": "40", "reason": "a\u202eb"}, 400, "hidden characters"),
        ({"set.thin_at": "40", "expires": "soon"}, 400, "expires_in_seconds"),
        ({"set.thin_at": "40", "expires": "-5"}, 400, "expires_in_seconds"),
        ({"set.thin_at": "40", "scope": "everybody"}, 400, "scope"),
        ({"set.thin_at": "40", "revision": "x"}, 400, "revision"),
        ({"set.thin_at": "40", "revision": "7"}, 409, "the policy is at 0"),
        ({"clear.thin_at": "1"}, 422, "it is not set in global"),
        ({"set.inbox_mode": "<b>drop</b>"}, 422, "it must be refuse or drop_oldest"),
    ],
)
async def test_bad_forms_are_refused_by_name(
    serve: Serve, fields: Mapping[str, str], status: int, told: str
) -> None:
    """Whatever is wrong, the same page says what, escapes what was sent, and changes nothing."""
    async with serve() as service, signed_in(service) as console:
        answer = await _send(console, service, **fields)
        assert answer.status_code == status, answer.text
        assert told in answer.text
        assert "<b>drop" not in answer.text
        assert "\u202e" not in answer.text.partition('name="reason"')[0]
        assert service.policies.book.revision == 0


async def test_a_look_at_an_edit_changes_nothing(serve: Serve, turn: Any) -> None:
    """The preview tells values, scopes that keep their own, and the rung; faults are an answer."""
    async with serve() as service, signed_in(service) as console:
        await _send(console, service, scope=ORG, **_knob("keep_every", "3"))
        form = {"revision": "1", "reason": "x", "scope": "global"}
        look = {
            **form,
            **_knob("keep_every", "4"),
            **_knob("thin_at", "0"),
            **_knob("thin_until", "0"),
        }
        answer = await console.post(f"{PATH}/preview", look, "application/json")
        told = answer.json()
        assert answer.status_code == 200
        assert [(one["knob"], one["before"], one["after"]) for one in told["turned"]] == [
            ("thin_at", 50, 0),
            ("thin_until", 35, 0),
            ("keep_every", 2, 4),
        ]
        assert told["turned"][2]["kept_by"] == [ORG]
        assert (told["rung_now"], told["rung_then"]) == ("calm", "thin")
        bad = {**form, **_knob("thin_until", "60")}
        problem = (await console.post(f"{PATH}/preview", bad, "application/json")).json()["problem"]
        assert problem["code"] == "policy_invalid"
        assert (problem["faults"][0]["knob"], problem["faults"][0]["other"]) == (
            "thin_until",
            "thin_at",
        )
        assert service.policies.book.revision == 1
        # What the look has drafted is given to nobody: the next change is the next revision.
        await turn(service, thin_at=45.0)
        assert service.policies.book.revision == 2


async def test_a_candidate_is_proposed_enforced_and_withdrawn(serve: Serve) -> None:
    """Each step by its form; enforcing puts its knobs into force until the end that was chosen."""
    async with serve() as service, signed_in(service) as console:
        proposed = await _send(console, service, "/propose", name="late", **_knob("thin_at", "60"))
        assert proposed.status_code == 303
        page = (await console.get(PATH)).text
        assert 'data-candidate="late"' in page
        assert "<dd>50 → <strong>60</strong></dd>" in page
        enforced = await _send(console, service, "/enforce", name="late", expires="3600")
        assert enforced.status_code == 303
        book = service.policies.book
        assert book.in_force(None, None).policy.thin_at == 60
        assert "in force now" in (await console.get(PATH)).text
        assert (await _send(console, service, "/withdraw", name="late")).status_code == 303
        assert not book.candidates
        assert book.in_force(None, None).policy.thin_at == 60
        for what in ("/enforce", "/withdraw"):
            answer = await _send(console, service, what, name="late")
            assert answer.status_code == 404
            assert "there is no candidate" in answer.text


async def test_candidates_are_bounded_and_global(serve: Serve) -> None:
    """One too many, a bad name, or another scope's: refused, with the reason on the page."""
    async with serve() as service, signed_in(service) as console:
        knob = _knob("thin_at", "60")
        for number in range(MAX_CANDIDATES):
            answer = await _send(console, service, "/propose", name=f"c{number}", **knob)
            assert answer.status_code == 303
        full = await _send(console, service, "/propose", name="more", **knob)
        assert full.status_code == 409
        assert f"{MAX_CANDIDATES} candidates" in full.text
        assert (await _send(console, service, "/propose", name="No!", **knob)).status_code == 422
        narrow = await _send(console, service, "/propose", name="c0", scope=ORG, **knob)
        assert narrow.status_code == 400
        assert "global scope" in narrow.text


async def test_only_the_last_edit_of_a_scope_can_be_reverted(serve: Serve) -> None:
    """Its button is at that entry; after it there is none; a second revert is refused in words."""
    async with serve() as service, signed_in(service) as console:
        await _send(console, service, **_knob("thin_at", "40"))
        await _send(console, service, **_knob("thin_at", "45"))
        await _send(console, service, scope=ORG, **_knob("keep_every", "3"))
        page = (await console.get(PATH)).text
        assert re.findall(r'id="revert-reason-(\d+)"', page) == ["3", "2"]
        assert (await _send(console, service, "/revert", scope="global")).status_code == 303
        book = service.policies.book
        assert book.in_force(None, None).policy.thin_at == 40
        page = (await console.get(PATH)).text
        assert re.findall(r'id="revert-reason-(\d+)"', page) == ["3"]
        again = await _send(console, service, "/revert", scope="global")
        assert again.status_code == 409
        assert "no edit that could be undone" in again.text


async def test_reasons_and_scopes_are_escaped(serve: Serve) -> None:
    """What one operator writes is text to the next one, in every place where it is shown."""
    async with serve() as service, signed_in(service) as console:
        evil = "<img src=x onerror=alert(1)>\"'"
        await _send(console, service, reason=evil, **_knob("thin_at", "40"))
        await _send(console, service, "/propose", name="c", reason=evil, **_knob("thin_at", "60"))
        page = (await console.get(PATH)).text
        assert "<img src=x" not in page
        assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 3
        bad = await console.get(f"{PATH}?scope=%3Cimg%20src%3Dx%3E")
        assert bad.status_code == 400
        assert "<img src=x" not in bad.text


async def test_a_long_history_is_shown_in_parts(serve: Serve, turn: Any) -> None:
    """The newest changes first; all that are kept are a link away."""
    async with serve() as service, signed_in(service) as console:
        for step in range(25):
            await turn(service, thin_at=40.0 + step / 100)
        page = (await console.get(PATH)).text
        rows = page.partition('id="history"')[2].count("global edited")
        assert rows == 20
        whole = (await console.get(f"{PATH}?history=all")).text
        assert whole.partition('id="history"')[2].count("global edited") == 25
        assert HISTORY_KEPT >= 25
