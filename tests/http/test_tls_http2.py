"""The same route over TLS, over HTTP/2, and over both: Hypercorn's ways in, the same answers."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trio
import trustme
from h2.settings import SettingCodes

from penstock.commands.serve import leaves
from penstock.errors import StartupError

PATH = "/v1/pose/frames"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make one authority for all."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    """Give the settings of a certificate for localhost."""
    issued = authority.issue_cert("localhost")
    paths = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(paths["tls_cert"]), append=number > 0)
    issued.private_key_pem.write_to_path(str(paths["tls_key"]))
    return paths


def _client(authority: trustme.CA, *, http2: bool) -> httpx.AsyncClient:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return httpx.AsyncClient(verify=context, http2=http2, trust_env=False)


def _url(service: Any, path: str = PATH) -> str:
    return f"https://localhost:{service.address.rpartition(':')[2]}{path}"


def _fields(make_token: Callable[..., str], **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {make_token()}",
        "Content-Type": "application/octet-stream",
        "X-Request-Id": "r-1",
        **more,
    }


@pytest.mark.parametrize("http2", [False, True])
async def test_the_route_over_tls(
    serve: Any,
    tls: dict[str, Path],
    authority: trustme.CA,
    make_token: Callable[..., str],
    make_batch: Callable[..., bytes],
    *,
    http2: bool,
) -> None:
    """Over TLS, HTTP/1.1 and HTTP/2 get what the plain route answers: 202, 400, 401, 413, 404."""
    async with serve(**tls) as service, _client(authority, http2=http2) as client:
        assert service.address.startswith("https://")
        fields = _fields(make_token)
        for number in (1, 2):
            reply = await client.post(_url(service), content=make_batch(3), headers=fields)
            assert reply.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert reply.status_code == 202
            assert reply.headers["x-request-id"] == "r-1"
            assert reply.json()["frames_accepted"] == 3
            assert reply.json()["buffer_position_bytes"] == number * 3 * 528
        for body, changes, code in (
            (b"xyz", {}, "not_gzip"),
            (b"x", {"Authorization": "Bearer x"}, "token_malformed"),
            (bytes(65_537), {}, "body_too_large"),
        ):
            reply = await client.post(_url(service), content=body, headers=fields | changes)
            assert reply.json()["code"] == code
            assert reply.json()["status"] == reply.status_code
        assert (await client.get(_url(service, "/nope"))).json()["code"] == "not_found"


async def test_http2_streams_are_answered_side_by_side(
    serve: Any,
    tls: dict[str, Path],
    authority: trustme.CA,
    make_token: Callable[..., str],
    make_batch: Callable[..., bytes],
) -> None:
    """Many requests at once on one HTTP/2 connection are each answered, and each counted once."""
    async with serve(**tls) as service, _client(authority, http2=True) as client:
        seen: list[int] = []

        async def post(session: int) -> None:
            fields = _fields(make_token, Authorization=f"Bearer {make_token(session)}")
            reply = await client.post(_url(service), content=make_batch(2), headers=fields)
            seen.append(reply.status_code)

        async with trio.open_nursery() as nursery:
            for session in range(1, 21):
                nursery.start_soon(post, session)
        assert seen == [202] * 20
        assert service.front.statistics().accepted <= 2
    assert service.ledger.process.seen == 40


async def test_plain_bytes_on_the_tls_port_end_the_connection_only(
    serve: Any, tls: dict[str, Path], dial: Any
) -> None:
    """Who does not speak TLS where it is spoken is cut off without a fault in the log."""
    async with serve(**tls) as service:
        async with dial(service) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.leftover()
        async with dial(service):
            pass


async def test_http2_without_tls(
    serve: Any,
    dial: Any,
    make_token: Callable[..., str],
    make_batch: Callable[..., bytes],
) -> None:
    """A client that knows that HTTP/2 is spoken gets it on the plain port, cut anywhere."""
    body = make_batch(2)
    async with serve() as service:
        for cut in (None, 3, 18, 24, 30):
            speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            speaker.initiate_connection()
            head = [
                (":method", "POST"),
                (":path", PATH),
                (":scheme", "http"),
                (":authority", "x"),
                *((name.lower(), value) for name, value in _fields(make_token).items()),
            ]
            speaker.send_headers(1, head)
            speaker.send_data(1, body, end_stream=True)
            raw = speaker.data_to_send()
            async with dial(service) as client:
                await client.send(*((raw,) if cut is None else (raw[:cut], raw[cut:])))
                headers, data = await _h2_answer(speaker, client.stream)
                assert headers[b":status"] == b"202", data
                assert headers[b"x-request-id"] == b"r-1"
    assert service.ledger.process.seen == 10


async def test_an_early_answer_over_http2_leaves_the_other_streams_alone(
    serve: Any, dial: Any, make_token: Callable[..., str], make_batch: Callable[..., bytes]
) -> None:
    """A body that arrives behind its own refusal is dropped, and the connection serves on."""
    async with serve() as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        for number, (path, status) in enumerate(
            (("/nope", b"404"), (PATH, b"413"), (PATH, b"202"))
        ):
            stream, large = 1 + 2 * number, {"content-length": "70000"} if status == b"413" else {}
            fields = {":method": "POST", ":path": path, ":scheme": "http", ":authority": "x"}
            fields |= {name.lower(): v for name, v in _fields(make_token).items()} | large
            speaker.send_headers(stream, list(fields.items()))
            if status != b"202":
                await client.send(speaker.data_to_send())
                headers, _ = await _h2_answer(speaker, client.stream)
                assert headers[b":status"] == status
                for _ in range(3):
                    speaker.send_data(stream, bytes(5000))
                    await client.send(speaker.data_to_send())
            else:
                speaker.send_data(stream, make_batch(1), end_stream=True)
                await client.send(speaker.data_to_send())
                headers, _ = await _h2_answer(speaker, client.stream)
                assert headers[b":status"] == status


async def test_http2_connect_is_refused(serve: Any, dial: Any) -> None:
    """CONNECT over HTTP/2, plain or for a WebSocket, is refused on its own stream."""
    async with serve() as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        speaker.send_headers(1, [(":method", "CONNECT"), (":authority", "x:80")])
        await client.send(speaker.data_to_send())
        events: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.StreamReset) for event in events):
            events += speaker.receive_data(bytes(await client.stream.receive_some(65536)))


async def test_a_stream_that_is_reset_leaves_an_idle_connection(
    serve: Any, dial: Any, make_token: Callable[..., str]
) -> None:
    """A connection whose only stream the client resets is idle again, and closed as such."""
    async with serve(idle_timeout_seconds=0.3) as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        fields = {":method": "POST", ":path": PATH, ":scheme": "http", ":authority": "x"}
        fields |= {name.lower(): value for name, value in _fields(make_token).items()}
        speaker.send_headers(1, list(fields.items()))
        await client.send(speaker.data_to_send())
        await trio.sleep(0.05)
        speaker.reset_stream(1)
        await client.send(speaker.data_to_send())
        await client.leftover()
        assert service.front.statistics().timed_out == 1


async def test_answers_that_are_not_fetched_over_http2_end_the_connection(
    serve: Any, dial: Any
) -> None:
    """A client that keeps its window shut is cut off at three times a request's limit."""
    limit = 0.3
    async with serve(request_timeout_seconds=limit) as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        speaker.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        for stream in (1, 3, 5):
            speaker.send_headers(stream, _ask("GET", "/metrics"), end_stream=True)
        await client.send(speaker.data_to_send())
        began = trio.current_time()
        with trio.fail_after(3 * limit + 1.5):
            await client.leftover()
        assert trio.current_time() - began > 2 * limit
        assert service.front.statistics().timed_out == 1


async def test_one_shut_stream_among_many_ends_the_connection(serve: Any, dial: Any) -> None:
    """One answer that is never fetched counts from its own request, whatever else is asked."""
    limit = 0.3
    async with serve(request_timeout_seconds=limit) as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        speaker.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        speaker.send_headers(1, _ask("GET", "/metrics"), end_stream=True)
        began = trio.current_time()
        stream = 3
        with trio.fail_after(3 * limit + 1.5), suppress(trio.BrokenResourceError):
            while service.front.statistics().timed_out == 0:
                speaker.send_headers(stream, _ask("GET", "/metrics"), end_stream=True)
                await client.send(speaker.data_to_send())
                speaker.reset_stream(stream)
                await client.send(speaker.data_to_send())
                stream += 2
                await trio.sleep(0.05)
            await client.leftover()
        assert trio.current_time() - began > 2 * limit
        assert service.front.statistics().timed_out == 1


async def test_a_healthy_http2_connection_outlives_a_requests_limit(serve: Any, dial: Any) -> None:
    """Requests that are each answered in time keep a connection for longer than one may take."""
    async with serve(request_timeout_seconds=0.2) as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        for number in range(8):
            speaker.send_headers(1 + 2 * number, _ask("GET", "/v1/healthz"), end_stream=True)
            await client.send(speaker.data_to_send())
            headers, _ = await _h2_answer(speaker, client.stream)
            assert headers[b":status"] == b"200"
            await trio.sleep(0.15)
        assert service.front.statistics().timed_out == 0
        assert service.front.statistics().accepted == 1


async def test_answered_http2_requests_leave_nothing_behind(serve: Any, dial: Any) -> None:
    """A long-lived HTTP/2 connection holds no more after a hundred answers than after one."""
    async with serve() as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        for number in range(100):
            speaker.send_headers(1 + 2 * number, _ask("GET", "/v1/healthz"), end_stream=True)
            await client.send(speaker.data_to_send())
            await _h2_answer(speaker, client.stream)
        (connection,) = service.front.connections
        protocol = connection.protocol.protocol
        held = {name: len(v) for name, v in vars(protocol).items() if isinstance(v, dict)}
        assert held
        assert all(count <= 2 for count in held.values()), held


async def test_an_http2_connection_that_is_never_idle_is_healthy(
    serve: Any, dial: Any, make_token: Callable[..., str], make_batch: Callable[..., bytes]
) -> None:
    """Requests that overlap without a pause, each in time, are neither cut off nor counted late."""
    limit = 0.4
    body = make_batch(1)
    async with serve(request_timeout_seconds=limit) as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        fields = [(name.lower(), value) for name, value in _fields(make_token).items()]
        speaker.send_headers(1, _ask("POST", PATH) + fields)
        await client.send(speaker.data_to_send())
        began, stream = trio.current_time(), 1
        while trio.current_time() - began < 3 * limit + 0.7:
            speaker.send_headers(stream + 2, _ask("POST", PATH) + fields)
            await client.send(speaker.data_to_send())
            await trio.sleep(0.1)
            speaker.send_data(stream, body, end_stream=True)
            await client.send(speaker.data_to_send())
            headers, _ = await _h2_answer(speaker, client.stream)
            assert headers[b":status"] == b"202"
            stream += 2
        assert service.front.statistics().timed_out == 0
        assert service.front.statistics().accepted == 1


def _ask(method: str, path: str) -> list[tuple[str, str]]:
    return [(":method", method), (":path", path), (":scheme", "http"), (":authority", "x")]


@pytest.mark.parametrize("wrong", ["tls_cert", "tls_key", "both"])
async def test_tls_files_that_are_no_pem_are_named(
    serve: Any, tls: dict[str, Path], wrong: str
) -> None:
    """The start is refused with the names of both settings when their files are no certificate."""
    for name, path in tls.items():
        if wrong in {name, "both"}:
            path.write_text("no PEM\n")
    with pytest.raises((StartupError, ExceptionGroup)) as raised:
        async with serve(**tls):
            pass
    (refused,) = leaves(raised.value)
    assert isinstance(refused, StartupError)
    (line,) = refused.lines
    assert "tls_cert" in line
    assert "tls_key" in line
    assert str(tls["tls_cert"]) in line


async def test_an_http2_connection_ends_with_its_last_answer_at_shutdown(
    serve: Any,
    tls: dict[str, Path],
    authority: trustme.CA,
    make_token: Callable[..., str],
    make_batch: Callable[..., bytes],
) -> None:
    """A stream under way when the service stops gets its answer, and does not hold up the end."""
    seen: list[int] = []
    opened = trio.Event()

    async def body() -> AsyncIterator[bytes]:
        whole = make_batch(2)
        yield whole[:20]
        opened.set()
        await trio.sleep(0.2)
        yield whole[20:]

    async def post(url: str, client: httpx.AsyncClient) -> None:
        seen.append(
            (await client.post(url, content=body(), headers=_fields(make_token))).status_code
        )

    async with _client(authority, http2=True) as client, trio.open_nursery() as nursery:
        began = trio.current_time()
        async with serve(**tls) as service:
            nursery.start_soon(post, _url(service), client)
            await opened.wait()
            await trio.sleep(0.05)
        assert seen == [202]
        assert trio.current_time() - began < 5
    assert service.ledger.process.seen == 2


async def _h2_answer(
    speaker: h2.connection.H2Connection, stream: trio.SocketStream
) -> tuple[dict[bytes, bytes], bytes]:
    headers: dict[bytes, bytes] = {}
    data = b""
    while True:
        received = bytes(await stream.receive_some(65536))
        assert received, "the connection ended before the answer"
        for event in speaker.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                headers = {_bytes(name): _bytes(value) for name, value in event.headers or ()}
            elif isinstance(event, h2.events.DataReceived):
                data += event.data or b""
            elif isinstance(event, h2.events.StreamEnded):
                return headers, data


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


async def test_an_idle_http2_connection_is_said_goodbye(serve: Any, dial: Any) -> None:
    """An HTTP/2 connection that asks for nothing lives as long as any idle one; no 408 cuts in."""
    options = {"request_timeout_seconds": 0.1, "idle_timeout_seconds": 0.6}
    async with serve(**options) as service, dial(service) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        raw = speaker.data_to_send()
        await client.send(raw[:10], raw[10:])
        began = trio.current_time()
        rest = await client.leftover()
        assert b"HTTP/1.1" not in rest
        assert trio.current_time() - began > 0.5
