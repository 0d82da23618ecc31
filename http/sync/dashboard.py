"""`GET /api/sync/rollups`: the sums, in pages, for the device and for the person themselves.

Read from the rollups alone: an answer costs the same however many records are behind it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar

from penstock.engine.ledger_port import Ledger
from penstock.engine.ports import Clock
from penstock.engine.sync.records import RollupRow, Rollups
from penstock.engine.sync.sums import Granularity, Grouping
from penstock.http.cold_routes import Call
from penstock.http.exchange import Answer, json_answer
from penstock.http.plain_errors import PlainError
from penstock.http.sync.device_tokens import PREFIX, DeviceGate, bearer_of
from penstock.http.user_tokens import UserTokenVerifier

USUAL_ROWS = 1000
MOST_ROWS = 5000
_PARAMETERS = ("granularity", "group_by", "from", "to", "limit", "after")
_CURSOR_MARK = "|"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MICRO_PER_CENT = 10_000

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(slots=True, frozen=True)
class Dashboard:
    """Reads a user's sums."""

    devices: DeviceGate
    users: UserTokenVerifier
    ledger: Ledger
    clock: Clock

    async def rollups(self, call: Call) -> Answer:
        """Give a page of sums."""
        query = _query(await self._user(call), call.query)
        rows = await self.ledger.read(query)
        page = rows[: query.limit - 1]
        last = page[-1] if len(rows) == query.limit else None
        document = {
            "granularity": query.granularity,
            "group_by": query.grouping,
            "rows": [_plain(row) for row in page],
            "next": None if last is None else f"{last.period}{_CURSOR_MARK}{last.key}",
        }
        return json_answer(200, document)

    async def _user(self, call: Call) -> str:
        if bearer_of(call).startswith(PREFIX):
            return (await self.devices.identify(call)).user_id
        await self.users.prepare(call.authorization)
        return self.users.verify(call.authorization, self.clock.unix()).principal_id


def _query(user_id: str, given: Mapping[str, str]) -> Rollups:
    for name in given:
        if name not in _PARAMETERS:
            raise _misfit("parameters", f"there are {', '.join(_PARAMETERS)}")
    granularity = _choice("granularity", Granularity, given, Granularity.DAILY)
    first, last = _bound("from", given, granularity), _bound("to", given, granularity)
    after = None
    if "after" in given:
        period, mark, key = given["after"].partition(_CURSOR_MARK)
        if not mark or "\0" in given["after"]:
            raise _misfit("after", "it must be what `next` of the page before said")
        after = (period, key)
    return Rollups(
        user_id,
        granularity,
        _choice("group_by", Grouping, given, Grouping.TOTAL),
        # One more than is shown tells whether there is another page.
        _rows(given) + 1,
        first,
        last,
        after,
    )


def _choice(name: str, kind: type[Choice], given: Mapping[str, str], usual: Choice) -> Choice:
    try:
        return kind(given.get(name, usual))
    except ValueError:
        raise _misfit(name, f"one of {', '.join(kind)}") from None


def _bound(name: str, given: Mapping[str, str], granularity: Granularity) -> str | None:
    """Read a day, and give the period that it lies in."""
    text = given.get(name)
    if text is None:
        return None
    if granularity is Granularity.ALL_TIME:
        raise _misfit(name, "all time has no beginning and no end")
    if not _is_day(text):
        raise _misfit(name, "it must be a day such as 2026-06-09")
    return text if granularity is Granularity.DAILY else text[:7]


def _is_day(text: str) -> bool:
    if _DAY.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _rows(given: Mapping[str, str]) -> int:
    text = given.get("limit", str(USUAL_ROWS))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST_ROWS):
        raise _misfit("limit", f"it must be a whole number from 1 to {MOST_ROWS}")
    return int(text)


def _plain(row: RollupRow) -> dict[str, Any]:
    # Cents are rounded to the nearest, and half a cent upwards.
    cents = (row.sums.cost_micro_usd + _MICRO_PER_CENT // 2) // _MICRO_PER_CENT
    return {
        "period": row.period,
        "key": row.key,
        **row.sums._asdict(),
        "cost_cents": cents,
    }


def _misfit(name: str, detail: str) -> PlainError:
    return PlainError(400, "invalid_parameter", f"{name}: {detail}")
