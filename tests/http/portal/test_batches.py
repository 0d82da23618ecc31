"""What the browser client puts on the wire is what the service reads."""

import gzip
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from playwright.sync_api import Page

from penstock.engine import wire
from portal_rig import replay_of, until

# null stands for what JSON cannot say: not a number.
_ENCODE = """async ([values, times, stored]) => {
  const landmarks = Float32Array.from(values, (v) => (v === null ? NaN : v));
  const member = await portal.encodeBatch(landmarks, times, { fps: 30, stored });
  return Array.from(member);
}"""


def _values(frames: int) -> list[float | None]:
    values = np.random.default_rng(frames).normal(size=frames * 132).astype("<f4")
    listed: list[float | None] = [float(value) for value in values]
    listed[0] = None
    return listed


def _times(frames: int) -> list[int]:
    return [7 * n for n in range(frames)]


@pytest.mark.parametrize("stored", [False, True])
async def test_a_batch_reads_back_as_it_was_written(
    visit: Callable[..., Any], recording: Any, *, stored: bool
) -> None:
    """Compressed or stored, the service's decoder finds the very values, within its limits."""
    sizes = (1, 10, 120)

    def story(page: Page) -> list[bytes]:
        given = ([_values(frames), _times(frames), stored] for frames in sizes)
        return [bytes(page.evaluate(_ENCODE, batch)) for batch in given]

    for frames, member in zip(sizes, await visit(recording.url, story), strict=True):
        batch = wire.decode(member)
        assert (batch.frame_count, batch.fps_hint) == (frames, 30)
        assert list(batch.timestamps_ms) == _times(frames)
        wanted = np.array([np.nan if v is None else v for v in _values(frames)], "<f4")
        assert np.array_equal(batch.landmarks.ravel(), wanted, equal_nan=True)
        assert len(member) <= wire.MAX_MEMBER_BYTES


async def test_what_is_no_batch_is_refused_at_once(
    visit: Callable[..., Any], recording: Any
) -> None:
    """Values that do not fit their timestamps are a TypeError that says so."""

    def story(page: Page) -> str:
        return str(
            page.evaluate(
                "portal.encodeBatch(new Float32Array(131), [1])"
                ".catch((e) => `${e.name}: ${e.message}`)"
            )
        )

    told = await visit(recording.url, story)
    assert told == "TypeError: landmarks must be a Float32Array of 132 values a timestamp"


@pytest.mark.parametrize("workers", [True, False])
async def test_the_service_keeps_the_bytes_that_the_browser_sent(
    visit: Callable[..., Any],
    portal: Any,
    serve: Callable[..., Any],
    make_token: Callable[..., str],
    *,
    workers: bool,
) -> None:
    """From a typed array or MediaPipe's objects, in a worker or not, the same frames are stored."""
    async with serve(cors_origins=(portal.url,)) as service:
        options = {
            "url": service.address,
            "sessionId": str(UUID(int=1)),
            "token": make_token(1),
            "batchSeconds": 0.1,
            "exercise": "kniebeuge \u2013 tief",
            "resolution": "640x480",
        }

        def story(page: Page) -> Any:
            page.evaluate("(options) => open_session(options)", options)
            if workers:
                until(page, "session.statistics().compression === 'worker'")
            page.evaluate("feed(0, 5)")
            page.evaluate(
                """() => {
                  const points = Array.from({ length: 33 }, (_, i) => ({ x: 5, y: i / 132, z: 1 }));
                  session.addFrame(points, origin + 500);
                }"""
            )
            ended = page.evaluate("within(session.end({ status: 'completed' }))")
            return ended, page.evaluate("session.statistics()"), page.evaluate("told")

        ended, statistics, told = await visit(service.address, story, workers=workers)
        stored = replay_of(service.settings.data_dir, str(UUID(int=1))).read_bytes()
    assert ended["frames_received"] == 6
    assert ended["completeness"] == 1.0
    assert (ended["frames_dropped"], ended["suspicious_gap"]) == (0, False)
    assert statistics["compression"] == "page"  # the worker, if there was one, is gone
    assert statistics["framesAccepted"] == statistics["framesAttempted"] == 6
    assert not [what for what in told if what[0] != "state"]
    assert b"kniebeuge \\u2013 tief" in stored
    frames = _stored_frames(stored)
    assert [time for time, _ in frames] == [0, 100, 200, 300, 400, 500]
    assert [points[0, 0] for _, points in frames] == [0, 1, 2, 3, 4, 5]
    # MediaPipe's objects without a visibility count as seen.
    assert (frames[5][1][:, 3] == 1).all()


def _stored_frames(stored: bytes) -> list[tuple[int, Any]]:
    """Read the frames of a spool file, as anybody may: it is plain gzip."""
    content, at, found = gzip.decompress(stored), 0, []
    while at < len(content):
        _, count, _ = wire.HEADER.unpack_from(content, at)
        end = at + wire.HEADER.size + count * wire.BYTES_PER_FRAME
        batch = wire.decode(wire.compress(content[at:end]))
        found += list(zip(batch.timestamps_ms, batch.landmarks, strict=True))
        at = end
    return found
