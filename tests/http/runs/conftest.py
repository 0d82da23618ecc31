"""A service with the surface of runs, on each ledger and lane, and an agent that talks to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from pydantic import SecretStr

if TYPE_CHECKING:
    from postgres_server import PostgresServer

PATH = "/api/v1/runs"


class Agent:
    """One client: sends what it is told, and reads strictly."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def ask(
        self, method: str, path: str, body: object = None, /, **headers: str | None
    ) -> Any:
        """Send a request; `body` as bytes goes as it is, anything else as JSON."""
        sent: dict[str, str | None] = {"Host": "runs.test"}
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else orjson.dumps(body)
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value is not None)
        await self.client.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin1") + data)
        return await self.client.reply(method)

    async def post(self, **fields: Any) -> Any:
        """Report a run, with what is left out made up."""
        return await self.ask("POST", PATH, make_run(**fields))

    async def show(self, event_id: str = "e1") -> Any:
        """Give a run as it is read."""
        reply = await self.ask("GET", f"{PATH}/{event_id}")
        assert reply.status == 200, reply
        return reply.json

    async def query(self, query: str = "") -> Any:
        """Give the answer to a query."""
        return await self.ask("GET", f"{PATH}{'?' if query else ''}{query}")


def make_run(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    least = {
        "event_id": event_id,
        "run_id": f"run of {event_id}",
        "agent_name": "agent",
        "job_type": "job",
        "start_time": "2026-01-05T18:40:27Z",
    }
    return least | fields


@pytest.fixture(scope="session")
def run_of() -> Callable[..., dict[str, Any]]:
    """Give the maker of runs: (event_id, fields by keyword)."""
    return make_run


@pytest.fixture(params=["lane, sqlite", "quart, sqlite", "lane, postgres"])
def agent(request: pytest.FixtureRequest, serve: Any, dial: Any) -> Callable[..., Any]:
    """Give the opener of a service and an agent: (settings by keyword)."""
    lane, store = str(request.param).split(", ")

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Agent]:
        settings["express_lane"] = lane == "lane"
        if store == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            with server.database() as name:
                settings["database_url"] = SecretStr(server.url(name))
                async with serve(**settings) as service, dial(service) as client:
                    yield Agent(client)
            return
        async with serve(**settings) as service, dial(service) as client:
            yield Agent(client)

    return opened


@pytest.fixture
def any_agent(serve: Any, dial: Any) -> Callable[..., Any]:
    """Give the same with the embedded ledger and the express lane, and the service beside it."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[tuple[Any, Agent]]:
        async with serve(**settings) as service, dial(service) as client:
            yield service, Agent(client)

    return opened
