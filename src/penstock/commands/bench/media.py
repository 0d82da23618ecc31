"""`penstock bench media`: media events a second, and how long their statistics take."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.progress import Progress

from penstock.commands.bench.new_ledger import (
    NewDatabaseUrl,
    new_ledger_settings,
    store_of,
)
from penstock.commands.ledger_errors import telling_ledger_errors
from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table


def media(
    *,
    database_url: NewDatabaseUrl = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", exists=True, file_okay=False, help="Where SQLite's folder is made."
        ),
    ] = None,
    sessions: Annotated[
        int,
        typer.Option(min=720, max=10_000_000, help="Sessions of thirty days in the statistics."),
    ] = 72_000,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="How long, with each number of submitters.")
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Commit media events as the service does, and ask for every statistic, again and again.

    What was written to a database of PostgreSQL stays there; one that holds a ledger is refused.
    """
    # Here and not above: the other commands do without the second of imports.
    from penstock.media_speed import fill, make_new_ledger, measure_media  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="penstock-media-", dir=folder) as data_dir:
        settings = new_ledger_settings(data_dir, database_url)
        with telling_ledger_errors():
            trio.run(make_new_ledger, settings)
            with Progress(transient=True, disable=as_json) as progress:
                bar = progress.add_task("Sessions are counted", total=sessions)
                fill(settings, sessions, partial(progress.advance, bar))
            measured = trio.run(
                partial(measure_media, settings, seconds=seconds, sessions=sessions)
            )
    if as_json:
        print_json(measured)
        return
    store = store_of(settings)
    print_table(
        ("Submitters", "Events a second", "Commits a second", "p50 ms", "p99 ms"),
        (
            (
                str(row.submitters),
                f"{row.entries_per_second:,.0f}",
                f"{row.commits_per_second:,.0f}",
                f"{row.p50_ms:.1f}",
                f"{row.p99_ms:.1f}",
            )
            for row in measured.events
        ),
        title=f"Media events, {store}",
    )
    print_table(
        ("Statistic", "p50 ms", "Worst ms"),
        (
            (row.statistic, f"{row.p50_ms:.1f}", f"{row.worst_ms:.1f}")
            for row in measured.statistics
        ),
        title=f"Statistics of {sessions:,} sessions, {store}",
    )
