"""`penstock bench platform`: lookups before a request, and entries a ledger takes."""

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


def platform(
    *,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An empty PostgreSQL database made for this; without it, SQLite in a new folder.",
        ),
    ] = None,
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
    from penstock.storage.ledger import LedgerOpenError  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="penstock-platform-") as data_dir:
        try:
            settings = Settings.model_validate(
                {"data_dir": Path(data_dir), "database_url": database_url or ""}
            )
        except ValidationError:
            raise StartupError(f"--database-url: it must be {allowed('database_url')}") from None
        try:
            entries = trio.run(partial(measure_entries, settings, seconds))
        except (LedgerOpenError, BaseExceptionGroup) as error:
            ours = (LedgerOpenError, StartupError)
            told = [leaf for leaf in leaves(error) if isinstance(leaf, ours)]
            if not told:
                raise
            raise StartupError(str(told[0])) from None
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
        title="SQLite" if settings.database_url is None else "PostgreSQL",
    )
