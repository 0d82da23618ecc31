"""Measure what the browser client costs: bytes on the wire and main-thread milliseconds a batch.

Run it from the root of the tree:

    PYTHONPATH=tests/support python tests/http/portal/measure_cost.py [FRAMES A BATCH]…

A page in Chromium is fed with a synthetic patient's frames, ten batches a second instead of one,
so that a short run holds many. The browser's own count of the time its main thread was busy
(`TaskDuration`) is read before and after, with the client and with the same feeding and no client;
the difference is the client's, requests and compression included. What a request costs by itself
is measured beside it: the same feeding, and a bare `fetch` of as many bytes with the same headers.
"""

import base64
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from playwright.sync_api import Page

from penstock.bench.patients import record
from penstock.bench.traits import draw_traits
from portal_rig import CHROMIUM, NO_CHROMIUM, Browsers, page_server, recorder

SECONDS = 3.0
ROUNDS = 5
BATCHES_PER_SECOND = 10
_FEED = """async ([options, encoded, frames, milliseconds]) => {
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  const recorded = new Float32Array(bytes.buffer);
  if (options && !options.bare) open_session(options);
  await new Promise((resolve) => setTimeout(resolve, 300)); // until the worker runs
  let at = 0;
  let clock = performance.now();
  let bare = 0;
  const post = (options) => {
    bare++;
    const headers = { "Content-Type": "application/octet-stream",
      "X-Batch-Meta": "{}", Authorization: `Bearer ${options.token}` };
    const body = new Uint8Array(500 * frames);
    fetch(`${options.url}/v1/pose/frames`, { method: "POST", body, headers, keepalive: true })
      .then((answer) => answer.text());
  };
  const timer = setInterval(() => {
    if (options?.bare) post(options);
    for (let n = 0; n < frames; n++) {
      const frame = recorded.subarray(132 * at, 132 * (at + 1));
      at = (at + 1) % (recorded.length / 132);
      if (window.session) window.session.addFrame(frame, (clock += 1));
    }
  }, 100);
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  clearInterval(timer);
  const none = { batchesSent: bare, bytesSent: 500 * frames * bare, compression: "bare" };
  return options ? (window.session?.statistics() ?? none) : null;
}"""


@dataclass(slots=True, frozen=True)
class Run:
    """One run: the main thread's busy milliseconds, and what the session counted."""

    busy_ms: float
    batches: int
    batch_bytes: float
    place: str


def _busy_ms(page: Page, feed: list[Any]) -> tuple[float, Any]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def task_seconds() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    before = task_seconds()
    told = page.evaluate(_FEED, feed)
    return 1000 * (task_seconds() - before), told


def _landmarks(fps: int) -> str:
    recording = record(draw_traits(1), seconds=20, fps=fps, seed=1)
    return base64.b64encode(recording.landmarks.astype("<f4").tobytes()).decode()


def _token() -> str:
    now = int(time.time())
    claims = base64.urlsafe_b64encode(f'{{"iat":{now},"exp":{now + 3600}}}'.encode())
    return f"v1.{claims.rstrip(b'=').decode()}.c2ln"


def say(line: str) -> None:
    """Print a line at once: a run takes its time."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def measure(sizes: Sequence[int]) -> None:
    """Print one line a way of working and size of batch: medians of the rounds."""
    browsers = Browsers()
    chromium = browsers.tell(lambda browser: browser.version)
    say(f"Chromium {chromium}, {platform.machine()}, {os.cpu_count()} cores, {SECONDS:g} s a run")
    with page_server() as portal, recorder(time.monotonic) as service:
        for fps in sizes:
            encoded = _landmarks(fps)
            idle: list[float] = []
            runs: dict[str, list[Run]] = {}
            for _ in range(ROUNDS):
                for way in ("nothing", "bare", "worker", "page"):
                    options = {
                        "url": service.url,
                        "sessionId": "00000000-0000-0000-0000-000000000001",
                        "token": _token(),
                        "batchSeconds": 1 / BATCHES_PER_SECOND,
                        "worker": way == "worker",
                        "bare": way == "bare",
                        "resolution": "640x480",
                    }
                    given = None if way == "nothing" else options

                    def story(browser: Any, given: Any = given, way: str = way) -> Any:
                        page = portal.open(browser, service.url, workers=way == "worker")
                        feed = [given, encoded, fps, 1000 * SECONDS]  # noqa: B023 - run at once
                        try:
                            return _busy_ms(page, feed)
                        finally:
                            page.context.close()

                    busy, counted = browsers.tell(story)
                    if counted is None:
                        idle.append(busy)
                        continue
                    sent = counted["batchesSent"]
                    mean = counted["bytesSent"] / sent
                    run = Run(busy, sent, mean, counted["compression"])
                    runs.setdefault(way, []).append(run)
            floor = median(idle)
            for way, held in runs.items():
                assert {run.place for run in held} == {way}
                each = sorted((run.busy_ms - floor) / run.batches for run in held)
                what = "bare requests" if way == "bare" else f"compressed in the {way}"
                say(
                    f"{fps} frames a batch, {what}: "
                    f"{median(each):.2f} ms of the main thread a batch "
                    f"({each[0]:.2f} to {each[-1]:.2f}), "
                    f"{median(run.batch_bytes for run in held):,.0f} bytes a batch "
                    f"(raw {9 + fps * 532:,}), {held[0].batches} batches"
                )
            say(f"{fps} frames a batch, without a client: {floor:.0f} ms in {SECONDS:g} s")
    browsers.close()


if __name__ == "__main__":
    if CHROMIUM is None:
        raise SystemExit(NO_CHROMIUM)
    measure([int(size) for size in sys.argv[1:]] or (10, 30))
