"""Files that are replaced whole: a reader finds the old one or the new one, and nothing between."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_FOLDER_MODE = 0o700


@contextmanager
def draft_of(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write; after the block it stands in the place of `path`, on disk.

    Where the block raises, `path` is as it was, and nothing is left of the draft.
    """
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put_in_place(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def put_in_place(draft: Path, path: Path) -> None:
    """Give a synced file its name; the name is on disk on return."""
    draft.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
