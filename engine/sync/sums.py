"""What records add up to: by period, by what they are grouped by, exactly.

Theory of operation
-------------------
A record's *share* is what it adds to the rollups. It is a function of the record alone, so the sums
do not depend on the order or the grouping in which records come. The ledger keeps each record's
share beside it; when the record is replaced or removed, exactly that is taken away again, whatever
version of this software had worked it out.

Only summaries of DAILY_FORMAT are usage of a day, told once. Events and other summaries tell of the
same usage again, so they are summed *apart*, each kind by itself, and never added to the rest.

In every grouping but `APART` the sums of all keys add up to the total. Where the models of a
summary do not account for all of it, the rest is under UNATTRIBUTED (and is negative where they
claim more).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import add, sub
from typing import Any, NamedTuple, Self

import orjson

from penstock.engine.sync.instants import utc_day
from penstock.engine.sync.kinds import MOST_COUNT, RecordKind, key_fault

DAILY_FORMAT = "daily_rollup.v1"
UNLINKED = "unlinked"
NO_PROJECT = "no_project"
UNKNOWN_MODEL = "unknown"
UNATTRIBUTED = "unattributed"
EVENTS_APART = "events"

_MICRO_PER_CENT = 10_000


class Granularity(StrEnum):
    """How long a period is."""

    DAILY = "daily"
    MONTHLY = "monthly"
    ALL_TIME = "all_time"


class Grouping(StrEnum):
    """What is summed by. `TOTAL` has one key, the empty one."""

    TOTAL = "total"
    PROVIDER = "provider"
    MODEL = "model"
    ACCOUNT = "account"
    PROJECT = "project"
    DEVICE = "device"
    APART = "apart"


class Sums(NamedTuple):
    """The sums themselves; `records` is of how many records."""

    records: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cost_micro_usd: int = 0

    def plus(self, other: "Sums", sign: int = 1) -> "Sums":
        """Add, or with -1 take away."""
        return Sums(*map(add if sign > 0 else sub, self, other))


@dataclass(slots=True, frozen=True)
class Share:
    """What one record adds: `whole` under each of its keys, and its models' parts."""

    day: str
    whole: Sums
    keys: tuple[tuple[Grouping, str], ...]
    models: tuple[tuple[str, Sums], ...] = ()

    def text(self) -> str:
        """Write it down."""
        models = [(key, tuple(part)) for key, part in self.models]
        plain = (self.day, tuple(self.whole), self.keys, models)
        return orjson.dumps(plain).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `text` wrote."""
        day, whole, keys, models = orjson.loads(text)
        return cls(
            day,
            Sums(*whole),
            tuple((Grouping(grouping), key) for grouping, key in keys),
            tuple((key, Sums(*part)) for key, part in models),
        )


class Cell(NamedTuple):
    """The place of a sum: one row of the rollups."""

    granularity: str
    grouping: str
    period: str
    key: str


Deltas = dict[Cell, Sums]


def parts_of(share: Share) -> Iterator[tuple[Cell, Sums]]:
    """Give every sum that a record adds to, and what it adds there."""
    parts = [(grouping, key, share.whole) for grouping, key in share.keys]
    parts += [(Grouping.MODEL, key, part) for key, part in share.models]
    for granularity, period in (
        (Granularity.DAILY, share.day),
        (Granularity.MONTHLY, share.day[:7]),
        (Granularity.ALL_TIME, ""),
    ):
        for grouping, key, sums in parts:
            yield Cell(granularity, grouping, period, key), sums


def add_share(deltas: Deltas, share: Share, sign: int = 1) -> None:
    """Add what a record adds, or with -1 take it away, in every period and grouping."""
    for cell, sums in parts_of(share):
        deltas[cell] = deltas.get(cell, _NOTHING).plus(sums, sign)


def share_fault(share: Share) -> str | None:
    """Say why a share cannot be kept; None when it can."""
    named = [(grouping, key) for grouping, key in share.keys if grouping is not Grouping.TOTAL]
    named += [(Grouping.MODEL, key) for key, _ in share.models]
    for grouping, key in named:
        if fault := key_fault(key):
            return f"its {grouping} {fault}"
    for sums in (share.whole, *(part for _, part in share.models)):
        if any(abs(number) > MOST_COUNT for number in sums):
            return f"a sum of it is over {MOST_COUNT}"
    return None


def share_of(kind: RecordKind, record: Mapping[str, Any]) -> Share | None:
    """Work out a valid record's share; None for a kind that adds nothing."""
    if kind.is_metadata:
        return None
    whole = _sums(record)
    if kind is RecordKind.EVENT:
        day = utc_day(record["created_at"]).isoformat()
        return Share(day, whole, ((Grouping.APART, EVENTS_APART),))
    day = utc_day(record.get("period_start") or record["observed_at"]).isoformat()
    form = record["metadata"]["summary_format"]
    if form != DAILY_FORMAT:
        return Share(day, whole, ((Grouping.APART, f"summaries:{form}"),))
    keys = (
        (Grouping.TOTAL, ""),
        (Grouping.PROVIDER, record["provider"]),
        (Grouping.ACCOUNT, record.get("provider_account_id") or UNLINKED),
        (Grouping.PROJECT, (record.get("project") or {}).get("project_id") or NO_PROJECT),
        (Grouping.DEVICE, record["device_id"]),
    )
    return Share(day, whole, keys, _models(record, whole))


def _models(record: Mapping[str, Any], whole: Sums) -> tuple[tuple[str, Sums], ...]:
    models = record.get("models") or []
    if not models:
        return ((_model_key(record.get("model")), whole),)
    parts: dict[str, Sums] = {}
    rest = whole._replace(records=0)
    for entry in models:
        key = _model_key(entry["model"])
        part = _sums(entry)._replace(records=0)
        parts[key] = parts.get(key, _NOTHING).plus(part)
        rest = rest.plus(part, -1)
    if any(rest):
        parts[UNATTRIBUTED] = parts.get(UNATTRIBUTED, _NOTHING).plus(rest)
    return tuple((key, part._replace(records=1)) for key, part in parts.items())


def _model_key(model: Mapping[str, Any] | None) -> str:
    named = model or {}
    return named.get("normalized_name") or named.get("name") or UNKNOWN_MODEL


def _sums(record: Mapping[str, Any]) -> Sums:
    usage, cost = record["usage"], record["cost"]

    def count(name: str) -> int:
        return int(usage.get(name) or 0)

    sums = Sums(
        1,
        count("requests"),
        count("input_tokens"),
        count("output_tokens"),
        count("cache_creation_tokens"),
        count("cache_read_tokens"),
        count("reasoning_tokens"),
        count("total_tokens"),
        _micro_usd(cost),
    )
    if usage.get("total_tokens") is not None:
        return sums
    local = count("local_prompt_eval_tokens") + count("local_eval_tokens")
    return sums._replace(
        total_tokens=local
        + sums.input_tokens
        + sums.output_tokens
        + sums.cache_creation_tokens
        + sums.cache_read_tokens
        + sums.reasoning_tokens
    )


def _micro_usd(cost: Mapping[str, Any]) -> int:
    """Give what it cost: the provider's word before the estimate, and millionths before cents."""
    for name in ("provider_reported", "estimated_api_equivalent"):
        micro, cents = cost.get(f"{name}_micro_usd"), cost.get(f"{name}_usd")
        if micro is not None:
            return int(micro)
        if cents is not None:
            return int(cents) * _MICRO_PER_CENT
    return 0


_NOTHING = Sums()
