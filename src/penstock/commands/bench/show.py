"""`penstock bench show`: a stored report once more, as text or as a page."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.commands.bench.options import HtmlFile, check_writable, finish, telling_errors

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A report, as written by --json.")]


def show(file: _File, *, html: HtmlFile = None) -> None:
    """Show a stored report as when it was made. Exit code 1 when it has faults."""
    from penstock.bench.report.read import read_report  # noqa: PLC0415  the others start faster

    check_writable(html)
    with telling_errors():
        finish(read_report(file), json=None, html=html)
