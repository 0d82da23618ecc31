"""What an app has of the client beside frames: tokens of Core, hidden pages, closing."""

import base64
import gzip
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from playwright.sync_api import Page

from portal_rig import Recorder, Reply, Seen, accept, until

POSE = "/v1/pose/frames"
SESSION = str(UUID(int=1))
Visit = Callable[..., Any]


def _token(name: str) -> str:
    now = int(time.time())
    claims = base64.urlsafe_b64encode(f'{{"iat":{now},"exp":{now + 3600}}}'.encode())
    return f"v1.{claims.rstrip(b'=').decode()}.{name}"


async def test_core_is_asked_for_another_token(visit: Visit, recording: Recorder) -> None:
    """With the user's own token; a refusal of Core's is told in its words, and asked again."""
    path = f"/v1/exercise-sessions/{SESSION}/telemetry-token"
    core = [Reply(403, {"code": "role_required", "detail": "not yours"})]

    def script(seen: Seen) -> Reply:
        if seen.path == path:
            return core.pop() if core else Reply(200, {"telemetry_token": _token("second")})
        held = seen.headers["authorization"].endswith("second")
        return accept(seen) if held else Reply(401, {"code": "token_expired"})

    recording.script = script

    def story(page: Page) -> Any:
        page.evaluate(
            "([url, sessionId, token]) => open_session({ url, sessionId, token, batchSeconds: 0.1,"
            " renewToken: portal.renewFromCore(url, sessionId, async () => 'jwt') })",
            [recording.url, SESSION, _token("first")],
        )
        page.evaluate("feed(0, 3)")
        until(page, "session.state === 'waiting'")
        until(page, "session.statistics().batchesAccepted === 1")
        return page.evaluate("told.filter(([name]) => name === 'error').map(([, e]) => e)")

    errors = await visit(recording.url, story)
    assert errors == [{"code": "role_required", "status": 403, "detail": "not yours"}]
    assert [seen.headers["authorization"] for seen in recording.of(path)] == ["Bearer jwt"] * 2


async def test_frames_that_a_hidden_page_missed_are_told(visit: Visit, recording: Recorder) -> None:
    """A page in the background gets no time: what it should have made counts as hidden."""

    def story(page: Page) -> Any:
        options = {"url": recording.url, "sessionId": SESSION, "token": _token("a"), "fps": 100}
        page.evaluate("(options) => open_session({ ...options, batchSeconds: 60 })", options)
        page.evaluate("feed(0, 4)")
        page.evaluate(
            """() => {
              window.show = (how) => {
                Object.defineProperty(document, "visibilityState",
                  { value: how, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
              };
              show("hidden");
            }"""
        )
        until(page, "session.statistics().batchesAccepted === 1")  # at once, not after a minute
        page.wait_for_timeout(200)
        page.evaluate("show('visible')")
        page.evaluate("within(session.end({ status: 'completed' }))")
        return page.evaluate("session.statistics()")

    statistics = await visit(recording.url, story)
    hidden = statistics["framesDropped"]["hidden"]
    assert 20 <= hidden < 2000  # a hundred a second, for at least a fifth of one
    assert statistics["framesAttempted"] == 4 + hidden
    (end,) = (seen for seen in recording.seen if seen.path.endswith("/end"))
    assert end.headers["x-client-dropped"] == f"{hidden};reason=hidden"
    assert end.json["total_frames_attempted"] == 4 + hidden


async def test_a_closed_session_is_silent(visit: Visit, recording: Recorder) -> None:
    """After `close` nothing is sent or taken; another session on the page goes on."""

    def story(page: Page) -> Any:
        options = {"url": recording.url, "sessionId": SESSION, "token": _token("a")}
        page.evaluate("(options) => open_session({ ...options, batchSeconds: 0.1 })", options)
        page.evaluate("window.first = session")
        other = options | {"sessionId": str(UUID(int=2)), "token": _token("b")}
        page.evaluate("(options) => open_session({ ...options, batchSeconds: 0.1 })", other)
        page.evaluate("first.addFrame(frame(1)); first.close()")
        assert page.evaluate("feed(0, 3)") == 3
        until(page, "session.statistics().batchesAccepted === 1")
        taken = page.evaluate("first.addFrame(frame(2))")
        return taken, page.evaluate("[first.state, session.state]")

    assert await visit(recording.url, story) == (False, ["closed", "live"])
    (batch,) = recording.of(POSE)
    assert batch.headers["authorization"].endswith("b")


async def test_a_page_that_may_come_back_goes_on(visit: Visit, recording: Recorder) -> None:
    """Put into the browser's cache it sends what it has and ends nothing; back again it goes on."""

    def story(page: Page) -> Any:
        options = {"url": recording.url, "sessionId": SESSION, "token": _token("a")}
        options |= {"batchSeconds": 0.1, "endOnLeave": "abandoned"}
        page.evaluate("(options) => open_session(options)", options)
        page.evaluate("window.turn = (how) => dispatchEvent(new PageTransitionEvent(how,"
                      " { persisted: true }))")  # fmt: skip
        page.evaluate("feed(0, 4); turn('pagehide')")
        until(page, "session.statistics().batchesAccepted === 1")
        # What a page in the cache has under way is cut off: the next try would be far away.
        recording.script = lambda _: Reply(0)
        page.evaluate("feed(4, 3)")
        until(page, "session.state === 'offline'")
        recording.script = accept
        page.evaluate("turn('pageshow')")
        until(page, "session.statistics().batchesAccepted === 2")
        # The test's own page is left for good afterwards.
        return page.evaluate("session.statistics()"), [seen.path for seen in recording.seen]

    statistics, asked = await visit(recording.url, story)
    assert set(asked) == {POSE}
    assert statistics["state"] == "live"
    assert (statistics["framesAttempted"], statistics["framesBuffered"]) == (7, 0)
    # Those of the page that was put away came again, as an overlap: nobody had seen the answer.
    assert statistics["framesDropped"] == dict.fromkeys(statistics["framesDropped"], 0)
    left, again = recording.of(POSE)[:2]
    assert len(left.body) == 10 + 5 + 9 + 4 * 532 + 8  # stored, not compressed: at once
    assert int.from_bytes(gzip.decompress(again.body)[1:5], "little") == 4
