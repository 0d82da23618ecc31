"""A running service with a device's token, and an HTTP client for it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest

from penstock.engine.receipts import Lane
from penstock.engine.sync.records import DeviceIdentity
from penstock.http.roles import Role
from penstock.http.sync.device_tokens import mint_device_token
from penstock.jwts import mint_user_jwt
from penstock.service import Service
from sync_rig import DEVICE

USER = str(UUID(int=7))


@dataclass(slots=True)
class Collector:
    """One device of one user, and how it speaks with the service."""

    service: Service
    client: httpx.AsyncClient
    token_id: str = ""

    async def send(self, document: Any) -> httpx.Response:
        """Send a batch."""
        return await self.client.post("/api/sync/batches", json=document)

    async def get(self, path: str, **query: str) -> Any:
        """Read a document that must be there."""
        answer = await self.client.get(f"/api/sync/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def collect(serve: Callable[..., Any]) -> Callable[..., Any]:
    """Give the opener of a service with a device in it: (settings by keyword, errors=)."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Collector]:
        async with serve(**changes) as service:
            identity = DeviceIdentity(USER, DEVICE)
            minted = mint_device_token(identity, minted_unix_ms=1, minted_by="a test")
            await service.writer.enter_nowait(minted.entry, Lane.DURABLE).wait()
            headers = {"Authorization": f"Bearer {minted.token}"}
            async with httpx.AsyncClient(
                base_url=service.address, headers=headers, trust_env=False, timeout=30
            ) as client:
                yield Collector(service, client, minted.entry.token_id)

    return opened


@pytest.fixture(scope="session")
def user_header() -> Callable[..., dict[str, str]]:
    """Give the maker of a person's header: (role, principal id)."""

    def make(role: Role = Role.PATIENT, principal_id: str = USER) -> dict[str, str]:
        now = int(time.time())
        token = mint_user_jwt(
            b"u" * 40,
            principal_id=principal_id,
            org_id=str(UUID(int=8)),
            role=role,
            consent_level=0,
            issuer="penstock",
            audience="penstock",
            issued_unix=now,
            expires_unix=now + 600,
        )
        return {"Authorization": f"Bearer {token}"}

    return make
