"""The worker processes of a load run, and what they say.

Theory of operation
-------------------
::

    parent: fork ──> worker: work(assignment) ── Tick, Tick, … ── WorkerAccount ──> gone
              └── one shared byte: "stop" ──>┘          (a pipe each)

The workers are forked, so that the batches that were encoded before are there once for all of them.
A Ctrl-C in the terminal and a SIGTERM to the group reach every process: the workers ignore both,
and the parent decides. It tells them by a byte of shared memory, which costs nothing to look at
between two requests. A worker whose parent is gone finds its pipe broken at the next tick.

A worker that ends without its account has failed, and with it the run: what it had sent and not
told would be missing from every sum.
"""

import fcntl
import gc
import mmap
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

from penstock.bench.errors import BenchError
from penstock.bench.load.plan import Assignment
from penstock.bench.load.worker import Tick, WorkerAccount

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

Work = Callable[[Assignment, Callable[[Tick], None], Callable[[], bool]], WorkerAccount]

_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
# The kernel's bound for everybody: some seconds' ticks, so that no worker waits for the parent.
_PIPE_BYTES = 1 << 20
_END_SECONDS = 5.0


@dataclass(slots=True, frozen=True)
class Failed:
    """A worker's last words when there is no account."""

    why: str


Message = Tick | WorkerAccount | Failed


class Workers:
    """Forked at the block's begin, one an assignment; none is left at its end."""

    def __init__(self, assignments: Sequence[Assignment], cores: Sequence[int], work: Work) -> None:
        self._assignments = assignments
        self._cores = cores
        self._work = work
        self._stop = mmap.mmap(-1, 1)
        self._pipes: dict[Connection, int] = {}
        self._processes: list[ForkProcess] = []

    def __enter__(self) -> Self:
        try:
            # Collected and set aside first, or the collector would write to every shared page.
            gc.collect()
            gc.freeze()
            with _signals_held():
                for number in range(len(self._assignments)):
                    self._fork(number)
        except BaseException:
            self._end()
            raise
        finally:
            gc.unfreeze()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def running(self) -> bool:
        """Say whether an account is still to come."""
        return bool(self._pipes)

    def stop(self) -> None:
        """Ask all workers to send nothing more, take the answers due and give their accounts."""
        self._stop[0] = 1

    def messages(self, timeout: float) -> Iterator[tuple[int, Tick | WorkerAccount]]:
        """Give what the workers have said, with their numbers; wait for it as long as told.

        Raises BenchError when a worker has failed or died.
        """
        for pipe in wait(list(self._pipes), timeout):
            assert isinstance(pipe, Connection)  # noqa: S101  nothing else was waited for
            number = self._pipes[pipe]
            message = self._receive(pipe, number)
            if isinstance(message, Failed):
                raise BenchError(f"load worker {number} failed: {message.why}")
            if isinstance(message, WorkerAccount):
                del self._pipes[pipe]
                pipe.close()
            yield number, message

    def _receive(self, pipe: Connection, number: int) -> Message:
        try:
            message: Message = pipe.recv()
        except (EOFError, OSError):
            process = self._processes[number]
            process.join(_END_SECONDS)
            raise BenchError(
                f"load worker {number} (process {process.pid}) died: {_how(process.exitcode)}; "
                "what it had sent is not known, so there is no result"
            ) from None
        return message

    def _fork(self, number: int) -> None:
        context = multiprocessing.get_context("fork")
        reading, writing = os.pipe()
        here, there = Connection(reading, writable=False), Connection(writing, readable=False)
        with suppress(OSError):  # a smaller pipe serves as well, until the machine is very busy
            fcntl.fcntl(there.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        cores = {self._cores[number % len(self._cores)]} if self._cores else set[int]()
        # Ends of other workers' pipes are open in this one, too: it would keep them from ending.
        inherited = [*self._pipes, here]
        process = context.Process(
            target=_run,
            args=(self._work, self._assignments[number], cores, self._stop, there, inherited),
            name=f"penstock-load-{number}",
            daemon=True,
        )
        process.start()
        there.close()
        self._pipes[here] = number
        self._processes.append(process)

    def _end(self) -> None:
        # With its account given, a worker is as good as gone; without one, nobody waits for it.
        patience = 0.0 if self._pipes else _END_SECONDS
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()
        for process in self._processes:
            process.join(patience)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._processes.clear()


def _run(
    work: Work,
    assignment: Assignment,
    cores: set[int],
    stop: mmap.mmap,
    pipe: Connection,
    inherited: Sequence[Connection],
) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for other in inherited:
        other.close()
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        last: Message = work(assignment, pipe.send, lambda: stop[0] != 0)
    except BrokenPipeError:  # the parent is gone, or has given up
        return
    except Exception as error:  # noqa: BLE001  it is told there, where it ends the run
        told = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        last = Failed(told)
    with suppress(BrokenPipeError):
        pipe.send(last)


@contextmanager
def _signals_held() -> Iterator[None]:
    # A child begins with them blocked, so that none arrives before it ignores them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
