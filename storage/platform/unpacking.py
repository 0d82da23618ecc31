"""Takes the one database out of the archive that MaxMind packs it into.

Nothing of the archive but the bytes of that one file is used: no name, no link, no mode of it can
reach the file system.
"""

import os
import tarfile
import zlib
from pathlib import Path

MOST_DATABASE_BYTES = 4 * 1024**3
_PIECE = 1 << 20


class UnpackError(Exception):
    """The archive does not hold one database."""


def unpack_database(packed: Path, target: Path) -> None:
    """Write the database of a .tar.gz to `target`, synced; UnpackError if there is none. Blocks."""
    try:
        with tarfile.open(packed, "r|gz") as archive, target.open("wb") as file:
            for member in archive:
                if not (member.isfile() and member.name.endswith(".mmdb")):
                    continue
                if member.size > MOST_DATABASE_BYTES:
                    raise UnpackError(f"its database has over {MOST_DATABASE_BYTES} bytes")
                content = archive.extractfile(member)
                while content is not None and (piece := content.read(_PIECE)):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                return
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise UnpackError(f"it is no whole .tar.gz: {error}") from None
    raise UnpackError("no .mmdb is in it")
