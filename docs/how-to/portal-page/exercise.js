/** One exercise session as a Portal page runs it, from the sign-in to the answered end. */

import { openPoses } from "./poses.js";

const EXERCISE = "squat";
// Pairs of landmarks that a line joins.
const BONES = [
  [11, 12], [11, 13], [13, 15], [12, 14], [14, 16], [11, 23], [12, 24], [23, 24], [23, 25],
  [25, 27], [24, 26], [26, 28], [27, 29], [29, 31], [31, 27], [28, 30], [30, 32], [32, 28],
];
const COUNTERS = {
  "frames-added": ["Frames seen", (n) => n.framesAdded],
  "frames-accepted": ["Frames stored", (n) => n.framesAccepted],
  "frames-waiting": ["Frames waiting", (n) => n.framesBuffered],
  "dropped-camera": ["Lost: camera", (n) => n.framesDropped.camera],
  "dropped-network": ["Lost: network", (n) => n.framesDropped.network],
  "frames-refused": ["Refused", (n) => n.framesRefused],
  "batches-sent": ["Batches sent", (n) => n.batchesSent],
  "kilobytes-sent": ["Kilobytes sent", (n) => Math.round(n.bytesSent / 1000)],
  "events-sent": ["Video events sent", (n) => n.eventsSent],
  "events-waiting": ["Video events waiting", (n) => n.eventsQueued],
  "events-dropped": ["Video events lost", (n) => n.eventsDropped],
  "compressed-in": ["Compressed in", (n) => n.compression],
};

const place = (id) => document.getElementById(id);
const service = document.body.dataset.service;
// Text only: a service's words never become markup.
const say = (text) => { place("message").textContent = text; };

function showState(state) {
  place("state").textContent = state;
  place("state").dataset.state = state;
}

function layCounters() {
  for (const [id, [label]] of Object.entries(COUNTERS)) {
    const box = document.createElement("div");
    const [term, value] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = label;
    value.id = id;
    box.append(term, value);
    place("counters").append(box);
  }
}

function showCounters(session) {
  const numbers = session.statistics();
  for (const [id, [, read]] of Object.entries(COUNTERS)) place(id).textContent = read(numbers);
}

/** Draw a frame: 132 numbers, in shares of the picture. */
function draw(pen, frame) {
  const { width, height } = pen.canvas;
  pen.clearRect(0, 0, width, height);
  if (frame === null) return;
  const at = (n) => [frame[4 * n] * width, frame[4 * n + 1] * height];
  pen.lineWidth = 5;
  pen.lineCap = "round";
  pen.strokeStyle = "#7ed0b2";
  pen.beginPath();
  for (const [from, to] of BONES) {
    pen.moveTo(...at(from));
    pen.lineTo(...at(to));
  }
  pen.stroke();
  const [[left, eyes], [right]] = [at(7), at(8)];
  pen.beginPath();
  pen.arc((left + right) / 2, eyes, Math.max(14, Math.abs(left - right)), 0, 2 * Math.PI);
  pen.stroke();
}

/** Ask Core for a session of this user, and the token that its telemetry needs. */
async function createSession(user) {
  const answer = await fetch(`${service}/v1/exercise-sessions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${user}`, "Content-Type": "application/json" },
    body: JSON.stringify({ exercise_id: EXERCISE }),
  });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.detail ?? `Core answered ${answer.status}`);
  return document;
}

async function begin(portal, user, poses) {
  const created = await createSession(user);
  const origin = performance.now();
  const session = new portal.PortalSession({
    url: service,
    sessionId: created.session_id,
    token: created.telemetry_token,
    startedAt: performance.timeOrigin + origin,
    renewToken: portal.renewFromCore(service, created.session_id, () => user),
    exercise: EXERCISE,
    resolution: "640x480",
    bufferFrames: 240, // eight seconds at thirty a second
    onstate: showState,
    onerror: (error) => say(`${error.code}: ${error.message}`),
  });
  showState(session.state);
  const guide = place("guide");
  const watched = session.attachVideo(guide, { mediaId: "squat-guide" });
  guide.play().catch((error) => say(`the guide does not play: ${error.message}`));
  const pen = place("figure").getContext("2d");
  poses.play(origin, (frame, timestamp) => {
    draw(pen, frame);
    if (frame === null) session.dropFrames(1, "camera");
    else session.addFrame(frame, timestamp);
  });
  const showing = setInterval(() => {
    place("elapsed").textContent = `${(session.elapsed() / 1000).toFixed(1)} s`;
    showCounters(session);
  }, 250);
  place("finish").disabled = false;
  place("finish").onclick = async () => {
    place("finish").disabled = true;
    watched.detach();
    say("Saving. Please keep this page open.");
    try {
      const answer = await session.end({ status: "completed", exerciseId: EXERCISE });
      say(`Saved: ${answer.frames_received} frames.`);
    } catch (error) {
      say(`Not saved: ${error.message}`);
    }
    clearInterval(showing);
    showCounters(session);
  };
}

async function main() {
  layCounters();
  // The same bytes that the page's integrity hash let in.
  const portal = await import(place("portal").src);
  // What your sign-in gives.
  const { token } = await (await fetch("account.json")).json();
  const poses = await openPoses("poses.bin");
  showState("ready");
  place("begin").disabled = false;
  place("begin").onclick = () => {
    place("begin").disabled = true;
    begin(portal, token, poses).catch((error) => say(error.message));
  };
}

main().catch((error) => {
  showState("stopped");
  say(error.message);
});
