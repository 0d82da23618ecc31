"""The list of privacy exclusions as a file: a line of what it is, then a line an exclusion.

The first line says how many there are: a file that was cut is refused, and never taken for a
shorter list. People are protected by the whole list or by the one before it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from penstock.engine.platform.exclusions import Exclusion, ExclusionEdition
from penstock.storage.platform.replacing import draft_of

VERSION = 1


class ExclusionsFileError(Exception):
    """The file is there and cannot be read as a list."""


class ExclusionsFile:
    """The list that outlives the process. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> ExclusionEdition:
        """Give the list, an empty one where there is no file; ExclusionsFileError if damaged."""
        try:
            with self._path.open("rb") as file:
                return _read(file)
        except FileNotFoundError:
            return ExclusionEdition(())
        except OSError as error:
            raise ExclusionsFileError(f"{self._path}: {error.strerror}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise ExclusionsFileError(f"{self._path}: {error}") from None

    def keep(self, edition: ExclusionEdition) -> None:
        """Have a list on disk on return, in the old one's place."""
        head = {
            "v": VERSION,
            "exclusions": len(edition),
            "batch_id": edition.batch_id,
            "synced_unix_ms": edition.synced_unix_ms,
        }
        with draft_of(self._path) as file:
            file.write(orjson.dumps(head) + b"\n")
            for exclusion in edition:
                file.write(orjson.dumps(list(exclusion)) + b"\n")


def _read(file: BinaryIO) -> ExclusionEdition:
    head: dict[str, Any] = orjson.loads(file.readline())
    if head["v"] != VERSION:
        raise ValueError(f"its version is {head['v']}, not {VERSION}")
    edition = ExclusionEdition(_lines(file), head["batch_id"], head["synced_unix_ms"])
    if len(edition) != head["exclusions"]:
        raise ValueError(f"it has {len(edition)} exclusions, and says {head['exclusions']}")
    return edition


def _lines(file: BinaryIO) -> Iterator[Exclusion]:
    for line in file:
        yield Exclusion(*orjson.loads(line))
