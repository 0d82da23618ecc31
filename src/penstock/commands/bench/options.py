"""What the bench commands share: options, errors in one line, and where reports go."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from penstock.bench.report.models import Report

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the whole report as JSON."),
]
HtmlFile = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write the report as one page with plots."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Run Penstock with this setting; the report names it. May be repeated.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Everything random follows from it.")]


def settings_given(texts: Sequence[str] | None) -> dict[str, object]:
    """Read `--set` options; the last of a name wins."""
    settings: dict[str, object] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.replace("_", "").isalnum():
            raise typer.BadParameter(
                f"{text!r} is not NAME=VALUE, a setting of Penstock", param_hint="'--set'"
            )
        settings[name.lower()] = value
    return settings


@contextmanager
def telling_errors() -> Iterator[None]:
    """Tell a BenchError in one line and exit with 1; let SIGTERM unwind as Ctrl-C does."""
    from penstock.bench.errors import BenchError  # noqa: PLC0415
    from penstock.bench.servers import end_on_sigterm  # noqa: PLC0415

    end_on_sigterm()
    try:
        yield
    except BenchError as error:
        typer.echo(f"penstock: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from None


def check_writable(*paths: Path | None) -> None:
    """Refuse before a long run what would fail only after it."""
    for path in paths:
        if path is None:
            continue
        folder = path.absolute().parent
        if not folder.is_dir():
            raise typer.BadParameter(f"{folder} is not a folder", param_hint=f"'{path}'")
        if path.is_dir():
            raise typer.BadParameter(f"{path} is a folder, not a file", param_hint=f"'{path}'")


def made_now() -> tuple[str, str]:
    """Give the moment and the command line, for a report."""
    command = shlex.join(["penstock", *sys.argv[1:]])
    return datetime.now(UTC).isoformat(timespec="seconds"), command


def finish(report: "Report", *, json: Path | None, html: Path | None) -> None:
    """Show the report, write it where wished, and exit with 1 when it has faults."""
    from penstock.bench.report.html import render_html  # noqa: PLC0415
    from penstock.bench.report.text import render_text  # noqa: PLC0415

    typer.echo(render_text(report))
    if json is not None:
        json.write_text(report.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
    if html is not None:
        html.write_text(render_html(report), encoding="utf-8")
    for fault in report.faults:
        typer.echo(f"penstock: {fault}", err=True)
    if report.faults:
        raise typer.Exit(1)
