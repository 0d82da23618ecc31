import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from pydantic import TypeAdapter
from typer.testing import CliRunner

from penstock.bench.report.models import Report
from penstock.commands.bench.compare import compare
from penstock.commands.bench.show import show
from penstock.commands.schema import SCHEMAS, schema

Make = Callable[..., Report]

_app = typer.Typer()
_app.command()(compare)
_app.command()(show)
_app.command()(schema)


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.bench.servers.end_on_sigterm", lambda: None)


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Report, str], str]:
    """Give what writes a report as the commands do."""

    def write(report: Report, name: str) -> str:
        path = tmp_path / name
        path.write_text(report.model_dump_json(by_alias=True))
        return str(path)

    return write


Stored = Callable[[Report, str], str]


def _run(*arguments: str) -> tuple[int, str, str]:
    ran = CliRunner().invoke(_app, arguments)
    return ran.exit_code, ran.stdout, ran.stderr


def test_worse_is_told_and_no_failure(make_load: Make, stored: Stored) -> None:
    """A comparison informs: a report that is worse than the other still exits with 0."""
    a, b = stored(make_load(1), "a.json"), stored(make_load(2, slower=1.5), "b.json")
    code, out, err = _run("compare", a, b)
    assert (code, err) == (0, "")
    assert "worse" in out


def test_worse_can_be_made_a_failure(make_load: Make, stored: Stored) -> None:
    """With --fail-on-worse a pipeline stops at a figure that became worse, and only then."""
    a, b = stored(make_load(1), "a.json"), stored(make_load(2, slower=1.5), "b.json")
    code, _, err = _run("compare", a, b, "--fail-on-worse")
    assert code == 1
    assert err.startswith("penstock: worse: ")
    assert "CPU an answer" in err
    assert _run("compare", b, a, "--fail-on-worse")[0] == 0


def test_a_comparison_is_written_as_json(make: Make, stored: Stored, tmp_path: Path) -> None:
    """Programs get every figure, its interval and its verdict."""
    a, b = stored(make(1), "a.json"), stored(make(2), "b.json")
    out = tmp_path / "comparison.json"
    assert _run("compare", a, b, "--json", str(out))[0] == 0
    plain = json.loads(out.read_text())
    assert plain["schema"] == "penstock.bench.comparison/1"
    verdicts = {one["verdict"] for one in plain["comparison"]["figures"]}
    assert verdicts <= {"better", "worse", "within the noise", "under 1 %", "not judged"}
    assert verdicts


@pytest.mark.parametrize("arguments", [("compare", "a.json", "none.json"), ("show", "none.json")])
def test_a_missing_report_is_one_line(
    make_load: Make, stored: Stored, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """A wrong path is told in one line, with exit code 1."""
    stored(make_load(), "a.json")
    command, *names = arguments
    code, out, err = _run(command, *(str(tmp_path / name) for name in names))
    assert (code, out) == (1, "")
    assert err.startswith("penstock: ")
    assert err.endswith("none.json: there is no such file\n")


def test_other_kinds_are_one_line(make_load: Make, make_scale: Make, stored: Stored) -> None:
    """Reports that cannot be compared are told in one line, with exit code 1."""
    code, _, err = _run("compare", stored(make_load(), "a"), stored(make_scale(), "b"))
    assert code == 1
    assert err == "penstock: a report of kind 'load' cannot be compared with one of 'scale'\n"


def test_a_report_is_shown_again(make: Make, stored: Stored, tmp_path: Path) -> None:
    """A stored report gives the same text and the same page as when it was made."""
    page = tmp_path / "page.html"
    code, out, err = _run("show", stored(make(), "a.json"), "--html", str(page))
    assert (code, err) == (0, "")
    assert "Some Processor 3000" in out
    assert ET.fromstring(page.read_text()).tag == "html"  # noqa: S314  it is our own page


def test_a_shown_reports_faults_are_told(make_load: Make, stored: Stored) -> None:
    """A report that should not be used says so each time it is shown."""
    code, _, err = _run("show", stored(make_load(faults=["the harness was late"]), "a.json"))
    assert (code, err) == (1, "penstock: the harness was late\n")


def test_a_page_without_a_place_is_refused(make_load: Make, stored: Stored, tmp_path: Path) -> None:
    """A folder that does not exist is told before anything else happens."""
    report = stored(make_load(), "a.json")
    code, out, err = _run("show", report, "--html", str(tmp_path / "no" / "a.html"))
    assert (code, out) == (2, "")
    assert "is not a folder" in " ".join(err.replace("│", " ").split())


def test_the_schema_is_that_of_reports(make: Make) -> None:
    """The printed schema names the fields that a written report has, as in its JSON."""
    code, out, _ = _run("schema", "bench-report")
    assert code == 0
    plain = json.loads(out)
    written = json.loads(make().model_dump_json(by_alias=True))
    assert written.keys() == plain["properties"].keys()
    assert "schema" in plain["properties"]
    assert plain["additionalProperties"] is False
    assert plain == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TypeAdapter(Report).json_schema(by_alias=True, mode="serialization"),
    }


def test_an_unknown_schema_names_the_known_ones() -> None:
    """A wrong name is refused with the names that there are."""
    code, out, err = _run("schema", "moon")
    assert (code, out) == (2, "")
    told = " ".join(err.replace("│", " ").split())
    assert "there is no schema 'moon'" in told
    assert all(name in told for name in SCHEMAS)
