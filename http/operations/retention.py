"""`/v1/admin/retention`: what is kept for how long, and a run at once, for real or for show."""

from dataclasses import asdict, dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from penstock.engine.retention import RetentionReport, RetentionRules, RetentionRunningError
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.core.documents import Document, private
from penstock.http.core.requests import Doors, expect, read_json_if_any
from penstock.http.exchange import Answer
from penstock.http.instants import iso_instant
from penstock.http.problems import Problem
from penstock.http.roles import Role

PREFIX = "/v1/admin/retention"
_RETRY_SECONDS = 10.0


class Janitor(Protocol):
    """Who keeps to the limits. `Retention` is one."""

    @property
    def rules(self) -> RetentionRules:
        """Give the limits."""
        ...

    @property
    def newest(self) -> RetentionReport | None:
        """Give the newest run."""
        ...

    def begin_nowait(self, asked_by: str, *, dry_run: bool) -> RetentionReport:
        """Begin a run; RetentionRunningError."""
        ...


class RunBody(BaseModel):
    """Whether the run only tells what would go."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dry_run: bool = False


@dataclass(slots=True, frozen=True)
class RetentionRoutes:
    """The routes, for platform admins."""

    doors: Doors
    janitor: Janitor

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (ColdRoute("GET", PREFIX, self._show), ColdRoute("POST", PREFIX, self._run))

    async def _show(self, call: Call) -> Answer:
        await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        newest = self.janitor.newest
        run = None if newest is None else _run(newest)
        return private(200, {"rules": asdict(self.janitor.rules), "run": run})

    async def _run(self, call: Call) -> Answer:
        claims = await self.doors.user(call, Role.PLATFORM_ADMIN)
        expect(call)
        body = await read_json_if_any(call, RunBody)
        if isinstance(body, Answer):
            return body
        try:
            begun = self.janitor.begin_nowait(claims.principal_id, dry_run=body.dry_run)
        except RetentionRunningError:
            raise RefusedError(Problem.RETENTION_RUNNING, retry_after=_RETRY_SECONDS) from None
        return private(202, {"rules": asdict(self.janitor.rules), "run": _run(begun)})


def _run(report: RetentionReport) -> Document:
    finished = report.finished_unix
    return {
        "number": report.number,
        "state": "running" if finished is None else "stopped" if report.stopped else "done",
        "dry_run": report.dry_run,
        "asked_by": report.asked_by,
        "started_at": iso_instant(int(report.started_unix * 1000)),
        "finished_at": None if finished is None else iso_instant(int(finished * 1000)),
        "blobs": None if report.blobs is None else report.blobs._asdict(),
        "finals": report.finals,
        "audits": report.audits,
        "stopped": report.stopped,
    }
