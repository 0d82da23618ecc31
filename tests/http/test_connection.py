"""One connection's life: its time limits, its ends, its order; with the lane and without."""

import os
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import UUID

import pytest
import trio

from penstock.engine.grants import CachedGrants
from penstock.engine.ports import Quota
from penstock.http.phases import Phase

PATHS = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
HEALTH = b"GET /v1/healthz HTTP/1.1\r\nHost: x\r\n\r\n"

Make = Callable[..., bytes]


async def _wait_for_none(service: Any) -> None:
    with trio.fail_after(5):
        while service.front.statistics().connections:  # noqa: ASYNC110 - the front tells nobody
            await trio.sleep(0.01)


@PATHS
@pytest.mark.parametrize("cut", [10, -5], ids=["head", "body"])
async def test_a_slow_sender_is_told(
    serve: Any, dial: Any, make_request: Make, cut: int, *, express_lane: bool
) -> None:
    """Half a request that goes on no further gets 408 within the limit, and the end."""
    async with serve(express_lane=express_lane, request_timeout_seconds=0.1) as service:
        async with dial(service) as client:
            await client.send(make_request()[:cut])
            reply = await client.reply()
            assert (reply.status, reply.code) == (408, "request_timeout")
            assert reply.json["setting"] == "request_timeout_seconds"
            assert reply.headers["connection"] == "close"
            assert await client.leftover() == b""
        await _wait_for_none(service)


async def test_a_slow_cold_head_is_told(serve: Any, dial: Any) -> None:
    """The limit on a request's arrival holds on the other routes, also for a pipelined one."""
    async with serve(request_timeout_seconds=0.1) as service:
        for before in (b"", HEALTH):
            async with dial(service) as client:
                await client.send(before + HEALTH[:-3])
                if before:
                    assert (await client.reply("GET")).status == 200
                reply = await client.reply("GET")
                assert (reply.status, reply.code) == (408, "request_timeout")
                assert await client.leftover() == b""
        assert service.front.statistics().timed_out == 2


async def test_a_slow_sender_that_keeps_dripping_gets_its_answer(
    serve: Any, dial: Any, make_request: Make
) -> None:
    """A byte now and then does not stretch the limit, and does not cost the client its 408."""
    async with serve(request_timeout_seconds=0.2) as service, dial(service) as client:
        raw = make_request()
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                with suppress(trio.BrokenResourceError):
                    for i in range(len(raw) - 1):
                        await client.stream.send_all(raw[i : i + 1])
                        await trio.sleep(0.01)

            nursery.start_soon(drip)
            assert (await client.reply()).status == 408
            nursery.cancel_scope.cancel()


@PATHS
@pytest.mark.parametrize("first", [b"", HEALTH], ids=["new", "used"])
async def test_an_idle_connection_is_closed(
    serve: Any, dial: Any, first: bytes, *, express_lane: bool
) -> None:
    """A connection without a request is closed after its time, without a word."""
    async with serve(express_lane=express_lane, idle_timeout_seconds=0.1) as service:
        async with dial(service) as client:
            if first:
                await client.send(first)
                await client.reply("GET")
            assert await client.leftover() == b""
        assert service.front.statistics().timed_out == 1


@PATHS
async def test_half_closed_clients_get_their_answers(
    serve: Any, dial: Any, make_request: Make, *, express_lane: bool
) -> None:
    """Who sends whole requests and then no more gets every answer, on hot and cold routes."""
    hot = make_request()
    async with serve(express_lane=express_lane) as service:
        for requests in ([hot], [HEALTH], [hot, HEALTH], [HEALTH, hot], [HEALTH, HEALTH, hot, hot]):
            async with dial(service) as client:
                await client.send(b"".join(requests))
                await client.shut()
                for request in requests:
                    reply = await client.reply("POST" if request is hot else "GET")
                    assert reply.status == (202 if request is hot else 200)
                assert await client.leftover() == b""


@PATHS
async def test_half_a_request_and_then_the_end_is_malformed(
    serve: Any, dial: Any, make_request: Make, *, express_lane: bool
) -> None:
    """A request that ends in its middle gets 400 and has no effect."""
    raw = make_request()
    async with serve(express_lane=express_lane) as service:
        for cut in (1, 30, len(raw) - 60, len(raw) - 1):
            for before in (b"", HEALTH):
                async with dial(service) as client:
                    await client.send(before + raw[:cut])
                    await client.shut()
                    if before:
                        await client.reply("GET")
                    reply = await client.reply()
                    assert (reply.status, reply.code) == (400, "request_malformed")
                    assert await client.leftover() == b""
        assert service.ledger.process.seen == 0


async def test_hot_and_cold_requests_take_turns(
    serve: Any, dial: Any, make_request: Make, make_batch: Make
) -> None:
    """Hot and cold requests in one piece are answered in order, and each batch once."""
    hot = make_request(make_batch(2))
    async with serve() as service, dial(service) as client:
        order = [hot, HEALTH, hot, hot, HEALTH, HEALTH, hot]
        await client.send(b"".join(order))
        for request in order:
            reply = await client.reply("POST" if request is hot else "GET")
            assert reply.status == (202 if request is hot else 200)
        assert await client.usable()
        assert service.ledger.process.seen == 8


@pytest.mark.parametrize("hot_first", [True, False])
async def test_the_border_of_two_requests_may_be_cut_anywhere(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, *, hot_first: bool
) -> None:
    """Wherever a hot and a cold request are cut, around their border above all, both are whole."""
    hot = make_request(make_batch(1))
    first, second = (hot, HEALTH) if hot_first else (HEALTH, hot)
    methods = ("POST", "GET") if hot_first else ("GET", "POST")
    pair, border = first + second, len(first)
    async with serve() as service, dial(service) as client:
        for cut in (*range(border - 12, border + 26), *range(1, len(pair), 41)):
            await client.send(pair[:cut], pair[cut:])
            replies = [await client.reply(method) for method in methods]
            assert sorted(reply.status for reply in replies) == [200, 202]
        await client.send(*(pair[i : i + 1] for i in range(len(pair))))
        assert [(await client.reply(m)).status for m in methods].count(202) == 1


async def test_hot_requests_after_a_cold_one_take_the_lane_again(
    serve: Any, dial: Any, make_request: Make
) -> None:
    """A connection that once carried a cold request serves the next hot one on the lane."""
    async with serve() as service, dial(service) as client:
        await client.send(HEALTH)
        await client.reply("GET")
        [connection] = service.front.connections
        while connection.phase is not Phase.IDLE:
            await trio.lowlevel.checkpoint()
        await client.send(make_request())
        assert (await client.reply()).status == 202
        assert sum(service.front.meter.latency["express"].counts) == 1


async def test_connections_beyond_the_limit_are_turned_away(serve: Any, dial: Any) -> None:
    """Past max_connections a new one gets 503 and the end; one that leaves makes room."""
    async with serve(max_connections=2) as service:
        async with dial(service) as one, dial(service) as two:
            assert await one.usable()
            assert await two.usable()
            async with dial(service) as three:
                reply = await three.reply()
                assert (reply.status, reply.code) == (503, "too_many_connections")
                assert reply.headers["retry-after"] == "1"
                assert reply.headers["connection"] == "close"
                assert await three.leftover() == b""
            assert await one.usable()
        await _wait_for_none(service)
        async with dial(service) as four:
            assert await four.usable()
        assert service.front.statistics().turned_away == 1


async def test_a_flood_of_connections_is_turned_away(serve: Any, dial: Any) -> None:
    """Far more connections than the limit are each told or closed, and the front recovers."""
    count = 150
    told: list[bytes] = []
    async with serve(max_connections=2, linger_seconds=10.0) as service:
        async with dial(service) as one, dial(service) as two:
            assert await one.usable()
            assert await two.usable()
            async with AsyncExitStack() as stack:
                flood = [await stack.enter_async_context(dial(service)) for _ in range(count)]

                async def listen(client: Any) -> None:
                    told.append(await client.leftover())

                with trio.fail_after(5):
                    async with trio.open_nursery() as nursery:
                        for client in flood:
                            nursery.start_soon(listen, client)
                assert len(told) == count
                assert all(not said or said.startswith(b"HTTP/1.1 503 ") for said in told)
                assert 0 < sum(map(bool, told)) < count  # some are told, and a flood is not
                assert await one.usable()
            assert service.front.statistics().connections == 2
            assert service.front.statistics().turned_away == count
            with trio.fail_after(5):
                said = b""
                while not said:  # those that wait for the flood's ends have room again
                    async with dial(service) as late:
                        said = await late.leftover()
            assert said.startswith(b"HTTP/1.1 503 ")
        await _wait_for_none(service)
        async with dial(service) as again:
            assert await again.usable()


@PATHS
@pytest.mark.parametrize("cut", [10, -5], ids=["head", "body"])
async def test_a_slow_client_is_counted_once(
    serve: Any, dial: Any, make_request: Make, cut: int, *, express_lane: bool
) -> None:
    """A client that gets 408 and then does not leave is one that was too slow, not two."""
    options = {"request_timeout_seconds": 0.1, "linger_seconds": 0.3}
    async with serve(express_lane=express_lane, **options) as service:
        async with dial(service) as client:
            await client.send(make_request()[:cut])
            assert (await client.reply()).status == 408
            await _wait_for_none(service)
        # A body that Quart waits for is the route's to time out, and counted with its requests.
        by_route = cut < 0 and not express_lane
        assert service.front.statistics().timed_out == (0 if by_route else 1)


async def test_a_client_that_stays_after_its_last_answer_was_not_slow(
    serve: Any, dial: Any, make_request: Make
) -> None:
    """Whoever is answered in time and only leaves the connection open is not counted as slow."""
    async with serve(linger_seconds=0.1) as service:
        async with dial(service) as client:
            await client.send(make_request(more=[("Connection", "close")]))
            assert (await client.reply()).status == 202
            await _wait_for_none(service)
        assert service.front.statistics().timed_out == 0


@PATHS
async def test_a_client_that_never_reads_stalls_nobody_and_is_cut(
    serve: Any, dial: Any, *, express_lane: bool
) -> None:
    """Who asks without reading holds up no one else, and is cut off at the request's limit."""
    metrics = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n"
    options = {"express_lane": express_lane, "request_timeout_seconds": 0.3}
    async with serve(**options) as service, dial(service) as deaf, dial(service) as other:
        deaf.stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        with suppress(trio.BrokenResourceError):
            with trio.move_on_after(3):
                while service.front.statistics().connections > 1:
                    await deaf.stream.send_all(metrics * 50)
                    assert await other.usable()
        with trio.fail_after(3):
            while service.front.statistics().connections > 1:
                assert await other.usable()


@PATHS
async def test_a_client_that_never_reads_does_not_hold_up_the_end(
    serve: Any, *, express_lane: bool
) -> None:
    """A service that is told to stop stops within its deadline, whatever a client does not read."""
    metrics = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n"
    options = {"express_lane": express_lane, "request_timeout_seconds": 30.0}
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        async with serve(shutdown_seconds=0.5, **options) as service:
            port = int(service.address.rpartition(":")[2])
            deaf = await trio.open_tcp_stream("127.0.0.1", port)
            with trio.move_on_after(0.3):
                while True:
                    await deaf.send_all(metrics * 50)
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(deaf)
    assert trio.current_time() - began < 10


@PATHS
async def test_clients_that_leave_at_any_point_leave_nothing_behind(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, *, express_lane: bool
) -> None:
    """Wherever a client leaves, its connection goes, and every frame is in exactly one place."""
    raw = make_request(make_batch(2))
    async with serve(express_lane=express_lane) as service:
        for cut in (0, 1, 40, len(raw) - 40, len(raw) - 1, len(raw)):
            for before in (b"", HEALTH, raw):
                for abrupt in (False, True):
                    async with dial(service) as client:
                        await client.send(before + raw[:cut])
                        if abrupt:  # a reset instead of an orderly end
                            linger = b"\x01\0\0\0\0\0\0\0"
                            client.stream.setsockopt(
                                trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger
                            )
        await _wait_for_none(service)
        assert service.ledger.process.conserved
        assert service.ledger.process.seen % 2 == 0


@pytest.mark.parametrize("taken", [0, 10])
async def test_an_answer_that_the_socket_takes_in_pieces_arrives_whole(
    serve: Any, dial: Any, make_request: Make, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """When the socket takes only a part at once, the rest follows, and then the next answer."""
    write = os.write

    def write_a_part(fd: int, data: bytes) -> int:
        if not data.startswith(b"HTTP/1.1 "):
            return write(fd, data)
        if not taken:
            raise BlockingIOError
        return write(fd, data[:taken])

    async with serve() as service, dial(service) as client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write_a_part)
            for _ in range(2):
                await client.send(make_request())
                assert (await client.reply()).status == 202
        assert await client.usable()
        assert service.front.statistics().timed_out == 0


async def test_requests_that_must_wait_hold_up_no_other(
    serve: Any,
    dial: Any,
    make_request: Make,
    make_token: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one request waits for its consent, those of other sessions are answered at once."""
    asked = trio.Event()
    known = trio.Event()
    slow = str(UUID(int=77))

    async def granted(_: object, principal_id: str, *__: object) -> bool:
        if principal_id != slow:
            return True
        asked.set()
        await known.wait()
        return True

    def granted_nowait(_: object, principal_id: str, *__: object) -> bool | None:
        return None if principal_id == slow else True

    monkeypatch.setattr(CachedGrants, "granted", granted)
    monkeypatch.setattr(CachedGrants, "granted_nowait", granted_nowait)
    monkeypatch.setattr(CachedGrants, "of_org_nowait", lambda *_: Quota())
    async with serve() as service, dial(service) as waiting, dial(service) as other:
        token = f"Bearer {make_token(2, principal=77)}"
        await waiting.send(make_request(changes={"Authorization": token}))
        await asked.wait()
        for _ in range(2):
            await other.send(make_request())
            assert (await other.reply()).status == 202
        known.set()
        assert (await waiting.reply()).status == 202
