"""`penstock bench ledger`: how many results a second the ledger takes."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from pydantic import ValidationError

from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table
from penstock.commands.serve import leaves
from penstock.errors import StartupError
from penstock.setting_fields import Settings, allowed


def ledger(
    *,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An empty PostgreSQL database made for this; without it, SQLite in a new folder.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", exists=True, file_okay=False, help="Where SQLite's folder is made."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="How long, with each number of submitters.")
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Commit finals as the service does, with 1, 16 and 256 of them waiting at a time.

    What was written to a database of PostgreSQL stays there; one that holds a ledger is refused.
    """
    # Here and not above: the other commands do without the second of imports.
    from penstock.ledger_speed import measure_new_ledger  # noqa: PLC0415
    from penstock.storage.ledger import LedgerOpenError  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="penstock-ledger-", dir=folder) as data_dir:
        try:
            settings = Settings.model_validate(
                {"data_dir": Path(data_dir), "database_url": database_url or ""}
            )
        except ValidationError:
            raise StartupError(f"--database-url: it must be {allowed('database_url')}") from None
        try:
            measured = trio.run(partial(measure_new_ledger, settings, seconds=seconds))
        except (LedgerOpenError, BaseExceptionGroup) as error:
            ours = (LedgerOpenError, StartupError)
            told = [leaf for leaf in leaves(error) if isinstance(leaf, ours)]
            if not told:
                raise
            raise StartupError(str(told[0])) from None
    if as_json:
        print_json(measured)
        return
    print_table(
        ("Submitters", "Finals a second", "Commits a second", "p50 ms", "p99 ms"),
        (
            (
                str(row.submitters),
                f"{row.finals_per_second:,.0f}",
                f"{row.commits_per_second:,.0f}",
                f"{row.p50_ms:.1f}",
                f"{row.p99_ms:.1f}",
            )
            for row in measured
        ),
        title="SQLite" if settings.database_url is None else "PostgreSQL",
    )
