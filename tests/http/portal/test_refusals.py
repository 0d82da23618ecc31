"""What the client does when the service says no, not now, or nothing."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page

from portal_rig import Recorder, Reply, Seen, accept, until

POSE = "/v1/pose/frames"
SESSION = str(UUID(int=1))
END = f"/v1/sessions/{SESSION}/end"
Visit = Callable[..., Any]


def _token(name: str = "a", *, life: int = 3600, age: int = 0) -> str:
    """Make a token that only looks like one: the client reads its times, and nothing verifies."""
    now = int(time.time()) - age
    claims = json.dumps({"iat": now, "exp": now + life, "name": name}).encode()
    return f"v1.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.c2ln"


def _open(page: Page, recording: Recorder, **more: Any) -> None:
    options = {"url": recording.url, "sessionId": SESSION, "token": _token(), "batchSeconds": 0.1}
    page.evaluate("(options) => open_session(options)", options | more)


def _told(page: Page, name: str) -> list[Any]:
    return [what[1:] for what in page.evaluate("told") if what[0] == name]


class Script:
    """Answers to a path in turn; afterwards, and elsewhere, all is well."""

    def __init__(self, path: str, *replies: Reply) -> None:
        self.path, self.replies = path, list(replies)

    def __call__(self, seen: Seen) -> Reply:
        if seen.path == self.path and self.replies:
            return self.replies.pop(0)
        return accept(seen)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (Reply(429, {"code": "policy_refused", "retry_after_ms": 700}), 0.7),
        (Reply(429, {"code": "policy_refused"}, {"Retry-After": "1"}), 1.0),
    ],
)
async def test_a_refusal_is_kept_to(
    visit: Visit, recording: Recorder, reply: Reply, seconds: float
) -> None:
    """After a 429 nothing comes before the time it named; its frames do not come again."""
    recording.script = Script(POSE, reply)

    def story(page: Page) -> Any:
        _open(page, recording)
        page.evaluate("feed(0, 5)")
        until(page, "session.state === 'waiting'")
        page.evaluate("window.dispatchEvent(new Event('online'))")
        page.evaluate("feed(5, 3)")
        until(page, "session.state === 'live'")
        return page.evaluate("session.statistics()"), _told(page, "drop")

    statistics, drops = await visit(recording.url, story)
    first, second = recording.of(POSE)
    assert second.at - first.at >= seconds
    assert statistics["framesRefused"] == 5
    assert drops == [[{"frames": 5, "reason": "service", "code": "policy_refused"}]]
    # The service has counted them itself.
    assert "x-client-dropped" not in second.headers


async def test_frames_given_up_while_waiting_are_told_once(
    visit: Visit, recording: Recorder
) -> None:
    """What the buffer could not hold is in the next header, until that is answered 202."""
    later = Reply(503, {"code": "draining", "retry_after_ms": 300})
    recording.script = Script(POSE, later, later)

    def story(page: Page) -> Any:
        _open(page, recording, bufferFrames=240)
        page.evaluate("feed(0, 10)")
        until(page, "session.state === 'waiting'")
        page.evaluate("feed(10, 300)")
        page.evaluate("session.dropFrames(4, 'cpu')")
        until(page, "session.statistics().framesBuffered === 0 && session.state === 'live'")
        page.evaluate("feed(400, 1)")
        until(page, "session.statistics().framesBuffered === 0")
        return page.evaluate("session.statistics()")

    statistics = await visit(recording.url, story)
    # 240 are held; then every second goes, and of the 70 that follow every second comes in.
    assert statistics["framesDropped"]["refused"] == 120 + 35
    told = [seen.headers.get("x-client-dropped") for seen in recording.of(POSE)]
    assert told[1] == told[2] == "155;reason=refused, 4;reason=cpu"
    assert set(told[3:]) == {None}
    assert statistics["framesAttempted"] == 311 + 4
    assert statistics["keepEvery"] == 1


async def test_a_token_is_renewed_before_it_expires(visit: Visit, recording: Recorder) -> None:
    """It is asked for once, in time, and what follows carries the new one."""
    fresh = _token("fresh")

    def story(page: Page) -> Any:
        page.evaluate("window.asked = 0")
        page.evaluate(
            "([options, fresh]) => open_session({ ...options,"
            " renewToken: async () => { asked++; return { telemetry_token: fresh }; } })",
            [
                {
                    "url": recording.url,
                    "sessionId": SESSION,
                    "token": _token("old", life=600, age=560),
                    "batchSeconds": 0.1,
                },
                fresh,
            ],
        )
        page.evaluate("feed(0, 3)")
        until(page, "session.statistics().tokenExpiresInMs > 3_000_000")
        page.evaluate("feed(3, 3)")
        until(page, "session.statistics().framesBuffered === 0")
        return page.evaluate("asked")

    assert await visit(recording.url, story) == 1
    last = recording.of(POSE)[-1]
    assert last.headers["authorization"] == f"Bearer {fresh}"


async def test_a_refused_token_costs_no_frame(visit: Visit, recording: Recorder) -> None:
    """After a 401 the token is renewed, and the next batch begins with the frames of the last."""
    recording.script = Script(POSE, Reply(401, {"code": "token_expired"}))
    fresh = _token("fresh")

    def story(page: Page) -> Any:
        page.evaluate("window.asked = 0")
        page.evaluate(
            "([options, fresh]) => open_session({ ...options,"
            " renewToken: () => { asked++; return fresh; } })",
            [
                {
                    "url": recording.url,
                    "sessionId": SESSION,
                    "token": _token(),
                    "batchSeconds": 0.1,
                },
                fresh,
            ],
        )
        page.evaluate("feed(0, 3)")
        until(page, "session.statistics().batchesAccepted === 1")
        return page.evaluate("[asked, session.statistics()]")

    asked, statistics = await visit(recording.url, story)
    assert (asked, statistics["framesRefused"]) == (1, 0)
    first, second = recording.of(POSE)
    assert first.headers["authorization"] != second.headers["authorization"] == f"Bearer {fresh}"
    assert first.body == second.body


@pytest.mark.parametrize(
    ("reply", "renew"),
    [
        (Reply(403, {"code": "consent_required", "detail": "no"}), "undefined"),
        (Reply(401, {"code": "token_signature", "detail": "no"}), "undefined"),
        (Reply(401, {"code": "token_signature", "detail": "no"}), "() => token"),
        (Reply(409, {"code": "session_finalized", "detail": "no"}), "undefined"),
    ],
)
async def test_what_cannot_be_mended_stops_the_frames(
    visit: Visit, recording: Recorder, reply: Reply, renew: str
) -> None:
    """Without consent, a token or a session, frames are neither kept nor sent; the app is told."""
    recording.script = Script(POSE, *[reply] * 9)

    def story(page: Page) -> Any:
        page.evaluate(
            f"([options, token]) => open_session({{ ...options, token, renewToken: {renew} }})",
            [{"url": recording.url, "sessionId": SESSION, "batchSeconds": 0.1}, _token()],
        )
        page.evaluate("feed(0, 3)")
        until(page, "session.state === 'stopped'")
        assert page.evaluate("feed(3, 3)") == 0
        assert page.evaluate("session.statistics().framesBuffered") == 0
        return _told(page, "error")

    errors = await visit(recording.url, story)
    assert [error["code"] for (error,) in errors] == [reply.document["code"]]
    # A renewed token gets its chance; then it is clear that the tokens are not the trouble.
    assert len(recording.of(POSE)) == (3 if "token" in renew else 1)


async def test_one_bad_batch_is_not_the_end(visit: Visit, recording: Recorder) -> None:
    """A 400 costs that batch; the next one goes."""
    recording.script = Script(POSE, Reply(400, {"code": "length_mismatch", "detail": "no"}))

    def story(page: Page) -> Any:
        _open(page, recording)
        page.evaluate("feed(0, 3)")
        until(page, "session.statistics().framesRefused === 3")
        page.evaluate("feed(3, 2)")
        until(page, "session.statistics().batchesAccepted === 1")
        return _told(page, "error")

    assert [error["code"] for (error,) in await visit(recording.url, story)] == ["length_mismatch"]


async def test_the_end_is_sent_until_it_is_answered(visit: Visit, recording: Recorder) -> None:
    """Told to wait, hung up on, refused its token: it goes on, and says the same each time."""
    recording.script = Script(
        END, Reply(503, {"code": "end_delayed", "retry_after_ms": 100}), Reply(0), Reply(502)
    )

    def story(page: Page) -> Any:
        _open(page, recording)
        page.evaluate("feed(0, 3)")
        page.evaluate(
            "void (window.ending = session.end({ status: 'abandoned', exerciseId: 'e',"
            " endedAt: 1_778_149_800_000 }))"
        )
        assert page.evaluate("session.end({ status: 'completed' }) === window.ending")
        assert page.evaluate("feed(3, 1)") == 0
        for _ in range(3):
            page.wait_for_timeout(150)
            page.evaluate("window.dispatchEvent(new Event('online'))")
        answer = page.evaluate("within(window.ending)")
        return answer, page.evaluate("session.state")

    answer, state = await visit(recording.url, story)
    assert (answer, state) == ({"status": "abandoned"}, "ended")
    assert [seen.path for seen in recording.seen] == [POSE, END, END, END, END]
    assert {seen.body for seen in recording.of(END)} == {recording.of(END)[0].body}
    assert recording.of(END)[0].json == {
        "ended_at": "2026-05-07T10:30:00.000Z",
        "client_status": "abandoned",
        "exercise_id": "e",
        "total_frames_attempted": 3,
    }


async def test_an_end_that_cannot_be_is_an_error(visit: Visit, recording: Recorder) -> None:
    """A conflict is final: the promise says which, in the service's words."""
    conflict = Reply(409, {"code": "end_conflict", "detail": "it ended as completed"})
    recording.script = Script(END, conflict)

    def story(page: Page) -> Any:
        _open(page, recording)
        return page.evaluate(
            "within(session.end({ status: 'error' })).catch((e) =>"
            " [e instanceof portal.PortalError, e.code, e.status, e.message])"
        )

    told = await visit(recording.url, story)
    assert told == [True, "end_conflict", 409, "it ended as completed"]


async def test_frames_that_are_refused_do_not_hold_up_the_end(
    visit: Visit, recording: Recorder
) -> None:
    """While the session ends, frames get a second chance; then the end goes and tells of them."""
    later = Reply(503, {"code": "spool", "retry_after_ms": 50})
    recording.script = Script(POSE, *[later] * 9)

    def story(page: Page) -> Any:
        _open(page, recording)
        page.evaluate("feed(0, 3)")
        page.evaluate("within(session.end({ status: 'completed' }))")

    await visit(recording.url, story)
    assert [seen.path for seen in recording.seen] == [POSE, POSE, END]
    assert recording.of(END)[0].headers["x-client-dropped"] == "3;reason=refused"


async def test_a_page_that_is_left_says_its_last_words(visit: Visit, recording: Recorder) -> None:
    """Frames, events and the end leave with the page: nobody is there to wait for an answer."""

    def story(page: Page) -> Any:
        _open(page, recording, batchSeconds=60, endOnLeave="abandoned")
        page.evaluate("feed(0, 30)")
        page.evaluate("session.sendEvent('play', { mediaId: 'm' }, { position_seconds: 1 })")
        page.goto("about:blank")
        for _ in range(200):
            if recording.of(END) and recording.of(POSE):
                break
            page.wait_for_timeout(20)

    await visit(recording.url, story)
    (batch,), (end,) = recording.of(POSE), recording.of(END)
    assert len(batch.body) == 10 + 5 + 9 + 30 * 532 + 8
    assert end.json["client_status"] == "abandoned"
    assert end.json["total_frames_attempted"] == 30
    # One that was under way may come twice: it is the same event.
    (event,) = {seen.body for seen in recording.of("/v1/media/events")}
    assert json.loads(event)["event"] == "play"


_WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"token": "nothing"}, "the session token is not v1.<claims>.<signature>"),
    ({"batchSeconds": 0}, "batchSeconds must be above 0, at most 60"),
    ({"bufferFrames": 100}, "bufferFrames must be a whole number from 240 to 36000"),
    ({"resolution": "big"}, 'the resolution must be like "640x480"'),
    ({"coords": "screen"}, 'coords must be "image" or "world"'),
    ({"exercise": "x" * 65}, "exercise must be a text of 1 to 64 characters"),
    (
        {"endOnLeave": "lost"},
        "endOnLeave must be null or one of completed, abandoned, cancelled, error",
    ),
    ({"sessionId": ""}, "sessionId must be a text"),
]


async def test_wrong_options_are_told_at_once(visit: Visit, recording: Recorder) -> None:
    """The app's mistake is an exception that names it, before anything is sent."""

    def story(page: Page) -> Any:
        given = {"url": recording.url, "sessionId": SESSION, "token": _token()}
        return page.evaluate(
            "(all) => all.map((given) => { try { open_session(given); return 'none'; }"
            " catch (e) { return e.message; } })",
            [given | options for options, _ in _WRONG_OPTIONS],
        )

    assert await visit(recording.url, story) == [words for _, words in _WRONG_OPTIONS]


async def test_frames_that_are_none_are_not_taken(visit: Visit, recording: Recorder) -> None:
    """A wrong shape throws; a time that does not go on is no frame."""

    def story(page: Page) -> Any:
        _open(page, recording, batchSeconds=60)
        return page.evaluate(
            """() => {
              const shape = (frame) => {
                try { return session.addFrame(frame); } catch (e) { return e.message; }
              };
              const at = performance.now() + 1000;
              return [shape([]), shape(new Float32Array(131)), shape(undefined),
                session.addFrame(frame(1), at), session.addFrame(frame(1), at),
                session.addFrame(frame(1), at - 500), session.addFrame(frame(1), NaN),
                session.addFrame(frame(1), -1e9), session.addFrame(frame(2), at + 1),
                session.statistics().framesAttempted];
            }"""
        )

    words = "a frame is 132 numbers or 33 landmarks"
    told = await visit(recording.url, story)
    assert told == [words, words, words, True, False, False, False, False, True, 2]
