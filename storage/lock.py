"""One process a data folder: two would write into the same spool files.

`flock` and not a pid file: the kernel drops the lock however the process ends, so nothing is left
to clean up after a kill, and a pid that was given to another process can never be mistaken for it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "penstock.lock"


class DataDirLockedError(Exception):
    """Another process uses the data folder. `pid` is None when it has not said who it is yet."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(f"data folder {path} is in use by {holder}")
        self.path = path
        self.pid = pid


@contextmanager
def lock_data_dir(path: Path) -> Iterator[None]:
    """Hold the data folder for this process; it is made when missing. DataDirLockedError if taken.

    The file stays behind on purpose: removing it would let a second process lock a new file of
    that name while a third still waits on the old one.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirLockedError(path, _holder(fd)) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _holder(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
