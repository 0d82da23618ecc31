"""`penstock bench platform`: lookups before a request, and entries a ledger takes."""

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


def platform(
    *,
    database_url: NewDatabaseUrl = None,
    geo: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.mmdb", exists=True, dir_okay=False, help="A geo database to look up in."
        ),
    ] = None,
    networks: Annotated[
        int, typer.Option(min=2, max=10_000_000, help="How many networks are excluded.")
    ] = 1_000_000,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="How long, with each kind and number.")
    ] = 3.0,
    as_json: Json = False,
) -> None:
    """Look addresses up among many exclusions, and commit analytics, errors and audit entries."""
    # Here and not above: the other commands do without the second of imports.
    from penstock.platform_speed import measure_entries, measure_lookups  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="penstock-platform-") as data_dir:
        settings = new_ledger_settings(data_dir, database_url)
        with telling_ledger_errors():
            entries = trio.run(partial(measure_entries, settings, seconds))
        lookups = measure_lookups(geo or Path(data_dir) / "none.mmdb", networks)
    if as_json:
        print_json({"lookups": lookups, "entries": entries})
        return
    print_table(
        ("Lookup", "A second", "p99 µs"),
        ((row.what, f"{row.per_second:,.0f}", f"{row.p99_us:.1f}") for row in lookups),
    )
    print_table(
        ("Entries", "Submitters", "A second", "p99 ms"),
        (
            (row.kind, str(row.submitters), f"{row.per_second:,.0f}", f"{row.p99_ms:.1f}")
            for row in entries
        ),
        title=store_of(settings),
    )
