"""The desk at which the book of policies is changed: one change at a time, saved before it counts.

A change that cannot be saved has not been made. Only the end of an edition waits for nobody: its
author had set it, and it is saved as soon as that is possible. A change whose saving has begun is
not cancelled with whoever asked for it: it is saved and adopted, or neither.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import trio

from penstock.engine.ledger_port import LedgerReason
from penstock.engine.policy_book import Draft, PolicyBook, Signed
from penstock.engine.policy_editions import PolicyChange
from penstock.engine.ports import Clock


class StoreUnavailableError(Exception):
    """The change could not be saved now; asking again later may help."""

    def __init__(self, reason: LedgerReason, detail: str, *, retry_after: float) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


class PolicyStore(Protocol):
    """Where changes are kept."""

    async def save(self, changes: Sequence[PolicyChange], book: dict[str, Any]) -> None:
        """Keep changes, their audit and the book that they make, all or none; durable on return.

        It is not cancelled, so it has to come to an end by itself in bounded time. Raises
        StoreUnavailableError, after which it may have been kept nevertheless.
        """
        ...


class PolicyDesk:
    """Takes changes in. `on_adopted` is called after each, before anything else can run."""

    def __init__(
        self, book: PolicyBook, store: PolicyStore, clock: Clock, on_adopted: Callable[[], None]
    ) -> None:
        self.book = book
        self._store = store
        self._clock = clock
        self._on_adopted = on_adopted
        self._lock = trio.Lock()
        # What has ended while nobody served must not be in force for a moment.
        self._end()

    async def edit(
        self,
        scope: str,
        put: Mapping[str, Any],
        clear: Collection[str],
        signed: Signed,
        expires_unix: float | None = None,
    ) -> PolicyChange:
        """Edit a scope. This and the others raise StoreUnavailableError and what the book raises.

        What is wrong with the edit, see `PolicyBook.edit`.
        """
        book = self.book
        return await self._make(lambda now: book.edit(scope, put, clear, signed, now, expires_unix))

    async def revert(self, scope: str, signed: Signed) -> PolicyChange:
        """Undo the last edit of a scope."""
        return await self._make(lambda now: self.book.revert(scope, signed, now))

    async def propose(self, name: str, put: Mapping[str, Any], signed: Signed) -> PolicyChange:
        """Set a candidate beside the policy."""
        return await self._make(lambda now: self.book.propose(name, put, signed, now))

    async def withdraw(self, name: str, signed: Signed) -> PolicyChange:
        """Take a candidate away."""
        return await self._make(lambda now: self.book.withdraw(name, signed, now))

    async def expire(self) -> list[PolicyChange]:
        """End the editions whose time has passed: in force at once, on record when it can be saved.

        Where that raises StoreUnavailableError, ask again.
        """
        self._end()
        async with self._lock:
            draft = self.book.expire(self._clock.unix())
            return [] if draft is None else await self._adopt(draft)

    async def _make(self, draft: Callable[[float], Draft]) -> PolicyChange:
        async with self._lock:
            return (await self._adopt(draft(self._clock.unix())))[-1]

    async def _adopt(self, draft: Draft) -> list[PolicyChange]:
        with trio.CancelScope(shield=True):
            try:
                await self._store.save(draft.changes, draft.plain_book())
            except BaseException:
                self.book.forsake(draft)
                raise
        self.book.adopt(draft)
        self._on_adopted()
        return list(draft.changes)

    def _end(self) -> None:
        if self.book.end(self._clock.unix()):
            self._on_adopted()
