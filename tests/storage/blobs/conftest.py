"""Places for blobs: a folder, and a bucket of a moto server that is a process of its own."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import httpx
import pytest
import trio

from penstock.engine.blob_port import replay_key
from penstock.storage.blobs.opening import open_blobs
from penstock.storage.blobs.store import BlobLimits, Blobs

# Short, so that what hangs is told soon; long enough for a busy machine where it does not.
QUICK = BlobLimits(
    connect_seconds=2, read_seconds=5, request_seconds=8, total_seconds=20, retries=1
)
_NUMBERS = count(1)
_SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}


class Place(Protocol):
    """Where blobs are, and how to get at them behind the store's back."""

    url: str

    async def open(self, limits: BlobLimits = QUICK) -> Blobs: ...
    def raw(self, key: str) -> bytes | None: ...
    def overwrite(self, key: str, content: bytes) -> None: ...
    def unfinished(self) -> int: ...


@dataclass
class FolderPlace:
    folder: Path

    @property
    def url(self) -> str:
        return str(self.folder)

    async def open(self, limits: BlobLimits = QUICK) -> Blobs:
        return await open_blobs(self.url, limits, environ={})

    def raw(self, key: str) -> bytes | None:
        path = self.folder / key
        return path.read_bytes() if path.exists() else None

    def overwrite(self, key: str, content: bytes) -> None:
        (self.folder / key).parent.mkdir(exist_ok=True)
        (self.folder / key).write_bytes(content)

    def unfinished(self) -> int:
        return len(list((self.folder / ".incoming").iterdir()))


@dataclass
class BucketPlace:
    """A bucket of moto, which looks at who asks and not at the signature."""

    endpoint: str
    bucket: str
    prefix: str = "/re/plays"

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}{self.prefix}"

    async def open(
        self, limits: BlobLimits = QUICK, *, endpoint: str | None = None, **given: str
    ) -> Blobs:
        options = {
            "endpoint": endpoint or self.endpoint,
            "access_key_id": "test",
            "secret_access_key": "test",
            "region": "us-east-1",
        }
        return await open_blobs(self.url, limits, environ={}, options=options | given)

    def ask(self, method: str, path: str = "", **given: Any) -> httpx.Response:
        address = f"{self.endpoint}/{self.bucket}{path}"
        return httpx.request(method, address, headers=_SIGNED, timeout=20, **given)

    def raw(self, key: str) -> bytes | None:
        answer = self.ask("GET", f"{self.prefix}/{key}")
        return answer.content if answer.status_code == 200 else None

    def overwrite(self, key: str, content: bytes) -> None:
        assert self.ask("PUT", f"{self.prefix}/{key}", content=content).status_code == 200

    def unfinished(self) -> int:
        return self.ask("GET", "?uploads").text.count("<UploadId>")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Run one server; give its address."""
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
                    break
            else:
                pytest.fail("moto's server did not start")
            # Its log of requests would fill the pipe and stop it.
            with subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL) as drain:  # noqa: S607
                yield found[1]
                server.kill()
                drain.wait(10)
        finally:
            server.kill()


@pytest.fixture
def bucket(moto: str) -> BucketPlace:
    """Give an empty bucket."""
    place = BucketPlace(moto, f"replays-{next(_NUMBERS)}")
    assert place.ask("PUT").status_code == 200
    return place


@pytest.fixture
def folder(tmp_path: Path) -> FolderPlace:
    """Give a folder that is not there yet."""
    return FolderPlace(tmp_path / "blobs")


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    """Give each kind of place."""
    given: Place = request.getfixturevalue(request.param)
    return given


@pytest.fixture
def key() -> str:
    """Give the key of some session."""
    return make_key(1)


@pytest.fixture(scope="session")
def key_of() -> Callable[..., str]:
    """Give the maker of keys: (session number, org number)."""
    return make_key


def make_key(session: int, org: int = 8) -> str:
    return replay_key(str(UUID(int=org)), str(UUID(int=session)))


@dataclass
class Wire:
    """A proxy in front of a server, whose traffic a test may spoil.

    `cut_after` bytes of requests in all, every connection is cut, or only one with `cut_once`;
    `stall` lets nothing pass any more; `spoil` alters what clients send, `color` what they get.
    """

    address: str = ""
    cut_after: int | None = None
    cut_once: bool = False
    stall: bool = False
    passed: int = 0
    connections: int = 0
    spoil: Callable[[bytes], bytes] = bytes
    color: Callable[[bytes], bytes] = bytes

    async def serve(self, server: trio.SocketStream, target: tuple[str, int]) -> None:
        self.connections += 1
        try:
            async with await trio.open_tcp_stream(*target) as client, trio.open_nursery() as both:
                both.start_soon(self._answers, client, server, both.cancel_scope)
                async for data in server:
                    self.passed += len(data)
                    if self.cut_after is not None and self.passed > self.cut_after:
                        if self.cut_once:
                            self.cut_after = None
                        break
                    if self.stall:
                        await trio.sleep_forever()
                    await client.send_all(self.spoil(bytes(data)))
                both.cancel_scope.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _answers(
        self, client: trio.SocketStream, server: trio.SocketStream, done: trio.CancelScope
    ) -> None:
        try:
            async for data in client:
                await server.send_all(self.color(bytes(data)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        done.cancel()


@pytest.fixture
def wire(moto: str) -> Callable[[], Any]:
    """Give the opener of proxies in front of moto."""
    port = int(moto.rpartition(":")[2])

    @asynccontextmanager
    async def opened() -> AsyncIterator[Wire]:
        proxy = Wire()

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                await proxy.serve(stream, ("127.0.0.1", port))

        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            proxy.address = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            yield proxy
            nursery.cancel_scope.cancel()

    return opened
