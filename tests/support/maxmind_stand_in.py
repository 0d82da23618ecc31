"""A small HTTP server in the place of MaxMind, with its failures; and what it serves."""

import base64
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h11
import netaddr
import orjson
import trio
from mmdb_writer import MMDBWriter

ACCOUNT, KEY = "104400", "a licence key"
CREDENTIALS = "Basic " + base64.b64encode(f"{ACCOUNT}:{KEY}".encode()).decode()


def write_database(path: Path, countries: Mapping[str, str]) -> bytes:
    """Write a database of networks and their countries; give its bytes."""
    writer = MMDBWriter(6, "GeoLite2-City", ["en"], "a test's", ipv4_compatible=True)
    for network, country in countries.items():
        record: dict[str, Any] = {"country": {"iso_code": country}}
        writer.insert_network(netaddr.IPSet([network]), record)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.to_db_file(str(path))
    return path.read_bytes()


def pack(database: bytes, name: str = "GeoLite2-City_20260215/GeoLite2-City.mmdb") -> bytes:
    """Pack a database as MaxMind does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for member, content in (("GeoLite2-City_20260215/LICENSE.txt", b"words"), (name, database)):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def checksum(packed: bytes) -> bytes:
    """Give the checksum as MaxMind tells it."""
    return f"{hashlib.sha256(packed).hexdigest()}  GeoLite2-City_20260215.tar.gz\n".encode()


def exclusion(network: str, kind: str = "ccpa_do_not_sell") -> dict[str, str]:
    """Give an exclusion as MaxMind tells it."""
    return {
        "exclusion_type": kind,
        "data_type": "network",
        "value": network,
        "last_updated": "2026-02-10T00:00:00Z",
    }


def page(*networks: str, **more: Any) -> bytes:
    """Give a page of the list."""
    return orjson.dumps({"exclusions": [exclusion(network) for network in networks], **more})


@dataclass(slots=True)
class Reply:
    """What to answer at one path. `cut` sends only so much of what was announced."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None


@dataclass(slots=True)
class MaxMindStandIn:
    """What to answer by path and query, and who asked with which credentials."""

    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    held: trio.Event | None = None
    port: int = 0

    @property
    def url(self) -> str:
        """Give where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """Give the settings of a service that asks here."""
        return {
            "maxmind_account_id": ACCOUNT,
            "maxmind_license_key": KEY,
            "geo_update_url": f"{self.url}/geo?suffix=tar.gz",
            "privacy_exclusions_url": f"{self.url}/exclusions",
            "privacy_sync_days": 0,
            "geo_update_days": 0,
        }

    def serve_database(self, database: bytes) -> None:
        """Have a database to download."""
        packed = pack(database)
        self.replies["/geo?suffix=tar.gz"] = Reply(packed)
        self.replies["/geo?suffix=tar.gz.sha256"] = Reply(checksum(packed))

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection's requests."""
        link = h11.Connection(h11.SERVER)
        async with stream:
            try:
                while await self._answer(link, stream):
                    link.start_next_cycle()
            except trio.BrokenResourceError:
                pass

    async def _answer(self, link: h11.Connection, stream: trio.SocketStream) -> bool:
        head: h11.Request | None = None
        while True:
            event = link.next_event()
            if event is h11.NEED_DATA:
                link.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                break
            else:
                return False
        target = head.target.decode()
        told = dict(head.headers).get(b"authorization", b"").decode()
        self.asked.append((target, told))
        if self.held is not None:
            await self.held.wait()
        reply = self.replies.get(target, Reply(b"{}", 404))
        if told != CREDENTIALS and not target.startswith("/open/"):
            reply = Reply(b"{}", 401)
        headers = [("content-length", str(len(reply.body))), *reply.headers]
        response = h11.Response(status_code=reply.status, headers=headers)
        await stream.send_all(link.send(response) or b"")
        await stream.send_all(reply.body[: reply.cut])
        if reply.cut is not None:
            return False
        link.send(h11.Data(data=reply.body))
        link.send(h11.EndOfMessage())
        return True


@asynccontextmanager
async def stand_in_for_maxmind() -> AsyncIterator[MaxMindStandIn]:
    """Run the server around the block, on loopback."""
    maxmind = MaxMindStandIn()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, maxmind.serve, 0, host="127.0.0.1")
        (listener, *_) = await nursery.start(serve)
        maxmind.port = listener.socket.getsockname()[1]
        yield maxmind
        nursery.cancel_scope.cancel()
