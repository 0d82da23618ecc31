"""The service on PostgreSQL: its database goes away under ends, and nothing answered is lost."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import trio

SUBMITTERS = 6
OUTAGE_SECONDS = 2.5
QUICK = {
    "rate_batches_per_second": "1000",
    "rate_burst": "1000",
    "shutdown_notice_seconds": "0",
    "ledger_wait_seconds": "0.5",
}
Serve = Callable[..., Any]
Encode = Callable[..., bytes]


@dataclass(slots=True, eq=False)
class Ends:
    """Clients that begin and end sessions, and come back when they are told to."""

    service: Any
    member: bytes
    going: bool = True
    begun: int = 0
    answered: dict[str, Any] = field(default_factory=dict)
    told_to_wait: list[httpx.Response] = field(default_factory=list)

    async def patient(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            while self.going:
                self.begun += 1
                await self._session(client, self.begun)

    @property
    def url(self) -> str:
        return f"http://{self.service.host}:{self.service.port}"

    async def wait_answered(self, more: int) -> None:
        """Wait until so many more ends have been answered."""
        enough = len(self.answered) + more
        with trio.fail_after(30):
            while len(self.answered) < enough:  # noqa: ASYNC110 - another process is waited for
                await trio.sleep(0.01)

    async def _session(self, client: httpx.AsyncClient, number: int) -> None:
        bearer = {"Authorization": f"Bearer {self.service.token(number)}"}
        sent = await client.post(
            "/v1/pose/frames",
            content=self.member,
            headers={**bearer, "Content-Type": "application/octet-stream"},
        )
        assert sent.status_code == 202, sent.text
        session_id = str(UUID(int=number))
        body = {"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}
        while True:
            ended = await client.post(f"/v1/sessions/{session_id}/end", json=body, headers=bearer)
            if ended.status_code == 200:
                self.answered[session_id] = ended.json()
                return
            assert ended.status_code == 503, ended.text
            self.told_to_wait.append(ended)
            await trio.sleep(0.1)  # sooner than it says, so that the test is short


async def test_ends_survive_a_database_that_goes_away(
    serve: Serve, encode_member: Encode, postgres_server: Any, tmp_path: Path
) -> None:
    """503 with Retry-After past the wait budget, well again by itself, and every 200 is stored."""
    with postgres_server.database() as name:
        url = postgres_server.url(name)
        async with serve(tmp_path / "data", database_url=url, **QUICK) as service:
            ends = Ends(service, encode_member(10, 1000))
            async with trio.open_nursery() as nursery:
                for _ in range(SUBMITTERS):
                    nursery.start_soon(ends.patient)
                await ends.wait_answered(20)
                assert (await service.get("/readyz"))[0] == 200
                await trio.to_thread.run_sync(postgres_server.stop)
                await trio.sleep(OUTAGE_SECONDS)
                # On a busy machine it takes longer until everybody has been told.
                with trio.fail_after(60):
                    while len(ends.told_to_wait) < SUBMITTERS:  # noqa: ASYNC110 - of a process
                        await trio.sleep(0.05)
                status, body = await service.get("/readyz")
                await trio.to_thread.run_sync(postgres_server.start)
                assert status == 503
                assert b"ledger_unreachable" in body
                await ends.wait_answered(20)
                ends.going = False
            assert (await service.get("/readyz"))[0] == 200
            assert await service.stop() == 0
        log = (tmp_path / "service.log").read_text()
        rows = postgres_server.sql("SELECT session_id, revision, body FROM session_finals", name)
    assert len(ends.told_to_wait) >= SUBMITTERS
    for told in ends.told_to_wait:
        assert told.json()["code"] == "ledger_unreachable"
        assert int(told.headers["Retry-After"]) >= 1
    stored = [row.split("|", 2) for row in rows.splitlines()]
    assert sorted(session_id for session_id, _, _ in stored) == sorted(ends.answered)
    assert len(ends.answered) == ends.begun
    assert all(revision == "1" for _, revision, _ in stored)
    assert all(json.loads(body)["frames_received"] == 10 for _, _, body in stored)
    assert "ledger.unreachable" in log
    assert "ledger.reached_again" in log
    assert "Traceback" not in log
    assert postgres_server.url(name) not in log


async def test_a_service_whose_database_is_not_there_does_not_start(
    launch_service: Callable[..., Any], serve: Serve, postgres_server: Any, tmp_path: Path
) -> None:
    """One line says where it was looked for and which setting says so; the password is not told."""
    process = launch_service(tmp_path / "data", database_url="postgresql://u:sesame@127.0.0.1:1/x")
    with trio.fail_after(30):
        while (code := process.poll()) is None:  # noqa: ASYNC110 - a process sets no event
            await trio.sleep(0.01)
    said = (tmp_path / "second.log").read_text()
    assert code == 2
    assert "penstock: the ledger's database at 127.0.0.1:1/x cannot be reached" in said
    assert "database_url" in said
    assert "sesame" not in said
    assert len(said.splitlines()) == 1
    with postgres_server.database() as name:
        url = postgres_server.url(name, role="postgres")
        async with serve(tmp_path / "data", database_url=url):
            pass
    log = (tmp_path / "service.log").read_text()
    assert "ledger.concern" in log
    assert "BYPASSRLS" in log
