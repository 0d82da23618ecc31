"""Many rows in few statements.

A statement an entry's row would be a round trip each to a database over a socket. Lists of any
length would be as many different statements to prepare; so rows go in portions of a few sizes.
"""

from collections.abc import Iterator, Sequence

from penstock.storage.ledger.sql import Row, Statement, Steps

# The largest one times the widest row stays far under what a statement may have of values (32,766).
_PORTIONS = (128, 16, 1)


def insert_many(head: str, rows: Sequence[Row], tail: str = "") -> Steps[None]:
    """Insert rows: `head` ends before VALUES, `tail` says what happens on conflict."""
    for portion in _portions(rows):
        marks = f"({', '.join('?' for _ in portion[0])})"
        values = ", ".join([marks] * len(portion))
        flat = tuple(value for row in portion for value in row)
        yield Statement(f"{head} VALUES {values} {tail}", flat)


def for_ids(head: str, values: Row, ids: Sequence[str], tail: str = "") -> Steps[list[Row]]:
    """Run a statement for a list of ids and give all its rows; `head` ends before IN."""
    rows: list[Row] = []
    for portion in _portions(ids):
        marks = ", ".join("?" for _ in portion)
        rows += yield Statement(f"{head} IN ({marks}) {tail}", (*values, *portion))
    return rows


def _portions(items: Sequence[Row] | Sequence[str]) -> Iterator[Sequence[Row] | Sequence[str]]:
    start = 0
    for size in _PORTIONS:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size
