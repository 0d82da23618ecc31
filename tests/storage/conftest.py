"""Small batches and chunks, made as the engine makes them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from penstock.engine import wire
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason, Tally
from penstock.engine.ports import SpoolChunk
from penstock.engine.timeline import Timeline


def _batch(frames: int = 3, start_ms: int = 0, sidecar: bytes | None = None) -> Arrival:
    points = np.full((frames, 33, 4), 0.5, "<f4")
    times = range(start_ms, start_ms + 100 * frames, 100)
    batch = wire.decode(wire.encode(points, list(times)))
    return Arrival(batch, 1_700_000_000_123, sidecar)


def _chunk(session: int, *batches: Arrival, used: int = 0, newest: int = 0) -> SpoolChunk:
    identity = SessionIdentity(str(UUID(int=session)), str(UUID(int=7)), str(UUID(int=8)))
    timeline = Timeline(0, newest, used) if used else Timeline()
    tally = Tally(used, 0, {Reason.USED: used} if used else {})
    return SpoolChunk(Checkpoint(identity, 1_700_000_000_000, used, timeline, tally), batches)


def _altered(arrival: Arrival, **fields: Any) -> Arrival:
    return arrival._replace(batch=arrival.batch._replace(**fields))


@pytest.fixture(scope="session")
def altered() -> Callable[..., Arrival]:
    """Give the maker of batches that are not sound: (arrival, fields of its FrameBatch)."""
    return _altered


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Arrival]:
    """Give the maker of batches: (frames, start_ms, sidecar)."""
    return _batch


@pytest.fixture(scope="session")
def make_chunk() -> Callable[..., SpoolChunk]:
    """Give the maker of chunks: (session number, *batches, used, newest)."""
    return _chunk
