"""`/v1/admin/outbox`: finals that are not delivered yet, and another try for those given up."""

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, field_validator

from penstock.engine.delivery_records import (
    OutboxCounts,
    OutboxPage,
    OutboxRow,
    OutboxState,
    RetryEntry,
)
from penstock.engine.ledger_port import Together
from penstock.engine.records import AuditEntry
from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.core.documents import Document, private
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import (
    Doors,
    expect,
    id_in_query,
    limit_of,
    misfit,
    read_json_if_any,
)
from penstock.http.exchange import Answer
from penstock.http.instants import iso_instant
from penstock.http.roles import Role
from penstock.http.uuids import is_uuid

PREFIX = "/v1/admin/outbox"


class RetryBody(BaseModel):
    """Which session's delivery is to be tried again; without one, all that are dead."""

    model_config = ConfigDict(extra="forbid")

    session_id: str | None = None

    @field_validator("session_id")
    @classmethod
    def _one_spelling(cls, text: str | None) -> str | None:
        if text is not None and not is_uuid(text):
            raise ValueError("it must be a UUID")
        return None if text is None else text.lower()


@dataclass(slots=True, frozen=True)
class OutboxListing:
    """How full the outbox is, and a page of what is in it; `after` is None on the last one."""

    state: OutboxState
    rows: list[OutboxRow]
    after: str | None


async def look_into(keeping: Keeping, page: OutboxPage) -> OutboxListing:
    """Give a page of the outbox."""
    # In this order: what is delivered in between is not counted as gone and shown as there.
    state = await keeping.read(OutboxCounts())
    rows = await keeping.read(replace(page, limit=page.limit + 1))
    after = rows[page.limit - 1].session_id if len(rows) > page.limit else None
    return OutboxListing(state, rows[: page.limit], after)


async def retry(keeping: Keeping, author: str, session_id: str | None) -> int:
    """Have what is dead tried again, one session's or all, and audit who wished it; say how many.

    One that is not dead, or not there, is none.
    """
    now = keeping.now_ms()
    subject = "outbox" if session_id is None else f"session:{session_id}"
    audit = AuditEntry(now, author, "outbox.retried", subject, {})
    values = await keeping.write(Together((RetryEntry(now, session_id), audit)))
    assert isinstance(values, tuple)  # noqa: S101 - one for each of the entries
    return int(values[0])


@dataclass(slots=True, frozen=True)
class Outbox:
    """The routes, for platform admins."""

    doors: Doors
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            ColdRoute("GET", PREFIX, self._list),
            ColdRoute("POST", f"{PREFIX}/retry", self._retry),
        )

    async def _list(self, call: Call) -> Answer:
        await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call, "limit", "after", "dead")
        limit, only_dead = limit_of(call), _truth(call, "dead")
        after = id_in_query(call, "after") if "after" in call.query else ""
        found = await look_into(self.keeping, OutboxPage(limit, after, only_dead))
        counts, oldest = found.state, found.state.oldest_unix_ms
        return private(
            200,
            {
                "pending": counts.pending,
                "dead": counts.dead,
                "oldest_pending_at": None if oldest is None else iso_instant(oldest),
                "deliveries": [_delivery(row) for row in found.rows],
                "after": found.after,
            },
        )

    async def _retry(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        body = await read_json_if_any(call, RetryBody)
        if isinstance(body, Answer):
            return body
        retried = await retry(self.keeping, claims.principal_id, body.session_id)
        return private(200, {"retried": retried})


def _delivery(row: OutboxRow) -> Document:
    progress = row.progress
    published = progress.published_unix_ms
    return {
        "session_id": row.session_id,
        "revision": row.revision,
        "org_id": row.org_id,
        "state": "dead" if progress.dead else "pending",
        "ended_at": iso_instant(row.created_unix_ms),
        "waits_for": "core" if progress.stored else "replay",
        "published_at": None if published is None else iso_instant(published),
        "attempts": progress.attempts,
        "next_attempt_at": None if progress.dead else iso_instant(progress.next_unix_ms),
        "error": progress.error or None,
    }


def _truth(call: Call, name: str) -> bool:
    text = call.query.get(name, "false")
    if text not in {"true", "false"}:
        raise misfit(name, "it must be true or false", text)
    return text == "true"
