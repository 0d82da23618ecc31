"""What an app, a proxy or a patient's clock may do wrong, and what it must not lead to."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page

from portal_rig import Recorder, Reply, accept, until

POSE, EVENTS = "/v1/pose/frames", "/v1/media/events"
SESSION = str(UUID(int=1))
END = f"/v1/sessions/{SESSION}/end"
Visit = Callable[..., Any]


def _token(name: str) -> str:
    now = int(time.time())
    claims = json.dumps({"iat": now, "exp": now + 3600, "name": name}).encode()
    return f"v1.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.c2ln"


def _options(recording: Recorder) -> dict[str, Any]:
    return {
        "url": recording.url,
        "sessionId": SESSION,
        "token": _token("first"),
        "batchSeconds": 0.05,
    }


async def test_an_event_that_cannot_be_written_stops_no_other(
    visit: Visit, recording: Recorder
) -> None:
    """Data in a circle, or a time that is none, is a TypeError at once; the session goes on."""

    def story(page: Page) -> Any:
        page.evaluate("(options) => open_session(options)", _options(recording))
        told = page.evaluate(
            """() => {
              const circle = {};
              circle.again = circle;
              const media = { mediaId: "m" };
              const say = (...given) => {
                try { return session.sendEvent("play", ...given); } catch (e) { return e.name; }
              };
              const data = { position_seconds: 1 };
              const calls = [say(media, circle), say(media, { big: 1n }), say(media, {}, NaN),
                say(undefined), say(media, data)];
              data.position_seconds = 2; // too late: it was said before
              return calls;
            }"""
        )
        page.evaluate("within(session.end({ status: 'completed' }))")
        return told

    assert await visit(recording.url, story) == [*["TypeError"] * 4, True]
    (event,) = recording.of(EVENTS)
    assert event.json["data"] == {"position_seconds": 1}
    assert len(recording.of(END)) == 1


async def test_a_wait_for_ever_is_no_busy_loop(visit: Visit, recording: Recorder) -> None:
    """A Retry-After beyond what a timer can hold is waited for, and costs nothing meanwhile."""
    for_ever = Reply(503, {"code": "draining"}, {"Retry-After": "99999999999"})
    recording.script = lambda seen: for_ever if seen.path == POSE else accept(seen)

    def story(page: Page) -> Any:
        page.evaluate(
            """(options) => {
              window.timers = 0;
              const wait = window.setTimeout;
              window.setTimeout = (...given) => { timers++; return wait(...given); };
              open_session(options);
              feed(0, 3);
            }""",
            _options(recording),
        )
        until(page, "session.state === 'waiting'")
        before = page.evaluate("timers")
        page.wait_for_timeout(300)
        # The test's own page says its last words when it is left.
        return page.evaluate("timers") - before, len(recording.of(POSE))

    timers, batches = await visit(recording.url, story)
    assert timers < 10
    assert batches == 1


@pytest.mark.parametrize("ms", [0, -1000])
async def test_an_end_that_may_come_again_at_once_takes_its_time(
    visit: Visit, recording: Recorder, ms: int
) -> None:
    """However soon the service wants it, it is not asked as fast as the network goes."""
    replies = [Reply(503, {"retry_after_ms": ms})] * 3
    recording.script = lambda seen: replies.pop() if seen.path == END and replies else accept(seen)

    def story(page: Page) -> None:
        page.evaluate("(options) => open_session(options)", _options(recording))
        page.evaluate("within(session.end({ status: 'completed' }))")

    await visit(recording.url, story)
    ends = [seen.at for seen in recording.of(END)]
    assert len(ends) == 4
    # Timers may be a little early.
    assert ends[-1] - ends[0] >= 3 * 0.24


async def test_a_clock_that_is_ahead_asks_for_one_token(visit: Visit, recording: Recorder) -> None:
    """A token seems to have expired to a patient's clock; the one that is made now has not."""

    def story(page: Page) -> Any:
        page.evaluate(
            """([options, fresh]) => {
              const real = Date.now;
              Date.now = () => real() + 7_200_000;
              window.asked = 0;
              open_session({ ...options, renewToken: async () => { asked++; return fresh; } });
              feed(0, 3);
            }""",
            [_options(recording), _token("second")],
        )
        until(page, "session.statistics().batchesAccepted === 1")
        return page.evaluate("[asked, session.statistics().tokenExpiresInMs]")

    asked, left = await visit(recording.url, story)
    assert asked == 1
    assert left > 3_000_000
    (batch,) = recording.of(POSE)
    claims = batch.headers["authorization"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["name"] == "second"
