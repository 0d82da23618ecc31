"""Every kind of entry and query that the ledger knows, and its steps."""

from penstock.engine.ledger_port import Entry, Query, Together
from penstock.storage.ledger import audits, finals, policies, runs
from penstock.storage.ledger.sql import Put, Steps, T

_PUTS = {**finals.PUTS, **policies.PUTS, **audits.PUTS, **runs.PUTS}
_ANSWERS = {**finals.ANSWERS, **policies.ANSWERS, **audits.ANSWERS, **runs.ANSWERS}


def put_of(entry: Entry) -> Put:
    """Give the steps that write an entry."""
    return _TOGETHER if isinstance(entry, Together) else _PUTS[type(entry)]


def steps_of(query: Query[T]) -> Steps[T]:
    """Give the steps that answer a query."""
    return _ANSWERS[type(query)](query)


def _put_together(entry: Together) -> Steps[tuple[object, ...]]:
    values: list[object] = []
    for single in entry.entries:
        value = yield from put_of(single).steps(single)
        values.append(value)
    return tuple(values)


_TOGETHER = Put(_put_together, may_half_write=True)
