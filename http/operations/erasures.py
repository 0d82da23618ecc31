"""`/v1/admin/erase`: all that is kept of a person is removed. For platform admins.

An order is taken once it is certain (202); how far it is can be asked. What an answer says of a
person after that is a digest.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock.engine.erasure_records import Erasure, ErasureOf, NewestErasures
from penstock.engine.erasures import ErasureRefusedError, Found, SessionsLiveError
from penstock.engine.ledger_port import LedgerUnavailableError
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.core.documents import Document, private
from penstock.http.core.keeping import Keeping, refusal, unavailable
from penstock.http.core.requests import Doors, expect, id_in_path, limit_of, read_json
from penstock.http.exchange import Answer
from penstock.http.instants import iso_instant
from penstock.http.problems import Problem
from penstock.http.roles import Role
from penstock.http.uuids import is_uuid

ERASE = "/v1/admin/erase"
ERASURES = "/v1/admin/erasures"


class Eraser(Protocol):
    """Who erases. `Erasures` is one."""

    async def look(self, principal_id: str) -> Found:
        """Say what would be removed; LedgerUnavailableError."""
        ...

    async def begin(self, principal_id: str, asked_by: str, *, force: bool) -> Erasure:
        """Order it; SessionsLiveError, ErasureRefusedError, LedgerUnavailableError."""
        ...


class EraseBody(BaseModel):
    """Who is to be erased; whether only to look; whether sessions under way may be cut off."""

    model_config = ConfigDict(extra="forbid")

    principal_id: str
    dry_run: bool = Field(default=False, strict=True)
    force: bool = Field(default=False, strict=True)

    @field_validator("principal_id")
    @classmethod
    def _one_spelling(cls, text: str) -> str:
        if not is_uuid(text):
            raise ValueError("it must be a UUID")
        return text.lower()


@dataclass(slots=True, frozen=True)
class ErasureRoutes:
    """The routes, for platform admins."""

    doors: Doors
    keeping: Keeping
    eraser: Eraser

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (
            ColdRoute("POST", ERASE, self._erase),
            ColdRoute("GET", ERASURES, self._list),
            ColdRoute("GET", f"{ERASURES}/<erasure_id>", self._show),
        )

    async def _erase(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        body = await read_json(call, EraseBody)
        if isinstance(body, Answer):
            return body
        try:
            if body.dry_run:
                return private(200, _found(await self.eraser.look(body.principal_id)))
            erasure = await self.eraser.begin(
                body.principal_id, claims.principal_id, force=body.force
            )
        except SessionsLiveError as live:
            raise RefusedError(
                Problem.ERASURE_SESSIONS_LIVE,
                f"{live.count} sessions of the person have not ended; wait until they have, or "
                "erase them as they are with force",
                seen=live.count,
            ) from None
        except ErasureRefusedError as error:
            raise refusal(error.refused) from error
        except LedgerUnavailableError as error:
            raise unavailable(error) from error
        return private(202, {"erasure": _erasure(erasure)})

    async def _list(self, call: Call) -> Answer:
        await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call, "limit")
        found = await self.keeping.read(NewestErasures(limit_of(call)))
        return private(200, {"erasures": [_erasure(erasure) for erasure in found]})

    async def _show(self, call: Call) -> Answer:
        await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        found = await self.keeping.read(ErasureOf(id_in_path(call, "erasure_id")))
        if found is None:
            raise RefusedError(Problem.ERASURE_UNKNOWN)
        return private(200, {"erasure": _erasure(found)})


def _found(found: Found) -> Document:
    holdings = found.ledger
    return {
        "dry_run": True,
        "live_sessions": found.live,
        "ledger_sessions": holdings.sessions,
        "ledger_rows": holdings.rows,
        "consents": holdings.consents,
    }


def _erasure(erasure: Erasure) -> Document:
    done = erasure.done_unix_ms
    return {
        "erasure_id": erasure.erasure_id,
        "principal_digest": erasure.digest,
        "state": "under_way" if done is None else "done",
        "asked_at": iso_instant(erasure.asked_unix_ms),
        "asked_by": erasure.asked_by,
        "done_at": None if done is None else iso_instant(done),
        "sessions": erasure.sessions,
        "rows": erasure.rows,
        "blobs": erasure.blobs,
        "files": erasure.files,
        "audits": erasure.audits,
        "texts": erasure.texts,
    }
