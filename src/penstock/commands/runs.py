"""`penstock runs`: bring runs into the ledger from another service's file, and out of it."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import trio
import typer

from penstock.commands.options import Config, DataDir, Json, settings_in_force
from penstock.commands.output import print_json, print_table
from penstock.errors import StartupError

if TYPE_CHECKING:
    from penstock.runs_export import ExportFormat
    from penstock.runs_import import ImportReport
    from penstock.settings import Settings

app = typer.Typer(help="Import and export the runs of the ledger.", no_args_is_help=True)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The SQLite file of the other service, stopped.")
    ],
    *,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Import all runs of a file. Started again, it goes on where it was.

    Penstock may run meanwhile, the other service should not.

    Exit code 0 when every row was found in the ledger afterwards, 1 when some could not be runs.
    """
    settings = _settings(data_dir, config)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    report = trio.run(partial(_import, settings, file))
    facts = {
        "rows": report.rows,
        "imported": report.imported,
        "known": report.known,
        "unfit": report.unfit,
        "found": report.found,
        "verified": report.verified,
    }
    if as_json:
        print_json({**facts, "misfits": report.misfits})
    else:
        print_table(("Fact", "Value"), [(name, str(value)) for name, value in facts.items()])
        for line in report.misfits:
            typer.echo(line, err=True)
    if report.unfit or not report.verified:
        raise typer.Exit(1)


@app.command("export")
def export(
    *,
    form: Annotated[
        str, typer.Option("--format", metavar="NAME", help="ndjson or csv.")
    ] = "ndjson",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; standard output without it.")
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Write all runs, newest first. A service may run meanwhile."""
    from penstock.ledgers import LEDGER_FILE  # noqa: PLC0415  the others start faster without
    from penstock.runs_export import ExportFormat  # noqa: PLC0415

    if form not in set(ExportFormat):
        raise typer.BadParameter(f"{form!r}; it must be ndjson or csv", param_hint="'--format'")
    settings = _settings(data_dir, config)
    ledger = settings.data_dir / LEDGER_FILE
    if settings.database_url is None and not ledger.exists():
        raise StartupError(f"there is no ledger: {ledger} does not exist")
    with _writing(output) as stream:
        count = trio.run(_export, settings, ExportFormat(form), stream)
    typer.echo(f"{count} runs", err=True)


def _settings(data_dir: str | None, config: str | None) -> "Settings":
    flags = {"data_dir": data_dir, "config": config}
    return settings_in_force(flags, dev=False, required=())[0]


async def _import(settings: "Settings", file: Path) -> "ImportReport":
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from penstock.ledgers import open_ledger  # noqa: PLC0415
    from penstock.runs_import import import_runs  # noqa: PLC0415
    from penstock.storage.ledger import LedgerOpenError  # noqa: PLC0415

    console = Console(stderr=True)
    try:
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("importing", total=None)
            async with open_ledger(settings) as ledger:
                return await import_runs(
                    file,
                    ledger,
                    time.time(),
                    lambda done, total: progress.update(task, completed=done, total=total),
                )
    except LedgerOpenError as error:
        raise StartupError(str(error)) from None


async def _export(settings: "Settings", form: "ExportFormat", stream: TextIO) -> int:
    from penstock.engine.ledger_port import LedgerUnavailableError  # noqa: PLC0415
    from penstock.ledgers import open_ledger  # noqa: PLC0415
    from penstock.runs_export import export_runs  # noqa: PLC0415
    from penstock.storage.ledger import LedgerOpenError  # noqa: PLC0415

    try:
        async with open_ledger(settings) as ledger:
            return await export_runs(ledger, form, stream)
    except (LedgerOpenError, LedgerUnavailableError) as error:
        raise StartupError(str(error)) from None


@contextmanager
def _writing(output: Path | None) -> Iterator[TextIO]:
    """Open the output; a file has its name only once it is whole."""
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(f"{output.name}.part")
    try:
        # Private: runs may quote anything.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123 - a descriptor
            yield stream
        part.replace(output)
    except OSError as error:
        raise StartupError(f"{output}: {error.strerror or error}") from None
