"""Blobs in a local folder: `<folder>/<org>/<session>.bin.gz`.

Not by obstore's local store: that one neither syncs what it writes nor sets rights, and a blob
whose spool file has been removed must survive a loss of power.

A blob is written under a random name in `.incoming`, synced, renamed, and its folder synced. What a
kill leaves in `.incoming` is removed at the next start. Its writer holds a lock on each such file,
so that a start does not remove what another process is writing into the same folder.
"""

import errno
import fcntl
import heapq
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.engine.blob_port import (
    BlobInfo,
    BlobMissingError,
    BlobPage,
    BlobReason,
    BlobUnavailableError,
    is_key,
)

PAGE_BLOBS = 1000

_INCOMING = ".incoming"
_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NO_RESERVING = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_REASONS = {
    errno.ENOSPC: BlobReason.DISK_FULL,
    errno.EDQUOT: BlobReason.DISK_FULL,
    errno.EFBIG: BlobReason.DISK_FULL,
    errno.EACCES: BlobReason.DENIED,
    errno.EPERM: BlobReason.DENIED,
    errno.EROFS: BlobReason.DENIED,
    errno.ESTALE: BlobReason.UNREACHABLE,
    errno.ENOTCONN: BlobReason.UNREACHABLE,
    errno.ETIMEDOUT: BlobReason.TIMED_OUT,
}


class FolderSite:
    """The port `Site` over a folder. Construction makes it, and clears what a kill has left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / _INCOMING
        with _translated():
            # One by one: the mode is not that of parents made on the way.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._incoming.mkdir(mode=0o700, exist_ok=True)
            for path in self._incoming.iterdir():
                _remove_abandoned(path)

    def write(self, key: str, parts: Iterator[bytes], size: int) -> None:
        """Write, sync, rename, sync. The disk's room is reserved first, where it can be."""
        target = self._folder / key
        with _translated(), self._written(parts, size) as path:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            path.replace(target)
            _sync_folder(target.parent)
            # Always: who made the organisation's folder may have died before its name was synced.
            _sync_folder(self._folder)

    def find(self, key: str) -> BlobInfo | None:
        """Look for the file. Anything but a plain file is none of ours."""
        with _translated():
            try:
                found = (self._folder / key).lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _info(key, found) if stat.S_ISREG(found.st_mode) else None

    def read(self, blob: BlobInfo, start: int, end: int) -> bytes:
        """Read, if it is still the file that was found."""
        with _translated():
            try:
                fd = os.open(self._folder / blob.key, os.O_RDONLY | _PLAIN)
            except (FileNotFoundError, NotADirectoryError):
                raise BlobMissingError(blob.key) from None
            try:
                if _info(blob.key, os.fstat(fd)).version != blob.version:
                    raise BlobUnavailableError(BlobReason.CHANGED, blob.key)
                return os.pread(fd, end - start, start)
            finally:
                os.close(fd)

    def delete(self, key: str) -> None:
        """Remove the file, and its name from the disk."""
        path = self._folder / key
        with _translated():
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            _sync_folder(path.parent)

    def page(self, prefix: str, after: str | None) -> BlobPage:
        """Give the next blobs, in memory no more than a page of names."""
        with _translated():
            keys = heapq.nsmallest(PAGE_BLOBS, self._keys(prefix, after or ""))
            found = [info for key in keys if (info := self.find(key)) is not None]
        return BlobPage(tuple(found), keys[-1] if len(keys) == PAGE_BLOBS else None)

    def sign(self, key: str, expires_seconds: int) -> str | None:  # noqa: ARG002
        """Give None: a folder serves no URLs."""
        return None

    def url(self, key: str) -> str:
        """Give a `file:///` URL."""
        return (self._folder / key).absolute().as_uri()

    def probe(self) -> None:
        """Write, sync and remove a file as large as a small replay."""
        with _translated(), self._written(iter([bytes(1 << 16)]), 1 << 16):
            pass

    @contextmanager
    def _written(self, parts: Iterator[bytes], size: int) -> Iterator[Path]:
        """Write a synced file in `.incoming`; what has not been renamed is removed."""
        path = self._incoming / secrets.token_hex(16)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600)
        try:
            # Whoever starts meanwhile sees the lock, or takes the file away: then renaming fails.
            fcntl.flock(fd, fcntl.LOCK_EX)
            # A full disk is known at once, and not after half of the writing.
            _reserve(fd, size)
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(fd, view) :]
            os.fsync(fd)
            yield path
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)

    def _keys(self, prefix: str, after: str) -> Iterator[str]:
        """Name what may be blobs behind a key, in the order of organisations, but not inside one.

        Organisations that lie behind a full page are not looked into.
        """
        orgs = [prefix[:-1]] if prefix else sorted(entry.name for entry in os.scandir(self._folder))
        count = 0
        for org in orgs:
            if count >= PAGE_BLOBS:
                return
            if f"{org}/~" < after:
                continue
            try:
                entries = os.scandir(self._folder / org)
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    key = f"{org}/{entry.name}"
                    if key > after and is_key(key):
                        count += 1
                        yield key


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in _NO_RESERVING:
            raise


def _remove_abandoned(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | _PLAIN)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _info(key: str, found: os.stat_result) -> BlobInfo:
    version = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
    return BlobInfo(key, found.st_size, found.st_mtime, version)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, BlobReason.IO_ERROR)
        raise BlobUnavailableError(reason, error.strerror or str(error)) from error
