"""What a list finds, as a file: CSV for spreadsheets, JSON lines for programs.

Spreadsheets take a cell that begins with =, +, - or @ for a formula, whoever wrote it; some take
their full-width forms for the same. Such a text gets an apostrophe before it, which they show as
text. Numbers stay numbers.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import orjson

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CONTROL = ("\t", "\r", "\n")


class Format(StrEnum):
    """What an export is written as; the value is the file's ending."""

    CSV = "csv"
    JSON_LINES = "jsonl"

    @property
    def content_type(self) -> bytes:
        """Give the format's media type."""
        return b"text/csv; charset=utf-8" if self is Format.CSV else b"application/jsonl"


def head(fields: Sequence[str], form: Format) -> bytes:
    """Write what stands before all rows."""
    return _csv([fields]) if form is Format.CSV else b""


def rows(fields: Sequence[str], found: Iterable[Sequence[Any]], form: Format) -> bytes:
    """Write some rows."""
    if form is Format.CSV:
        return _csv([_cell(value) for value in row] for row in found)
    return b"".join(orjson.dumps(dict(zip(fields, row, strict=True))) + b"\n" for row in found)


def cut_short(width: int, why: str, rest: str, form: Format) -> bytes:
    """Write the last line of a file that does not hold all, with where the rest is."""
    if form is Format.CSV:
        return _csv([[f"# {why}: {rest}", *[""] * (width - 1)]])
    return orjson.dumps({"cut_short": why, "rest": rest}) + b"\n"


def _csv(lines: Iterable[Sequence[Any]]) -> bytes:
    page = io.StringIO(newline="")
    csv.writer(page).writerows(lines)
    return page.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return "" if value is None else str(value).lower() if isinstance(value, bool) else value
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if text.startswith(_CONTROL) or text.lstrip().startswith(_FORMULA):
        return f"'{text}"
    return text
