"""The example page of the documentation, and what it needs: a patient, a guide, a service.

`ExamplePage` serves `docs/how-to/portal-page` from the portal's own origin, with its markers filled
in as a build would do it, the poses of a synthetic patient and a guide video that stalls until it
is told to go on.
"""

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from penstock.bench.patients import Exercise, Recording, Traits, record
from portal_rig import PATIENCE_MS, PageServer
from webm import Picture, webm

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "portal-page"
FPS = 30
SECONDS = 56
# When the camera gives no pictures: in the rest between the two sets, where no repetition is.
BLIND_MS = (22_500, 24_500)
GUIDE_SECONDS = 48
_GUIDE_FPS = 8
_GUIDE_SIZE = (320, 240)
# So much of the guide's file comes at once.
_FIRST_SHARE = 0.3

# The guide shows the patient's own motion; encoded as fast as the browser can.
_ENCODE = """async ([fps, seconds, [width, height]]) => {
  const buffer = await (await fetch("/example/poses.bin")).arrayBuffer();
  const [count] = new Uint32Array(buffer, 0, 1);
  const values = new Float32Array(buffer, 4 + 4 * count);
  const pictures = [];
  let fault = null;
  const encoder = new VideoEncoder({
    output: (chunk) => {
      const bytes = new Uint8Array(chunk.byteLength);
      chunk.copyTo(bytes);
      const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
      pictures.push([Math.round(chunk.timestamp / 1000), chunk.type === "key", text]);
    },
    error: (error) => { fault = error; },
  });
  encoder.configure({ codec: "vp8", width, height, framerate: fps, bitrate: 60_000 });
  const pen = new OffscreenCanvas(width, height).getContext("2d");
  const joined = [[11, 12], [11, 13], [13, 15], [12, 14], [14, 16], [11, 23], [12, 24], [23, 24],
    [23, 25], [25, 27], [24, 26], [26, 28], [27, 31], [28, 32]];
  let seen = 0;
  for (let n = 0; n < fps * seconds && !fault; n++) {
    const at = Math.round((n * count) / (fps * 56)) * 132;
    if (!Number.isNaN(values[at])) seen = at;
    const spot = (one) => [values[seen + 4 * one] * width, values[seen + 4 * one + 1] * height];
    pen.fillStyle = "#dbe9e3";
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = "#b9d3c8";
    pen.fillRect(0, height * 0.85, width, height);
    pen.strokeStyle = pen.fillStyle = "#1c6b55";
    pen.lineWidth = 12;
    pen.lineCap = "round";
    pen.beginPath();
    for (const [from, to] of joined) {
      pen.moveTo(...spot(from));
      pen.lineTo(...spot(to));
    }
    pen.stroke();
    pen.beginPath();
    pen.arc(...spot(0), 13, 0, 2 * Math.PI);
    pen.fill();
    const frame = new VideoFrame(pen.canvas, { timestamp: (n * 1_000_000) / fps });
    encoder.encode(frame, { keyFrame: n % (2 * fps) === 0 });
    frame.close();
    if (encoder.encodeQueueSize > 8) await new Promise((go) => setTimeout(go, 5));
  }
  await encoder.flush();
  if (fault) throw fault;
  return pictures;
}"""


def patient() -> Recording:
    """Record somebody who does two sets of five squats before a good camera, with a rest."""
    traits = Traits(exercise=Exercise.SQUAT, repetitions_a_set=5, rest_seconds=18.0, jitter=0.001)
    return record(traits, seconds=SECONDS, fps=FPS, seed=0)


def blind(recording: Recording) -> Any:
    """Say which frames the camera does not give."""
    times = recording.timestamps_ms
    return (times > BLIND_MS[0]) & (times < BLIND_MS[1])


def poses_of(recording: Recording) -> bytes:
    """Write a recording as the page's `poses.js` reads it."""
    landmarks = recording.landmarks.astype("<f4").reshape(-1, 132)
    landmarks[blind(recording), 0] = np.nan
    times = recording.timestamps_ms.astype("<u4")
    return len(times).to_bytes(4, "little") + times.tobytes() + landmarks.tobytes()


@dataclass(eq=False)
class ExamplePage:
    """The page at `/example/`. `go_on` lets the rest of the guide come."""

    portal: PageServer
    service: str
    module: str
    integrity: str
    user: str
    poses: bytes
    go_on: threading.Event = field(default_factory=threading.Event)
    guide: bytes = b""

    def open(self, page: Page) -> None:
        """Make the guide with this page's browser, then go to the example."""
        self._serve("poses.bin", "application/octet-stream", self.poses)
        self._serve("account.json", "application/json", json.dumps({"token": self.user}).encode())
        for name, kind in (("exercise.js", "text/javascript"), ("poses.js", "text/javascript"),
                           ("style.css", "text/css")):  # fmt: skip
            self._serve(name, kind, (PAGE / name).read_bytes())
        self.portal.more["/example/"] = ("text/html", self._give_page)
        self.portal.more["/example/guide.webm"] = ("video/webm", self._give_guide)
        self.portal.more["/example/blank"] = ("text/html", b"<!doctype html>")
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{self.portal.url}/example/blank")
        told = page.evaluate(_ENCODE, [_GUIDE_FPS, GUIDE_SECONDS, _GUIDE_SIZE])
        pictures = [Picture(at, key, base64.b64decode(data)) for at, key, data in told]
        self.guide = webm(pictures, _GUIDE_SIZE, 1000 * GUIDE_SECONDS)
        page.goto(f"{self.portal.url}/example/")

    def _serve(self, name: str, kind: str, content: bytes) -> None:
        self.portal.more[f"/example/{name}"] = (kind, content)

    def _give_page(self, request: BaseHTTPRequestHandler) -> None:
        text = (PAGE / "index.html").read_text()
        for marker in ("service", "module", "integrity"):
            text = text.replace(f"{{{marker}}}", getattr(self, marker))
        policy = (
            f"default-src 'none'; script-src 'self' {self.service}; style-src 'self'; "
            f"connect-src 'self' {self.service}; media-src 'self'; img-src data:; worker-src blob:"
        )
        body = text.encode()
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Security-Policy", policy)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _give_guide(self, request: BaseHTTPRequestHandler) -> None:
        """Give the first part, and the rest when it is time."""
        size = len(self.guide)
        start = int(request.headers["Range"].removeprefix("bytes=").partition("-")[0])
        request.send_response(206)
        request.send_header("Content-Type", "video/webm")
        request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        request.send_header("Content-Length", str(size - start))
        request.end_headers()
        first = max(start, round(size * _FIRST_SHARE))
        request.wfile.write(self.guide[start:first])
        self.go_on.wait(60)
        request.wfile.write(self.guide[first:])
