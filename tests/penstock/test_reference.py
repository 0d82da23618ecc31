"""The generated tables of the documentation are what the code says."""

from pathlib import Path
from typing import Any

from penstock.reference import RENDERERS, render_settings, stale, write
from penstock.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_tables_in_the_tree_are_up_to_date() -> None:
    """Whoever changes the code renews the tables."""
    assert stale(ROOT) == []


def test_every_setting_has_its_row() -> None:
    """The table is complete, and each row has as many cells as the head."""
    rows = [line for line in render_settings().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(Settings.model_fields)
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}


def test_check_names_stale_files_and_writes_nothing(run: Any, tmp_path: Path) -> None:
    """--check exits 1 for a missing or an old file; without it they are written."""
    (tmp_path / "pyproject.toml").touch()
    ran = run("reference", "--check")
    assert ran.code == 1
    assert all(name in ran.out for name in RENDERERS)
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
    assert run("reference").code == 0
    assert run("reference", "--check").code == 0
    (tmp_path / "docs/reference/settings.md").write_text("old")
    assert run("reference", "--check").code == 1
    assert write(tmp_path) == ["docs/reference/settings.md"]


def test_it_runs_in_the_source_tree_only(run: Any) -> None:
    """Elsewhere it would write files that nobody asked for."""
    ran = run("reference")
    assert (ran.code, len(ran.lines)) == (2, 1)
