"""What leaves this machine, field by field."""

import copy
from typing import Any

import pytest

from penstock.engine.sync.kinds import RecordKind
from penstock.sync.privacy import stripped
from sync_rig import event, example, source, summary

PRIVATE = "/home/ada/private"
_EVIDENCE = {"source_line_number": None, "source_record_id": None, "event_key_version": "v"}
ACCOUNT, SUBSCRIPTION = (example("day")[name][0] for name in ("accounts", "subscriptions"))
_LOCAL = ("source_line_number", "source_record_id")
_USAGE = (("source", "source_record_id"), *(("parse_evidence", name) for name in _LOCAL))
CASES = [
    (RecordKind.SOURCE, source(), ("path_label",)),
    (RecordKind.ACCOUNT, ACCOUNT, ("plan_name",)),
    (RecordKind.ACCOUNT, ACCOUNT, ("account_label",)),
    (RecordKind.SUBSCRIPTION, SUBSCRIPTION, ("notes",)),
    *((RecordKind.EVENT, event(parse_evidence=_EVIDENCE), path) for path in _USAGE),
    *((RecordKind.SUMMARY, summary(parse_evidence=_EVIDENCE), path) for path in _USAGE),
]


@pytest.mark.parametrize(
    ("kind", "public", "path"), CASES, ids=[f"{kind}.{'.'.join(path)}" for kind, _, path in CASES]
)
def test_a_private_field_is_null_and_nothing_else_changes(
    kind: RecordKind, public: dict[str, Any], path: tuple[str, ...]
) -> None:
    """The record itself stays as it is, so that it can be shown at home."""
    record = copy.deepcopy(public)
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    assert inner[path[-1]] is None
    inner[path[-1]] = PRIVATE
    before = copy.deepcopy(record)
    assert stripped(kind, record) == public
    assert record == before


def test_a_label_that_the_user_gave_goes_along() -> None:
    """It is shown beside the account; only labels that were read somewhere stay at home."""
    given = {**ACCOUNT, "account_label": "work", "identity_source": "user_configured"}
    assert stripped(RecordKind.ACCOUNT, given)["account_label"] == "work"


@pytest.mark.parametrize("record", [event(), summary()])
def test_a_project_without_any_hash_stays_at_home(record: dict[str, Any]) -> None:
    """Nobody could tell it from another; with a hash it goes, and says that it tells of paths."""
    kind = RecordKind.EVENT if "event_id" in record else RecordKind.SUMMARY
    for blank in (None, ""):
        bare = {"project_id": "p", "path_hash": blank, "path_label": PRIVATE}
        gone = stripped(kind, {**record, "project": bare})
        assert gone["project"] is None
        assert gone["privacy"] == record["privacy"]
    known = {"project_id": "p", "repo_remote_hash": "ab", "path_label": PRIVATE}
    told = {**record["privacy"], "contains_file_paths": False}
    gone = stripped(kind, {**record, "project": known, "privacy": told})
    assert gone["project"] == known
    assert gone["privacy"]["contains_file_paths"] is True


def test_what_has_no_private_field_is_the_same() -> None:
    """No key is added, and hashes stay."""
    day = example("day")
    for kind in RecordKind:
        for record in day[kind.plural]:
            told = copy.deepcopy(record)
            if (record.get("project") or {}).get("path_label"):
                told["privacy"]["contains_file_paths"] = True
            assert stripped(kind, record) == told
