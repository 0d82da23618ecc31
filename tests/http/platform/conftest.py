"""A whole service with the platform surface, asked as people, services and strangers ask."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import SecretStr

from maxmind_stand_in import KEY, MaxMindStandIn, stand_in_for_maxmind
from penstock.engine.records import AuditEntry, AuditPage
from penstock.http.roles import Role
from penstock.jwts import mint_service_jwt, mint_user_jwt
from penstock.ledgers import open_ledger
from penstock.service import Service

ORG, ANN = str(UUID(int=8)), str(UUID(int=7))
USER_SECRET, SERVICE_SECRET = b"u" * 40, b"s" * 40


def _user(role: Role = Role.PATIENT, consent: int = 3, principal_id: str = ANN) -> str:
    now = int(time.time())
    return mint_user_jwt(
        USER_SECRET,
        principal_id=principal_id,
        org_id=ORG,
        role=role,
        consent_level=consent,
        issuer="penstock",
        audience="penstock",
        issued_unix=now,
        expires_unix=now + 600,
    )


def _service() -> str:
    now = int(time.time())
    return mint_service_jwt(
        SERVICE_SECRET,
        issuer="penstock",
        audience="penstock",
        issued_unix=now,
        expires_unix=now + 600,
    )


@dataclass(slots=True)
class Api:
    """Asks one service."""

    service: Service
    dial: Callable[[Service], Any]

    async def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | tuple[tuple[str, str], ...] = (),
    ) -> Any:
        """Send one request on a connection of its own; give the answer."""
        more = tuple(headers.items()) if isinstance(headers, Mapping) else headers
        given = [("Host", "penstock.test")]
        if token is not None:
            given.append(("Authorization", f"Bearer {token}"))
        content = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            content = orjson.dumps(body)
        if method != "GET":
            given += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        head = "".join(f"{name}: {value}\r\n" for name, value in (*given, *more))
        async with self.dial(self.service) as client:
            await client.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin1") + content)
            return await client.reply(method)

    async def read(self, query: Any) -> Any:
        """Ask the service's ledger, past the service."""
        async with open_ledger(self.service.settings) as ledger:
            return await ledger.read(query)

    async def audited(self) -> list[AuditEntry]:
        """Give the newest entries of the audit, newest first."""
        return [stored.entry for stored in await self.read(AuditPage(50))]


@pytest.fixture
def platform(serve: Callable[..., Any], dial: Callable[[Service], Any]) -> Callable[..., Any]:
    """Give the opener of services to ask: (settings by keyword)."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Api]:
        async with serve(**changes) as service:
            yield Api(service, dial)

    return opened


@pytest.fixture
async def maxmind() -> AsyncIterator[MaxMindStandIn]:
    """Give a server in MaxMind's place."""
    async with stand_in_for_maxmind() as found:
        yield found


@pytest.fixture
def asking(maxmind: MaxMindStandIn) -> dict[str, Any]:
    """Give the settings of a service that asks the server in MaxMind's place."""
    return {**maxmind.settings, "maxmind_license_key": SecretStr(KEY)}


@pytest.fixture(scope="session")
def make_user() -> Callable[..., str]:
    """Give the maker of people's tokens: (role, consent level, principal)."""
    return _user


@pytest.fixture(scope="session")
def make_service() -> Callable[..., str]:
    """Give the maker of services' tokens."""
    return _service


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Give the settings of a service over each ledger."""
    if request.param == "sqlite":
        yield {}
        return
    server = request.getfixturevalue("postgres_server")
    with server.database() as name:
        yield {"database_url": SecretStr(server.url(name))}
