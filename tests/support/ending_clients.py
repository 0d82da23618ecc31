"""Clients that begin and end sessions one after another, and come back when they are told to."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import trio

_BODY = {"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}


@dataclass(slots=True, eq=False)
class EndingClients:
    """What they were told: the 200 of each session, and how often what else."""

    service: Any
    member: bytes
    going: bool = True
    begun: int = 0
    answered: dict[str, Any] = field(default_factory=dict)
    told_to_wait: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    # When an end was last answered 200.
    last_answered: float = 0.0

    async def patient(self) -> None:
        url = f"http://{self.service.host}:{self.service.port}"
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            while self.going:
                self.begun += 1
                await self._session(client, self.begun)

    async def wait_answered(self, more: int) -> None:
        """Wait until so many more ends have been answered 200."""
        enough = len(self.answered) + more
        with trio.fail_after(60):
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
        while True:
            began = time.monotonic()
            ended = await client.post(f"/v1/sessions/{session_id}/end", json=_BODY, headers=bearer)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            if ended.status_code == 200:
                self.answered[session_id] = ended.json()
                self.last_answered = time.monotonic()
                return
            assert "Retry-After" in ended.headers, ended.text
            self.told_to_wait[f"{ended.status_code} {ended.json()['code']}"] += 1
            await trio.sleep(0.2)  # sooner than it says, so that the test is short
