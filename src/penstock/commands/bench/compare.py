"""`penstock bench compare`: two reports of one kind, and which differences may be chance."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from penstock.commands.bench.options import check_writable, telling_errors, write

if TYPE_CHECKING:
    from penstock.bench.report.compare import Comparison

_A = Annotated[Path, typer.Argument(metavar="A", help="The report to compare with, as JSON.")]
_B = Annotated[Path, typer.Argument(metavar="B", help="The report that is judged, as JSON.")]
_JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the whole comparison as JSON."),
]
_FailOnWorse = Annotated[
    bool,
    typer.Option("--fail-on-worse", help="Exit with 1 when a figure is worse beyond the noise."),
]


def compare(a: _A, b: _B, *, json: _JsonFile = None, fail_on_worse: _FailOnWorse = False) -> None:
    """Compare two stored reports of the same kind, figure by figure.

    What was not the same (plan, settings, machine) is listed first. A figure is called better or
    worse only when the 95 % interval of the ratio B/A, from the noise within both runs, excludes 1.
    """
    from penstock.bench.report import compare as reports  # noqa: PLC0415  NumPy: others start faster
    from penstock.bench.report.compare_text import render_comparison  # noqa: PLC0415
    from penstock.bench.report.read import read_report  # noqa: PLC0415

    check_writable(json)
    with telling_errors():
        found = reports.compare(read_report(a), read_report(b))
    typer.echo(render_comparison(found))
    unwritten = write(json, _plain(reports.SCHEMA, found)) if json is not None else []
    for problem in unwritten:
        typer.echo(f"penstock: {problem}", err=True)
    if unwritten:
        raise typer.Exit(1)
    if fail_on_worse and found.worse:
        names = ", ".join(one.name for one in found.worse)
        typer.echo(f"penstock: worse: {names}", err=True)
        raise typer.Exit(1)


def _plain(schema: str, found: "Comparison") -> str:
    document = {"schema": schema, "comparison": found}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
