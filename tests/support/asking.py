"""People, services and what they publish: a service under test is asked as from outside."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from penstock.engine.blob_port import replay_key
from penstock.http.roles import Role
from penstock.jwts import mint_service_jwt, mint_user_jwt
from penstock.service import Service

ORG, OTHER_ORG, ANN, BOB, STAFF = (str(UUID(int=n)) for n in (8, 9, 7, 11, 20))
USER_SECRET, SERVICE_SECRET = b"u" * 40, b"s" * 40


def user(role: Role, principal_id: str = STAFF, org_id: str = ORG) -> str:
    """Make a person's token."""
    now = int(time.time())
    return mint_user_jwt(
        USER_SECRET,
        principal_id=principal_id,
        org_id=org_id,
        role=role,
        consent_level=2,
        issuer="penstock",
        audience="penstock",
        issued_unix=now,
        expires_unix=now + 600,
    )


def service_account(secret: bytes = SERVICE_SECRET) -> str:
    """Make a service's token."""
    now = int(time.time())
    return mint_service_jwt(
        secret, issuer="penstock", audience="penstock", issued_unix=now, expires_unix=now + 600
    )


def event(session: int, revision: int = 1, **changes: Any) -> dict[str, Any]:
    """Make an aggregation event, as it is published."""
    return {
        "session_id": str(UUID(int=session)),
        "principal_id": ANN,
        "org_id": ORG,
        "revision": revision,
        "status": "completed",
        "provisional": False,
        "exercise_id": "squat",
        "started_unix_ms": 1_750_000_000_000 + session,
        "ended_unix_ms": 1_750_000_060_000 + session,
        "completeness": 0.99,
        "session_metrics": {"rep_count": 2, "duration_s": 60.0, "working_joint": "knee"},
        "rep_metrics": [{"rep_number": 1, "range_deg": 80.5}, {"rep_number": 2, "side": "left"}],
        "media_metrics": None,
        **changes,
    }


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
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request on a connection of its own; give the answer."""
        given = {"Host": "penstock.test", **(headers or {})}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            content = orjson.dumps(body)
        if body is not None:
            given = {"Content-Type": "application/json", **given}
        if method != "GET":
            given["Content-Length"] = str(len(content))
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        async with self.dial(self.service) as client:
            await client.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
            return await client.reply(method)

    async def get(self, path: str, token: str | None = None, **headers: str) -> Any:
        """Read something."""
        return await self.ask("GET", path, token, None, headers)

    async def publish(self, *events: dict[str, Any]) -> None:
        """Have figures stored, as another service would."""
        for one in events:
            path = "/v1/internal/telemetry/session-aggregated"
            reply = await self.ask("POST", path, service_account(), one)
            assert reply.status == 200, reply

    async def store_replay(self, session: int, content: bytes, org_id: str = ORG) -> str:
        """Put a replay into the service's folder; give the session's id."""
        session_id = str(UUID(int=session))
        path = self.service.settings.data_dir / "blobs" / replay_key(org_id, session_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return session_id
