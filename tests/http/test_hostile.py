"""Hostile requests by the ten thousands, straight into the lane's reader, the gates and the engine.

No sockets: bytes in, answers out. PENSTOCK_TEST_LONG=1 sends ten times as many.
"""

import gc
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio

from penstock.engine import wire
from penstock.http.exchange import Answer
from penstock.http.express import Express, HeadLimits, Hot, Step
from penstock.http.hot_routes import HotRoutes
from penstock.http.known_heads import KnownHeads
from penstock.http.problems import BY_CODE, Problem

REQUESTS = 200_000 if os.environ.get("PENSTOCK_TEST_LONG") else 20_000
WARM_UP = 4_000
# What may be left of it all: caches that fill up to their bounds, and the allocator's own.
MAX_GROWTH_BYTES = 8 << 20
LIMITS = HeadLimits(16_384, 64)
SPICE = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b",", b";", b"\t", b"%00", b"\xff" * 9, b"9" * 30,
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n", b"Connection: close\r\n", b"HTTP/1.0", b"-1",
    b"POST /v1/pose/frames HTTP/1.1\r\n",
    b"\x1f\x8b\x08", b"{" * 300, b"[" * 600, b"X: y\r\n" * 70, b"a" * 20_000,
    b"PRI * HTTP/2.0\r\n\r\n",
)  # fmt: skip


class Attacker:
    """Makes hostile requests of sound ones, always the same from one seed."""

    def __init__(self, seed: int, sound: list[bytes], blocks: list[bytes]) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._sound = sound
        self._blocks = blocks

    def requests(self, count: int) -> Iterator[list[bytes]]:
        """Give requests in pieces."""
        dice = self._dice
        for _ in range(count):
            raw = dice.choice(self._sound)
            if dice.random() < 0.4:
                raw = self._with_hostile_body(raw)
            for _ in range(dice.choice((0, 1, 1, 2, 5))):
                raw = self._damage(raw)
            cuts = sorted(dice.randrange(len(raw) + 1) for _ in range(dice.choice((0, 0, 1, 6))))
            edges = [0, *cuts, len(raw)]
            yield [raw[a:b] for a, b in pairwise(edges) if a != b]

    def _with_hostile_body(self, raw: bytes) -> bytes:
        """Damage what is inside the gzip member, and say its length truly."""
        head = raw[: raw.index(b"\r\n\r\n")]
        block = self._damage(self._dice.choice(self._blocks))
        body = wire.compress(block, level=1)
        if self._dice.random() < 0.3:
            body = self._damage(body)
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
        return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", body))

    def _damage(self, data: bytes) -> bytes:
        dice = self._dice
        at = dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0:
            return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        if kind == 1:
            return data[:at] + dice.choice(SPICE) + data[at:]
        if kind == 2:
            return data[:at] + data[at + dice.randrange(1, 40) :]
        if kind == 3:
            return data[:at]
        if kind == 4:
            return data[:at] + data[dice.randrange(len(data) + 1) :]
        return data[:at] + dice.randbytes(dice.randrange(1, 20)) + data[at:]


async def _attack(pose: Any, pieces: list[bytes]) -> str:
    """Give one request to a new connection's reader; tell the answer's code, or how it ended."""
    express = Express(LIMITS, KnownHeads(16), HotRoutes())
    ended = "more"
    fed = b""
    for piece in pieces:
        fed += piece
        express.receive(piece)
        while isinstance(step := express.next_step(), Hot):
            answer = await pose.answer(step.head, step.body)
            assert isinstance(answer, Answer)
            ended = answer.code
        if step is Step.COLD:
            assert fed.endswith(express.surrender())
            return "cold"
    return ended


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_hostile_requests_are_refused_and_leave_nothing_behind(
    serve: Any, make_request: Callable[..., bytes], make_batch: Callable[..., bytes]
) -> None:
    """Each gets an answer of the closed list or is not the lane's; no memory and no frame stays."""
    sound = [
        make_request(),
        make_request(make_batch(1), session=2, more=[("X-Batch-Meta", '{"coords":"world"}')]),
        make_request(make_batch(40, noise=True), session=3),
        make_request(session=4, target="/v1/pose/frames?meta=%7B%22exercise%22%3A%22squat%22%7D"),
    ]
    blocks = [wire.decode(make_batch(frames)).payload for frames in (1, 3, 40)]
    attacker = Attacker(20260601, sound, blocks)
    codes: Counter[str] = Counter()
    async with serve(token_cache_entries=64) as service:
        before = 0
        for number, pieces in enumerate(attacker.requests(WARM_UP + REQUESTS)):
            codes[await _attack(service.front.pose, pieces)] += 1
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
            if number == WARM_UP:
                gc.collect()
                before = _resident()
        while service.ledger.process.pending:  # noqa: ASYNC110 - the ledger tells nobody
            await trio.sleep(0.01)
        gc.collect()
        growth = _resident() - before
        assert growth < MAX_GROWTH_BYTES
        assert service.ledger.process.conserved
        assert service.sessions.statistics().crashed == 0
    assert codes.total() == WARM_UP + REQUESTS
    assert Problem.INTERNAL.code not in codes
    assert codes.keys() <= BY_CODE.keys() | {"accepted", "cold", "more"}
    assert len(codes) > 15, codes
    print(f"{codes.total()} requests, {growth / 1024:.0f} KiB more, {dict(codes)}")  # noqa: T201
