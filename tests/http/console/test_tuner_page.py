import os
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Page

from console_rig import look_everywhere, signed_in, tell, until, visitor
from penstock import tunings
from penstock.bench.tune.page import PLOT
from penstock.bench.tune.state import RESULT, State
from penstock.console_tunings import MOST_POINTS
from penstock.service import Service
from portal_rig import Browsers
from tuning_folder import keep_tuning, make_result

Serve = Callable[..., Any]
LIST = "/console/tuner"
TIMES = "\N{MULTIPLICATION SIGN}"


def _data_dir(service: Service) -> Path:
    return Path(service.settings.data_dir)


def _plain(page: str) -> str:
    """Give what a page says, without its markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


async def test_an_empty_folder_says_how_to_run_a_tuning(serve: Serve) -> None:
    """Where there is no tuning, the page says so, and gives the command."""
    async with serve() as service, signed_in(service) as console:
        page = (await console.get(LIST)).text
        assert "There is no tuning in this data folder yet." in page
        assert "penstock tune --max-rom-error 3deg" in page
        assert f'href="{LIST}" aria-current="page"' in page


async def test_the_list_tells_what_has_become_of_each(serve: Serve) -> None:
    """Done with the best and its error, under way and stopped with their progress, damaged."""
    async with serve() as service, signed_in(service) as console:
        data = _data_dir(service)
        keep_tuning(data, "good")
        keep_tuning(data, "strict", make_result(bound=0.1))
        (keep_tuning(data, "cut") / RESULT).write_text('{"schema":')
        keep_tuning(data, "linked").rename(data / "elsewhere")
        (data / tunings.TUNINGS / "linked").symlink_to(data / "elsewhere")
        stopped = data / tunings.TUNINGS / "stopped"
        with State.opened(stopped, "d", runs=4, sessions=3, batches=2) as state:
            state._mark("modelled", 1)
        begun = data / tunings.TUNINGS / "begun"
        with State.opened(begun, "d", runs=4, sessions=3, batches=2):
            said = _plain((await console.get(LIST)).text)
        assert f"good done 2026-03-04 05:06:07 5 policies {TIMES} 3 loads (1.05, 1.2" in said
        assert (
            f"keep_every=4 loss_percent=20 , up to 1.5 {TIMES} the capacity 5.8 (4.1-8.1)" in said
        )
        assert "strict done" in said
        assert "None that was tried keeps within the bounds." in said
        assert "begun under way 0 of 4 runs modelled, 0 of 3 sessions measured." in said
        assert "stopped stopped 1 of 4 runs modelled, 0 of 3 sessions measured; it goes on" in said
        assert "cut damaged it is no result of a tuning" in said
        assert "linked damaged it cannot be read" in said
        for name in ("cut", "linked", "stopped", "begun"):
            assert f'href="{LIST}/{name}"' not in said
            assert (await console.get(f"{LIST}/{name}")).status_code == 404


async def test_a_tuning_has_its_figures_its_plot_and_the_way_to_the_form(serve: Serve) -> None:
    """The page has the line to set, policies by load, a picture, and points for the charts."""
    async with serve() as service, signed_in(service) as console:
        folder = keep_tuning(_data_dir(service), "good", drawn=True)
        answer = await console.get(f"{LIST}/good")
        said = _plain(answer.text)
        assert "penstock policy set keep_every=4 loss_percent=20 --reason" in said
        assert "At 1.5 times the capacity" in said
        assert said.count("in force then") == 1
        assert said.count(" best ") >= 1
        other = _plain((await console.get(f"{LIST}/good?load=1.05")).text)
        assert "At 1.05 times the capacity" in other
        refused = await console.get(f"{LIST}/good?load=<b>7")
        assert refused.status_code == 400
        assert "<b>7" not in refused.text
        plot = await console.get(f"{LIST}/good/plot.png", accept="image/png")
        assert plot.headers["content-type"] == "image/png"
        assert plot.headers["cache-control"] == "no-store"
        assert plot.content == (folder / PLOT).read_bytes()
        points = (await console.get(f"{LIST}/good/points", accept="application/json")).json()
        assert len(points["points"]) == 15
        lost = [point["lost"] for point in points["points"]]
        assert lost == sorted(lost)
        bounds = points["bounds"]
        assert [bounds[what] for what in ("range_degrees", "repetitions")] == [8.5, None]
        changed = make_result(bound=0.1).model_dump_json(by_alias=True)
        (folder / RESULT).write_text(changed)
        again = (await console.get(f"{LIST}/good")).text
        assert "No policy that was tried keeps within them." in again
        (form,) = re.findall(r'href="(/console/policy\?[^"]+)"', answer.text)
        filled = (await console.get(unescape(form))).text
        assert 'name="set.keep_every" value="4"' in filled
        assert 'name="set.loss_percent" value="20"' in filled
        assert re.search(r'name="reason"[^>]* value="tuned: range off by', filled)
        assert service.policies.book.revision == 0


async def test_what_a_folder_holds_is_text_on_the_page(serve: Serve) -> None:
    """Markup in a result's words is shown as it is written, and is no markup."""
    bad = "<img src=x onerror=alert(1)>"
    async with serve() as service, signed_in(service) as console:
        result = make_result(made_at=bad, command=bad)
        keep_tuning(_data_dir(service), "good", result)
        for path in (LIST, f"{LIST}/good"):
            page = await console.get(path)
            assert page.status_code == 200
            assert bad not in page.text
        assert "&lt;img src=x" in page.text


async def test_no_name_leads_out_of_the_folder(serve: Serve) -> None:
    """Names of other shapes are nowhere: not as a page, nor as a picture, nor as points."""
    async with serve() as service, signed_in(service) as console:
        data = _data_dir(service)
        keep_tuning(data, "good")
        keep_tuning(data, "../secret", drawn=True)
        keep_tuning(data, ".hidden")
        for name in (
            "%2e%2e", "..%2f..%2fsecret", "%2e%2e%2fsecret", ".hidden", "good%00", "good%0a",
            "x" * 101, "%c3%a9", "nothing", "..%5csecret",
        ):  # fmt: skip
            for end in ("", "/plot.png", "/points"):
                answer = await console.get(f"{LIST}/{name}{end}")
                assert answer.status_code == 404, (name, end)
                assert b"PNG" not in answer.content
                assert "keep_every" not in answer.text


async def test_a_plot_is_a_picture_in_its_own_folder(serve: Serve) -> None:
    """A link, a pipe, a folder, too large a file or one that is no PNG is not given out."""
    async with serve() as service, signed_in(service) as console:
        folder = keep_tuning(_data_dir(service), "good", drawn=True)
        plot, secret = folder / PLOT, _data_dir(service) / "secret.png"
        plot.rename(secret)

        async def is_missing() -> bool:
            page = await console.get(f"{LIST}/good")
            assert page.status_code == 200
            picture = await console.get(f"{LIST}/good/plot.png", accept="image/png")
            return picture.status_code == 404 and "There is no plot" in page.text

        assert await is_missing()
        plot.symlink_to(secret)
        assert await is_missing()
        plot.unlink()
        os.mkfifo(plot)
        assert await is_missing()
        plot.unlink()
        plot.mkdir()
        assert await is_missing()
        plot.rmdir()
        plot.write_text("<svg onload='alert(1)'/>")
        assert await is_missing()
        with plot.open("wb") as file:
            file.write(secret.read_bytes())
            file.truncate(tunings._MOST_PLOT_BYTES + 1)
        assert await is_missing()
        plot.write_bytes(secret.read_bytes())
        assert not await is_missing()


async def test_a_result_that_is_too_large_is_not_read(serve: Serve) -> None:
    """Beyond its bound a result is told of as such, in the list and at its own address."""
    async with serve() as service, signed_in(service) as console:
        folder = keep_tuning(_data_dir(service), "good")
        with (folder / RESULT).open("ab") as file:
            file.truncate(tunings._MOST_BYTES + 1)
        assert "result.json is larger than" in (await console.get(LIST)).text
        answer = await console.get(f"{LIST}/good")
        assert answer.status_code == 404
        assert "result.json is larger than" in answer.text


async def test_a_result_whose_parts_do_not_agree_is_damaged(serve: Serve) -> None:
    """Points of no policy, or a choice that is none of the points, are told and never a fault."""
    async with serve() as service, signed_in(service) as console:
        data = _data_dir(service)
        whole = orjson.loads(make_result().model_dump_json(by_alias=True))
        for name, change in {
            "nobody": {"policies": []},
            "uneven": {"policies": [whole["policies"][0], {"x": 1}, *whole["policies"][2:]]},
            "beyond": {"points": [whole["points"][0] | {"policy": 9}], "choice": None},
            "before": {"points": [whole["points"][0] | {"policy": -1}], "choice": None},
            "chosen": {"choice": whole["choice"] | {"load": 7.0}},
            "loadless": {"tried": whole["tried"] | {"loads": []}},
        }.items():
            (keep_tuning(data, name) / RESULT).write_bytes(orjson.dumps(whole | change))
            assert (await console.get(f"{LIST}/{name}")).status_code == 404
        page = (await console.get(LIST)).text
        assert page.count(">damaged<") == 6


async def test_a_tuning_of_very_many_points_has_no_chart_but_its_plot(serve: Serve) -> None:
    """Where points cannot be told apart, the page says so, and shows the picture instead."""
    async with serve() as service, signed_in(service) as console:
        whole = make_result()
        many = whole.points * (MOST_POINTS // len(whole.points) + 1)
        keep_tuning(
            _data_dir(service), "many", whole.model_copy(update={"points": many}), drawn=True
        )
        page = await console.get(f"{LIST}/many")
        assert "too many points" in page.text
        assert "<details open>" in page.text
        assert "more policies are in result.json" in page.text
        assert len(page.content) < 500_000
        assert (await console.get(f"{LIST}/many/points")).status_code == 404


async def test_a_result_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    """What is known of a tuning is kept until its file is another, and goes with its folder."""
    keep_tuning(tmp_path, "good")
    known: dict[str, Any] = {}
    (first,) = tunings.list_tunings(tmp_path, known)
    (again,) = tunings.list_tunings(tmp_path, known)
    assert again is first
    place = tmp_path / tunings.TUNINGS / "good"
    changed = make_result(bound=0.1).model_dump_json(by_alias=True)
    (place / RESULT).write_text(changed)
    (now,) = tunings.list_tunings(tmp_path, known)
    assert first.choice is not None
    assert now.choice is None
    place.rename(tmp_path / tunings.TUNINGS / "renamed")
    (now,) = tunings.list_tunings(tmp_path, known)
    assert known.keys() == {now.name} == {"renamed"}


def test_a_list_has_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many tunings those that were changed last are listed."""
    monkeypatch.setattr(tunings, "MOST_LISTED", 2)
    for number in range(4):
        (tmp_path / tunings.TUNINGS / f"t{number}").mkdir(parents=True)
        os.utime(tmp_path / tunings.TUNINGS / f"t{number}", (number, number))
    assert [one.name for one in tunings.list_tunings(tmp_path)] == ["t2", "t3"]


async def test_strangers_get_neither_page_nor_picture(serve: Serve) -> None:
    """Without a visit pages lead to the sign-in, and what they fetch is 401."""
    async with serve() as service, visitor(service) as nobody:
        keep_tuning(_data_dir(service), "good", drawn=True)
        for path in (LIST, f"{LIST}/good"):
            assert (await nobody.get(path)).status_code == 303
        for path in (f"{LIST}/good/plot.png", f"{LIST}/good/points"):
            answer = await nobody.get(path)
            assert answer.status_code == 401
            assert b"PNG" not in answer.content


async def test_the_pages_can_be_used_by_everybody(serve: Serve, browsers: Browsers) -> None:
    """Charts are drawn, no serious finding of axe, no sideways scroll; the form is filled in."""
    async with serve() as service, signed_in(service) as console:
        data = _data_dir(service)
        keep_tuning(data, "knees-in-march", drawn=True)
        keep_tuning(data, "strict", make_result(bound=0.1))
        (keep_tuning(data, "cut") / RESULT).write_text('{"schema":')
        with State.opened(data / tunings.TUNINGS / "shoulders", "d", runs=9, sessions=3, batches=2):
            await look_everywhere(browsers, console, LIST, "tuner")

        def drawn(page: Page) -> None:
            until(page, "document.querySelectorAll('.chart circle.dot').length === 45")
            until(page, "document.querySelectorAll('.chart circle.ring').length === 18")
            page.click("text=The plot as a picture")
            until(page, "document.querySelector('.plot img').naturalWidth > 1000")

        await look_everywhere(browsers, console, f"{LIST}/knees-in-march", "tuning", drawn)

        def story(page: Page) -> None:
            page.goto(f"{LIST}/knees-in-march")
            chart = page.locator("#chart-range_degrees .chart-plot")
            chart.focus()
            page.keyboard.press("Home")
            read = page.locator("#chart-range_degrees .readout").inner_text()
            assert f"% lost · in force · 1.05 {TIMES} capacity" in read
            page.click("text=Put it into the policy's form")
            told = "document.getElementById('preview').textContent.includes('keep_every: 2 → 4')"
            until(page, told)

        await tell(browsers, console, story)
