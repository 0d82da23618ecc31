"""Erasures of what people's programs wrote, as steps: rows by their names, texts by what they say.

The names that a person's rows are under are found without reading the rows: names begin with their
period, so each period that there is costs one look into an index.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from penstock.engine.erasure_records import stand_in
from penstock.engine.platform.actors import period_of
from penstock.engine.platform.erasure_records import (
    EraseNamed,
    NamesHeld,
    RedactTexts,
    RowsNamed,
    TextsNaming,
    TextsThatName,
    Told,
)
from penstock.storage.ledger.sql import Answers, Put, Puts, Statement, Steps

# Both tables by the name of who wrote the row, and their primary keys.
NAMED = {"analytics_events": "event_id", "error_reports": "report_id"}
_NAMES_AT_ONCE = 500


class Texts(NamedTuple):
    """A table's primary key, and its columns that are written freely."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


_ERROR = ("error_type", "error_code", "feature")
TEXTS = {
    Told.ANALYTICS: Texts(
        "analytics_events",
        ("event_id",),
        (
            *("name", "category", "resource_type", "resource_id", "page_url", "referrer_url"),
            *("properties", "circumstances"),
        ),
    ),
    Told.REPORTS: Texts(
        "error_reports",
        ("report_id",),
        (*_ERROR, "message", "stack", "detail", "circumstances"),
    ),
    Told.GROUPS: Texts("error_groups", ("org_id", "fingerprint"), _ERROR),
}


def spelling_of(principal_id: str) -> re.Pattern[str]:
    """Give what finds an id in a text, in whichever case it is written there."""
    return re.compile(re.escape(principal_id), re.IGNORECASE)


def names_held(query: NamesHeld) -> Steps[tuple[str, ...]]:
    """Find the names by their periods, then each by itself."""
    held: set[str] = set()
    for table in NAMED:
        periods = yield from _periods(table)
        likely = [name for name in query.names if period_of(name) in periods]
        for names in _some(likely):
            rows = yield Statement(
                f"SELECT DISTINCT actor FROM {table} WHERE actor IN ({_marks(names)})", names
            )
            held |= {name for (name,) in rows}
    return tuple(sorted(held))


def rows_named(query: RowsNamed) -> Steps[int]:
    """Count rows by their names."""
    total = 0
    for table in NAMED:
        for names in _some(query.names):
            ((count,),) = yield Statement(
                f"SELECT COUNT(*) FROM {table} WHERE actor IN ({_marks(names)})", names
            )
            total += count
    return total


def put_named(entry: EraseNamed) -> Steps[int]:
    """Remove some rows, from whichever table still has any, and groups that are left empty."""
    for table, key in NAMED.items():
        group = ", org_id, fingerprint" if table == "error_reports" else ""
        for names in _some(entry.names):
            gone = yield Statement(
                f"DELETE FROM {table} WHERE {key} IN"
                f" (SELECT {key} FROM {table} WHERE actor IN ({_marks(names)}) LIMIT ?)"
                f" RETURNING {key}{group}",
                (*names, entry.limit),
            )
            if not gone:
                continue
            for org_id, fingerprint in sorted({tuple(rest) for _, *rest in gone if rest}):
                yield Statement(
                    "DELETE FROM error_groups WHERE org_id = ? AND fingerprint = ? AND NOT EXISTS"
                    " (SELECT 1 FROM error_reports WHERE org_id = ? AND fingerprint = ?)",
                    (org_id, fingerprint, org_id, fingerprint),
                )
            yield Statement(
                "UPDATE erasures SET rows_removed = rows_removed + ? WHERE erasure_id = ?",
                (len(gone), entry.erasure_id),
            )
            return len(gone)
    return 0


def texts_that_name(query: TextsThatName) -> Steps[TextsNaming]:
    """Look through some rows, in the order of their keys."""
    table, key, columns = TEXTS[query.told]
    names, width = ", ".join(key), len(key)
    behind = f" WHERE ({names}) > ({_marks(query.after)})" if query.after else ""
    rows = yield Statement(
        f"SELECT {names}, {', '.join(columns)} FROM {table}{behind} ORDER BY {names} LIMIT ?",
        (*query.after, query.limit),
    )
    spelling = spelling_of(query.principal_id)
    found = tuple(
        tuple(row[:width])
        for row in rows
        if any(text is not None and spelling.search(text) for text in row[width:])
    )
    return TextsNaming(found, tuple(rows[-1][:width]) if len(rows) == query.limit else None)


def put_texts(entry: RedactTexts) -> Steps[int]:
    """Write the stand-in wherever the person's id is."""
    table, key, columns = TEXTS[entry.told]
    here = " AND ".join(f"{name} = ?" for name in key)
    spelling, instead = spelling_of(entry.principal_id), stand_in(entry.principal_id)
    redacted = 0
    for place in entry.keys:
        rows = yield Statement(f"SELECT {', '.join(columns)} FROM {table} WHERE {here}", place)
        for row in rows:
            texts = tuple(None if text is None else spelling.sub(instead, text) for text in row)
            if texts == tuple(row):
                continue
            sets = ", ".join(f"{column} = ?" for column in columns)
            yield Statement(f"UPDATE {table} SET {sets} WHERE {here}", (*texts, *place))
            redacted += 1
    if redacted:
        yield Statement(
            "UPDATE erasures SET texts_redacted = texts_redacted + ? WHERE erasure_id = ?",
            (redacted, entry.erasure_id),
        )
    return redacted


def _periods(table: str) -> Steps[set[str]]:
    periods: set[str] = set()
    after = ""
    while True:
        ((name,),) = yield Statement(f"SELECT MIN(actor) FROM {table} WHERE actor > ?", (after,))
        if name is None:
            return periods
        periods.add(period := period_of(name))
        # Behind all names of the period: '.' is what comes after '-'.
        after = f"{period}."


def _some(names: tuple[str, ...] | list[str]) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(names), _NAMES_AT_ONCE):
        yield tuple(names[at : at + _NAMES_AT_ONCE])


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))


PUTS: Puts = {
    EraseNamed: Put(put_named, may_half_write=True),
    RedactTexts: Put(put_texts, may_half_write=True),
}
ANSWERS: Answers = {
    NamesHeld: names_held,
    RowsNamed: rows_named,
    TextsThatName: texts_that_name,
}
