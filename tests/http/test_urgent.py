"""Requests that are no pose batches: on the lane, beside it, and among many batches."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
import trio
import trio.testing
from quart import Response, request

from penstock.http.exchange import Answer, Head, json_answer
from penstock.http.hot_routes import HotRoutes, Route
from penstock.http.phases import Phase
from penstock.http.poller import TriosPoller
from penstock.http.pose import PoseFrames
from penstock.http.problems import Problem, problem_answer

Make = Callable[..., bytes]
HEALTH = b"GET /v1/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
WORD = Route("/v1/words/{id}/last", 64)
BODY = b'{"last":true}'


def _word(body: bytes = BODY, *, parameter: str = "s-1", more: bytes = b"") -> bytes:
    head = f"POST /v1/words/{parameter}/last HTTP/1.1\r\nHost: x\r\n".encode()
    return head + b"Content-Length: %d\r\n" % len(body) + more + b"\r\n" + body


@dataclass(slots=True)
class Words:
    """A surface that answers when it may, and remembers what it was given."""

    may_answer: trio.Event = field(default_factory=trio.Event)
    taken: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    fault: Exception | None = None

    def check_head(self, parameter: str, head: Head, /) -> object:
        """Refuse who is not known."""
        if parameter == "nobody":
            return problem_answer(Problem.TOKEN_WRONG_SESSION)
        return head

    async def answer(self, parameter: str, head: Head, body: bytes, /) -> Answer:
        """Wait, as for a ledger."""
        refused = self.check_head(parameter, head)
        if isinstance(refused, Answer):
            return refused
        self.taken.append((parameter, body))
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        return json_answer(200, {"taken": len(self.taken)}, code="taken")


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
def serve_words(serve: Any, words: Words) -> Callable[..., Any]:
    """Give the opener of services whose lane has one more route, with its twin beside the lane."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Any]:
        async with serve(**options) as service:

            async def twin(parameter: str) -> Response:
                body = cast("bytes", await request.get_data())
                answer = await words.answer(parameter, Head(), body)
                response = Response(answer.body, answer.status)
                del response.headers["Content-Type"]
                return response

            rule = WORD.path.replace("{id}", "<parameter>")
            service.front.app.app.add_url_rule(rule, "twin", twin, methods=["POST"])
            service.front.surfaces = {WORD: words}
            service.front.hot_routes = HotRoutes([WORD])
            yield service

    return opened


async def _calm(service: Any) -> None:
    """Wait until nothing is urgent any more."""
    with trio.fail_after(5):
        while service.front.poller.statistics().urgent:  # noqa: ASYNC110 - the poller tells nobody
            await trio.sleep(0.01)


async def test_another_route_is_answered_on_the_lane(
    serve_words: Any, dial: Any, words: Words
) -> None:
    """The surface gets the parameter and the body; its answer is the lane's, and counted so."""
    words.may_answer.set()
    async with serve_words() as service, dial(service) as client:
        for _ in range(2):
            await client.send(_word())
            reply = await client.reply()
            assert (reply.status, reply.json["taken"]) == (200, len(words.taken))
        assert words.taken == [("s-1", BODY)] * 2
        assert service.front.meter.requests[WORD.path, "taken"] == 2
        assert sum(service.front.meter.latency["express"].counts) == 2
        await client.send(_word(more=b"Connection: close\r\n"))
        assert (await client.reply()).status == 200
        assert await client.leftover() == b""


async def test_an_answer_that_is_waited_for_is_urgent_until_it_is_given(
    serve_words: Any, dial: Any, make_request: Make, words: Words
) -> None:
    """While it waits it is under way, batches of others are answered, and then all is calm."""
    async with serve_words() as service, dial(service) as client, dial(service) as other:
        await client.send(_word())
        while not words.taken:
            await trio.lowlevel.checkpoint()
        assert service.front.poller.statistics().urgent == 1
        await other.send(make_request())
        assert (await other.reply()).status == 202
        words.may_answer.set()
        assert (await client.reply()).status == 200
        await _calm(service)


async def test_a_head_that_is_enough_to_refuse_is_refused_without_its_body(
    serve_words: Any, dial: Any, words: Words
) -> None:
    """Who is refused by the head alone does not get to send a body, on any route of the lane."""
    async with serve_words() as service, dial(service) as client:
        await client.send(_word(parameter="nobody")[: -len(BODY)])
        reply = await client.reply()
        assert (reply.status, reply.code) == (401, "token_wrong_session")
        assert reply.headers["connection"] == "close"
        assert await client.leftover() == b""
        assert not words.taken
        await _calm(service)


async def test_what_is_too_long_for_its_route_is_not_the_lanes(
    serve_words: Any, dial: Any, words: Words
) -> None:
    """A body over its route's bound is the application's to answer, as everything unusual is."""
    words.may_answer.set()
    async with serve_words() as service, dial(service) as client:
        await client.send(_word(b"x" * 65))
        assert (await client.reply()).status == 200
        assert not sum(service.front.meter.latency["express"].counts)
        assert sum(service.front.meter.latency["quart"].counts) == 1


async def test_a_surface_that_fails_fails_one_request(
    serve_words: Any, dial: Any, words: Words
) -> None:
    """A fault is logged and answered, and the connection goes on."""
    words.fault = RuntimeError("no luck")
    words.may_answer.set()
    async with serve_words(errors=1) as service, dial(service) as client:
        await client.send(_word())
        reply = await client.reply()
        assert (reply.status, reply.code) == (500, Problem.INTERNAL.code)
        assert await client.usable()
        await _calm(service)


async def test_requests_of_all_kinds_in_one_piece_are_answered_in_order(
    serve_words: Any, dial: Any, make_request: Make, words: Words
) -> None:
    """Batches, last words and health checks on one connection, pipelined: each once, in order."""
    words.may_answer.set()
    batch = make_request()
    order = [batch, _word(), HEALTH, _word(), batch, HEALTH, HEALTH, batch, _word()]
    want = {batch: 202, _word(): 200, HEALTH: 200}
    async with serve_words() as service:
        whole = b"".join(order)
        for cuts in ([], [len(batch) + 7], [len(batch) + len(_word()) + 3], [-len(BODY)]):
            async with dial(service) as client:
                edges = [0, *(cut % len(whole) for cut in cuts), len(whole)]
                await client.send(*(whole[a:b] for a, b in pairwise(edges)))
                for request in order:
                    reply = await client.reply("GET" if request is HEALTH else "POST")
                    assert reply.status == want[request]
        await _calm(service)
        assert len(words.taken) == 12


async def test_batches_after_a_cold_request_are_answered_by_the_poller(
    serve: Any, dial: Any, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that has carried a preflight or a health check is as quick as before."""
    async with serve() as service, dial(service) as client:
        await client.send(make_request())  # so that the session is at hand
        assert (await client.reply()).status == 202

        async def too_slow(*_: object) -> Answer:
            pytest.fail("the connection's task was woken for a plain batch")

        monkeypatch.setattr(PoseFrames, "answer", too_slow)
        for _ in range(3):
            assert await client.usable()
            await trio.testing.wait_all_tasks_blocked()
            await client.send(make_request())
            assert (await client.reply()).status == 202
        await _calm(service)


@contextmanager
def _crowd(service: Any, count: int) -> Iterator[list[socket.socket]]:
    """Connect many clients that send and read without Trio: all at once, to its eyes."""
    port = int(service.address.rpartition(":")[2])
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)
        ]


async def _wait_for(service: Any, crowd: list[socket.socket]) -> None:
    """Wait until all are connected, and their tasks wait for them."""
    with trio.fail_after(5):
        while service.front.statistics().connections < len(crowd):  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)
    await trio.testing.wait_all_tasks_blocked()


async def _answers(crowd: list[socket.socket]) -> list[bytes]:
    def read() -> list[bytes]:
        got = []
        for client in crowd:
            client.settimeout(10)
            got.append(client.recv(65_536))
        return got

    return await trio.to_thread.run_sync(read)


async def test_clients_that_hesitate_are_not_urgent(serve_words: Any, make_request: Make) -> None:
    """Half a request holds nobody back: only what can be worked on is urgent."""
    settings, ping = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0" + bytes(8)
    pieces = (
        (HEALTH[:20], HEALTH[20:25]),
        (_word()[:10], _word()[10:14]),
        (_word()[:-8], _word()[-8:-3]),
        (make_request()[:-8], make_request()[-8:-3]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings, ping),
    )
    async with serve_words() as service:
        with _crowd(service, 25) as crowd:
            await _wait_for(service, crowd)
            for which in (0, 1):  # more than a handful at once, so that they are looked at
                for number, client in enumerate(crowd):
                    client.sendall(pieces[number % len(pieces)][which])
                await trio.testing.wait_all_tasks_blocked()
                await _calm(service)
            phases = [connection.phase for connection in service.front.connections]
            assert phases.count(Phase.RECEIVING) == 20


async def test_a_last_word_does_not_wait_for_the_crowd(
    serve_words: Any, make_request: Make, words: Words
) -> None:
    """It is taken while most of the batches that came before it wait; all get their answers."""
    words.may_answer.set()
    async with serve_words() as service:
        if isinstance(service.front.poller, TriosPoller):
            pytest.skip("this system has no epoll")
        with _crowd(service, 200) as crowd:
            await _wait_for(service, crowd)
            seen: list[int] = []
            take = words.answer

            async def look(*given: Any) -> Answer:
                seen.append(service.front.poller.statistics().queued)
                return await take(*given)

            service.front.surfaces = {WORD: _Looking(words, look)}
            for number, client in enumerate(crowd[:-1]):
                client.sendall(make_request(session=number % 4 + 1))
            crowd[-1].sendall(_word())
            answers = await _answers(crowd)
            assert all(answer.startswith(b"HTTP/1.1 202") for answer in answers[:-1])
            assert answers[-1].startswith(b"HTTP/1.1 200")
            assert seen
            assert seen[0] > 100  # so many batches stood before it
        await _calm(service)
        assert service.front.poller.statistics().queued == 0


@dataclass(slots=True, frozen=True)
class _Looking:
    words: Words
    look: Callable[..., Any]

    def check_head(self, parameter: str, head: Head, /) -> object:
        return self.words.check_head(parameter, head)

    async def answer(self, parameter: str, head: Head, body: bytes, /) -> Answer:
        answer: Answer = await self.look(parameter, head, body)
        return answer


async def test_what_waits_when_the_service_stops_is_answered(
    serve: Any, make_request: Make
) -> None:
    """A batch that had come before the service was told to stop gets its answer, then the end."""
    async with serve() as service:
        poller = service.front.poller
        if isinstance(poller, TriosPoller):
            pytest.skip("this system has no epoll")
        with _crowd(service, 100) as crowd:
            await _wait_for(service, crowd)
            for number, client in enumerate(crowd[:10]):  # a new session waits for the ledger
                client.sendall(make_request(session=number + 1))
            await _answers(crowd[:10])
            poller.hurry(next(iter(poller._news.values())))  # short turns
            for number, client in enumerate(crowd):
                client.sendall(make_request(session=number % 10 + 1))
            with trio.fail_after(5):
                while not poller.statistics().queued:
                    await trio.lowlevel.checkpoint()
            assert poller.statistics().queued > 50
            async with trio.open_nursery() as nursery:
                nursery.start_soon(service.front.drain)
                answers = await _answers(crowd)
            assert all(answer.startswith(b"HTTP/1.1 202") for answer in answers)
            closing = [answer for answer in answers if b"connection: close" in answer.lower()]
            assert len(closing) > 50
        assert service.ledger.process.seen == 1100
