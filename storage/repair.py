"""Repairing a session's file: what a dying process left half-written is cut off.

Only the end can be torn, because files are only appended to. What cannot be explained by a dying
write is copied aside before it is cut.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from itertools import count

import structlog

from penstock.engine.inbox import Arrival
from penstock.engine.motion.motion import Motion
from penstock.engine.ports import Recovered, RecoveryError
from penstock.storage.members import (
    ChunkSpan,
    MembersError,
    MembersFault,
    Window,
    shortened_header,
    walk,
    whole_batches,
)

DAMAGED = "damaged"

_COPY_BYTES = 1 << 20
_log = structlog.get_logger(__name__)


def repair(session_id: str, fd: int, dir_fd: int) -> Recovered | None:
    """Cut what is not whole off a session's file and read its last chunk; None: nothing is left.

    RecoveryError when the file is not this software's, or another session's; OSError lets it be.
    """
    size = plain_length(fd)
    window = Window(lambda length, offset: os.pread(fd, length, offset), size)
    spans: list[ChunkSpan] = []
    damaged = False
    try:
        spans.extend(walk(window))
    except MembersError as error:
        if error.fault is MembersFault.UNSUPPORTED:
            raise RecoveryError(f"spool file of session {session_id}: {error}") from None
        damaged = error.fault is not MembersFault.TRUNCATED
    if not spans:
        if damaged:
            _save_tail(session_id, fd, 0, size, dir_fd)
        return None
    last = spans[-1]
    if (owner := last.header.before.identity.session_id) != session_id:
        raise RecoveryError(f"spool file of session {session_id} belongs to session {owner}")
    batches = whole_batches(window, last)
    keep = len(batches)
    sound = last.body_offset + sum(entry.member_length for entry in last.header.entries[:keep])
    if damaged or keep < last.whole:
        _save_tail(session_id, fd, sound, size, dir_fd)
    if sound < size:
        os.ftruncate(fd, sound)
    lost = last.header.entries[keep:]
    if lost:
        # In this order a death between the two leaves what the next recovery repairs alike.
        os.pwrite(fd, shortened_header(last, keep), last.offset)
    torn_frames = sum(entry.frame_count for entry in lost)
    motion, earlier = _newest_motion(window, spans)
    before = last.header.before._replace(motion=motion)
    return Recovered(before, batches, torn_frames, earlier)


def _newest_motion(
    window: Window, spans: Sequence[ChunkSpan]
) -> tuple[Motion, tuple[Arrival, ...]]:
    """Give the newest motion in the file, and the batches from there to the last chunk."""
    due = [n for n, span in enumerate(spans) if span.header.before.motion_due]
    since = spans[due[-1] if due else 0 :]
    earlier = [batch for span in since[:-1] for batch in whole_batches(window, span)]
    return since[0].header.before.motion, tuple(earlier)


def _save_tail(session_id: str, fd: int, offset: int, size: int, dir_fd: int) -> None:
    """Copy the damaged end before it is cut; an OSError here leaves everything as it is."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(DAMAGED, 0o700, dir_fd=dir_fd)
    name, copy = _new_damaged(f"{DAMAGED}/{session_id}-{offset}", dir_fd)
    try:
        for at in range(offset, size, _COPY_BYTES):
            write_all(copy, os.pread(fd, min(_COPY_BYTES, size - at), at))
        os.fsync(copy)
    except OSError:
        # Every further attempt would leave another half copy on a disk that is full already.
        os.unlink(name, dir_fd=dir_fd)
        raise
    finally:
        os.close(copy)
    _log.warning(
        "spool_file_damaged", session_id=session_id, offset=offset, saved_bytes=size - offset
    )


def _new_damaged(stem: str, dir_fd: int) -> tuple[str, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for name in (f"{stem}{'-' * (n > 0)}{n or ''}.bin" for n in count()):
        with contextlib.suppress(FileExistsError):
            return name, os.open(name, flags, 0o600, dir_fd=dir_fd)
    raise AssertionError("count() does not end")


def plain_length(fd: int) -> int:
    """Give the length of a plain file; OSError for anything else."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    return status.st_size


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, in as many writes as the system wants."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
