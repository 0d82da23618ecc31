"""What is taken out of a record before it leaves this machine.

Hashes stay, so that the other side can tell records apart; what could be read by a person and is
nobody else's business goes. A key that is taken out stays as null, as the contract has it.
"""

from typing import Any

from penstock.engine.sync.kinds import RecordKind

Record = dict[str, Any]

_LABELLED_BY_USER = "user_configured"


def stripped(kind: RecordKind, record: Record) -> Record:
    """Give a record as it may leave; the one given is not changed."""
    match kind:
        case RecordKind.SOURCE:
            return _without(record, "path_label")
        case RecordKind.ACCOUNT:
            kept = _without(record, "plan_name")
            if record.get("identity_source") != _LABELLED_BY_USER:
                kept = _without(kept, "account_label")
            return kept
        case RecordKind.SUBSCRIPTION:
            return _without(record, "notes")
        case RecordKind.EVENT | RecordKind.SUMMARY:
            return _usage(record)
        case RecordKind.ASSIGNMENT:
            return dict(record)


def _usage(record: Record) -> Record:
    kept = dict(record)
    kept["source"] = _without(record["source"], "source_record_id")
    if record.get("parse_evidence") is not None:
        kept["parse_evidence"] = _without(
            record["parse_evidence"], "source_line_number", "source_record_id"
        )
    project = record.get("project")
    if project is None:
        return kept
    if not (project.get("path_hash") or project.get("repo_remote_hash")):
        kept["project"] = None
    elif project.get("path_label"):
        # The owner sees where a project lies; so the record says that it tells of paths.
        kept["privacy"] = {**record["privacy"], "contains_file_paths": True}
    return kept


def _without(record: Record, *names: str) -> Record:
    return {key: None if key in names else value for key, value in record.items()}
