"""What commands share that measure a ledger of their own."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from penstock.errors import StartupError
from penstock.setting_fields import Settings, allowed

NewDatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="An empty PostgreSQL database made for this; without it, SQLite in a new folder.",
    ),
]


def new_ledger_settings(data_dir: str, database_url: str | None, **given: object) -> Settings:
    """Give the settings of a ledger in that folder, or database; StartupError where it is none."""
    found = {"data_dir": Path(data_dir), "database_url": database_url or "", **given}
    try:
        return Settings.model_validate(found)
    except ValidationError:
        raise StartupError(f"--database-url: it must be {allowed('database_url')}") from None


def store_of(settings: Settings) -> str:
    """Name the kind of ledger, for the titles of tables."""
    return "SQLite" if settings.database_url is None else "PostgreSQL"
