"""The geo database and the privacy exclusions, for platform admins.

Each call is in the audit before anything is done or told. What changes something is there twice:
when it begins, and what became of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import trio

from penstock.engine.platform.addresses import read_address
from penstock.engine.platform.exclusions import Exclusion, ExclusionBook
from penstock.engine.platform.geo_updates import GeoUpdates
from penstock.engine.platform.syncing import ExclusionSync, SyncState
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.core.requests import expect, misfit
from penstock.http.exchange import Answer, json_answer, unkept
from penstock.http.platform.callers import Callers
from penstock.http.problems import Problem, problem_answer

GEO_UPDATE = "/v1/admin/geo/update"
GEO_STATUS = "/v1/admin/geo/status"
EXCLUSIONS = "/v1/admin/privacy/exclusions"
SYNC = "/v1/admin/privacy/exclusions/sync"
CHECK = "/v1/admin/privacy/exclusions/check"

# A download that takes longer goes on without whoever asked for it.
PATIENCE_SECONDS = 15.0
_USUAL_PAGE = 50
_LARGEST_PAGE = 1000


class GeoStanding(Protocol):
    """A geo database's account of itself."""

    @property
    def database_type(self) -> str:
        """Give the kind that it says it is."""
        ...

    @property
    def build_date(self) -> str:
        """Give the day when it was made."""
        ...

    @property
    def entries(self) -> int:
        """Give how much is in it."""
        ...


class Geo(Protocol):
    """The geo database in force. `problem` says why there is none, or what is wrong with it."""

    problem: str | None

    @property
    def status(self) -> GeoStanding | None:
        """Give its account; None without a database."""
        ...


@dataclass(slots=True, frozen=True)
class PlatformAdmin:
    """The routes of platform admins."""

    callers: Callers
    geo: Geo
    updates: GeoUpdates
    book: ExclusionBook
    sync: ExclusionSync
    account_missing: str | None

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give every route."""
        return (
            ColdRoute("POST", GEO_UPDATE, self._geo_update),
            ColdRoute("GET", GEO_STATUS, self._geo_status),
            ColdRoute("GET", EXCLUSIONS, self._list),
            ColdRoute("POST", SYNC, self._sync),
            ColdRoute("GET", CHECK, self._check),
        )

    async def _geo_update(self, call: Call) -> Answer:
        action = "admin.geo.update"
        claims, context = await self.callers.admin(call, action)
        expect(call)
        self._need_account()
        before = self.geo.status
        await self.callers.audit(claims, action, context, status="begun")
        update = self.updates.ask_nowait()
        with trio.move_on_after(PATIENCE_SECONDS):
            await update.ended.wait()
        if not update.ended.is_set():
            return unkept(json_answer(202, {"status": "running"}, code="accepted"))
        error = update.error
        if error is not None:
            failed = {"status": "failed", "reason": error.reason}
            await self.callers.audit(claims, action, context, **failed)
            return unkept(
                problem_answer(
                    Problem.MAXMIND_FAILED,
                    f"the database in force stays: {error.detail}",
                    reason=error.reason,
                    retry_after=error.retry_after,
                )
            )
        status = self.geo.status
        if status is None:
            raise RefusedError(Problem.INTERNAL)
        word = "unchanged" if before is not None and before == status else "updated"
        await self.callers.audit(claims, action, context, status=word, version=status.build_date)
        document = {
            "status": word,
            "database_version": status.build_date,
            "entries": status.entries,
        }
        return unkept(json_answer(200, document))

    async def _geo_status(self, call: Call) -> Answer:
        claims, context = await self.callers.admin(call, "admin.geo.status")
        expect(call)
        await self.callers.audit(claims, "admin.geo.status", context, status="allowed")
        status = self.geo.status
        document: dict[str, object] = {
            "database_type": None if status is None else status.database_type,
            "build_date": None if status is None else status.build_date,
            "loaded": status is not None,
            "entries": 0 if status is None else status.entries,
        }
        if self.geo.problem is not None:
            document["problem"] = self.geo.problem
        return unkept(json_answer(200, document))

    async def _list(self, call: Call) -> Answer:
        claims, context = await self.callers.admin(call, "admin.privacy.list")
        expect(call, "page", "per_page")
        page = _whole(call, "page", 1, 10**9)
        per_page = _whole(call, "per_page", _USUAL_PAGE, _LARGEST_PAGE)
        await self.callers.audit(claims, "admin.privacy.list", context, status="allowed")
        edition = self.book.edition
        document: dict[str, object] = {
            "exclusions": [_exclusion(one) for one in edition.page(page, per_page)],
            "total": len(edition),
            "page": page,
            "per_page": per_page,
            "synced_at": _moment(edition.synced_unix_ms),
            "newest_sync": None if self.sync.state is None else _sync_document(self.sync.state),
        }
        return unkept(json_answer(200, document))

    async def _sync(self, call: Call) -> Answer:
        action = "admin.privacy.sync"
        claims, context = await self.callers.admin(call, action)
        expect(call)
        self._need_account()
        await self.callers.audit(claims, action, context, status="begun")
        return unkept(json_answer(202, _sync_document(self.sync.ask_nowait()), code="accepted"))

    async def _check(self, call: Call) -> Answer:
        claims, context = await self.callers.admin(call, "admin.privacy.check")
        expect(call, "ip")
        told = call.query.get("ip", "")
        address = read_address(told)
        if address is None:
            raise misfit("ip", "must be an IPv4 or IPv6 address", told)
        # Not the address: the audit must not become a list of those who asked to be left out.
        await self.callers.audit(claims, "admin.privacy.check", context, status="allowed")
        found = self.book.edition.check(address)
        exclusion = None
        if found is not None:
            exclusion = {
                "type": found.kind,
                "network": found.network,
                "legal_basis": found.legal_basis,
            }
        document = {
            "ip": str(address),
            "is_excluded": found is not None,
            "exclusion": exclusion,
        }
        return unkept(json_answer(200, document))

    def _need_account(self) -> None:
        if self.account_missing is not None:
            raise RefusedError(
                Problem.MAXMIND_UNSET,
                f"{self.account_missing} is not set",
                setting=self.account_missing,
            )


def _exclusion(one: Exclusion) -> dict[str, object]:
    return {
        "id": one.exclusion_id,
        "ip_network": one.network,
        "exclusion_type": one.kind,
        "is_active": True,
        "last_updated_by_maxmind": _moment(one.updated_unix_ms),
    }


def _sync_document(state: SyncState) -> dict[str, object]:
    document: dict[str, object] = {
        "sync_batch_id": state.batch_id,
        "status": state.status.value,
        "started_at": _moment(state.started_unix_ms),
    }
    if state.ended_unix_ms is not None:
        document["ended_at"] = _moment(state.ended_unix_ms)
    if state.reason is not None:
        document |= {"reason": state.reason, "detail": state.detail}
    return document


def _moment(at_unix_ms: int | None) -> str | None:
    if at_unix_ms is None:
        return None
    return f"{datetime.fromtimestamp(at_unix_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _whole(call: Call, name: str, usual: int, highest: int) -> int:
    text = call.query.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 1 <= int(text) <= highest):
        raise misfit(name, f"must be a whole number from 1 to {highest}", text)
    return int(text)
