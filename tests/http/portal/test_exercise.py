"""The documentation's example page exercises for a minute, and the session's row says how it was.

Real are the page (on another origin, under a strict policy), its video, its clock, the service with
all its routes and limits, and Core. `PENSTOCK_PORTAL_PICTURE=FILE` keeps a picture of the page.
"""

import os
from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Page

from asking import ANN, user
from penstock.bench.patients import Recording
from penstock.engine.finals import Final
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.records import FinalEntry, FinalOf
from penstock.http.roles import Role
from penstock.storage.ledger import open_sqlite_ledger
from portal_exercise import (
    BLIND_MS,
    GUIDE_SECONDS,
    SECONDS,
    ExamplePage,
    blind,
    patient,
    poses_of,
)
from portal_rig import PATIENCE_MS, PageServer

PICTURE = os.environ.get("PENSTOCK_PORTAL_PICTURE")
STALL_MS = 2_000
# The network goes when the camera is back, and long before the second set begins.
OFFLINE_AT = 25.6
# A squat of the second set at its lowest, for the picture.
PICTURE_AT = 41.0
Visit = Callable[..., Any]

# The page's own experience of its video, to be compared with the service's.
_WATCH = """() => {
  const guide = document.querySelector("video");
  window.stalls = [];
  guide.addEventListener("waiting", () => {
    if (guide.currentTime > 0) {
      const shown = parseFloat(document.getElementById("elapsed").textContent);
      window.stalls.push([performance.now(), null, shown]);
    }
  });
  guide.addEventListener("playing", () => {
    const last = window.stalls.at(-1);
    if (last) last[1] ??= performance.now();
  });
}"""


def _await(page: Page, what: str, expression: str, *, seconds: float = 0.0) -> None:
    """Wait for what takes about so many seconds, with ample patience."""
    for _ in range(round(PATIENCE_MS + 1000 * seconds) // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    text = page.evaluate("document.body.innerText")
    raise AssertionError(f"{what}: it never came: {text}")


def _until_second(page: Page, seconds: float) -> None:
    _await(page, f"second {seconds}",
           f"parseFloat(document.getElementById('elapsed').textContent) >= {seconds}",
           seconds=seconds)  # fmt: skip


def _exercise(page: Page, example: ExamplePage) -> tuple[dict[str, str], Any]:
    """Exercise as a patient does, while the test is the video's server and the network."""
    example.open(page)
    _await(page, "ready", "!document.getElementById('begin').disabled")
    page.evaluate(_WATCH)
    page.click("#begin")

    _await(page, "a stall", "window.stalls.length === 1", seconds=20)
    page.wait_for_timeout(STALL_MS)
    example.go_on.set()
    _await(page, "the end of a stall", "window.stalls[0][1] !== null")

    _until_second(page, OFFLINE_AT)
    page.context.set_offline(offline=True)
    _await(page, "offline", "document.getElementById('state').textContent === 'offline'")
    # Until the buffer is full, and frames have to go.
    _await(page, "a loss", "document.getElementById('dropped-network').textContent !== '0'",
           seconds=10)  # fmt: skip
    page.context.set_offline(offline=False)
    _await(page, "back", "document.getElementById('state').textContent === 'live'")
    if PICTURE:
        _until_second(page, PICTURE_AT)
        page.screenshot(path=PICTURE)

    _until_second(page, SECONDS + 0.5)
    page.click("#finish")
    _await(page, "the answer", "document.getElementById('state').textContent === 'ended'")
    _await(page, "it is told", "document.getElementById('message').textContent.startsWith('Saved')")
    counters = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('dd')].map((d) => [d.id, d.textContent]))"
    )
    return counters, page.evaluate("window.stalls")


async def test_a_minute_of_exercise_is_told_whole(
    visit: Visit, portal: PageServer, serve: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Repetitions, stalls, the gap and every lost frame stand in the row as they were."""
    recording = patient()
    # The limits are those of production; only the machine's other work must not cost frames.
    limits = {"rate_batches_per_second": 1.0, "rate_burst": 5}
    async with serve(cors_origins=(portal.url,), watchdog=180, **limits) as service:
        await turn(service, loss_percent=0)
        token = user(Role.PATIENT, ANN)
        async with httpx.AsyncClient(base_url=service.address) as client:
            manifest = (await client.get("/portal/portal.json")).json()
            example = ExamplePage(
                portal,
                service.address,
                manifest["url"],
                manifest["integrity"],
                token,
                poses_of(recording),
            )
            counters, stalls = await visit(service.address, lambda page: _exercise(page, example))
            asked = {"Authorization": f"Bearer {token}"}
            mine = await client.get("/v1/me/exercise-sessions", headers=asked)
        database = service.settings.data_dir / "ledger.sqlite3"
    (row,) = mine.json()["exercise_sessions"]
    async with open_sqlite_ledger(database) as ledger:
        entry = await ledger.read(FinalOf(row["session_id"]))
    assert isinstance(entry, FinalEntry)
    assert (row["status"], row["exercise_id"]) == ("completed", "squat")
    _check_frames(Final.from_plain(dict(entry.body)), recording, counters)
    _check_motion(row["session_metrics"], recording)
    _check_video(row["media_metrics"], stalls, counters, len(example.guide))


def _check_frames(final: Final, recording: Recording, shown: dict[str, str]) -> None:
    """Every frame is used, or lost for the reason and in the number that the page shows."""
    frames, unseen = len(recording.timestamps_ms), int(blind(recording).sum())
    gone = int(shown["dropped-network"])
    assert gone > 0
    assert int(shown["dropped-camera"]) == unseen
    assert int(shown["frames-added"]) == frames - unseen
    assert (shown["frames-waiting"], shown["frames-refused"]) == ("0", "0")
    tally = Tally.from_plain(final.tally)
    assert tally.conserved
    assert tally.unsent == {Reason.UNSENT_NETWORK: gone, Reason.UNSENT_CAMERA: unseen}
    used = frames - unseen - gone
    assert tally.frames(Reason.USED) == used
    # A batch whose answer the outage took came again, and was used once.
    assert final.frames_received == used + tally.ended.get(Reason.REPEATED, 0)
    assert (tally.count(Outcome.SHED), tally.count(Outcome.REFUSED), final.frames_lost) == (0, 0, 0)
    assert final.frames_attempted == frames
    assert (final.suspicious_gap, final.completeness) == (False, round(used / frames, 4))


def _check_motion(metrics: dict[str, Any], recording: Recording) -> None:
    """All repetitions are there, and the one gap is where the camera was blind."""
    assert metrics["rep_count"] == len(recording.truth.repetitions) == 10
    (gap,) = metrics["gaps"]
    assert gap["reason"] == Reason.UNSENT_CAMERA.value
    times = recording.timestamps_ms
    assert gap["start_ms"] == times[times <= BLIND_MS[0]].max()
    assert gap["end_ms"] == times[times >= BLIND_MS[1]].min()


def _check_video(
    metrics: dict[str, Any],
    stalls: list[tuple[float, float, float]],
    shown: dict[str, str],
    size: int,
) -> None:
    """Find the stalls that the page had, when it had them, and all of the guide watched."""
    assert 100_000 < size < 1_000_000
    assert (shown["events-waiting"], shown["events-dropped"]) == ("0", "0")
    assert metrics["events"] == int(shown["events-sent"])
    assert metrics["rebuffer_count"] == len(stalls) >= 1
    lengths = [ended - begun for begun, ended, _ in stalls]
    assert metrics["rebuffer_duration_ms"] >= STALL_MS
    assert abs(metrics["rebuffer_duration_ms"] - sum(lengths)) < 500
    # On the clock of the pose frames, which the page shows rounded, and a moment late.
    for stall, (_, _, shown_seconds) in zip(metrics["stalls"], stalls, strict=True):
        assert abs(stall["start_ms"] - 1000 * shown_seconds) < 2_000
    assert (metrics["completed"], metrics["completion_percent"]) == (True, 100.0)
    assert abs(metrics["watch_time_seconds"] - GUIDE_SECONDS) < 2
