"""Where the policy book is kept: each change, its audit and the book it makes, in one entry."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.engine.ledger_port import Entry, Ledger, LedgerUnavailableError, Together
from penstock.engine.policy_book import HISTORY_KEPT, PolicyBook
from penstock.engine.policy_desk import StoreUnavailableError
from penstock.engine.policy_editions import DamagedBookError, PolicyChange, StoredBookError
from penstock.engine.receipts import Lane, Refused
from penstock.engine.records import AuditEntry, NewestBook, NewestChanges, PolicyEntry
from penstock.engine.writer import Writer
from penstock.errors import StartupError

_RETRY_SECONDS = 5.0


class LedgerPolicyStore:
    """The port `PolicyStore` over the writer's durable lane."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def save(self, changes: Sequence[PolicyChange], book: Mapping[str, Any]) -> None:
        """Keep changes, their audit and the book that they make, all or none; durable on return."""
        entries: list[Entry] = []
        for change in changes:
            plain = change.plain()
            # Only the last one's book is ever seen: what comes between is written over at once.
            kept = dict(book) if change is changes[-1] else {}
            entries += (PolicyEntry(change.revision, plain, kept), _audit(change, plain))
        entry = Together(tuple(entries))
        answer = await self._writer.enter_nowait(entry, Lane.DURABLE).wait()
        if isinstance(answer, Refused):
            retry_after = answer.retry_after or _RETRY_SECONDS
            raise StoreUnavailableError(answer.reason, answer.detail, retry_after=retry_after)


async def load_policy_book(ledger: Ledger) -> PolicyBook:
    """Open the book that the ledger holds, or a new one. A start without its policies is none."""
    try:
        stored = await ledger.read(NewestBook())
        changes = await ledger.read(NewestChanges(HISTORY_KEPT))
        if stored is None:
            return PolicyBook()
        history = [PolicyChange.from_plain(row.change) for row in reversed(changes)]
        return PolicyBook.from_plain(stored.book, history)
    except LedgerUnavailableError as error:
        raise StartupError(f"the ledger's policies cannot be read: {error.detail}") from None
    except (DamagedBookError, TypeError, ValueError, AttributeError) as error:
        raise StartupError(
            f"the ledger holds a policy book that is damaged: {error}; no version can read it: put "
            "a copy of the ledger in its place that was made before"
        ) from None
    except StoredBookError as error:
        raise StartupError(
            f"the ledger holds a policy book that this version cannot read: {error}; start the "
            "version that wrote it, or one that is newer"
        ) from None


def _audit(change: PolicyChange, plain: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        int(change.made_unix * 1000),
        change.author,
        f"policy.{change.action.value}",
        change.scope if change.candidate is None else f"candidate:{change.candidate}",
        plain,
    )
