"""What an erasure asks of the rows that people's programs wrote, and what it does to them.

Such rows have no id of the person, only a name of the period that they were written in. Rows of
other people may have the id in a text that was written freely: an address that was visited, say.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from penstock.engine.ledger_port import Entry, Query


class Told(StrEnum):
    """The kinds of rows that have freely written texts."""

    ANALYTICS = "analytics"
    REPORTS = "reports"
    GROUPS = "groups"


@dataclass(slots=True, frozen=True)
class NamesHeld(Query[tuple[str, ...]]):
    """Those of somebody's names that rows of analytics and errors are kept under."""

    names: frozenset[str]


@dataclass(slots=True, frozen=True)
class RowsNamed(Query[int]):
    """Counts these rows."""

    names: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class EraseNamed(Entry):
    """Removes some of these rows; the value is how many, 0 when none is left.

    A group of errors whose last report goes, goes with it.
    """

    erasure_id: str
    names: tuple[str, ...]
    limit: int


class TextsNaming(NamedTuple):
    """The keys of rows that have somebody's id in a text; `after`: look on there; None, the end."""

    keys: tuple[tuple[str, ...], ...]
    after: tuple[str, ...] | None


@dataclass(slots=True, frozen=True)
class TextsThatName(Query[TextsNaming]):
    """Looks through so many rows of a kind, behind a key, for those that have an id in a text."""

    told: Told
    principal_id: str
    limit: int
    after: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class RedactTexts(Entry):
    """Puts a stand-in where rows have a person's id. Its value is how many of them did."""

    erasure_id: str
    told: Told
    keys: tuple[tuple[str, ...], ...]
    principal_id: str
