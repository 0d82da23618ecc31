"""Reading a batch: the envelope whole or not at all, and each record by itself.

What is told of a bad record names the place and the rule, never what was found there.
"""

from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from penstock.engine.sync.ack import Rejection
from penstock.engine.sync.canonical import NotCanonicalError, canonical, digest, parse
from penstock.engine.sync.kinds import BATCH_VERSION, RecordKind, key_fault
from penstock.engine.sync.settle import Submitted
from penstock.engine.sync.sums import parts_of, share_fault, share_of
from penstock.http.plain_errors import PlainError
from penstock.http.sync.records import MODELS, Envelope

TOO_LARGE = "sync_batch_too_large"
INVALID = "invalid_batch"
_LONGEST_REASON = 200


class ReadBatch(NamedTuple):
    """A batch that can be stored, and the records of it that cannot."""

    batch_id: str
    device_id: str
    digest: str
    submitted: tuple[Submitted, ...]
    rejected: tuple[Rejection, ...]


def read_batch(body: bytes, most_records: int, most_sums: int) -> ReadBatch:
    """Read a body, or raise PlainError for what is wrong with the batch as a whole."""
    try:
        plain = parse(body)
        if isinstance(plain, dict):
            _check_version(plain)
        envelope = Envelope.model_validate(plain)
        mark = digest(canonical(plain))
    except NotCanonicalError as error:
        raise PlainError(400, INVALID, str(error)) from None
    except ValidationError as error:
        raise PlainError(400, INVALID, _first_fault(error)) from None
    for name, text in (("batch_id", envelope.batch_id), ("device_id", envelope.device_id)):
        if fault := key_fault(text):
            raise PlainError(400, INVALID, f"{name}: {fault}")
    arrays: dict[RecordKind, list[Any]] = {
        kind: getattr(envelope, kind.plural) for kind in RecordKind
    }
    count = sum(len(array) for array in arrays.values())
    if count > most_records:
        message = f"{count} records; at most {most_records} (sync_batch_records)"
        raise PlainError(413, TOO_LARGE, message)
    read = [read_record(kind, record) for kind, array in arrays.items() for record in array]
    submitted = tuple(one for one in read if isinstance(one, Submitted))
    _check_sums(submitted, most_sums)
    return ReadBatch(
        envelope.batch_id,
        envelope.device_id,
        mark,
        submitted,
        tuple(one for one in read if isinstance(one, Rejection)),
    )


def _check_version(plain: dict[str, Any]) -> None:
    # Before all else: of another version nothing else is known.
    version = plain.get("schema_version")
    if isinstance(version, str) and version != BATCH_VERSION:
        message = f"schema_version must be {BATCH_VERSION}"
        raise PlainError(400, "unsupported_schema_version", message)


def _check_sums(submitted: tuple[Submitted, ...], most: int) -> None:
    # What a batch costs the ledger, and keeps finals waiting for, is the sums that it changes.
    cells = {cell for one in submitted if one.share for cell, _ in parts_of(one.share)}
    if len(cells) > most:
        message = f"it changes {len(cells)} sums; at most {most} (sync_batch_sums)"
        raise PlainError(413, TOO_LARGE, message)


def read_record(kind: RecordKind, record: Any) -> Submitted | Rejection:  # noqa: ANN401 - JSON
    """Read one record; what is told of a bad one is fit to be shown to whoever sent it.

    NotCanonicalError where it is nested too deeply, which a batch that was read is not.
    """
    named = record.get(kind.id_field) if isinstance(record, dict) else None
    fault = key_fault(named) if isinstance(named, str) else "must be a text"
    record_id = None if fault else named
    model: type[BaseModel] = MODELS[kind]
    try:
        model.model_validate(record)
    except ValidationError as error:
        return Rejection(kind.value, record_id, _first_fault(error))
    if fault or not isinstance(record_id, str):
        return Rejection(kind.value, None, f"{kind.id_field}: {fault}")
    share = share_of(kind, record)
    if share is not None and (fault := share_fault(share)):
        return Rejection(kind.value, record_id, fault)
    text = canonical(record)
    share_text = None if share is None else share.text()
    return Submitted(kind, record_id, digest(text), text.decode(), share, share_text)


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return (f"{place}: {message}" if place else message)[:_LONGEST_REASON]
