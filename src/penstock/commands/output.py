"""How commands print: tables for people, JSON for programs, both on standard output."""

from collections.abc import Iterable, Sequence

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A pipe has no width of its own; narrower would fold most rows.
_PIPE_WIDTH = 140


def print_json(value: object) -> None:
    """Print one JSON document, indented, as the whole of the output."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str | None = None
) -> None:
    """Print a table. Cells are folded, never cut, and never read as markup."""
    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    if title is not None:
        console.print(Text(title, "bold"))
    console.print(table)
