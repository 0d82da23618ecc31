"""The published schema, the models and the contract's schema take and refuse the same batches."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator as Validator

from penstock.commands.schema import SCHEMAS
from penstock.engine.sync.kinds import RecordKind
from penstock.http.plain_errors import PlainError
from penstock.http.sync.ack_model import Ack
from penstock.http.sync.reading import read_batch
from sync_rig import batch, example

_WILD = [None, True, 5, 5.0, -1, 2.5, "", "x", [], {}, "2026-06-09T00:00:00Z", "2026-13-09", 300]
_DELETED = object()


def validator(schema: Any) -> Validator:
    return Validator(schema, format_checker=Validator.FORMAT_CHECKER)


CONTRACT, PUBLISHED = validator(example("batch_schema")), validator(SCHEMAS["sync-batch"]())


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name every place in a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def broken(document: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Give the document with each of its places changed in each way, one at a time."""
    for path in places(document):
        for wild in (*_WILD, _DELETED):
            made = copy.deepcopy(document)
            inner = made
            for key in path[:-1]:
                inner = inner[key]
            if wild is _DELETED:
                del inner[path[-1]]
            else:
                inner[path[-1]] = wild
            yield path, wild, made


def taken(document: Any) -> bool:
    """Say whether the service would take all of a batch."""
    try:
        return not read_batch(orjson.dumps(document), 100, 1000).rejected
    except PlainError:
        return False


def smallest(kind: RecordKind) -> dict[str, Any]:
    """Give a batch with one record of a kind, with everything in it that one may have."""
    record = copy.deepcopy(example("day")[kind.plural][0])
    if kind is RecordKind.SUMMARY:
        record["metrics"] = {"active_seconds": 1.5, "latency_ms": {"samples": 1, "avg": 2}}
        record["project"] = None
        record["models"][0]["usage"] = {"total_tokens": 1}
    elif kind is RecordKind.EVENT:
        record["git"] = {"nearby_commit_hashes": ["a"], "nearby_commit_messages": []}
        record["usage"] = {"requests": 1, "cache_creation_5m_tokens": None}
    return batch() | {kind.plural: [record]}


@pytest.mark.parametrize("kind", [None, *RecordKind], ids=str)
def test_broken_in_any_place_all_three_say_the_same(kind: RecordKind | None) -> None:
    """Whatever is changed, left out or of another type: taken by all, or by none."""
    whole = batch(summaries=[], sources=[]) if kind is None else smallest(kind)
    assert taken(whole)
    verdicts = set()
    # Of a batch around a record only the record is changed here.
    for path, wild, made in broken(whole if kind is None else whole[kind.plural][0]):
        document = made if kind is None else {**whole, kind.plural: [made]}
        said = CONTRACT.is_valid(document)
        assert PUBLISHED.is_valid(document) is said, (path, wild)
        assert taken(document) is said, (path, wild)
        verdicts.add(said)
    assert verdicts == {True, False}


@pytest.mark.parametrize("name", ["day", "minimal", "one_bad_record"])
def test_the_contract_s_examples_are_judged_alike(name: str) -> None:
    """The documents that real clients send."""
    said = CONTRACT.is_valid(example(name))
    assert PUBLISHED.is_valid(example(name)) is taken(example(name)) is said
    assert said is (name != "one_bad_record")


def test_acks_are_judged_as_the_contract_judges_them() -> None:
    """Both schemas and the collector's model, for an ack broken in any place."""
    counts = {kind.plural: 1 for kind in RecordKind}
    rejected = [{"kind": "event", "id": None, "reason": "x"}]
    ack = {"schema_version": "sync_ack.v1", "batch_id": "b", "accepted": counts}
    ack |= {"duplicates": dict(counts), "rejected": rejected}
    contract, published = validator(example("ack_schema")), validator(SCHEMAS["sync-ack"]())
    assert contract.is_valid(ack)
    for path, wild, made in broken(ack):
        said = contract.is_valid(made)
        assert published.is_valid(made) is said, (path, wild)
        try:
            Ack.model_validate_json(orjson.dumps(made))
        except ValueError:
            assert not said, (path, wild)
        else:
            assert said, (path, wild)
