import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import h11
import httpx
import pytest
import trio

from console_rig import Console, signed_in, user_token
from penstock.http.console import visits

Serve = Callable[..., Any]
LIVE = "/console/flow/live"
PATIENCE = 30


@dataclass
class _Events:
    """A stream of events, taken apart; the connection is a socket, so that cutting it is plain."""

    stream: trio.SocketStream
    head: h11.Response
    _parser: h11.Connection
    _text: str = ""

    async def next(self) -> tuple[str, str, Any]:
        """Give the next event; the name is "" at the end of the stream, which must be whole."""
        with trio.fail_after(PATIENCE):
            while True:
                block, end, rest = self._text.partition("\n\n")
                if not end:
                    data = await _next_data(self.stream, self._parser)
                    if data is None:
                        assert not self._text
                        return "", "", None
                    self._text += data.decode()
                    continue
                self._text = rest
                fields = dict(line.split(": ", 1) for line in block.split("\n"))
                if "event" in fields:
                    return fields["event"], fields.get("id", ""), json.loads(fields["data"])

    async def until_end(self) -> list[str]:
        """Read to the end of the stream; give the names of what came."""
        names = []
        while (event := await self.next())[0]:
            names.append(event[0])
        return names


async def _next_data(stream: trio.SocketStream, parser: h11.Connection) -> bytes | None:
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Data):
            return bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return None


async def _open(console: Console, path: str, headers: Mapping[str, str]) -> _Events:
    address = httpx.URL(console.base)
    stream = await trio.open_tcp_stream(address.host, address.port or 80)
    cookies = "; ".join(f"{one.name}={one.value}" for one in console.client.cookies.jar)
    parser = h11.Connection(h11.CLIENT)
    wanted = {"Host": f"{address.host}:{address.port}", "Cookie": cookies, **headers}
    asked = h11.Request(method="GET", target=path, headers=list(wanted.items()))
    await stream.send_all((parser.send(asked) or b"") + (parser.send(h11.EndOfMessage()) or b""))
    while (head := parser.next_event()) is h11.NEED_DATA:
        parser.receive_data(bytes(await stream.receive_some(65536)))
    assert isinstance(head, h11.Response)
    return _Events(stream, head, parser)


@asynccontextmanager
async def _listening(console: Console, path: str = LIVE, **headers: str) -> AsyncIterator[_Events]:
    events = await _open(console, path, headers)
    async with events.stream:
        told = dict(events.head.headers)
        assert events.head.status_code == 200
        assert told[b"content-type"].startswith(b"text/event-stream")
        assert told[b"cache-control"] == b"no-store"
        yield events


async def _wait(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.01)


async def test_a_listener_is_told_everything_and_then_each_sample(
    serve: Serve, turn: Any, make_token: Any, make_batch: Any
) -> None:
    """Counts of what was sent, stress, sessions and marks of what changed arrive, in order."""
    async with (
        serve() as service,
        signed_in(service) as console,
        _listening(console) as events,
    ):
        name, _, told = await events.next()
        assert name == "history"
        assert [mark["label"] for mark in told["marks"]] == ["started"]
        headers = {
            "Authorization": f"Bearer {make_token(1)}",
            "Content-Type": "application/octet-stream",
        }
        answer = await console.client.post(
            "/v1/pose/frames", content=make_batch(10), headers=headers
        )
        assert answer.status_code == 202
        end = {"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}
        path = f"/v1/sessions/{UUID(int=1)}/end"
        answer = await console.client.post(
            path, json=end, headers={"Authorization": f"Bearer {make_token(1)}"}
        )
        assert answer.status_code == 200
        await turn(service, thin_at=45.0)
        accepted, ended, marks, numbers = 0.0, 0.0, [], []
        while accepted == 0 or ended == 0 or not marks:
            name, identifier, told = await events.next()
            assert name == "sample"
            numbers.append(int(identifier.partition("-")[2]))
            accepted += told["values"].get("batches.accepted", 0)
            ended += told["values"]["ends"]
            marks += told["marks"]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert marks[0]["label"] == "r1"
        assert "thin_at not set → 45" in marks[0]["detail"]
        assert {"stress.level", "memory.limit", "finals.queued", "sessions"} <= told[
            "values"
        ].keys()


async def test_who_comes_back_goes_on_where_it_was(serve: Serve) -> None:
    """With the last event's id, in the header or the query, no second is told twice."""
    async with serve() as service, signed_in(service) as console:
        async with _listening(console) as events:
            await events.next()
            _, identifier, _ = await events.next()
        async with _listening(console, **{"Last-Event-ID": identifier}) as events:
            name, following, _ = await events.next()
            assert int(following.partition("-")[2]) > int(identifier.partition("-")[2])
        async with _listening(console, f"{LIVE}?after={following}") as events:
            _, after, _ = await events.next()
            assert int(after.partition("-")[2]) > int(following.partition("-")[2])
            assert name in {"sample", "history"}


async def test_no_more_listen_than_may(serve: Serve) -> None:
    """One too many is told so, by the setting's name; a place that is left is free again."""
    async with serve(console_streams=1) as service, signed_in(service) as console:
        async with _listening(console) as events:
            await events.next()
            refused = await console.client.get(LIVE)
            assert refused.status_code == 503
            problem = refused.json()
            assert (problem["code"], problem["setting"], problem["limit"]) == (
                "streams_full",
                "console_streams",
                1,
            )
        status = 0
        with trio.fail_after(PATIENCE):
            while status != 200:
                again = await _open(console, LIVE, {})
                status = again.head.status_code
                await again.stream.aclose()


async def test_no_more_listen_than_may_however_fast_they_come(serve: Serve) -> None:
    """Of many that come at once, as many are told the history as may listen, and no more."""
    told: list[str] = []

    async def listen(console: Console) -> None:
        events = await _open(console, LIVE, {})
        async with events.stream:
            told.append((await events.next())[0] if events.head.status_code == 200 else "refused")
            if told[-1] == "history":
                await events.until_end()

    async with (
        serve(console_streams=2) as service,
        signed_in(service) as console,
        trio.open_nursery() as nursery,
    ):
        for _ in range(12):
            nursery.start_soon(listen, console)
        await _wait(lambda: len(told) == 12)
        assert told.count("history") == 2
        service.stopping.set()


async def test_a_listener_that_goes_is_noticed(serve: Serve) -> None:
    """Closing its own side is enough: nothing waits for the last byte of a stream of events."""
    async with (
        serve(request_timeout_seconds=600.0) as service,
        signed_in(service) as console,
        _listening(console) as events,
    ):
        await events.next()
        await events.stream.send_eof()
        with trio.fail_after(PATIENCE):
            while await events.stream.receive_some(65536):
                pass


async def test_a_head_of_the_stream_ends(serve: Serve) -> None:
    """It tells the headers, takes no listener's place, and the connection serves on."""
    async with serve(console_streams=1) as service, signed_in(service) as console:
        for _ in range(2):
            with trio.fail_after(PATIENCE):
                answer = await console.client.head(LIVE)
            assert answer.headers["content-type"].startswith("text/event-stream")
        assert (await console.get("/console/health")).status_code == 200


async def test_a_stream_ends_with_its_visit(serve: Serve) -> None:
    """A sign-out ends it within a sample, and says so, that the page may tell its reader."""
    async with serve() as service, signed_in(service) as console:
        async with _listening(console) as events:
            await events.next()
            await console.post("/console/sign-out")
            assert (await events.until_end())[-1] == "signed-out"
        assert (await console.client.get(LIVE)).status_code == 401


async def test_a_stream_keeps_no_visit_alive(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was left open is not somebody who is there: it idles out, and its stream ends."""
    monkeypatch.setattr(visits, "IDLE_SECONDS", 1.5)
    async with serve() as service, signed_in(service) as console, _listening(console) as events:
        assert (await events.next())[0] == "history"
        assert (await events.until_end())[-1] == "signed-out"


async def test_coming_back_to_a_stream_keeps_no_visit_alive(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers open a stream again by themselves, however often it breaks: the visit idles out."""
    monkeypatch.setattr(visits, "IDLE_SECONDS", 1.0)
    async with serve() as service, signed_in(service) as console:
        with trio.fail_after(PATIENCE):
            while True:
                events = await _open(console, LIVE, {})
                async with events.stream:
                    if events.head.status_code == 401:
                        break
                await trio.sleep(0.1)


@pytest.mark.parametrize("count", [1, 8])
async def test_streams_hold_up_no_shutdown(serve: Serve, count: int) -> None:
    """When the service begins to stop, every stream ends whole and at once, not by its deadline."""
    ended: list[str] = []

    async def listen(console: Console) -> None:
        async with _listening(console) as events:
            ended.append((await events.next())[0])
            await events.until_end()
            ended.append("end")

    async with (
        serve(shutdown_seconds=600.0, console_streams=8) as service,
        signed_in(service) as console,
        trio.open_nursery() as nursery,
    ):
        for _ in range(count):
            nursery.start_soon(listen, console)
        await _wait(lambda: len(ended) == count)
        service.stopping.set()
        await _wait(lambda: ended.count("end") == count)
        refused = await console.client.get(LIVE)
        assert refused.status_code == 503
        assert refused.json()["code"] == "draining"


async def test_a_stream_is_neither_urgent_nor_late(serve: Serve) -> None:
    """It outlives a request's time limit, and pose batches do not wait behind it."""
    async with (
        serve(request_timeout_seconds=0.3) as service,
        signed_in(service, user_token(service)) as console,
        _listening(console) as events,
    ):
        await events.next()
        assert service.front.poller.statistics().urgent == 0
        names = [(await events.next())[0] for _ in range(3)]
        assert names == ["sample"] * 3  # three seconds, and a request may take 0.9


async def test_over_http2_a_stream_is_one_of_several(serve: Serve) -> None:
    """It outlives the time limit there, too; requests beside it on the connection are answered."""
    names: list[str] = []

    async def listen(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", LIVE) as answer:
            assert answer.http_version == "HTTP/2"
            async for line in answer.aiter_lines():
                names.extend([line[7:]] * line.startswith("event: "))

    async with serve(request_timeout_seconds=0.3) as service, signed_in(service) as console:
        cookies = console.client.cookies
        async with (
            httpx.AsyncClient(
                base_url=service.address, http1=False, http2=True, cookies=cookies, timeout=30
            ) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(listen, client)
            await _wait(lambda: len(names) >= 2)
            assert service.front.poller.statistics().urgent == 0
            assert (await client.get("/console/health")).status_code == 200
            await _wait(lambda: len(names) >= 4)
            assert service.front.poller.statistics().urgent == 0
            service.stopping.set()
        assert names == ["history"] + ["sample"] * (len(names) - 1)
