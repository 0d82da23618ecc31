"""Where a request begins and ends: bounds, bodies of every kind, and attempts to smuggle one."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

PATHS = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
PATH = b"/v1/pose/frames"
HEALTH = b"GET /v1/healthz HTTP/1.1\r\nHost: x\r\n\r\n"

Make = Callable[..., bytes]


@PATHS
@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("path", [PATH, b"/v1/healthz"])
async def test_heads_over_the_bound_are_refused(
    serve: Any, dial: Any, path: bytes, pieces: int, *, express_lane: bool
) -> None:
    """A head over max_header_bytes gets 431, in one piece or several, on every route."""
    raw = b"POST %b HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (path, b"y" * 3000)
    size = len(raw) // pieces + 1
    async with (
        serve(express_lane=express_lane, max_header_bytes=1024) as service,
        dial(service) as client,
    ):
        with suppress(trio.BrokenResourceError):
            await client.send(*(raw[i : i + size] for i in range(0, len(raw), size)))
        reply = await client.reply()
        assert (reply.status, reply.code) == (431, "headers_too_large")
        assert reply.headers["content-type"] == "application/problem+json"
        assert not await client.usable()


@PATHS
async def test_too_many_fields_are_refused(
    serve: Any, dial: Any, make_request: Make, *, express_lane: bool
) -> None:
    """As many fields as max_header_count are taken; one more gets 431 with limit and count."""
    async with (
        serve(express_lane=express_lane, max_header_count=8) as service,
        dial(service) as client,
    ):
        more = [(f"X-{i}", "y") for i in range(5)]
        await client.send(make_request(more=more[:4]))
        assert (await client.reply()).status == 202
        await client.send(make_request(more=more))
        reply = await client.reply()
        assert (reply.status, reply.code) == (431, "headers_too_large")
        assert (reply.json["limit"], reply.json["seen"]) == (8, 9)


@PATHS
async def test_a_body_shorter_than_announced_takes_from_what_follows(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, *, express_lane: bool
) -> None:
    """The announced length alone decides: what is behind a longer body is the next request."""
    body = make_batch(1)
    async with serve(express_lane=express_lane) as service:
        async with dial(service) as client:
            short = make_request(body, changes={"Content-Length": str(len(body) - 4)})
            await client.send(short)
            assert (await client.reply()).code == "gzip_truncated"
            reply = await client.reply("GET")
            assert (reply.status, reply.code) == (400, "request_malformed")
            assert await client.leftover() == b""
        async with dial(service) as client:
            long = make_request(body, changes={"Content-Length": str(len(body) + len(HEALTH))})
            await client.send(long + HEALTH)
            assert (await client.reply()).code == "trailing_bytes"
            assert await client.usable()


@PATHS
async def test_chunked_bodies(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, *, express_lane: bool
) -> None:
    """A chunked batch is taken, a damaged one is 400, one that grows too large is 413."""
    body = make_batch(1)
    half = len(body) // 2
    sound = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:]))
    chunked = {"Content-Length": None, "Transfer-Encoding": "chunked"}
    async with serve(express_lane=express_lane) as service:
        async with dial(service) as client:
            await client.send(make_request(sound + b"0\r\n\r\n", changes=chunked))
            assert (await client.reply()).status == 202
            assert await client.usable()
        async with dial(service) as client:
            await client.send(make_request(b"zz\r\n", changes=chunked))
            assert (await client.reply()).code == "request_malformed"
            assert not await client.usable()
        async with dial(service) as client:
            await client.send(make_request(b"", changes=chunked))
            with suppress(trio.BrokenResourceError):
                for _ in range(40):
                    await client.send(b"1000\r\n" + bytes(0x1000) + b"\r\n")
            reply = await client.reply()
            assert (reply.status, reply.code) == (413, "body_too_large")
            assert not await client.usable()


@PATHS
async def test_expectations_are_met(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, *, express_lane: bool
) -> None:
    """`Expect: 100-continue` gets 100 before the body is sent, and then the answer."""
    body = make_batch(1)
    head = make_request(body, more=[("Expect", "100-continue")])[: -len(body)]
    async with serve(express_lane=express_lane) as service, dial(service) as client:
        await client.send(head)
        client.rest = bytes(await client.stream.receive_some(65536))
        assert client.rest.startswith(b"HTTP/1.1 100 ")
        await client.send(body)
        reply = await client.reply()
        assert (reply.status, reply.interim) == (202, (100,))
        assert await client.usable()


@PATHS
async def test_a_body_that_announces_too_much_is_refused_unread(
    serve: Any, dial: Any, make_request: Make, *, express_lane: bool
) -> None:
    """The 413 comes from Content-Length alone, and reaches a client that keeps on sending."""
    raw = make_request(b"", changes={"Content-Length": "100000000"})
    async with (
        serve(express_lane=express_lane, linger_seconds=5.0) as service,
        dial(service) as client,
        trio.open_nursery() as nursery,
    ):

        async def send() -> None:
            with suppress(trio.BrokenResourceError):
                await client.stream.send_all(raw)
                while True:
                    await client.stream.send_all(bytes(10_000))

        nursery.start_soon(send)
        await trio.sleep(0.05)
        reply = await client.reply()
        assert (reply.status, reply.code) == (413, "body_too_large")
        assert reply.headers["connection"] == "close"
        nursery.cancel_scope.cancel()


POISON = b"GET /v1/poison HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED_POISON = b"0\r\n\r\n" + POISON
SMUGGLERS = {
    "CL.TE": (b"Content-Length: %d\r\nTransfer-Encoding: chunked" % len(CHUNKED_POISON),),
    "TE.CL": (b"Transfer-Encoding: chunked\r\nContent-Length: 4",),
    "TE.TE": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",),
    "TE list": (b"Transfer-Encoding: identity, chunked",),
    "TE twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",),
    "TE odd": (b"Transfer-Encoding: xchunked",),
    "TE tab": (b"Transfer-Encoding:\tchunked\r\nContent-Length: 5",),
    "TE case": (b"tRANSFER-eNCODING: CHUNKED\r\nContent-Length: 5",),
    "TE space": (b"Transfer-Encoding : chunked\r\nContent-Length: 5",),
    "TE vertical tab": (b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5",),
    "TE folded": (b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5",),
    "TE behind LF": (b"X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5",),
    "TE behind CR": (b"X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5",),
    "TE quoted": (b'Transfer-Encoding: "chunked"\r\nContent-Length: 5',),
    "CL twice": (b"Content-Length: 5\r\nContent-Length: %d" % len(CHUNKED_POISON),),
    "CL list": (b"Content-Length: 5, %d" % len(CHUNKED_POISON),),
    "CL plus": (b"Content-Length: +5",),
    "CL minus": (b"Content-Length: -5",),
    "CL hex": (b"Content-Length: 0x5",),
    "CL underscore": (b"Content-Length: 5_0",),
    "CL space": (b"Content-Length : 5",),
    "CL then space": (b"Content-Length: 5 5",),
    "CL NUL": (b"Content-Length: 5\0",),
    "CL huge": (b"Content-Length: 18446744073709551621",),
}


@PATHS
@pytest.mark.parametrize("fields", SMUGGLERS.values(), ids=SMUGGLERS.keys())
async def test_smugglers_get_one_answer_and_the_end(
    serve: Any, dial: Any, make_request: Make, fields: tuple[bytes], *, express_lane: bool
) -> None:
    """Ambiguous framing gets one refusal and the end: nothing behind it is taken for a request."""
    raw = make_request(CHUNKED_POISON, changes={"Content-Length": None})
    raw = raw.replace(b"\r\n\r\n", b"\r\n" + fields[0] + b"\r\n\r\n", 1)
    async with serve(express_lane=express_lane) as service, dial(service) as client:
        await client.send(raw)
        reply = await client.reply()
        assert reply.status in {400, 413, 501}, reply
        assert reply.headers["connection"] == "close"
        assert await client.leftover() == b""
        assert service.front.meter.requests["none", "not_found"] == 0


@PATHS
async def test_chunk_extensions_hide_nothing(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, *, express_lane: bool
) -> None:
    """A chunk's extension is skipped, not taken as its end; one with a line feed is refused."""
    body = make_batch(1)
    chunked = {"Content-Length": None, "Transfer-Encoding": "chunked"}
    async with serve(express_lane=express_lane) as service:
        async with dial(service) as client:
            chunk = b'%x;a="b;c"\r\n%b\r\n0;x\r\n\r\n' % (len(body), body)
            await client.send(make_request(chunk, changes=chunked) + HEALTH)
            assert (await client.reply()).status == 202
            assert (await client.reply("GET")).status == 200
            assert await client.usable()
        async with dial(service) as client:
            hidden = b"2;\nxx\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            await client.send(make_request(hidden, changes=chunked) + HEALTH)
            assert (await client.reply()).status == 400
            assert await client.leftover() == b""


def _bare(raw: bytes, *, which: str) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if which == "all":
        return b"\n".join(lines) + b"\n\n" + body
    if which == "first":
        return lines[0] + b"\n" + b"\r\n".join(lines[1:]) + b"\r\n\r\n" + body
    if which == "last line":
        return head + b"\n\r\n" + body
    return head + b"\r\n\n" + body


@pytest.mark.parametrize("pieces", [1, 5, 40])
@pytest.mark.parametrize("which", ["all", "first", "last line", "empty line"])
async def test_bare_line_feeds_are_answered_alike(
    serve: Any, dial: Any, make_request: Make, make_batch: Make, which: str, pieces: int
) -> None:
    """Lines that end without CR get the same answer with and without the lane, and at once."""
    statuses = []
    for express_lane in (True, False):
        seen = []
        async with serve(express_lane=express_lane) as service:
            for body in (make_batch(1), b"x\r\n\r\ny", b"x\n\ny"):
                raw = _bare(make_request(body), which=which)
                size = len(raw) // pieces + 1
                async with dial(service) as client:
                    with trio.fail_after(5):
                        with suppress(trio.BrokenResourceError):
                            await client.send(
                                *(raw[i : i + size] for i in range(0, len(raw), size))
                            )
                        seen.append((await client.reply()).status)
        statuses.append(seen)
    assert statuses[0] == statuses[1]
    assert 408 not in statuses[0]


@PATHS
@pytest.mark.parametrize("with_settings", [True, False], ids=["settings", "bare"])
async def test_an_upgrade_to_http2_is_ignored(
    serve: Any,
    dial: Any,
    make_request: Make,
    make_batch: Make,
    *,
    express_lane: bool,
    with_settings: bool,
) -> None:
    """`Upgrade: h2c` changes nothing: the answer is HTTP/1.1, as for any other request."""
    more = [("Upgrade", "h2c"), ("Connection", "Upgrade")]
    if with_settings:
        more = [
            ("Upgrade", "h2c"),
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ]
    fields = "".join(f"{name}: {value}\r\n" for name, value in more)
    health = f"GET /v1/healthz HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()
    async with serve(express_lane=express_lane) as service:
        for raw, method, status in (
            (health, "GET", 200),
            (make_request(make_batch(1), more=more), "POST", 202),
        ):
            async with dial(service) as client:
                await client.send(raw)
                reply = await client.reply(method)
                assert (reply.status, reply.interim) == (status, ())
                assert "upgrade" not in reply.headers
                assert await client.usable()
