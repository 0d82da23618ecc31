"""What the process asks of the operating system and of Python, before it serves and at its end."""

import gc
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

logger = logging.getLogger(__name__)

# The collector looks for cycles. A session's state has none, but ten thousand sessions are half a
# million objects, and Python's defaults would walk them all every few seconds, for hundreds of
# milliseconds each time. So: what start-up made is never walked again, young objects are walked
# seldom (a batch lives for seconds, longer than a default young generation), and the oldest
# generation only after tens of millions of objects more were made than freed.
_YOUNG_OBJECTS = 50_000
_YOUNG_PER_MIDDLE = 20
_MIDDLE_PER_OLD = 50

# The steps of a shutdown keep their own deadlines; this is for what follows them.
_LAST_SECONDS = 1.0


def raise_open_file_limit() -> None:
    """Use all descriptors that the operator allows: the soft limit is often a shell's default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_file_limit() -> int:
    """Give how many descriptors the process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def tune_garbage_collection() -> None:
    """Set the collector for a process of many long-lived sessions. Call it after the imports."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_PER_MIDDLE, _MIDDLE_PER_OLD)


@contextmanager
def collecting_as_a_service() -> Iterator[None]:
    """Have it set so around the block, in a process that measures a service of its own."""
    before = gc.get_threshold()
    tune_garbage_collection()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def allow_seconds_to_stop(seconds: float) -> None:
    """End the process when an orderly stop has not ended it by then.

    A thread that hangs in the kernel, as on a disk that does not answer, cannot be cancelled, and
    the process would wait for it for ever.
    """
    timer = Timer(seconds + _LAST_SECONDS, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    logger.critical("process.ended_without_cleanup", extra={"why": "the shutdown deadline passed"})
    os._exit(1)
