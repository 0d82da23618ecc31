"""`/v1/media/bandwidth/stats` and `/v1/media/sessions/stats`: how playback goes, for operators.

Sessions of all organisations are counted together, so these are for platform admins only. Both are
answered from the cells that `engine.media.rollup` defines; no event and no session is looked at.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from penstock.engine.ledger_port import Ledger, LedgerUnavailableError
from penstock.engine.media.metrics import MediaStatus
from penstock.engine.media.records import DimensionCells, StatusCells
from penstock.engine.media.rollup import ALL_MEDIA, Dimension
from penstock.engine.media.statistics import (
    GROUPINGS,
    BandwidthStatistics,
    Period,
    SessionStatistics,
    bandwidth_statistics,
    session_statistics,
)
from penstock.engine.ports import Clock
from penstock.http.cold_routes import Call, ColdRoute, ColdSurface, RefusedError
from penstock.http.exchange import Answer, json_answer, unkept
from penstock.http.problems import BY_CODE, Problem
from penstock.http.roles import Role
from penstock.http.user_tokens import UserTokenRefusedError, UserTokenVerifier

BANDWIDTH = "/v1/media/bandwidth/stats"
SESSIONS = "/v1/media/sessions/stats"
ROLE = Role.PLATFORM_ADMIN
_LONGEST_MEDIA_ID = 200
_LONGEST_SHOWN = 80
_RETRY_SECONDS = 5.0

Word = TypeVar("Word", bound=StrEnum)


@dataclass(slots=True, frozen=True)
class MediaStatistics:
    """The surface."""

    tokens: UserTokenVerifier
    ledger: Ledger
    clock: Clock

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        return ColdSurface(
            (
                ColdRoute("GET", BANDWIDTH, self._bandwidth),
                ColdRoute("GET", SESSIONS, self._sessions),
            )
        )

    async def _bandwidth(self, call: Call) -> Answer:
        await self._let_in(call)
        _expect(call, "period", "group_by", "media_id")
        period = _word(call, "period", tuple(Period)) or Period.WEEK
        dimension = _word(call, "group_by", GROUPINGS) or Dimension.COUNTRY_CODE
        query = DimensionCells(self._since(period), dimension, _media_id(call))
        try:
            cells = await self.ledger.read(query)
        except LedgerUnavailableError as unavailable:
            raise _not_now(unavailable) from None
        document = {
            "period": period.value,
            "group_by": dimension.value,
            "stats": [_bandwidth_document(dimension, one) for one in bandwidth_statistics(cells)],
        }
        return unkept(json_answer(200, document))

    async def _sessions(self, call: Call) -> Answer:
        await self._let_in(call)
        _expect(call, "period", "status")
        period = _word(call, "period", tuple(Period)) or Period.WEEK
        status = _word(call, "status", tuple(MediaStatus))
        query = StatusCells(self._since(period), status)
        try:
            cells = await self.ledger.read(query)
        except LedgerUnavailableError as unavailable:
            raise _not_now(unavailable) from None
        return unkept(
            json_answer(200, _sessions_document(period, session_statistics(cells, status)))
        )

    async def _let_in(self, call: Call) -> None:
        await self.tokens.prepare(call.authorization)
        try:
            claims = self.tokens.verify(call.authorization, self.clock.unix())
        except UserTokenRefusedError as refused:
            raise RefusedError(refused.problem, refused.detail) from None
        if claims.role is not ROLE:
            detail = f"this needs the role {ROLE}; the token's is {claims.role}"
            raise RefusedError(Problem.ROLE_REQUIRED, detail, limit=ROLE, seen=claims.role)

    def _since(self, period: Period) -> int:
        return period.window_start_unix(self.clock.unix())


def _expect(call: Call, *names: str) -> None:
    """Refuse a parameter that is not known: it would have been meant to narrow the answer."""
    for name in call.query:
        if name not in names:
            shown = name[:_LONGEST_SHOWN]
            detail = f"there is no parameter {shown!r}; there are {', '.join(names)}"
            raise RefusedError(Problem.PARAMETER_MALFORMED, detail, field=shown)


def _word(call: Call, name: str, words: tuple[Word, ...]) -> Word | None:
    """Read one of some words; None where the parameter is not there."""
    told = call.query.get(name)
    if told is None:
        return None
    for word in words:
        if told == word.value:
            return word
    raise RefusedError(
        Problem.PARAMETER_MALFORMED,
        f"{name} must be one of {', '.join(words)}",
        field=name,
        seen=told[:_LONGEST_SHOWN],
    )


def _media_id(call: Call) -> str:
    told = call.query.get("media_id")
    if told is None:
        return ALL_MEDIA
    if not 1 <= len(told) <= _LONGEST_MEDIA_ID:
        raise RefusedError(
            Problem.PARAMETER_MALFORMED,
            f"media_id must have 1 to {_LONGEST_MEDIA_ID} characters",
            field="media_id",
            limit=_LONGEST_MEDIA_ID,
            seen=len(told),
        )
    return told


def _not_now(unavailable: LedgerUnavailableError) -> RefusedError:
    return RefusedError(
        BY_CODE[unavailable.reason.value], unavailable.detail, retry_after=_RETRY_SECONDS
    )


def _bandwidth_document(dimension: Dimension, one: BandwidthStatistics) -> dict[str, object]:
    return {
        dimension.value: one.value,
        "total_sessions": one.total_sessions,
        "avg_ttfb_ms": _rounded(one.avg_ttfb_ms, 1),
        "avg_load_time_ms": _rounded(one.avg_load_time_ms, 1),
        "avg_buffering_count": _rounded(one.avg_buffering_count, 3),
        "avg_buffering_duration_ms": _rounded(one.avg_buffering_duration_ms, 1),
        "avg_bitrate": _rounded(one.avg_bitrate, 0),
        "completion_rate": _rounded(one.completion_rate, 4),
        "error_rate": _rounded(one.error_rate, 4),
    }


def _sessions_document(period: Period, found: SessionStatistics) -> dict[str, object]:
    performance = {
        f"{share}_{name}": _rounded(getattr(quantiles, share), 1)
        for name, quantiles in (
            ("ttfb_ms", found.ttfb_ms),
            ("load_time_ms", found.load_time_ms),
            ("buffer_duration_ms", found.buffer_duration_ms),
        )
        for share in ("p50", "p95")
    }
    return {
        "period": period.value,
        "total_sessions": found.total_sessions,
        "completed": found.completed,
        "abandoned": found.abandoned,
        "active": found.active,
        "avg_watch_time_seconds": _rounded(found.avg_watch_time_seconds, 1),
        "avg_completion_percent": _rounded(found.avg_completion_percent, 1),
        "performance": performance,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    """Leave out the digits that are not known anyway; None stays."""
    if value is None:
        return None
    return round(value, digits) if digits else round(value)
