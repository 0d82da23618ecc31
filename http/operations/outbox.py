"""`/v1/admin/outbox`: finals that are not delivered yet, and another try for those given up."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, field_validator

from penstock.engine.delivery_records import OutboxCounts, OutboxPage, OutboxRow, RetryEntry
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
        # In this order: what is delivered in between is not counted as gone and shown as there.
        counts = await self.keeping.read(OutboxCounts())
        rows = await self.keeping.read(OutboxPage(limit + 1, after, only_dead))
        oldest = counts.oldest_unix_ms
        return private(
            200,
            {
                "pending": counts.pending,
                "dead": counts.dead,
                "oldest_pending_at": None if oldest is None else iso_instant(oldest),
                "deliveries": [_delivery(row) for row in rows[:limit]],
                "after": rows[limit - 1].session_id if len(rows) > limit else None,
            },
        )

    async def _retry(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        body = await read_json_if_any(call, RetryBody)
        if isinstance(body, Answer):
            return body
        now = self.keeping.now_ms()
        subject = "outbox" if body.session_id is None else f"session:{body.session_id}"
        audit = AuditEntry(now, claims.principal_id, "outbox.retried", subject, {})
        values = await self.keeping.write(Together((RetryEntry(now, body.session_id), audit)))
        assert isinstance(values, tuple)  # noqa: S101 - one for each of the entries
        return private(200, {"retried": values[0]})


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
