"""Measure what the Python client costs beside requests that are written by hand.

    python tests/http/measure_client.py

One connection to a service of its own, one batch of ten frames after another: first as the load
harness would write them, made beforehand, then through `SessionClient`, which packs and sends them.
"""

import sys
import time
from http import HTTPStatus

import trio

from penstock.bench.library import make_library
from penstock.bench.load.requests import bearer
from penstock.bench.load.target import Target, start_penstock
from penstock.bench.traffic import PATH, session_id
from penstock.client import SessionClient
from penstock.engine import wire

SECONDS = 4.0
ROUNDS = 3
_RATE = 1000  # as high as the setting goes


async def by_hand(target: Target, number: int, member: bytes) -> int:
    """Send for a while; count the batches that were taken."""
    token = bearer(target.secret, number, int(time.time()), 3600)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    request = head.encode() + token + b"Content-Length: %d\r\n\r\n%b" % (len(member), member)
    taken, until = 0, time.monotonic() + SECONDS
    async with await trio.open_tcp_stream(*target.address) as stream:
        while time.monotonic() < until:
            await stream.send_all(request)
            # The answer is short, and comes whole over loopback.
            answer = await stream.receive_some()
            taken += int(answer.split()[1]) == HTTPStatus.ACCEPTED
    return taken


async def by_client(target: Target, number: int, member: bytes) -> int:
    """Send for a while; count the batches that were taken."""
    token = bearer(target.secret, number, int(time.time()), 3600).decode().split()[-1]
    host, port = target.address
    landmarks, at = wire.decode(member).landmarks, 0
    taken, until = 0, time.monotonic() + SECONDS
    async with SessionClient(f"http://{host}:{port}", session_id(number), token) as client:
        while time.monotonic() < until:
            for frame in landmarks:
                client.add_frame(frame, at)
                at += 100
            sent = await client.send()
            taken += sent.accepted > 0
            await trio.sleep(sent.wait_seconds)
    return taken


async def measure(target: Target) -> None:
    """Print a line for each way and round."""
    member = make_library(batches=1, frames_a_batch=10, seed=1).member(0, 0)
    number = 0
    for _ in range(ROUNDS):
        for name, way in (("by hand", by_hand), ("by SessionClient", by_client)):
            number += 1
            busy = time.process_time()
            taken = await way(target, number, member)
            busy = time.process_time() - busy
            sys.stdout.write(
                f"{name}: {taken / SECONDS:,.0f} batches a second, "
                f"{1e6 * busy / taken:,.0f} microseconds of CPU each\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    rates = {"rate_batches_per_second": _RATE, "rate_burst": _RATE}
    with start_penstock(sessions=100, connections=4, settings=rates) as opened:
        trio.run(measure, opened)
