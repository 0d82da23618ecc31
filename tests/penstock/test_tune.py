"""`penstock tune` from its options to the folder that it leaves, and the line that it prints."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest
import trio

from penstock import cli
from penstock.bench.patients import Traits, record
from penstock.bench.tune import plot
from penstock.bench.tune.grid import turned
from penstock.bench.tune.report import _line
from penstock.bench.tune.result import TuningResult
from penstock.commands.policy import read_knobs
from penstock.engine.policy import DEFAULT_POLICY
from penstock.engine.policy_book import PolicyBook, Signed
from penstock.engine.policy_desk import PolicyDesk
from penstock.engine.policy_editions import GLOBAL, PolicyChange
from penstock.engine.wire import encode
from penstock.http.policy_requests import EditBody
from penstock.service import SystemClock
from penstock.tunings import (
    TUNINGS,
    TuningMissingError,
    list_tunings,
    read_plot,
    read_tuning,
)

# A tuning of some seconds: few patients, and a bound that nobody breaks.
SMALL = (
    "--synthetic=3", "--knob=keep_every=2,4", "--load=1.5,2", "--seeds=1", "--places=20",
    "--longest=20", "--max-rom-error=90deg", "--jobs=1",
)  # fmt: skip


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Call = Callable[..., Ran]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run `penstock tune` in an empty folder; no signal's handling is changed."""
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ran:
        code = cli.main(["tune", *arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


class Store:
    """Keeps nothing: the edit itself is what is looked at."""

    async def save(self, changes: Sequence[PolicyChange], book: dict[str, Any]) -> None:
        """Accept."""


def accepted(line: str) -> None:
    """Make the change that a printed line asks for, as the admin route does; raise if refused."""
    words = shlex.split(line)
    assert words[:3] == ["penstock", "policy", "set"]
    knobs = read_knobs([word for word in words[3:] if "=" in word and not word.startswith("tuned")])
    reason = words[words.index("--reason") + 1]
    body = EditBody.model_validate(
        {"revision": 0, "reason": reason, "scope": "global", "set": knobs}
    )
    desk = PolicyDesk(PolicyBook(), Store(), SystemClock(), lambda: None)
    signed = Signed(str(UUID(int=1)), body.reason, body.revision)

    async def edit() -> None:
        await desk.edit(GLOBAL, body.put, body.clear, signed)

    trio.run(edit)
    for name, value in knobs.items():
        assert getattr(desk.book.in_force(None, None).policy, name) == value


def test_a_tuning_from_end_to_end(call: Call, tmp_path: Path) -> None:
    """It leaves a result, a plot and a page; asked for again, nothing is worked out twice."""
    ran = call(*SMALL, "--data-dir=data")
    assert ran.code == 0, ran.err
    assert "modelling runs" in ran.err
    assert "best" in ran.out
    (one,) = list_tunings(tmp_path / "data")
    assert (one.sessions, one.policies, one.loads, one.problem) == (3, 2, (1.5, 2.0), None)
    assert one.choice is not None
    assert one.choice.load == 2
    result = read_tuning(tmp_path / "data", one.name)
    assert result.policies[0]["keep_every"] == 2
    assert "no service was asked" in result.in_force_from
    assert read_plot(tmp_path / "data", one.name).startswith(b"\x89PNG")
    folder = tmp_path / "data" / TUNINGS / one.name
    assert {path.name for path in folder.iterdir()} == {"result.json", "plot.png", "index.html"}
    again = call(*SMALL, "--data-dir=data", "--max-rom-error=0.0001deg")
    # Other bounds are another choice of the same points.
    assert again.code == 1
    assert "modelling runs" not in again.err
    assert "No policy that was tried keeps within them" in again.out
    assert read_tuning(tmp_path / "data", one.name).points == result.points


def test_the_page_needs_no_permission(call: Call, tmp_path: Path) -> None:
    """The page has neither script nor style of its own, and names no other place."""
    assert call(*SMALL, "--output=out", "--quiet").code == 0
    page = (tmp_path / "out" / "index.html").read_text()
    for forbidden in ("<script", "<style", "style=", "http://", "https://"):
        assert forbidden not in page
    assert re.search(r"\son\w+=", page) is None
    assert '<img src="plot.png"' in page


def test_the_line_that_is_printed_is_accepted(call: Call) -> None:
    """What is recommended passes the desk that serves, reason and all."""
    ran = call(
        "--synthetic=2", "--knob=keep_every=3", "--knob=gap_seconds=0.5", "--load=1.5",
        "--seeds=1", "--places=20", "--longest=20", "--max-rom-error=300deg", "--json",
        "--output=out", "--quiet", "--jobs=1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    document = orjson.loads(ran.out)
    result = TuningResult.model_validate({k: v for k, v in document.items() if k != "folder"})
    other = result.points[1]
    assert other.policy == 1

    tried = DEFAULT_POLICY.changed({"keep_every": 3, "gap_seconds": 0.5})
    accepted(_line(turned(tried, DEFAULT_POLICY), other))
    if result.choice is not None and result.choice.line is not None:
        accepted(result.choice.line)


def test_kept_sessions_and_recordings_are_found(call: Call, tmp_path: Path) -> None:
    """Below a folder there may be batches as the service stores them, and motion recordings."""
    found = record(Traits(), seconds=30, seed=1)
    (tmp_path / "kept" / "org").mkdir(parents=True)
    with (tmp_path / "kept" / "org" / f"{UUID(int=5)}.bin.gz").open("wb") as file:
        for at in range(0, 300, 10):
            frames = slice(at, at + 10)
            file.write(encode(found.landmarks[frames], found.timestamps_ms[frames]))
    np.savez(
        tmp_path / "kept" / "squats.npz",
        landmarks=found.landmarks,
        timestamp_ms=found.timestamps_ms,
        coords="image2d",
        aspect=found.aspect,
        exercise="squat",
    )
    (tmp_path / "kept" / "notes.txt").write_text("nothing of that kind")
    ran = call(
        "--recordings=kept", "--knob=keep_every=3", "--load=0.5", "--seeds=1", "--places=20",
        "--output=out", "--json", "--quiet", "--jobs=1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    stored, recording = orjson.loads(ran.out)["sessions"]
    # A result outlives the erasure of a person: no id of theirs is in it.
    assert (stored["name"], recording["name"]) == ("kept session 1", "squats")
    assert str(UUID(int=5)).encode() not in (tmp_path / "out" / "result.json").read_bytes()
    # The same frames, once named and once not.
    assert stored["frames"] == recording["frames"] == 300
    assert stored["repetitions"] == recording["repetitions"] > 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recordings=nowhere",), "nowhere does not exist"),
        (("--recordings=.",), "there is no spool file"),
        (("--session=17",), "--session: '17'; it must be a UUID"),
        ((), "holds no session; give --recordings"),
        (("--synthetic=1", "--knob=inbox_bytes=1"), "no inboxes"),
        (("--synthetic=1", "--knob=keep_every=0", "--knob=x=1"), "no such knob"),
        (("--synthetic=1", "--load=fast"), "--load: 'fast'"),
        (("--synthetic=1", "--max-rom-error=3cm"), "--max-rom-error: '3cm'"),
        (("--synthetic=1", "--max-tempo-error=fast"), "--max-tempo-error: 'fast'"),
        (("--synthetic=1", "--max-wait=long"), "--max-wait: 'long'"),
        (("--synthetic=1", "--token=x", "--url=nowhere"), "--url: 'nowhere'"),
    ],
)
def test_what_cannot_be_tried_is_told(call: Call, arguments: tuple[str, ...], words: str) -> None:
    """Before anything runs, what is wrong is told by the option's name, with exit code 2."""
    ran = call(*arguments, "--quiet")
    assert ran.code == 2
    assert words in ran.err
    assert ran.err.startswith("penstock: ")
    assert "Traceback" not in ran.err


def test_a_service_that_is_not_there_is_told(call: Call) -> None:
    """A policy in force that cannot be asked for is an error, not the default one."""
    ran = call(*SMALL, "--url=http://127.0.0.1:9", "--token=x", "--quiet")
    assert ran.code == 1
    assert "cannot be reached" in ran.err


def test_a_folder_of_something_else_is_left_alone(call: Call, tmp_path: Path) -> None:
    """Neither another tuning nor anybody's files are written over."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    ran = call(*SMALL, "--output=out", "--quiet")
    assert ran.code == 1
    assert "thesis.txt is there" in ran.err
    assert call(*SMALL, "--output=own", "--quiet").code == 0
    before = (tmp_path / "own" / "result.json").read_bytes()
    ran = call(*SMALL, "--seed=7", "--output=own", "--quiet")
    assert ran.code == 1
    assert "another tuning" in ran.err
    assert (tmp_path / "own" / "result.json").read_bytes() == before


def test_without_matplotlib_it_says_what_to_install(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing library is told before any work, with the command that brings it."""
    monkeypatch.setattr(plot, "find_spec", lambda _: None)
    ran = call(*SMALL, "--output=out")
    assert ran.code == 1
    assert "pip install 'penstock[bench]'" in ran.err


def test_a_damaged_tuning_is_told_of_and_harms_no_other(call: Call, tmp_path: Path) -> None:
    """Lists go on past folders that are damaged, unfinished, or of another version."""
    assert call(*SMALL, "--data-dir=data", "--quiet").code == 0
    place = tmp_path / "data" / TUNINGS
    for name, text in (("cut", '{"schema":'), ("newer", '{"schema": "penstock.tuning/9"}')):
        (place / name).mkdir()
        (place / name / "result.json").write_text(text)
    (place / "begun" / "state").mkdir(parents=True)
    (place / ".hidden").mkdir()
    (place / "file").write_text("")
    good, *others = list_tunings(tmp_path / "data")
    assert good.problem is None
    assert {one.name for one in others} == {"begun", "cut", "newer"}
    assert all(one.problem for one in others)
    assert [one.name for one in others if one.unfinished] == ["begun"]
    for name in ("cut", "begun", "nothing", "..", "../tunings", "", "a/b"):
        with pytest.raises(TuningMissingError):
            read_tuning(tmp_path / "data", name)
    assert list_tunings(tmp_path / "nowhere") == []


async def test_a_running_service_is_asked_and_takes_the_line(
    call: Call, serve: Callable[..., Any], tmp_path: Path
) -> None:
    """The policy in force is that of the service, and the recommended line changes it.

    With a dwell of a minute no overdraft comes in time, and batches wait for too long.
    """
    data = tmp_path / "service"
    async with serve(data) as running:
        url = f"http://{running.host}:{running.port}"
        where = ("--dev", f"--data-dir={data}", f"--url={url}")

        def policy(*arguments: str) -> int:
            return cli.main(["policy", "set", *arguments, *where])

        assert await trio.to_thread.run_sync(policy, "dwell_seconds=60", "--reason=first") == 0
        ran = await trio.to_thread.run_sync(
            lambda: call(
                "--synthetic=3", "--knob=dwell_seconds=0.5", "--load=1.2", "--seeds=1",
                "--longest=20", "--max-rom-error=300deg", "--jobs=1", "--json", "--quiet",
                "--places=20", "--output=out", *where,
            )
        )  # fmt: skip
        assert ran.code == 0, ran.err
        result = orjson.loads(ran.out[ran.out.index("\n{") :])
        assert result["policies"][0]["dwell_seconds"] == 60
        assert result["in_force_from"] == f"that of {url}, at revision 1"
        words = shlex.split(result["choice"]["line"])
        assert words[:4] == ["penstock", "policy", "set", "dwell_seconds=0.5"]
        assert await trio.to_thread.run_sync(policy, *words[3:]) == 0
