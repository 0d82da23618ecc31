"""Penstock's front with nothing behind it: what the express lane itself can do.

The front, the gates and the answers are Penstock's own, opened as its composition root opens them.
In the place of the sessions stands one that counts and forgets, everybody consents, and the rate
gate is passed but never refuses. What Penstock's engine costs is the difference to Penstock.
"""

import os
import signal
import time
from typing import TYPE_CHECKING, cast

import trio

from penstock.bench.peers.options import say_started, tune_collector
from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason
from penstock.engine.ports import Purpose, Quota
from penstock.engine.session import Admitted
from penstock.http.app import AppLimits, Parts, create_app
from penstock.http.edge import CorsRules, Edge
from penstock.http.front import Bind, Front, FrontLimits, make_config, open_front
from penstock.http.gates import RateGate, RateLimits
from penstock.http.health import Readiness
from penstock.http.known_heads import KnownHeads
from penstock.http.meters import RequestMeter
from penstock.http.pose import PoseFrames
from penstock.http.session_tokens import TokenVerifier

if TYPE_CHECKING:
    from penstock.engine.sessions import Sessions
    from penstock.http.metrics import Exposition

# Where a limit has a setting, this is its default.
_FRONT = FrontLimits(
    max_connections=12_000,
    max_header_bytes=16_384,
    max_header_count=64,
    request_timeout_seconds=10.0,
    idle_timeout_seconds=75.0,
    linger_seconds=1.0,
    listen_backlog=1024,
    express_lane=True,
)
_TOKENS = 65_536
_LEEWAY_SECONDS = 5.0
_NEVER_REACHED = 1e9
_STOP_SECONDS = 5.0


class _Clock:
    def monotonic(self) -> float:
        return time.monotonic()

    def unix(self) -> float:
        return time.time()


class _Everybody:
    """Consents, and is not limited."""

    _quota = Quota()

    async def granted(self, principal_id: str, org_id: str, purpose: Purpose) -> bool:  # noqa: ARG002
        return True

    def granted_nowait(self, principal_id: str, org_id: str, purpose: Purpose) -> bool:  # noqa: ARG002
        return True

    async def of_org(self, org_id: str) -> Quota:  # noqa: ARG002
        return self._quota

    def of_org_nowait(self, org_id: str) -> Quota:  # noqa: ARG002
        return self._quota


class _Forgetful:
    """Admits every batch, counts its bytes, and forgets it."""

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}

    def at_hand(self, session_id: str) -> bool:  # noqa: ARG002
        return True

    def offer_nowait(self, identity: SessionIdentity, arrival: Arrival) -> Admitted:
        before = self._positions.get(identity.session_id, 0)
        position = self._positions[identity.session_id] = before + arrival.batch.landmark_bytes
        return Admitted(arrival.frame_count, position)

    async def offer(self, identity: SessionIdentity, arrival: Arrival) -> Admitted:
        return self.offer_nowait(identity, arrival)

    def refuse(self, identity: SessionIdentity, reason: Reason, frames: int) -> None:
        """Count nothing."""


class _NoMetrics:
    def render(self, accept: str) -> tuple[bytes, str]:  # noqa: ARG002
        return b"", "text/plain"


def make_front(secret: bytes) -> Front:
    """Put the front together around the stand-in. Needs a running Trio."""
    clock = _Clock()
    tokens = TokenVerifier([secret], cache_entries=_TOKENS, leeway_seconds=_LEEWAY_SECONDS)
    rate = RateGate(RateLimits(_NEVER_REACHED, _NEVER_REACHED))
    everybody = _Everybody()
    pose = PoseFrames(
        tokens,
        KnownHeads(_TOKENS),
        everybody,
        everybody,
        rate,
        cast("Sessions", _Forgetful()),
        clock,
    )
    edge = Edge(CorsRules(), clock)
    meter = RequestMeter()
    limits = AppLimits(_FRONT.request_timeout_seconds, _FRONT.max_header_count)
    parts = Parts(
        pose, edge, meter, Readiness(()), cast("Exposition", _NoMetrics()), limits, "express"
    )
    config = make_config(Bind("127.0.0.1", 0), _FRONT)
    return Front(create_app(parts), pose, edge, meter, _FRONT, config)


async def run(secret: bytes) -> None:
    """Serve on any free port of this machine until SIGTERM; say where on standard error."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_front(make_front(secret)) as front:
            say_started(front.addresses[0])
            async for _ in signals:
                break
            with trio.move_on_after(_STOP_SECONDS):
                await front.drain()


if __name__ == "__main__":
    tune_collector()
    trio.run(run, os.environ["PENSTOCK_SESSION_SECRET"].encode())
