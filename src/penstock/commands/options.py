"""The options that several commands share, and how a command comes by its settings."""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated

import typer

from penstock.dev import ensure_dev_secrets
from penstock.settings import Settings, load_settings

# Values stay text here: the settings check them, and say what is wrong in the same words whether
# they came by flag, environment or file.
DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="FOLDER", help="The service's data folder.")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="PostgreSQL for the ledger. With a password in it, better by environment or file: "
        "others on this machine see the flags of a process.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file (TOML). Default: PENSTOCK_CONFIG, else penstock.toml in this folder.",
    ),
]
Dev = Annotated[
    bool,
    typer.Option(
        "--dev",
        help="Use the data folder's generated secrets for those that are not set. "
        "For trying out on this machine only.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings_in_force(
    flags: Mapping[str, object],
    *,
    dev: bool,
    required: Collection[str] | None,
    dev_secrets: Callable[[Path], Mapping[str, str]] = ensure_dev_secrets,
) -> tuple[Settings, Mapping[str, str]]:
    """Load the settings from these flags, this process's environment and this folder's file."""
    return load_settings(
        flags,
        environ=os.environ,
        cwd=Path.cwd(),
        dev=dev,
        required=required,
        dev_secrets=dev_secrets,
    )
