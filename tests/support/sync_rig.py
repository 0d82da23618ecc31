"""Records and batches as collectors make them, and the sums worked out the slow and plain way."""

import copy
import itertools
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from jsonschema import Draft202012Validator

from penstock.engine.ledger_port import EntryOutcome, Ledger
from penstock.engine.sync.records import Rollups, SyncBatchEntry
from penstock.engine.sync.sums import Granularity, Grouping, Sums
from penstock.http.sync.reading import read_batch

EXAMPLES = Path(__file__).parent / "sync_examples"
DEVICE = "dev_8f1f0466fc41bb15"
NOW_MS = 1_781_000_000_000

_numbers = itertools.count(1)


def example(name: str) -> Any:
    """Read one of the contract's documents."""
    return orjson.loads((EXAMPLES / f"{name}.json").read_bytes())


ACKS = Draft202012Validator(example("ack_schema"))


def batch(*, device: str = DEVICE, batch_id: str | None = None, **arrays: Any) -> dict[str, Any]:
    """Make a batch, with an id of its own unless it is given one."""
    return {
        "schema_version": "sync_batch.v1",
        "batch_id": batch_id or f"batch_{NOW_MS}_{next(_numbers)}",
        "device_id": device,
        "created_at": "2026-06-09T20:00:05Z",
        **arrays,
    }


def summary(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Make a daily summary; `day`, `tokens`, `models` and `project` are put where they belong."""
    made = copy.deepcopy(example("day")["summaries"][1])
    made["summary_id"] = f"sum_{number:032x}"
    day, tokens = changes.pop("day", "2026-06-09"), changes.pop("tokens", 100)
    made["period_start"] = f"{day}T00:00:00Z"
    made["usage"] |= {"total_tokens": tokens, "input_tokens": tokens}
    models = changes.pop("models", {"gpt-5-codex": tokens})
    made["models"] = [
        {
            "model": {"name": name},
            "usage": {"total_tokens": count, "input_tokens": count},
            "cost": {"currency": "USD", "confidence": "low"},
        }
        for name, count in models.items()
    ]
    if project := changes.pop("project", None):
        made["project"] = {"project_id": project, "path_hash": "ab"}
    return {**made, **changes}


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Make an event."""
    made = copy.deepcopy(example("day")["events"][0])
    return {**made, "event_id": f"evt_{number:032x}", **changes}


def source(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Make a source."""
    made = copy.deepcopy(example("day")["sources"][0])
    return {**made, "source_id": f"src_{number:024x}", **changes}


def ack_of(answer: Any) -> Any:
    """Take an answer for an acknowledgement that collectors can read."""
    assert answer.status_code == 200, answer.text
    ACKS.validate(answer.json())
    return answer.json()


def error_of(answer: Any) -> tuple[int, str]:
    """Take an answer for an error that collectors can show."""
    assert len(answer.content) < 200
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()["error"]


def entry_of(document: dict[str, Any], user: str, attempt: str | None = None) -> SyncBatchEntry:
    """Make the ledger's entry of a batch, as the surface does."""
    read = read_batch(orjson.dumps(document), 10_000, 1_000_000)
    return SyncBatchEntry(
        user,
        read.device_id,
        read.batch_id,
        read.digest,
        attempt or str(uuid4()),
        NOW_MS,
        read.submitted,
        read.rejected,
    )


async def put(ledger: Ledger, document: dict[str, Any], user: str = "ada") -> EntryOutcome:
    """Have a batch stored."""
    (outcome,) = await ledger.commit([entry_of(document, user)])
    return outcome


Cells = dict[tuple[str, str, str, str], Sums]


async def all_sums(ledger: Ledger, user: str = "ada") -> Cells:
    """Read all sums of a user."""
    found: Cells = {}
    for granularity, grouping in itertools.product(Granularity, Grouping):
        for row in await ledger.read(Rollups(user, granularity, grouping, 10_000)):
            found[granularity.value, grouping.value, row.period, row.key] = row.sums
    return found


def recount(records: list[dict[str, Any]]) -> Cells:
    """Work out from records what the sums must be, one number at a time."""
    sums: defaultdict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
    for record in records:
        day = (record.get("period_start") or record["created_at"])[:10]
        for name, period in (("daily", day), ("monthly", day[:7]), ("all_time", "")):
            for (grouping, key), numbers in _told(record).items():
                cell = sums[name, grouping, period, key]
                for field, number in numbers.items():
                    cell[field] += number
    return {
        cell: Sums(**{name: told[name] for name in Sums._fields}) for cell, told in sums.items()
    }


def _told(record: dict[str, Any]) -> dict[tuple[str, str], dict[str, int]]:
    whole = _numbers_of(record)
    if "event_id" in record:
        return {("apart", "events"): whole}
    form = record["metadata"]["summary_format"]
    if form != "daily_rollup.v1":
        return {("apart", f"summaries:{form}"): whole}
    told = {
        ("total", ""): whole,
        ("provider", record["provider"]): whole,
        ("account", record["provider_account_id"] or "unlinked"): whole,
        ("project", (record["project"] or {"project_id": "no_project"})["project_id"]): whole,
        ("device", record["device_id"]): whole,
    }
    rest = dict(whole)
    for part in record["models"]:
        numbers = _numbers_of(part)
        told["model", part["model"]["name"]] = numbers
        for field, number in numbers.items():
            rest[field] -= number
    rest["records"] = 1
    if any(number for field, number in rest.items() if field != "records"):
        told["model", "unattributed"] = rest
    return told


def _numbers_of(record: dict[str, Any]) -> dict[str, int]:
    usage, cost = record["usage"], record["cost"]
    numbers = {name: usage.get(name) or 0 for name in Sums._fields}
    cents = cost.get("provider_reported_usd") or cost.get("estimated_api_equivalent_usd") or 0
    return numbers | {"records": 1, "cost_micro_usd": cents * 10_000}
