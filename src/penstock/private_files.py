"""Small files that only the service's own user may read, written whole or not at all.

Secrets and their fingerprints are kept in such files: a reader never finds half of one, whatever
the moment at which the writer was killed or a second process started.
"""

import os
import secrets
from pathlib import Path

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


def create_private(path: Path, content: bytes) -> bool:
    """Create the file, or say False when somebody else's is already there; it is never replaced."""
    draft = _draft(path, content)
    try:
        # Unlike a rename, a link fails when the name is taken, so exactly one of two racers wins.
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    _sync_folder(path.parent)
    return True


def replace_private(path: Path, content: bytes) -> None:
    """Write the file, in place of an older one if there is one."""
    draft = _draft(path, content)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink()
        raise
    _sync_folder(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink()
        raise
    return draft


def _sync_folder(folder: Path) -> None:
    # The name is durable only once the folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
