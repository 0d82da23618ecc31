"""What stands in a table's cell or beside a fact's name: a text, and how it is shown."""

from typing import NamedTuple
from urllib.parse import urlencode

import orjson

DETAIL = "/dashboard/detail"
_GOOD = frozenset({"success", "allowed", "updated", "unchanged", "done", "completed", "ok"})
_BAD = frozenset({"denied", "failed", "failure", "error", "dead"})


class Cell(NamedTuple):
    """A text, and where it leads.

    `kind` is text, prose (which needs room), code, id (which stays in one line), number, moment or
    instant (of `at`, in seconds), or badge in the colour `tone`. Without a text it is a dash.
    """

    text: str = ""
    href: str = ""
    kind: str = "text"
    at: float | None = None
    tone: str = "note"


NOTHING = Cell()


def text(value: object, href: str = "") -> Cell:
    """Show a value as text; a dash where there is none."""
    return NOTHING if value is None or value == "" else Cell(str(value), href)


def code(value: object, href: str = "") -> Cell:
    """Show an id or a name that programs gave."""
    return NOTHING if value is None or value == "" else Cell(str(value), href, "code")


def prose(value: str | None) -> Cell:
    """Show sentences."""
    return Cell(value or "", kind="prose")


def ident(value: str | None, href: str = "") -> Cell:
    """Show an id that should not be torn."""
    return Cell(value or "", href if value else "", "id")


def number(value: float | None, unit: str = "") -> Cell:
    """Show a number with its thousands apart."""
    if value is None:
        return Cell(kind="number")
    written = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
    return Cell(f"{written} {unit}".rstrip(), kind="number")


def moment(at_unix_ms: int | None, href: str = "") -> Cell:
    """Show a moment."""
    return NOTHING if at_unix_ms is None else Cell("", href, "moment", at_unix_ms / 1000)


def instant(at_unix_ms: int) -> Cell:
    """Show a moment to the millisecond."""
    return Cell("", "", "instant", at_unix_ms / 1000)


def badge(word: object, tone: str = "") -> Cell:
    """Show how something went; the colour follows from the word where none is given."""
    if word is None or word == "":
        return NOTHING
    told = str(word)
    usual = "ok" if told in _GOOD else "problem" if told in _BAD else "note"
    return Cell(told, kind="badge", tone=tone or usual)


def listed(path: str, **filters: str | None) -> str:
    """Give the address of a list with filters; empty where one of them has no value."""
    told = {name: value for name, value in filters.items() if value}
    return f"{path}?{urlencode(told)}" if len(told) == len(filters) else ""


def detail(kind: str, key: str) -> str:
    """Give the address of one row's own page."""
    return f"{DETAIL}/{kind}/{key}"


def pretty(value: object) -> str:
    """Write JSON for people."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
