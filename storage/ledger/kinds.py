"""Every kind of entry and query that the ledger knows, and its steps."""

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
    policies,
    pruning,
    runs,
    session_rows,
    sync_batches,
    sync_devices,
    sync_rollups,
    usage,
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
    policies,
    pruning,
    runs,
    session_rows,
    sync_batches,
    sync_devices,
    sync_rollups,
    usage,
)
_PUTS: Puts = {kind: put for module in _MODULES for kind, put in module.PUTS.items()}
_ANSWERS: Answers = {kind: steps for module in _MODULES for kind, steps in module.ANSWERS.items()}


def put_of(entry: Entry) -> Put:
    """Give the steps that write an entry."""
    return _TOGETHER if isinstance(entry, Together) else _PUTS[type(entry)]


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
