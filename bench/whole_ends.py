"""How many sessions can end a second, each from its first batch to its published figures.

`python -m penstock.bench.whole_ends [--database-url URL] [--seconds S]` starts a service of its own
and has 1, 16 and 64 clients begin and end sessions over HTTP, one after another. A session here is
one batch of ten frames: what its end costs does not depend on how long it was. What is timed is the
end alone; what is counted are the answers of 200, whose replay is stored by then.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from statistics import quantiles

import orjson
import trio

from penstock.bench.errors import BenchError
from penstock.bench.library import make_library
from penstock.bench.load.requests import bearer
from penstock.bench.load.target import Target, start_penstock
from penstock.bench.traffic import PATH, session_id

CLIENTS = (1, 16, 64)
_MOST_SESSIONS = 100_000
_TTL_SECONDS = 3600
_RATE = 1000
_BODY = b'{"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}'


@dataclass(slots=True, frozen=True)
class EndSpeed:
    """What so many clients at a time had. `pending` were answered before Core had them."""

    clients: int
    ends_per_second: float
    p50_ms: float
    p99_ms: float
    pending: int


async def measure(target: Target, numbers: Iterator[int], clients: int, seconds: float) -> EndSpeed:
    """Begin and end sessions for that long; BenchError when one is not answered 200."""
    now, member = int(time.time()), make_library(batches=1, frames_a_batch=10, seed=1).member(0, 0)
    took: list[float] = []
    pending = 0

    async def patient() -> None:
        nonlocal pending
        stream = await trio.open_tcp_stream(*target.address)
        async with stream:
            while time.monotonic() < until:
                number = next(numbers)
                token = bearer(target.secret, number, now, _TTL_SECONDS)
                sent, _ = await _ask(stream, PATH, "application/octet-stream", token, member)
                if sent != HTTPStatus.ACCEPTED:
                    raise BenchError(f"a batch was answered {sent}")
                began = time.perf_counter()
                path = f"/v1/sessions/{session_id(number)}/end"
                status, said = await _ask(stream, path, "application/json", token, _BODY)
                if status != HTTPStatus.OK:
                    raise BenchError(f"an end was answered {status}: {said!r}")
                took.append(time.perf_counter() - began)
                pending += orjson.loads(said)["aggregates_published_at"] is None

    began = time.monotonic()
    until = began + seconds
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(patient)
    whole = time.monotonic() - began
    parts = [1000 * at for at in quantiles(took, n=100)]
    return EndSpeed(clients, len(took) / whole, parts[49], parts[98], pending)


async def _ask(
    stream: trio.SocketStream, path: str, content_type: str, authorization: bytes, body: bytes
) -> tuple[int, bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {content_type}\r\n".encode()
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    await stream.send_all(head + authorization + length + body)
    held = b""
    while (end := held.find(b"\r\n\r\n")) < 0:
        held += await _some(stream)
    lines = held[:end].lower().split(b"\r\n")
    expected = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(held) < end + 4 + expected:
        held += await _some(stream)
    return int(lines[0].split()[1]), held[end + 4 :]


async def _some(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some()
    if not data:
        raise BenchError("the service hung up")
    return bytes(data)


def main() -> None:
    """Read the command line, measure, and print a line for each number of clients."""
    parser = argparse.ArgumentParser(prog="python -m penstock.bench.whole_ends")
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each number of clients")
    told = parser.parse_args()
    rates = {"rate_batches_per_second": _RATE, "rate_burst": _RATE}
    ledger = {"database_url": told.database_url} if told.database_url else {}
    numbers = count()
    with start_penstock(
        sessions=_MOST_SESSIONS, connections=max(CLIENTS), settings=rates | ledger
    ) as target:
        for clients in CLIENTS:
            found = trio.run(measure, target, numbers, clients, told.seconds)
            print(  # noqa: T201 - the command's answer
                f"{found.clients:3} clients: {found.ends_per_second:7.1f} ends a second,"
                f" p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f} ms,"
                f" {found.pending} not yet published"
            )


if __name__ == "__main__":
    main()
