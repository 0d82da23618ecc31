"""`penstock bench media`: media events a second, and how long their statistics take."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from pydantic import ValidationError
from rich.progress import Progress

from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table
from penstock.commands.serve import leaves
from penstock.errors import StartupError
from penstock.setting_fields import Settings, allowed


def media(
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
    from penstock.storage.ledger import LedgerOpenError  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="penstock-media-", dir=folder) as data_dir:
        try:
            settings = Settings.model_validate(
                {"data_dir": Path(data_dir), "database_url": database_url or ""}
            )
        except ValidationError:
            raise StartupError(f"--database-url: it must be {allowed('database_url')}") from None
        try:
            trio.run(make_new_ledger, settings)
            with Progress(transient=True, disable=as_json) as progress:
                bar = progress.add_task("Sessions are counted", total=sessions)
                fill(settings, sessions, partial(progress.advance, bar))
            measured = trio.run(
                partial(measure_media, settings, seconds=seconds, sessions=sessions)
            )
        except (LedgerOpenError, BaseExceptionGroup) as error:
            ours = (LedgerOpenError, StartupError)
            told = [leaf for leaf in leaves(error) if isinstance(leaf, ours)]
            if not told:
                raise
            raise StartupError(str(told[0])) from None
    if as_json:
        print_json(measured)
        return
    store = "SQLite" if settings.database_url is None else "PostgreSQL"
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
