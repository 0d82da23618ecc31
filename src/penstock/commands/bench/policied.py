"""Services that are started for a measurement, with a drop policy other than the default."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from uuid import UUID

from penstock.admin_client import AdminClient, ServiceUnavailableError
from penstock.bench.errors import BenchError
from penstock.bench.load.plan import authority
from penstock.bench.load.target import Target
from penstock.bench.servers import USER_SECRET
from penstock.commands.policy import PATH
from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt

_TOKEN_SECONDS = 60
_ISSUER = "penstock"
_NOBODY = str(UUID(int=0))

Start = Callable[..., AbstractContextManager[Target]]


def with_policy(start: Start, knobs: Mapping[str, int | float | str]) -> Start:
    """Give what starts services as `start` does, and sets these knobs before anything is sent."""
    if not knobs:
        return start

    @contextmanager
    def started(
        *, sessions: int, connections: int, settings: Mapping[str, object]
    ) -> Iterator[Target]:
        with start(sessions=sessions, connections=connections, settings=settings) as target:
            set_policy(target, knobs)
            told = {f"policy {name}": str(value) for name, value in knobs.items()}
            yield replace(target, facts={**target.facts, **told})

    return started


def set_policy(target: Target, knobs: Mapping[str, int | float | str]) -> None:
    """Set knobs of a service that was started here, by its admin route, as an operator does."""
    now = int(time.time())
    token = mint_user_jwt(
        USER_SECRET,
        principal_id=_NOBODY,
        org_id=_NOBODY,
        role=Role.PLATFORM_ADMIN,
        consent_level=0,
        issuer=_ISSUER,
        audience=_ISSUER,
        issued_unix=now,
        expires_unix=now + _TOKEN_SECONDS,
    )
    client = AdminClient(f"http://{authority(target.address)}", token)
    try:
        revision = client.ask("GET", f"{PATH}/history", query={"limit": 1})["revision"]
        body = {"revision": revision, "scope": "global", "set": knobs, "clear": []}
        client.ask("PATCH", PATH, body=body | {"reason": "what is measured"})
    except ServiceUnavailableError as error:
        raise BenchError(str(error)) from None
