"""`penstock bench ledger`: how many results a second the ledger takes."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer

from penstock.commands.bench.new_ledger import (
    NewDatabaseUrl,
    new_ledger_settings,
    store_of,
)
from penstock.commands.ledger_errors import telling_ledger_errors
from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table


def ledger(
    *,
    database_url: NewDatabaseUrl = None,
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

    with tempfile.TemporaryDirectory(prefix="penstock-ledger-", dir=folder) as data_dir:
        settings = new_ledger_settings(data_dir, database_url)
        with telling_ledger_errors():
            measured = trio.run(partial(measure_new_ledger, settings, seconds=seconds))
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
        title=store_of(settings),
    )
