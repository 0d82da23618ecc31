"""What may be wrong with a ledger that a command opens, told as an operator can put it right."""

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.commands.serve import leaves
from penstock.errors import StartupError


@contextmanager
def telling_ledger_errors() -> Iterator[None]:
    """Make a StartupError of what an operator can put right, however deep in a group it is."""
    # Here and not above: the other commands do without the second of imports.
    from penstock.storage.ledger import LedgerOpenError  # noqa: PLC0415

    try:
        yield
    except (LedgerOpenError, BaseExceptionGroup) as error:
        for leaf in leaves(error):
            if isinstance(leaf, StartupError):
                raise StartupError(*leaf.lines) from None
            if isinstance(leaf, LedgerOpenError):
                raise StartupError(str(leaf)) from None
        raise
