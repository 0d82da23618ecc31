"""`penstock bench sync`: batches and records a second, and reads of the sums of many records."""

import secrets
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from pydantic import SecretStr

from penstock.commands.bench.new_ledger import (
    NewDatabaseUrl,
    new_ledger_settings,
    store_of,
)
from penstock.commands.ledger_errors import telling_ledger_errors
from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table

_TOLD_EVERY = 50_000


def sync(
    *,
    database_url: NewDatabaseUrl = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", exists=True, file_okay=False, help="Where the data folder is made."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="How long, with each size and number.")
    ] = 3.0,
    summaries: Annotated[
        int, typer.Option(min=0, max=10_000_000, help="What a user has when reads are timed.")
    ] = 10_000,
    asked: Annotated[int, typer.Option(min=1, max=10_000, help="Times each read is asked.")] = 100,
    as_json: Json = False,
) -> None:
    """Send batches to a service of its own, then read the sums of a user with many summaries.

    What was written to a database of PostgreSQL stays there.
    """
    # Here and not above: the other commands do without the second of imports.
    from penstock.sync_speed import measure_sync  # noqa: PLC0415

    def told(loaded: int) -> None:
        if loaded % _TOLD_EVERY == 0:
            typer.echo(f"{loaded:,} summaries loaded", err=True)

    with tempfile.TemporaryDirectory(prefix="penstock-sync-", dir=folder) as data_dir:
        settings = new_ledger_settings(
            data_dir,
            database_url,
            session_secret=SecretStr(secrets.token_hex(32)),
            user_jwt_secret=SecretStr(secrets.token_hex(32)),
            service_jwt_secret=SecretStr(secrets.token_hex(32)),
        )
        measure = partial(
            measure_sync, settings, seconds=seconds, summaries=summaries, asked=asked, told=told
        )
        with telling_ledger_errors():
            measured = trio.run(measure)
    if as_json:
        print_json(measured)
        return
    print_table(
        ("Senders", "Records a batch", "Batches a second", "Records a second", "p50 ms", "p99 ms"),
        (
            (
                str(row.senders),
                str(row.records),
                f"{row.batches_per_second:,.0f}",
                f"{row.records_per_second:,.0f}",
                f"{row.p50_ms:.1f}",
                f"{row.p99_ms:.1f}",
            )
            for row in measured.batches
        ),
        title=store_of(settings),
    )
    print_table(
        ("With that many", "Rows", "p50 ms", "p99 ms", "Worst ms"),
        (
            (
                row.what,
                str(row.rows),
                f"{row.p50_ms:.1f}",
                f"{row.p99_ms:.1f}",
                f"{row.worst_ms:.1f}",
            )
            for row in measured.timings
        ),
        title=f"{measured.loaded:,} summaries, loaded at {measured.loaded_per_second:,.0f}/s",
    )
