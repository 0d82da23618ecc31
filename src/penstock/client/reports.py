"""What an agent says, made into what the service takes. Pure; never fails for odd values."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.client.errors import UnsuitableError
from penstock.engine.runs.run import status_of

# Under the service's defaults; what is longer would be refused with all that is beside it.
LONGEST_TEXT = 100_000
LONGEST_NAME = 255
MOST_BYTES = 900_000
_CUT = "… (cut)"

_COUNTS = frozenset(
    {"items_discovered", "items_succeeded", "items_failed", "items_skipped", "duration_ms"}
    | {"api_retry_count"}
)
_JSON = frozenset({"metrics_json", "context_json"})
UPDATE_FIELDS = frozenset(
    {"status", "end_time", "duration_ms", "error_summary", "error_details", "output_summary"}
    | {"items_succeeded", "items_failed", "items_skipped", "metrics_json", "context_json"}
    | {"git_commit_source", "git_commit_author", "git_commit_timestamp"}
)
RUN_FIELDS = (
    UPDATE_FIELDS
    | _COUNTS
    | {"event_id", "run_id", "agent_name", "job_type", "start_time", "created_at", "product"}
    | {"product_family", "platform", "subdomain", "website", "website_section", "item_name"}
    | {"input_summary", "source_ref", "target_ref", "git_repo", "git_branch", "git_commit_hash"}
    | {"git_run_tag", "host", "environment", "trigger_type", "api_posted", "api_posted_at"}
    | {"insight_id", "parent_run_id"}
)
_NAMES = frozenset({"event_id", "agent_name", "job_type"})


def now() -> str:
    """Give this moment as it is reported."""
    return datetime.now(UTC).isoformat()


def suitable(
    fields: Mapping[str, object], known: frozenset[str]
) -> tuple[dict[str, Any], list[str]]:
    """Give the fields as they can be sent, and what is wrong with those that are left out."""
    sent: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in fields.items():
        if value is None:
            continue
        if name not in known:
            wrong.append(f"{name} is no field that can be reported here")
            continue
        try:
            sent[name] = _value(name, value)
        except UnsuitableError as error:
            wrong.append(f"{name}: {error}")
    return sent, wrong


def as_json(fields: Mapping[str, Any]) -> str:
    """Write what `suitable` gave, with texts cut as far as they must be to fit."""
    text = _written(fields)
    for longest in (10_000, 1_000):
        if len(text) <= MOST_BYTES:
            break
        text = _written({name: _shortened(value, longest) for name, value in fields.items()})
    if len(text) > MOST_BYTES:
        kept = {name: value for name, value in fields.items() if name not in _JSON}
        text = _written({name: _shortened(value, 1_000) for name, value in kept.items()})
    return text


def _written(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, allow_nan=False, separators=(",", ":"))


def _shortened(value: object, longest: int) -> object:
    return _text(value, longest) if isinstance(value, str) else value


def _value(name: str, value: object) -> object:
    if name == "status":
        status = status_of(str(value))
        if status is None:
            raise UnsuitableError(f"{value!r} is no status")
        return status.value
    if name in _COUNTS:
        return _count(value)
    if name in _JSON:
        return _plain(value, 0)
    if name == "api_posted":
        return bool(value)
    if isinstance(value, datetime):
        # Without a zone it is the local time, as everywhere in Python.
        return (value if value.tzinfo else value.astimezone()).isoformat()
    return _text(str(value), LONGEST_NAME if name in _NAMES else LONGEST_TEXT)


def _count(value: object) -> int:
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value < 2**63:
        return int(value)
    raise UnsuitableError(f"{value!r} is no number from 0 on")


def _plain(value: object, depth: int) -> object:
    """Give what JSON can hold: what is none of it as text, NaN and infinity as null."""
    if depth > 60:
        return "… (nested too deeply)"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {
            _text(str(key), LONGEST_TEXT): _plain(part, depth + 1) for key, part in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part, depth + 1) for part in value]
    return _text(str(value), LONGEST_TEXT)


def _text(text: str, longest: int) -> str:
    # No database takes a NUL, and nobody a half of a character.
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= longest else text[: longest - len(_CUT)] + _CUT
