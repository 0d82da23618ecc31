import threading
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from penstock.storage.ledger.own_thread import OwnThread


@pytest.fixture
async def thread() -> AsyncIterator[OwnThread]:
    own = OwnThread("own")
    yield own
    own.close()


async def test_everything_is_done_in_the_one_thread_in_order(thread: OwnThread) -> None:
    """It is always the same thread, and what was asked first is done first."""
    done: list[tuple[int, str]] = []

    async def ask(number: int) -> None:
        await thread.run(lambda: done.append((number, threading.current_thread().name)))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
    assert done == [(number, "own") for number in range(10)]


async def test_results_and_failures_come_back_to_who_asked(thread: OwnThread) -> None:
    """A failure is raised where the work was asked for, and the thread goes on."""
    assert await thread.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 8) == 8


async def test_what_has_begun_is_not_cancelled(thread: OwnThread) -> None:
    """A result is never lost: cancelled before, nothing is done; afterwards, it comes back."""
    go = threading.Event()
    results: list[bool] = []

    async def ask() -> None:
        results.append(await thread.run(lambda: go.wait(30)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        nursery.start_soon(ask)
        go.set()
    assert results == [True]


async def test_it_does_not_wait_for_trio_s_threads(thread: OwnThread) -> None:
    """With every worker thread of the process stuck, it still works."""
    go = threading.Event()
    limiter = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        for _ in range(int(limiter.total_tokens) + 1):
            nursery.start_soon(trio.to_thread.run_sync, go.wait, 30)
        await trio.testing.wait_all_tasks_blocked()
        assert limiter.available_tokens == 0
        assert await thread.run(lambda: 7) == 7
        go.set()


async def test_a_closed_thread_says_so() -> None:
    """What is asked after the end fails at once; it would wait for ever."""
    own = OwnThread("own")
    own.close()
    own.close()
    with pytest.raises(RuntimeError):
        await own.run(lambda: 7)
