"""Numbered migrations of the ledger: which there are, and which are due.

Forward only. A migration that has been released is never edited: each database remembers what it
was made by, number and checksum, and is refused by a program that knows it differently. Nothing
here touches a database; the adapters apply what `due` gives, under a lock and in one transaction.
"""

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

_PACKAGE = "penstock.storage.ledger"
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class LedgerOpenError(Exception):
    """The ledger cannot be opened; `remedy` says what a person can do about it."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(f"{detail}; {remedy}")
        self.detail = detail
        self.remedy = remedy


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Give what an edit would change."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Applied(NamedTuple):
    """A step that a database has taken."""

    number: int
    name: str
    checksum: str


def load_migrations(dialect: str) -> tuple[Migration, ...]:
    """Read the migrations that come with this package, in order."""
    folder = resources.files(_PACKAGE) / "migrations" / dialect
    found = []
    for file in folder.iterdir():
        if named := _NAME.fullmatch(file.name):
            sql = file.read_text(encoding="utf-8")
            found.append(Migration(int(named[1]), named[2], sql))
    found.sort()
    if not found or [step.number for step in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"the ledger's {dialect} migrations are not whole: the build is broken")
    return tuple(found)


def due(known: Sequence[Migration], applied: Sequence[Applied]) -> Sequence[Migration]:
    """Give the steps that a database has still to take; LedgerOpenError when it is no past of ours.

    `applied` is in order.
    """
    if [step.number for step in applied] != list(range(1, len(applied) + 1)):
        raise LedgerOpenError(
            "the ledger's list of migrations has a hole", "restore the newest backup"
        )
    for step in applied:
        if step.number > len(known):
            raise LedgerOpenError(
                f"the ledger was written by a newer version (migration {step.number:04} "
                f"{step.name!r}; this one knows {len(known)})",
                "run that version, or restore the backup made before it was installed",
            )
        ours = known[step.number - 1]
        if step.checksum != ours.checksum:
            raise LedgerOpenError(
                f"the ledger's migration {step.number:04} {step.name!r} is not the one that this "
                f"version knows as {ours.name!r}",
                "run the version that wrote it; released migrations are never edited",
            )
    return known[len(applied) :]
