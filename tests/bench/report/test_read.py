import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.bench.errors import BenchError
from penstock.bench.report.models import Report
from penstock.bench.report.read import read_report

Make = Callable[..., Report]


def _written(path: Path, report: Report, change: Callable[[dict[str, Any]], object]) -> Path:
    plain = json.loads(report.model_dump_json(by_alias=True))
    change(plain)
    path.write_text(json.dumps(plain))
    return path


def test_what_was_written_is_read(make: Make, tmp_path: Path) -> None:
    """A report comes back from its file as it was."""
    report = make()
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json(by_alias=True, indent=2))
    assert read_report(path) == report


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A wrong path is named."""
    with pytest.raises(BenchError, match=r"none\.json: there is no such file"):
        read_report(tmp_path / "none.json")


def test_a_folder_is_told(tmp_path: Path) -> None:
    """What cannot be read is named with the system's reason."""
    with pytest.raises(BenchError, match="cannot be read: Is a directory"):
        read_report(tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no JSON"),
        (b'{"schema": ', "is no JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "has no field 'schema'"),
        (b"{}", "has no field 'schema'"),
        (b'{"schema": "penstock.bench.report/2"}', "'penstock.bench.report/2'; this version reads"),
        (b'{"schema": null}', "has the schema None"),
    ],
)
def test_another_file_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    """A file of some other kind is refused with what it is instead."""
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        read_report(path)
    assert why in str(caught.value)
    assert "other.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda plain: plain.pop("machine"), "machine: Field required"),
        (lambda plain: plain["load"]["plan"].pop("seed"), "load.plan.seed: Field required"),
        (lambda plain: plain["load"]["seconds"][3].update(sent="x"), "load.seconds.3.sent: "),
        (lambda plain: plain.update(surprise=1), "surprise: Extra inputs"),
        (lambda plain: plain.update(kind="moon"), "kind: Input should be"),
        (lambda plain: plain.update(load=None), "kind is 'load', and it has no result"),
        (lambda plain: plain.update(kind="scale"), "kind is 'scale', and it has load"),
        (lambda plain: plain.update(scale={"lines": []}), "and it has load and scale"),
    ],
)
def test_a_wrong_field_is_named(
    make_load: Make, tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    """A report that was changed by hand is refused with the name of the field."""
    path = _written(tmp_path / "report.json", make_load(), change)
    with pytest.raises(BenchError) as caught:
        read_report(path)
    assert why in str(caught.value)


def test_many_wrong_fields_are_counted(make_load: Make, tmp_path: Path) -> None:
    """A file with everything wrong does not fill the terminal."""

    def spoil(plain: dict[str, Any]) -> None:
        for second in plain["load"]["seconds"]:
            second["at"] = "never"

    path = _written(tmp_path / "report.json", make_load(), spoil)
    with pytest.raises(BenchError, match=r"\(and 57 more\)"):
        read_report(path)
