"""The desk: saved before it counts, one at a time, and never half."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from penstock.engine.ledger_port import LedgerReason
from penstock.engine.policy_book import PolicyBook, Signed
from penstock.engine.policy_desk import PolicyDesk, StoreUnavailableError
from penstock.engine.policy_editions import (
    GLOBAL,
    Action,
    BookFaultsError,
    PolicyChange,
    StaleRevisionError,
)


class Clock:
    """Hand-driven."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


class Store:
    """Keeps what it is given, when it is let."""

    def __init__(self) -> None:
        self.kept: list[tuple[PolicyChange, dict[str, Any]]] = []
        self.open = trio.Event()
        self.open.set()
        self.broken = False

    async def save(self, changes: Sequence[PolicyChange], book: dict[str, Any]) -> None:
        await self.open.wait()
        if self.broken:
            raise StoreUnavailableError(LedgerReason.DISK_FULL, "no room", retry_after=2.0)
        self.kept += [(change, book) for change in changes]


class Office:
    """A desk with all that is around it."""

    def __init__(self) -> None:
        self.clock, self.store, self.book = Clock(), Store(), PolicyBook()
        self.adopted: list[int] = []
        self.desk = PolicyDesk(
            self.book, self.store, self.clock, lambda: self.adopted.append(self.book.revision)
        )

    async def edit(
        self, revision: int | None = None, until: float | None = None, **put: Any
    ) -> PolicyChange:
        revision = self.book.revision if revision is None else revision
        return await self.desk.edit(GLOBAL, put, (), Signed("ada", "a test", revision), until)

    @property
    def keep_every(self) -> int:
        return self.book.in_force(None, None).policy.keep_every


async def test_a_change_is_saved_then_in_force() -> None:
    """The store has the change and the book that it makes; whoever decides is told at once."""
    office = Office()
    change = await office.edit(keep_every=3)
    assert office.store.kept == [(change, office.book.plain())]
    assert (office.adopted, office.keep_every, change.made_unix) == ([1], 3, 1_000.0)


async def test_every_kind_of_change_goes_through_the_store() -> None:
    """Edits, reverts, proposals, withdrawals and expiries alike."""
    office = Office()

    def signed() -> Signed:
        return Signed("ada", "a test", office.book.revision)

    await office.edit(keep_every=3)
    await office.desk.revert(GLOBAL, signed())
    await office.desk.propose("gentle", {"keep_every": 4}, signed())
    await office.desk.withdraw("gentle", signed())
    await office.edit(keep_every=5, until=1_010.0)
    assert await office.desk.expire() == []
    office.clock.now = 1_010.0
    (expired,) = await office.desk.expire()
    assert expired.action is Action.EXPIRED
    actions = [change.action for change, _ in office.store.kept]
    assert actions == ["edited", "reverted", "proposed", "withdrawn", "edited", "expired"]
    # Once more where the edition ended: in force first, on record then.
    assert office.adopted == [1, 2, 3, 4, 5, 5, 6]


async def test_what_cannot_be_saved_has_not_been_made() -> None:
    """The policy stays, nobody is told otherwise, and the number is not used again."""
    office = Office()
    office.store.broken = True
    with pytest.raises(StoreUnavailableError):
        await office.edit(keep_every=3)
    assert (office.book.revision, office.keep_every, office.adopted) == (0, 2, [])
    assert office.book.history() == []
    office.store.broken = False
    change = await office.edit(keep_every=4)
    assert (change.revision, office.keep_every) == (2, 4)


async def test_what_is_wrong_is_never_saved() -> None:
    """The book is asked first."""
    office = Office()
    with pytest.raises(BookFaultsError):
        await office.edit(keep_every=99)
    assert office.store.kept == []


async def test_of_two_changes_at_once_one_is_made() -> None:
    """Both were made on the same revision; the second one is told so."""
    office = Office()
    office.store.open = trio.Event()
    stale: list[StaleRevisionError] = []

    async def edit(keep_every: int) -> None:
        try:
            await office.edit(0, keep_every=keep_every)
        except StaleRevisionError as error:
            stale.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(edit, 3)
        await wait_all_tasks_blocked()
        nursery.start_soon(edit, 4)
        await wait_all_tasks_blocked()
        assert office.keep_every == 2
        office.store.open.set()
    assert [(error.seen, error.current) for error in stale] == [(0, 1)]
    assert (office.keep_every, len(office.store.kept)) == (3, 1)


async def test_who_leaves_does_not_leave_a_change_half_made() -> None:
    """Once saving has begun it is adopted as well, though nobody waits for it any more."""
    office = Office()
    office.store.open = trio.Event()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def edit() -> None:
            with scope:
                await office.edit(keep_every=3)

        nursery.start_soon(edit)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert office.keep_every == 2
        office.store.open.set()
    assert (office.keep_every, len(office.store.kept)) == (3, 1)


async def test_who_leaves_while_another_is_served_changes_nothing() -> None:
    """A change that has not begun to be saved is given up with its caller."""
    office = Office()
    office.store.open = trio.Event()
    scope = trio.CancelScope()

    async def edit() -> None:
        with scope:
            await office.edit(1, keep_every=4)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: office.edit(0, keep_every=3))
        await wait_all_tasks_blocked()
        nursery.start_soon(edit)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        office.store.open.set()
    assert (office.keep_every, len(office.store.kept)) == (3, 1)


async def test_an_expiry_that_cannot_be_saved_is_tried_again() -> None:
    """The edition ends at its time nevertheless, and whoever decides is told at once."""
    office = Office()
    await office.edit(keep_every=3, until=1_010.0)
    office.clock.now, office.store.broken = 1_011.0, True
    with pytest.raises(StoreUnavailableError):
        await office.desk.expire()
    assert (office.keep_every, office.book.revision, office.adopted) == (2, 1, [1, 1])
    with pytest.raises(StoreUnavailableError):
        await office.edit(keep_every=5)
    office.store.broken = False
    assert len(await office.desk.expire()) == 1
    assert office.keep_every == 2


async def test_an_edition_ends_while_another_change_is_being_saved() -> None:
    """A ledger that hangs keeps no edition in force."""
    office = Office()
    await office.edit(keep_every=3, until=1_010.0)
    office.store.open = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: office.edit(loss_percent=9))
        await wait_all_tasks_blocked()
        office.clock.now = 1_011.0
        nursery.start_soon(office.desk.expire)
        await wait_all_tasks_blocked()
        assert office.keep_every == 2
        office.store.open.set()
    assert (office.keep_every, office.book.revision) == (2, 3)


async def test_what_ended_before_a_restart_is_not_in_force_after_it() -> None:
    """Though its end was never saved."""
    office = Office()
    await office.edit(keep_every=3, until=1_010.0)
    book, office.clock.now = PolicyBook.from_plain(office.book.plain()), 1_020.0
    desk = PolicyDesk(book, office.store, office.clock, lambda: None)
    assert book.in_force(None, None).policy.keep_every == 2
    assert [change.revision for change in await desk.expire()] == [2]


async def test_expiries_at_once_are_saved_at_once() -> None:
    """One save, one adoption, and each in the history."""
    office = Office()
    for keep_every in (3, 4, 5):
        await office.edit(keep_every=keep_every, until=1_010.0)
    office.clock.now = 1_010.0
    assert len(await office.desk.expire()) == 3
    assert office.adopted == [1, 2, 3, 3, 6]
    assert [change.revision for change in office.book.history(limit=3)] == [6, 5, 4]
