"""`penstock reference`: keep the generated tables of the documentation up to date."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.errors import StartupError
from penstock.reference import stale, write


def reference(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when a file is out of date.")
    ] = False,
) -> None:
    """Write the reference tables of the documentation. Run it in the root of the source tree."""
    root = Path.cwd()
    if not (root / "pyproject.toml").is_file():
        raise StartupError(
            "this folder has no pyproject.toml; run it in the root of the source tree"
        )
    if not check:
        for name in write(root):
            typer.echo(f"{name}: written")
        return
    outdated = stale(root)
    for name in outdated:
        typer.echo(f"{name}: out of date; run penstock reference")
    if outdated:
        raise typer.Exit(1)
