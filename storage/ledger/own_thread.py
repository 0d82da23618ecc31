"""A thread of one's own, for what must not wait until somebody else's thread is free.

Trio's worker threads are shared and limited: with every one of them in a slow write or read of the
spool, a final would wait for a disk that it has nothing to do with. This thread is there from the
beginning to the end, so it also cannot fail to start when it is needed most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar, cast

import trio

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    work: Callable[[], T]
    task: trio.lowlevel.Task
    result: T | None = None
    error: BaseException | None = None


class OwnThread:
    """Does one thing at a time, in the order in which it was asked."""

    def __init__(self, name: str) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._closed = False
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        # A daemon: a disk that hangs must not keep a process that was told to stop.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], T]) -> T:
        """Have the thread do it and give its result. Once it is in the queue it is not cancelled.

        Cancelled before that, it has not been done; never afterwards, so a result is never lost.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise RuntimeError("the thread has been told to end")
        job = _Job(work, trio.lowlevel.current_task())
        self._jobs.put(job)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        if job.error is not None:
            raise job.error
        return cast("T", job.result)

    def close(self) -> None:
        """Let the thread end when it has done what it was asked."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.result = job.work()
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                job.error = error
            self._token.run_sync_soon(trio.lowlevel.reschedule, job.task)
