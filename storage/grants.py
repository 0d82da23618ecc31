"""Who consents to what and what organisations may send, from a file in the place of Core.

It is one JSON file, which an operator or a job replaces while the service runs::

    {"consents": [{"principal_id": "…", "org_id": "…", "purposes": ["biometric", "analytics"]}],
     "quotas": [{"org_id": "…", "batches_per_second": 500}]}

No record is no consent, and no limit. A file that is broken at start stops the start; one that
breaks later changes nothing: what was read last stays in force, because consents that vanish by a
typing error would stop every session, and consents that appear by one would be worse.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog

from penstock.engine.ports import Clock, Purpose, Quota

# How often the file is looked at; a withdrawal takes effect within this time.
LOOK_EVERY = 5.0
# Reading happens on the event loop's thread: this is some 50,000 consents, read in tens of
# milliseconds. Who has more has a service for them.
MAX_FILE_BYTES = 8 << 20

_NO_QUOTA = Quota()
_log = structlog.get_logger(__name__)


class GrantsFileError(ValueError):
    """The grants file cannot be used. One line: where in the document, and what is wrong."""


class _UnreadableError(GrantsFileError):
    """The file could not even be read."""


@dataclass(slots=True, frozen=True)
class _Grants:
    consents: dict[tuple[str, str], frozenset[Purpose]]
    quotas: dict[str, Quota]


# What tells one version of the file from another: written, changed (rights, name), size, inode.
_Signature = tuple[int, int, int, int]


class FileGrants:
    """Grants from a file, read again when it changes. Construction raises GrantsFileError.

    They are always known, so that asking never waits.
    """

    def __init__(self, path: Path, clock: Clock, *, look_every: float = LOOK_EVERY) -> None:
        self._path = path
        self._clock = clock
        self._look_every = look_every
        self._problem: str | None = None
        self._seen: _Signature | None
        self._seen, self._grants = _read(path)
        self._next_look = clock.monotonic() + look_every

    @property
    def problem(self) -> str | None:
        """Tell why the file as it is now is not in force; None when it is."""
        return self._problem

    async def granted(self, principal_id: str, org_id: str, purpose: Purpose) -> bool:
        """Say what `granted_nowait` says."""
        return self.granted_nowait(principal_id, org_id, purpose)

    async def of_org(self, org_id: str) -> Quota:
        """Give what `of_org_nowait` gives."""
        return self.of_org_nowait(org_id)

    def granted_nowait(self, principal_id: str, org_id: str, purpose: Purpose) -> bool:
        """Say whether the file has this consent."""
        self._look()
        return purpose in self._grants.consents.get((principal_id, org_id), ())

    def of_org_nowait(self, org_id: str) -> Quota:
        """Give the file's quota of the organisation, or no limit."""
        self._look()
        return self._grants.quotas.get(org_id, _NO_QUOTA)

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + self._look_every
        try:
            seen: _Signature | None = _signature(self._path.stat())
        except OSError:
            seen = None
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._seen, self._grants = _read(self._path)
        except GrantsFileError as error:
            if isinstance(error, _UnreadableError):
                self._seen = None  # the file may be sound: try again at the next look
            if str(error) != self._problem:
                _log.warning("grants_file_not_in_force", problem=str(error))
            self._problem = str(error)
        else:
            self._problem = None
            _log.info(
                "grants_file_read",
                consents=len(self._grants.consents),
                quotas=len(self._grants.quotas),
            )


def _signature(status: os.stat_result) -> _Signature:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(path: Path) -> tuple[_Signature, _Grants]:
    try:
        with path.open("rb") as file:
            # Of the file that is read, not of what the name means a moment later.
            signature = _signature(os.fstat(file.fileno()))
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _UnreadableError(f"{path}: {error.strerror or error}") from None
    if len(text) > MAX_FILE_BYTES:
        raise GrantsFileError(f"{path}: more than {MAX_FILE_BYTES} bytes")
    try:
        return signature, _parse(text)
    except _FaultError as fault:
        raise GrantsFileError(f"{path}: {fault}") from None


class _FaultError(ValueError):
    """What is wrong at which place of the document."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)


def _parse(text: bytes) -> _Grants:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _FaultError("", f"not JSON ({error})") from None
    document = _object(document, "", {"consents", "quotas"})
    consents: dict[tuple[str, str], frozenset[Purpose]] = {}
    for at, value in enumerate(_array(document.get("consents", []), "consents")):
        where = f"consents[{at}]"
        record = _object(value, where, {"principal_id", "org_id", "purposes"})
        key = (_id(record, where, "principal_id"), _id(record, where, "org_id"))
        if key in consents:
            # Neither the union nor the newer one is safe to guess where one may be a withdrawal.
            raise _FaultError(where, "a second record of this principal and organisation")
        purposes = _array(record.get("purposes"), f"{where}.purposes")
        consents[key] = frozenset(
            _purpose(purpose, f"{where}.purposes[{n}]") for n, purpose in enumerate(purposes)
        )
    quotas: dict[str, Quota] = {}
    for at, value in enumerate(_array(document.get("quotas", []), "quotas")):
        where = f"quotas[{at}]"
        record = _object(value, where, {"org_id", "batches_per_second"})
        org_id = _id(record, where, "org_id")
        if org_id in quotas:
            raise _FaultError(where, "a second record of this organisation")
        quotas[org_id] = Quota(_rate(record, where, "batches_per_second"))
    return _Grants(consents, quotas)


def _object(value: object, where: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _FaultError(where, "must be an object")
    for key in value:
        if key not in keys:
            # Most likely a known key, mistyped: reading on would drop what it says.
            raise _FaultError(where, f"unknown key {key!r}; known are {', '.join(sorted(keys))}")
    return value


def _array(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _FaultError(where, "must be an array")
    return value


def _id(record: dict[str, Any], where: str, key: str) -> str:
    # Tokens carry canonical UUIDs, so another spelling here would silently match nobody.
    value = record.get(key)
    try:
        return str(UUID(value))
    except (AttributeError, TypeError, ValueError):
        raise _FaultError(f"{where}.{key}", "must be a UUID") from None


def _purpose(value: object, where: str) -> Purpose:
    try:
        return Purpose(value)  # type: ignore[arg-type]
    except ValueError:
        raise _FaultError(where, f"must be one of {', '.join(Purpose)}") from None


def _rate(record: dict[str, Any], where: str, key: str) -> float | None:
    if key not in record:
        raise _FaultError(f"{where}.{key}", "is missing")
    value = record[key]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _FaultError(f"{where}.{key}", "must be a number, or null for no limit")
    if not (math.isfinite(value) and value > 0):
        raise _FaultError(f"{where}.{key}", "must be more than 0")
    return float(value)
