import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio
from playwright.sync_api import Page

from console_rig import (
    NARROW,
    THEMES,
    WIDE,
    check_looks,
    look_everywhere,
    screenshot,
    signed_in,
    tell,
    until,
)
from console_sessions import SECONDS, Patient, frames_in, name
from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError
from penstock.engine.session_list import FinalRows
from penstock.http.console.door import BY_ITSELF
from penstock.http.console.visits import Visit, Visits
from penstock.service import Service
from penstock.storage.ledger.sqlite import SqliteLedger
from portal_rig import Browsers

Serve = Callable[..., Any]
PATH = "/console/sessions"
ORG = str(UUID(int=8))
_ROW = re.compile(r'href="/console/sessions/([0-9a-f-]{36})"')


@pytest.fixture
def patient(
    dial: Callable[..., Any], make_request: Callable[..., bytes], make_token: Callable[..., str]
) -> Callable[..., Any]:
    """Give the maker of patients: (service, session number)."""

    @asynccontextmanager
    async def opened(service: Service, session: int = 1) -> AsyncIterator[Patient]:
        async with dial(service) as client:
            yield Patient(service, client, make_request, make_token, session)

    return opened


def shown(page: Any) -> list[int]:
    """Give the numbers of the sessions of a page, in its order."""
    assert page.status_code == 200, page.text
    return [UUID(one).int for one in _ROW.findall(page.text)]


async def page_with(console: Any, path: str, text: str) -> str:
    """Ask for a page until it says so."""
    with trio.fail_after(30):
        while True:
            page = (await console.get(path)).text
            if text in page:
                return str(page)
            await trio.sleep(0.05)


async def test_the_list_has_live_and_ended_sessions_and_finds_them(
    serve: Serve, patient: Callable[..., Any]
) -> None:
    """Sorted, filtered, looked for and paged as one; each leads to its own page."""
    async with serve() as service, signed_in(service) as console:
        assert "No session has come yet" in (await console.get(PATH)).text
        for number in (1, 2, 3):
            async with patient(service, number) as one:
                await one.move(0, number)
                if number != 2:
                    await one.end()
        assert set(shown(await console.get(PATH))) == {1, 2, 3}
        assert shown(await console.get(f"{PATH}?sort=frames")) == [3, 2, 1]
        assert shown(await console.get(f"{PATH}?sort=frames&order=asc")) == [1, 2, 3]
        assert shown(await console.get(f"{PATH}?sort=state&order=asc")) == [2, 1, 3]
        assert shown(await console.get(f"{PATH}?state=live")) == [2]
        assert set(shown(await console.get(f"{PATH}?state=ended"))) == {1, 3}
        assert shown(await console.get(f"{PATH}?state=dead")) == []
        assert shown(await console.get(f"{PATH}?q={name(3)}")) == [3]
        assert set(shown(await console.get(f"{PATH}?q={name(7)}"))) == {1, 2, 3}  # the person
        assert set(shown(await console.get(f"{PATH}?q=0000&org={ORG}"))) == {1, 2, 3}
        assert shown(await console.get(f"{PATH}?org={name(9)}")) == []
        page = (await console.get(f"{PATH}?sort=lost")).text
        assert 'aria-sort="descending"' in page
        assert f"/console/sessions?q={name(7)}" in page


async def test_pages_go_on_where_the_last_one_ended(serve: Serve, patient: Any) -> None:
    """Sixty sessions are two pages; the next one is one click away, and so is the first."""
    async with serve() as service, signed_in(service) as console:
        for number in range(1, 61):
            async with patient(service, number) as one:
                await one.move(0, 1)
        first = await console.get(f"{PATH}?sort=frames&order=asc")
        (after,) = re.findall(r'href="([^"]+)" rel="next"', first.text)
        second = await console.get(after.replace("&amp;", "&"))
        assert sorted([*shown(first), *shown(second)]) == list(range(1, 61))
        assert len(shown(first)) == 50
        assert 'rel="next"' not in second.text
        assert "First page" in second.text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("q=abc", "field-q"),
        ("q=%3Cscript%3E", "field-q"),
        (f"q={'a' * 37}", "field-q"),
        ("org=8", "field-org"),
    ],
)
async def test_what_is_typed_wrong_is_told_beside_its_field(
    serve: Serve, query: str, field: str
) -> None:
    """The form comes back with the fault and what was typed, escaped, and nothing was asked."""
    async with serve() as service, signed_in(service) as console:
        page = await console.get(f"{PATH}?{query}")
        assert page.status_code == 400
        (marked,) = re.findall(r'<input id="([^"]+)"[^>]*aria-invalid="true"', page.text)
        assert marked == field
        assert "<script>" not in page.text.replace('<script src="', "")


@pytest.mark.parametrize(
    "query",
    ["state=dozing", "sort=name", "order=up", "cursor=abc", "cursor=WzEsMl0", "page=2"],
)
async def test_what_no_link_of_ours_says_is_refused(serve: Serve, query: str) -> None:
    """A parameter that is none, or no value of one, is a page that names it."""
    async with serve() as service, signed_in(service) as console:
        page = await console.get(f"{PATH}?{query}")
        assert page.status_code == 400
        assert "parameter_malformed" in page.text


async def test_without_the_ledger_the_live_ones_are_shown(
    serve: Serve, patient: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in memory needs nobody; that the rest is missing is said."""
    read = SqliteLedger.read

    async def failing(self: Any, query: Any) -> Any:
        if isinstance(query, FinalRows):
            raise LedgerUnavailableError(LedgerReason.IO_ERROR, "a disk that is worn out")
        return await read(self, query)

    async with serve() as service, signed_in(service) as console:
        async with patient(service) as one:
            await one.move(0, 1)
        monkeypatch.setattr(SqliteLedger, "read", failing)
        page = await console.get(PATH)
        assert shown(page) == [1]
        assert "only the sessions in memory are shown" in page.text


async def test_a_sessions_page_tells_all_that_became_of_it(serve: Serve, patient: Any) -> None:
    """Live and ended alike: losses by reason, gaps, decisions, policy, figures, video, outbox."""
    async with serve() as service, signed_in(service) as console:
        path = f"{PATH}/{name(1)}"
        async with patient(service) as one:
            await one.move(0, 1)
            live = (await console.get(path)).text  # from now on it is followed
            assert "There is nothing to deliver before it has ended" in live
            assert 'data-goes-on="yes"' in live
            await one.live_through_everything()
            assert one.refused
            live = await page_with(console, path, "Stalls")
            await one.end(exercise_id="squat <b>", total_frames_attempted=300)
        ended = await page_with(console, path, "the aggregates are published")
        assert 'data-goes-on="no"' in ended
        assert "squat &lt;b&gt;" in ended
        for page in (live, ended):
            for reason in ("policy_thinned", "policy_refused", "unsent_camera"):
                assert f"<code>{reason}</code>" in page
            assert "stress has reached thin_at" in page
            assert f"session:{name(1)}" in page  # where the policy's knobs come from
            assert "Repetitions" in page
            assert "stood still 1 times, for 2.0 s" in page


async def test_the_timeline_is_of_one_piece(serve: Serve, patient: Any) -> None:
    """Bins, gaps, angles, repetitions, stalls, decisions on one clock, of file and blob alike."""
    async with serve() as service, signed_in(service) as console:
        path = f"{PATH}/{name(1)}/timeline.json"
        await console.get(f"{PATH}/{name(1)}")
        async with patient(service) as one:
            await one.move(0, 1)
            await console.get(f"{PATH}/{name(1)}")
            await one.live_through_everything()
            last = frames_in(SECONDS - 1)
            with trio.fail_after(30):
                while True:
                    live = (await console.get(path, "application/json")).json()
                    if live["picture"] and live["picture"]["bins"]["taken"][29:] == [last]:
                        break
                    await trio.sleep(0.05)
            told = await one.end()
        assert live["goes_on"]
        assert live["again_after_seconds"] == 5
        assert live["made_at"]
        found = (await console.get(path, "application/json")).json()
        assert (found["goes_on"], found["again_after_seconds"]) == (False, None)
        for document in (live, found):
            picture = document["picture"]
            bins = picture["bins"]
            assert bins["bin_seconds"] == 1
            assert bins["starts_ms"] == list(range(0, SECONDS * 1000, 1000))
            assert sum(bins["taken"]) == told["frames_received"]
            assert sum(bins["thinned"]) == told["frames_shed"]
            assert bins["taken"][12:15] == [0, 0, 0]
            assert sum(bins["thinned"][18:25]) == told["frames_shed"]
            lost = [second for second, count in enumerate(bins["refused"]) if count]
            assert lost == one.refused
            assert sum(bins["refused"]) == frames_in(*lost)
            assert sum(bins["unsent"]) == 9
            assert sum(bins["unsent"][11:19]) == 9
            gaps = {gap["start_ms"] // 1000: gap["reason"] for gap in picture["gaps"]}
            assert gaps[11] == "unsent_camera"
            assert [gaps[at - 1] for at in lost if at - 1 not in lost] == ["policy_refused"]
            assert picture["repetitions"]
            curve = picture["curve"]
            assert curve["counted"]
            for line in curve["lines"].values():
                assert len(line) == len(curve["times_ms"])
                seen = [at for at, height in zip(curve["times_ms"], line, strict=True)
                        if height is not None]  # fmt: skip
                assert not any(12_000 <= at < 15_000 or at // 1000 in lost for at in seen)
            (stall,) = document["stalls"]
            assert (stall["start_ms"], stall["end_ms"]) == (8000, 10_000)
            assert document["stalls_placed_surely"]
            causes = [one["cause"] for one in document["decisions"]]
            assert causes == ["overload_thinned", "overload_refused"]
            assert document["decisions"][1]["batches"] == len(lost)
        assert live["picture"]["repetitions"] == found["picture"]["repetitions"]


async def test_who_is_not_there_is_a_page(serve: Serve) -> None:
    """An id that nobody has, and what is no id, are told so; what was asked for is escaped."""
    async with serve() as service, signed_in(service) as console:
        for asked in (name(5), "%3Cb%3Eno", "7", f"{name(5)}%00"):
            page = await console.get(f"{PATH}/{asked}")
            assert page.status_code == 404, asked
            assert page.headers["content-type"].startswith("text/html")
            assert "session_unknown" in page.text
            assert "<b>no" not in page.text
            data = await console.get(f"{PATH}/{asked}/timeline.json", "application/json")
            assert (data.status_code, data.json()["code"]) == (404, "session_unknown")
        assert service.sessions.statistics().recovered == 0


async def test_what_an_earlier_process_left_is_found(
    serve: Serve, patient: Any, tmp_path: Any
) -> None:
    """A session that is only in its file yet is told of as soon as somebody asks for it."""
    again = {"data_dir": tmp_path / "kept"}
    async with serve(**again) as service, patient(service) as one:
        await one.move(0, 3)
    async with serve(**again) as service, signed_in(service) as console:
        page = await console.get(f"{PATH}/{name(1).upper()}")
        assert page.status_code == 200
        found = (await console.get(f"{PATH}/{name(1)}/timeline.json", "application/json")).json()
        assert sum(found["picture"]["bins"]["taken"]) == frames_in(0, 1, 2)
        assert shown(await console.get(f"{PATH}?state=resting")) == [1]


async def test_what_a_page_asks_by_itself_does_not_keep_the_visit_alive(
    serve: Serve, patient: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live session's page that nobody touches signs out after a while, as all others do."""
    used: list[str] = []
    find = Visits.find

    def counted(self: Visits, visit_id: str) -> Visit | None:
        used.append(visit_id)
        return find(self, visit_id)

    async with serve() as service, signed_in(service) as console:
        async with patient(service) as one:
            await one.move(0, 1)
        monkeypatch.setattr(Visits, "find", counted)
        path = f"{PATH}/{name(1)}"
        for target in (path, f"{path}/timeline.json"):
            await console.get(target)
            assert len(used) == 1
            answer = await console.get(target, **{BY_ITSELF: "yes"})
            assert answer.status_code == 200
            assert len(used) == 1
            used.clear()


async def test_a_session_without_frames_has_a_page(serve: Serve, patient: Any) -> None:
    """Only a video, and then its end: nothing can be drawn, and the page says why."""
    async with serve() as service, signed_in(service) as console:
        async with patient(service) as one:
            await one.watch()
            await one.end()
        page = await console.get(f"{PATH}/{name(1)}")
        assert page.status_code == 200
        assert "stood still 1 times" in page.text
        found = (await console.get(f"{PATH}/{name(1)}/timeline.json", "application/json")).json()
        assert found["picture"] is None
        assert "no frame of it came to disk" in found["why"]
        assert (found["from_ms"], found["until_ms"]) == (8000, 10_000)


async def test_the_list_can_be_used_by_everybody(
    serve: Serve, patient: Any, browsers: Browsers
) -> None:
    """No serious finding of axe, and no page that scrolls sideways, in either theme."""
    async with serve() as service, signed_in(service) as console:
        for number in (1, 2, 3):
            async with patient(service, number) as one:
                await one.move(0, number)
                if number != 2:
                    await one.end()
        await look_everywhere(browsers, console, PATH, "sessions")


async def test_a_live_page_keeps_itself_fresh(
    serve: Serve, patient: Any, browsers: Browsers
) -> None:
    """It says so, can be paused and asked; keys read its charts, which are tables as well."""
    async with serve() as service, signed_in(service) as console:
        path = f"{PATH}/{name(1)}"
        async with patient(service) as one:
            await one.move(0, 1)
            await console.get(path)
            await one.live_through_everything()
            await tell(browsers, console, lambda page: _watch_live(page, path))


@pytest.mark.parametrize("theme", THEMES)
async def test_a_sessions_page_can_be_used_by_everybody(
    serve: Serve, patient: Any, browsers: Browsers, theme: str
) -> None:
    """Drawn, without a serious finding of axe, and never wider than the screen."""
    async with serve() as service, signed_in(service) as console:
        path = f"{PATH}/{name(1)}"
        async with patient(service) as one:
            await one.move(0, 1)
            await console.get(path)
            await one.live_through_everything()
            await one.end(exercise_id="squat")
        for width in (WIDE, NARROW):

            def story(page: Page, shot: str = f"session-{theme}-{width}") -> None:
                page.goto(path)
                _drawn(page)
                check_looks(page, shot)

            await tell(browsers, console, story, theme=theme, width=width)


def _drawn(page: Page) -> None:
    until(page, "document.querySelectorAll('#timeline svg path.line').length >= 3")


def _watch_live(page: Page, path: str) -> None:
    page.goto(path)
    _drawn(page)
    screenshot(page, "session-live")
    assert "refreshes by itself" in page.inner_text("#refreshed")
    page.press("#chart-frames .chart-plot", "ArrowLeft")
    assert "taken" in page.inner_text("#chart-frames .readout")
    page.click("#chart-angle summary")
    assert page.locator("#chart-angle tbody tr").count() > 50
    page.click("#pause")
    assert "Paused" in page.inner_text("#refreshed")
    # What is asked for by hand comes also then, and open parts stay open.
    page.evaluate("document.getElementById('session-facts').dataset.old = 'yes'")
    page.click("#refresh-now")
    until(page, "document.getElementById('session-facts').dataset.old === undefined")
    until(page, "document.getElementById('refreshed').textContent.startsWith('Paused')")
