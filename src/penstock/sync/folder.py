"""A collector's records, read from a folder.

Every `*.json` and `*.jsonl` below it is read, in the order of their names. A JSON document is one
record, a list of them, or a whole batch; a `.jsonl` has one record a line. What a record is, its
`schema_version` says. Of a record that comes twice the last one holds. What is no valid record, by
the service's own rules, is told by its place, and left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from penstock.engine.sync.ack import Rejection
from penstock.engine.sync.canonical import NotCanonicalError, canonical, digest
from penstock.engine.sync.kinds import BATCH_VERSION, RecordKind
from penstock.engine.sync.settle import RecordKey
from penstock.errors import StartupError
from penstock.http.sync.reading import read_record
from penstock.sync.privacy import stripped

_KINDS = {kind.schema_version: kind for kind in RecordKind}


class LocalRecord(NamedTuple):
    """A record as it may leave, and what tells whether it has changed."""

    kind: RecordKind
    record_id: str
    digest: str
    body: bytes

    @property
    def key(self) -> RecordKey:
        """Give what it is known by."""
        return self.kind, self.record_id


@dataclass(slots=True)
class LocalRecords:
    """Everything that was found, in the order in which it is sent, and what is wrong."""

    records: list[LocalRecord] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_folder(folder: Path) -> LocalRecords:
    """Read a folder; StartupError when there is none or a file cannot be read."""
    if not folder.is_dir():
        raise StartupError(f"{folder}: there is no such folder")
    found = LocalRecords()
    known: dict[RecordKey, LocalRecord] = {}
    for path in sorted(path for path in folder.rglob("*") if is_read(path) and path.is_file()):
        for place, plain in _documents(path, found.faults):
            record = _read(place, plain, found.faults)
            if record is not None:
                known[record.key] = record
    order = list(RecordKind)
    found.records = sorted(known.values(), key=lambda record: order.index(record.kind))
    return found


def is_read(path: Path) -> bool:
    """Say whether a file of this name would be read for records."""
    return path.suffix in {".json", ".jsonl"}


def _documents(path: Path, faults: list[str]) -> Iterator[tuple[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StartupError(f"{path}: it cannot be read: {error.strerror}") from None
    lines = content.splitlines() if path.suffix == ".jsonl" else [content]
    for number, line in enumerate(lines, 1):
        place = f"{path}:{number}" if path.suffix == ".jsonl" else str(path)
        if not line.strip():
            continue
        try:
            plain = orjson.loads(line)
        except orjson.JSONDecodeError:
            faults.append(f"{place}: it is no JSON")
            continue
        for entry in _records_of(plain):
            yield place, entry


def _records_of(plain: Any) -> list[Any]:  # noqa: ANN401 - JSON
    if isinstance(plain, list):
        return plain
    if not isinstance(plain, dict) or plain.get("schema_version") != BATCH_VERSION:
        return [plain]
    arrays = [plain.get(kind.plural) for kind in RecordKind]
    return [record for array in arrays if isinstance(array, list) for record in array]


def _read(place: str, plain: Any, faults: list[str]) -> LocalRecord | None:  # noqa: ANN401 - JSON
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    kind = _KINDS.get(version) if isinstance(version, str) else None
    if kind is None:
        faults.append(f"{place}: its schema_version is none of {', '.join(_KINDS)}")
        return None
    try:
        judged = read_record(kind, plain)
        if isinstance(judged, Rejection):
            faults.append(f"{place}: {kind.value}: {judged.reason}")
            return None
        body = canonical(stripped(kind, plain))
    except NotCanonicalError as error:
        faults.append(f"{place}: {kind.value}: {error}")
        return None
    return LocalRecord(kind, judged.record_id, digest(body), body)
