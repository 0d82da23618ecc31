"""The same function for many tasks, on some cores, with a bounded number of them under way."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

from penstock.bench.errors import BenchError

Answer = TypeVar("Answer")
# So many tasks a process are handed over ahead, so that none waits for the next one.
_AHEAD = 2


class Workers:
    """Some processes, or, where one is enough, this one."""

    def __init__(self, pool: ProcessPoolExecutor | None, jobs: int) -> None:
        self._pool = pool
        self._most = jobs * _AHEAD

    def each(
        self, function: Callable[..., Answer], tasks: Iterable[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[tuple[int, Answer]]:
        """Call the function with each task's arguments; give its number and answer as they come."""
        if self._pool is None:
            for number, arguments in tasks:
                yield number, function(*arguments)
            return
        under_way: dict[Future[Answer], int] = {}
        for number, arguments in tasks:
            under_way[self._pool.submit(function, *arguments)] = number
            if len(under_way) >= self._most:
                yield from _answered(under_way)
        while under_way:
            yield from _answered(under_way)


@contextmanager
def some_workers(jobs: int) -> Iterator[Workers]:
    """Give the workers around the block; afterwards there are none, whatever happened inside."""
    if jobs == 1:
        yield Workers(None, 1)
        return
    # Spawned, not forked: whoever shows progress has threads, which a fork would not survive.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_leave_with_parent)
    try:
        yield Workers(pool, jobs)
    except BrokenProcessPool:
        raise BenchError("a process of the tuning has ended; run it again to go on") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _answered(under_way: dict[Future[Answer], int]) -> Iterator[tuple[int, Answer]]:
    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
        yield under_way.pop(future), future.result()


def _leave_with_parent() -> None:
    """End when the command does, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=leave, daemon=True).start()
