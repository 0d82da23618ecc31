"""A session's spool file as the content of its replay blob: byte for byte as it is.

The file is a valid gzip file of the batches in their order, so nothing is compressed twice; its
empty members say what the figures need beside the frames (the camera's resolution, the exercise)
and let another process go on with the session.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from penstock.engine.blob_port import BlobSourceError, Content
from penstock.storage.members import Window, walk

_BLOCK_BYTES = 1 << 18


def replay_of(spool_file: Path) -> Content:
    """Give the content of a spool file, read in a stream each time it is asked for.

    Reading raises BlobSourceError where the file is torn: once the blob is stored the spool file
    may be removed, so a file that was not recovered first must not pass for a whole one. What else
    is wrong with the file (OSError, MembersError) the store tells as BlobSourceError too.
    """
    return lambda: _whole_file(spool_file)


def _whole_file(spool_file: Path) -> Iterator[bytes]:
    fd = os.open(spool_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        for span in walk(Window(lambda length, at: os.pread(fd, length, at), size)):
            if span.end > size:
                raise BlobSourceError(f"the spool file is torn: a chunk is to end at {span.end}")
        at = 0
        while at < size:
            block = os.pread(fd, min(_BLOCK_BYTES, size - at), at)
            if not block:
                raise BlobSourceError("the spool file has become shorter")
            yield block
            at += len(block)
    finally:
        os.close(fd)
