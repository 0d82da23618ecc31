"""Every kind of entry and query that the ledger knows, and its steps."""

from collections.abc import Iterator, Sequence

from penstock.engine.ledger_port import Entry, Query, Together
from penstock.storage.ledger import (
    audits,
    core_counts,
    core_sessions,
    deliveries,
    erasures,
    expiry,
    finals,
    grants,
    media,
    media_cells,
    platform,
    platform_erasures,
    policies,
    pruning,
    runs,
    session_rows,
    sync_batches,
    sync_devices,
    sync_rollups,
    usage,
    viewing,
)
from penstock.storage.ledger.sql import Answers, Put, Puts, Steps, T

_MODULES = (
    audits,
    core_counts,
    core_sessions,
    deliveries,
    erasures,
    expiry,
    finals,
    grants,
    media,
    media_cells,
    platform,
    platform_erasures,
    policies,
    pruning,
    runs,
    session_rows,
    sync_batches,
    sync_devices,
    sync_rollups,
    usage,
    viewing,
)
_PUTS: Puts = {kind: put for module in _MODULES for kind, put in module.PUTS.items()}
_ANSWERS: Answers = {kind: steps for module in _MODULES for kind, steps in module.ANSWERS.items()}


# Of one joined statement. Each number of rows is a statement of its own to prepare and to keep.
MOST_JOINED_ROWS = 32


def put_of(entry: Entry) -> Put:
    """Give the steps that write an entry."""
    return _TOGETHER if isinstance(entry, Together) else _PUTS[type(entry)]


def parts_of(group: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Divide a group, in its order, into what is written at once: single entries, or neighbours."""
    start = 0
    while start < len(group):
        end = _end_of_part(group, start)
        yield group[start:end]
        start = end


def _end_of_part(group: Sequence[Entry], start: int) -> int:
    kind = type(group[start])
    join = put_of(group[start]).join
    end = start + 1
    if join is None:
        return end
    rows = join.rows(group[start])
    while end < len(group) and type(group[end]) is kind:
        rows += join.rows(group[end])
        if rows > MOST_JOINED_ROWS:
            break
        end += 1
    return end


def steps_of(query: Query[T]) -> Steps[T]:
    """Give the steps that answer a query."""
    return _ANSWERS[type(query)](query)


def _put_together(entry: Together) -> Steps[tuple[object, ...] | None]:
    values: list[object] = []
    for single in entry.entries:
        value = yield from put_of(single).steps(single)
        values.append(value)
    return tuple(values) if any(value is not None for value in values) else None


_TOGETHER = Put(_put_together, may_half_write=True)
