"""The frame spool: one append-only file for each live session, in the format of `members`.

Theory of operation
-------------------
Three kinds of threads come here. The *writer's* one thread calls `append` and `probe`; recovery
threads call `recover`, each for another session; the event loop's thread calls `holds`, `health`,
`release` and `statistics` and must never wait for a disk.

- `_writing` is held by the writer's thread for a whole `append` or `probe`. Only its holder opens,
  writes or closes the files kept open. `release` only tries it: when the writer is busy, the file
  goes to `_released` and the writer closes it when it is done, so a descriptor can never be closed,
  and given to somebody else's file, under a write.
- Everything else that threads share is one dict or set operation or one attribute, atomic as such.

A chunk is on disk whole or not at all: what a failed write left is cut off at once, and where even
that fails, `_overhang` remembers the sound length until the next append or recovery has cut it.
Nothing is synced: the spool outlives the process, and after a loss of power `recover` finds what
reached the disk.

`append` is for a session without a file, or one this process has recovered or released; a file
for which `holds` is true since the start is recovered first.
"""

import contextlib
import errno
import glob
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Self

import structlog

from penstock.engine.blob_port import Content
from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.outcomes import Reason
from penstock.engine.ports import Recovered, RecoveryError, SpoolChunk, SpoolHealth, SpoolStatistics
from penstock.engine.wire import MAX_MEMBER_BYTES
from penstock.storage.members import MAX_HEADER_BYTES, MembersError, encode_chunk, parse_header
from penstock.storage.repair import DAMAGED, plain_length, repair, write_all
from penstock.storage.replay_source import replay_of

SUFFIX = ".bin.gz"

# A name in the folder may be no file of ours: a pipe must not block, a link must not be followed.
_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _PLAIN
# Without O_APPEND: Linux would append what `pwrite` is told to write elsewhere.
_REPAIR = os.O_RDWR | _PLAIN
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_IOV_MAX = os.sysconf("SC_IOV_MAX")
_PROBE = ".probe"
# A probe that fits promises that the largest batch does.
_PROBE_BYTES = MAX_MEMBER_BYTES
_WRITABLE = SpoolHealth(writable=True)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _File:
    """The file of a live session. `fd` is -1 while it is closed; `length` is what is sound."""

    fd: int = -1
    length: int = 0
    kept: bool = False


class SpoolFolder:
    """The port `Spool` over a folder. Construction blocks and lets OSError through."""

    def __init__(self, folder: Path, *, max_open_files: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._dir_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._left_behind = {path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")}
        self._max_open_files = max_open_files
        self._trim = False
        self._writing = Lock()
        self._files: dict[str, _File] = {}
        self._overhang: dict[str, int] = {}
        self._released: deque[_File] = deque()
        self._health = _WRITABLE
        self._open_files = self._appended_bytes = self._appends = self._failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file. The spool takes nothing afterwards."""
        with self._writing:
            self._close_released()
            self._close_kept()
            if self._dir_fd >= 0:
                os.close(self._dir_fd)
                self._dir_fd = -1

    def allow_open_files(self, count: int) -> None:
        """Set how many files may be kept open; what is over is closed by the next append."""
        self._max_open_files = count
        self._trim = self._open_files > count

    def append(self, chunks: Sequence[SpoolChunk]) -> list[Reason | None]:
        """Append each chunk to its session's file: None is done, a reason is why it was shed.

        A chunk that the format cannot hold (see `ports.MAX_CHUNK_BATCHES`) is the caller's
        mistake. It costs that chunk, and no other session's.
        """
        encoded = [(chunk.before.identity.session_id, _encoded(chunk)) for chunk in chunks]
        with self._writing:
            if self._trim:
                self._trim = False
                self._close_kept(down_to=self._max_open_files)
            results = [
                self._write(session_id, buffers) if buffers else Reason.SPOOL_UNWRITABLE
                for session_id, buffers in encoded
            ]
            if self._released:
                self._close_released()
        return results

    def holds(self, session_id: str) -> bool:
        """Say whether another process, or `release`, left a file of this session behind."""
        return session_id in self._left_behind

    def release(self, session_id: str) -> None:
        """Close the session's file; the next append opens it again."""
        file = self._files.pop(session_id, None)
        if file is None:
            return
        self._left_behind.add(session_id)
        self._released.append(file)
        if self._writing.acquire(blocking=False):
            try:
                self._close_released()
            finally:
                self._writing.release()

    def recover(self, session_id: str) -> Recovered | None:
        """Read a session's file, cut off a torn or damaged end; None when nothing is left of it.

        What a dying process cannot have left, and so may be worth a look, is first copied to the
        folder `damaged`. RecoveryError when the file cannot be read, or is not this software's.
        """
        try:
            recovered = self._recover(session_id)
        except OSError as error:
            what = error.strerror or str(error)
            raise RecoveryError(f"spool file of session {session_id}: {what}") from error
        self._left_behind.discard(session_id)
        return recovered

    def in_use(self, session_id: str) -> bool:
        """Say whether the session's file may grow: it has been recovered or written to here."""
        return session_id in self._files

    def touched_unix(self, session_id: str) -> float:
        """Say when a session's file was last written; 0 when there is none, or nobody can tell."""
        try:
            return os.stat(_name(session_id), dir_fd=self._dir_fd).st_mtime
        except OSError:
            return 0.0

    def left_behind(self) -> list[str]:
        """Give the sessions that this `holds`."""
        return list(self._left_behind)

    def content(self, session_id: str) -> Content:
        """Give a session's file as content for the blob store: it must be closed, and whole."""
        return replay_of(self.path(session_id))

    def path(self, session_id: str) -> Path:
        """Say where a session's file is, if there is one. It may grow, and go."""
        return self._folder / _name(session_id)

    def remove(self, session_id: str) -> None:
        """Remove a session's file, if there is one; OSError when the folder does not let it go."""
        with self._writing:
            self._close_released()
            file = self._files.pop(session_id, None)
            if file is not None:
                self._close_file(file)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_name(session_id), dir_fd=self._dir_fd)
            self._overhang.pop(session_id, None)
            self._left_behind.discard(session_id)

    def owner(self, session_id: str) -> SessionIdentity | None:
        """Say whose a session's file is, by its first header."""
        try:
            fd = os.open(_name(session_id), os.O_RDONLY | _PLAIN, dir_fd=self._dir_fd)
        except OSError:
            return None
        try:
            header, _ = parse_header(os.pread(fd, MAX_HEADER_BYTES, 0))
        except (OSError, MembersError):
            return None
        finally:
            os.close(fd)
        return header.before.identity

    def erase(self, session_id: str) -> int:
        """Remove a session's file and its damaged ends; OSError when the folder keeps them."""
        there = (self._folder / _name(session_id)).is_file()
        damaged = list((self._folder / DAMAGED).glob(f"{glob.escape(session_id)}-*.bin"))
        for path in damaged:
            path.unlink(missing_ok=True)
        self.remove(session_id)
        return len(damaged) + there

    def probe(self) -> SpoolHealth:
        """Write, sync and remove a small file, and tell how the spool does."""
        with self._writing:
            self._close_released()
            try:
                self._write_probe()
            except OSError as error:
                self._note_failure(error)
            else:
                self._health = _WRITABLE
        return self._health

    def health(self) -> SpoolHealth:
        """Tell how the newest append or probe went."""
        return self._health

    def statistics(self) -> SpoolStatistics:
        """Count files, bytes and failures since the start."""
        return SpoolStatistics(
            open_files=self._open_files,
            appended_bytes=self._appended_bytes,
            appends=self._appends,
            failures=self._failures,
            left_behind=len(self._left_behind),
        )

    # Appending: the writer's thread, holding `_writing`.

    def _write(self, session_id: str, buffers: list[bytes]) -> Reason | None:
        file = self._files.get(session_id)
        try:
            if file is None or file.fd < 0:
                file = self._open_for_append(session_id, file)
        except OSError as error:
            return self._note_failure(error)
        reason: Reason | None = None
        size = sum(map(len, buffers))
        if len(buffers) > _IOV_MAX:
            buffers = [b"".join(buffers)]
        try:
            written = os.writev(file.fd, buffers)
            if written < size:
                write_all(file.fd, b"".join(buffers)[written:])
        except OSError as error:
            reason = self._note_failure(error)
            self._undo(session_id, file)
        else:
            file.length += size
            self._appends += 1
            self._appended_bytes += size
            if not self._health.writable:
                self._health = _WRITABLE
        if not file.kept:
            _close(file)
        return reason

    def _open_for_append(self, session_id: str, file: _File | None) -> _File:
        fd = self._open(_name(session_id), _APPEND)
        try:
            length = plain_length(fd)
            sound = self._overhang.get(session_id, length)
            if sound < length:
                os.ftruncate(fd, sound)
                length = sound
            self._overhang.pop(session_id, None)
        except OSError:
            os.close(fd)
            raise
        if file is None:
            file = self._files[session_id] = _File()
            self._left_behind.discard(session_id)
        file.fd, file.length = fd, length
        # First come keeps. Sessions write in turn, and with more sessions than descriptors the
        # least recently used file is the one needed next: an LRU would never hit.
        file.kept = self._open_files < self._max_open_files
        self._open_files += file.kept
        return file

    def _open(self, name: str, flags: int) -> int:
        """Open under `_writing`; when descriptors have run out, once more without the kept ones."""
        try:
            return os.open(name, flags, 0o600, dir_fd=self._dir_fd)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                raise
        self._close_released()
        self._close_kept()
        return os.open(name, flags, 0o600, dir_fd=self._dir_fd)

    def _undo(self, session_id: str, file: _File) -> None:
        try:
            os.ftruncate(file.fd, file.length)
        except OSError:
            self._overhang[session_id] = file.length
            # The next append opens the file anew, and that is where the overhang is cut.
            self._open_files -= file.kept
            file.kept = False

    def _note_failure(self, error: OSError) -> Reason:
        reason = Reason.DISK_FULL if error.errno in _NO_ROOM else Reason.SPOOL_UNWRITABLE
        self._failures += 1
        detail = error.strerror or str(error)
        self._health = SpoolHealth(writable=False, reason=reason, detail=detail)
        return reason

    def _write_probe(self) -> None:
        fd = self._open(_PROBE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAIN)
        try:
            write_all(fd, bytes(_PROBE_BYTES))
            os.fsync(fd)
        finally:
            os.close(fd)
            os.unlink(_PROBE, dir_fd=self._dir_fd)

    def _close_released(self) -> None:
        while self._released:
            self._close_file(self._released.popleft())

    def _close_kept(self, *, down_to: int = 0) -> None:
        # A copy: `release` takes entries out of the dict meanwhile.
        for file in list(self._files.values()):
            if self._open_files <= down_to:
                break
            self._close_file(file)

    def _close_file(self, file: _File) -> None:
        if file.fd >= 0:
            self._open_files -= file.kept
            file.kept = False
            _close(file)

    # Recovery: any thread, one for each session.

    def _recover(self, session_id: str) -> Recovered | None:
        name = _name(session_id)
        try:
            fd = self._open_for_repair(name)
        except FileNotFoundError:
            self._files.pop(session_id, None)
            return None
        try:
            if (sound := self._overhang.get(session_id)) is not None:
                if sound < os.fstat(fd).st_size:
                    os.ftruncate(fd, sound)
                self._overhang.pop(session_id, None)
            recovered = repair(session_id, fd, self._dir_fd)
            if recovered is None:
                os.unlink(name, dir_fd=self._dir_fd)
        finally:
            os.close(fd)
        if recovered is not None:
            self._files.setdefault(session_id, _File())
        return recovered

    def _open_for_repair(self, name: str) -> int:
        try:
            return os.open(name, _REPAIR, dir_fd=self._dir_fd)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                raise
        with self._writing:
            return self._open(name, _REPAIR)


def _name(session_id: str) -> str:
    # Ids are UUIDs of verified tokens. A path here would still be a hole, so it is looked at here.
    if not session_id or "/" in session_id or "\0" in session_id or session_id.startswith("."):
        raise ValueError("a session id that is no file name")
    return session_id + SUFFIX


def _encoded(chunk: SpoolChunk) -> list[bytes]:
    """Give the chunk's buffers; none when the format cannot hold it."""
    try:
        return encode_chunk(chunk)
    except ValueError as error:
        _log.error(
            "spool_chunk_impossible",
            session_id=chunk.before.identity.session_id,
            error=str(error),
        )
        return []


def _close(file: _File) -> None:
    fd, file.fd = file.fd, -1
    # What is written is written; a network disk's late error would come here for some files and
    # never for those kept open, so nothing may depend on it.
    with contextlib.suppress(OSError):
        os.close(fd)
