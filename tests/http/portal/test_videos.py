"""What happens to a media element is told as the taxonomy's events, in order and once."""

import base64
import io
import threading
import time
import wave
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page

from penstock.engine.media.events import MediaKind
from penstock.http.media_bodies import BODIES
from portal_rig import PageServer, Recorder, Reply, until

SESSION = str(UUID(int=1))
EVENTS = "/v1/media/events"
CLIP_SECONDS = 2
_HERTZ = 96_000
Visit = Callable[..., Any]

# A short clip of a size, recorded by the browser itself.
_RECORD = """async ([width, height]) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: "video/webm" });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start();
  for (let n = 0; n < 8; n++) {
    context.fillStyle = `hsl(${18 * n} 80% 50%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


def _clip() -> bytes:
    """Make a sound of two seconds: a medium that needs no encoder."""
    held = io.BytesIO()
    with wave.open(held, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(_HERTZ)
        out.writeframes(b"\x00\x10\x00\xf0" * (_HERTZ * CLIP_SECONDS))
    return held.getvalue()


def _token() -> str:
    now = int(time.time())
    claims = base64.urlsafe_b64encode(f'{{"iat":{now},"exp":{now + 3600}}}'.encode())
    return f"v1.{claims.rstrip(b'=').decode()}.c2ln"


def _attach(page: Page, recording: Recorder, source: str) -> None:
    page.evaluate(
        """([options, source]) => {
          open_session({ ...options, batchSeconds: 0.02 });
          window.video = document.querySelector("video");
          window.watched = session.attachVideo(video, {
            mediaId: "squat-1",
            start: { ttfb_ms: 42, initial_bitrate: 900_000 },
          });
          video.src = source;
          video.play().catch(() => {}); // what goes wrong is told by the element, too
        }""",
        [{"url": recording.url, "sessionId": SESSION, "token": _token()}, source],
    )


def _events(recording: Recorder) -> list[dict[str, Any]]:
    events = []
    for seen in recording.of(EVENTS):
        event = seen.json
        events.append(event)
        assert event["session_id"] == SESSION
        assert (event["media_id"], event["media_type"]) == ("squat-1", "video")
        # The service reads it, and knows every field.
        body = BODIES[MediaKind(event["event"])].model_validate_json(seen.body, strict=True)
        assert event["data"].keys() <= type(body.data).model_fields.keys(), event
    keys = {(event["event"], event["timestamp"]) for event in events}
    assert len(keys) == len(events)
    return events


def _await(page: Page, recording: Recorder, kind: str) -> None:
    kinds: list[str] = []
    for _ in range(400):
        kinds = [event["event"] for event in _events(recording)]
        if kind in kinds:
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"no {kind} among {kinds}, {page.evaluate('told')}")


async def test_a_clip_that_stalls_is_told_from_start_to_end(
    visit: Visit, recording: Recorder, portal: PageServer
) -> None:
    """Start-up, stall, pause, seek, milestones and the end, with their figures."""
    clip, go_on = _clip(), threading.Event()

    def serve_slowly(request: BaseHTTPRequestHandler) -> None:
        start = int(request.headers["Range"].removeprefix("bytes=").partition("-")[0])
        request.send_response(206)  # without ranges, nobody could seek
        request.send_header("Content-Type", "audio/wav")
        request.send_header("Content-Range", f"bytes {start}-{len(clip) - 1}/{len(clip)}")
        request.send_header("Content-Length", str(len(clip) - start))
        request.end_headers()
        half = max(start, len(clip) // 2)
        request.wfile.write(clip[start:half])
        assert go_on.wait(20)
        request.wfile.write(clip[half:])

    portal.more["/slow.wav"] = ("audio/wav", serve_slowly)

    def story(page: Page) -> None:
        _attach(page, recording, "/slow.wav")
        _await(page, recording, "buffering_start")
        page.wait_for_timeout(300)
        go_on.set()
        _await(page, recording, "buffering_end")
        page.evaluate("video.pause()")
        page.evaluate("video.currentTime = 1.7; video.play()")
        until(page, "video.ended")
        page.evaluate("watched.detach()")
        page.evaluate("within(session.end({ status: 'completed' })).catch(() => 0)")

    await visit(recording.url, story)
    events = _events(recording)
    assert [event["event"] for event in events] == [
        "session_start",
        "play",
        "milestone",
        "buffering_start",
        "buffering_end",
        "pause",
        "seek",
        "play",
        "milestone",
        "milestone",
        "milestone",
        "pause",
        "session_end",
    ]
    start, play, _, stall, stalled, _, seek, again, *milestones, over, end = (
        e["data"] for e in events
    )
    assert start["total_duration_seconds"] == pytest.approx(CLIP_SECONDS, abs=0.01)
    assert start["heartbeat_interval_ms"] == 10_000
    assert (start["ttfb_ms"], start["initial_bitrate"]) == (42, 900_000)
    assert 0 < start["video_load_time_ms"] < 20_000
    assert start["video_load_time_ms"] <= play["startup_time_ms"]
    assert "startup_time_ms" not in again
    assert stalled["duration_ms"] >= 300
    assert stalled["elapsed_ms"] - stall["elapsed_ms"] == pytest.approx(
        stalled["duration_ms"], abs=2
    )
    assert seek["to_seconds"] == pytest.approx(1.7, abs=0.01)
    assert seek["from_seconds"] < 1.5
    assert [milestone["percent"] for milestone in milestones] == [50, 75, 100]
    assert over["position_seconds"] == pytest.approx(CLIP_SECONDS, abs=0.01)
    assert end["reason"] == "completed"
    elapsed = [event["data"]["elapsed_ms"] for event in events]
    assert elapsed == sorted(elapsed)


async def test_a_picture_that_changes_is_a_change_of_quality(
    visit: Visit, recording: Recorder, portal: PageServer
) -> None:
    """The element tells its resolution by itself; the bitrate comes from the app."""

    def story(page: Page) -> None:
        for width, height in ((160, 120), (320, 240)):
            clip = base64.b64decode(page.evaluate(_RECORD, [width, height]))
            portal.more[f"/{width}.webm"] = ("video/webm", clip)
        _attach(page, recording, "/160.webm")
        _await(page, recording, "play")
        page.evaluate("watched.quality({ bitrate: 800_000 })")
        page.evaluate("video.src = '/320.webm'; void video.play()")
        until(page, "video.ended")
        page.evaluate("within(session.end({ status: 'cancelled' })).catch(() => 0)")

    await visit(recording.url, story)
    events = _events(recording)
    changes = [event["data"] for event in events if event["event"] == "quality_change"]
    assert events[0]["data"]["initial_resolution"] == "160x120"
    assert [change["to_bitrate"] for change in changes] == [800_000, 800_000]
    assert [change.get("from_bitrate") for change in changes] == [900_000, 800_000]
    assert changes[1]["from_resolution"] == "160x120"
    assert changes[1]["to_resolution"] == "320x240"
    assert events[-1]["event"] == "session_end"


async def test_a_clip_that_is_not_there_is_an_error(visit: Visit, recording: Recorder) -> None:
    """A start without a load time, the error, and an end: an exit before the start."""

    def story(page: Page) -> None:
        _attach(page, recording, "/nothing.webm")
        _await(page, recording, "error")
        page.evaluate("within(session.end({ status: 'error' })).catch(() => 0)")

    await visit(recording.url, story)
    events = _events(recording)
    assert [event["event"] for event in events] == ["session_start", "error", "session_end"]
    assert "video_load_time_ms" not in events[0]["data"]
    assert events[1]["data"]["error_code"] == "source_not_supported"
    assert events[1]["data"]["fatal"] is True
    assert events[2]["data"]["reason"] == "error"


async def test_events_are_sent_until_they_are_answered(visit: Visit, recording: Recorder) -> None:
    """What failed comes again as it was; a refusal costs one event, no consent all of them."""
    replies = [Reply(503, {"retry_after_ms": 50}), Reply(0), Reply(202), Reply(400), Reply(202)]
    recording.script = lambda _: replies.pop(0) if replies else Reply(403, {"code": "no"})

    def story(page: Page) -> Any:
        options = {"url": recording.url, "sessionId": SESSION, "token": _token()}
        page.evaluate("(options) => open_session({ ...options, batchSeconds: 0.02 })", options)
        for kind in ("play", "seek", "pause", "play"):
            page.evaluate(f"session.sendEvent('{kind}', {{ mediaId: 'squat-1' }})")
        for _ in range(100):
            page.evaluate("window.dispatchEvent(new Event('online'))")
            if page.evaluate("session.statistics().eventsQueued") == 0:
                break
            page.wait_for_timeout(20)
        refused = page.evaluate("session.sendEvent('play', { mediaId: 'squat-1' })")
        return page.evaluate("session.statistics()"), refused

    statistics, refused = await visit(recording.url, story)
    bodies = [seen.body for seen in recording.of(EVENTS)]
    assert bodies[0] == bodies[1] == bodies[2]
    kinds = [seen.json["event"] for seen in recording.of(EVENTS)]
    assert kinds == ["play", "play", "play", "seek", "pause", "play"]
    assert (statistics["eventsSent"], statistics["eventsDropped"]) == (2, 2)
    assert refused is False


async def test_a_player_that_plays_is_heard_of_every_ten_seconds(
    visit: Visit, recording: Recorder, portal: PageServer
) -> None:
    """Heartbeats tell how it plays; in a pause there are none. The page's timers are the test's."""
    portal.more["/whole.wav"] = ("audio/wav", _clip())

    def story(page: Page) -> None:
        page.clock.install()
        page.reload()
        until(page, "window.open_session !== undefined")
        page.evaluate("document.querySelector('video').loop = true")
        _attach(page, recording, "/whole.wav")
        _await(page, recording, "play")
        answered = "session.statistics().eventsQueued === 0"
        until(page, answered)
        for _ in range(2):
            page.clock.run_for(10_000)
            until(page, answered)
        page.evaluate("video.pause()")
        _await(page, recording, "pause")
        until(page, answered)
        page.clock.run_for(30_000)
        page.evaluate("watched.detach()")
        until(page, answered)

    await visit(recording.url, story)
    events = _events(recording)
    kinds = [event["event"] for event in events if event["event"] != "milestone"]
    assert kinds == [
        "session_start",
        "play",
        "heartbeat",
        "heartbeat",
        "pause",
        "session_end",
    ]
    beats = [event["data"] for event in events if event["event"] == "heartbeat"]
    for beat in beats:
        assert (beat["playing"], beat["playback_rate"], beat["bitrate"]) == (True, 1, 900_000)
        assert 0 <= beat["buffer_length_ms"] <= 1000 * CLIP_SECONDS
    assert beats[1]["elapsed_ms"] - beats[0]["elapsed_ms"] >= 10_000
