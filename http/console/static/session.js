// One session's page: its charts, and what keeps it fresh while the session goes on.
//
// The page's own parts (`data-part`) are fetched anew as a whole and put in the place of the old
// ones; the charts have a document of their own, which may be older than the parts.

import { lineChart } from "./charts.js";

const refresh = document.getElementById("refresh");
const told = document.getElementById("refreshed");
const pauseButton = document.getElementById("pause");
const state = document.getElementById("timeline-state");
const timeline = document.getElementById("timeline");
const SECONDS = Number(refresh.dataset.seconds);
const FATES = [
  ["taken", "taken"],
  ["thinned", "thinned by policy"],
  ["refused", "refused"],
  ["lost", "lost"],
  ["unsent", "never sent"],
];
const SLOTS = { taken: 1, thinned: 5, refused: 2, lost: 4, unsent: 6, left: 1, right: 2, middle: 3 };
const MOST_REPETITION_LABELS = 60;

let frames = null;
let angle = null;
let paused = false;

function clock(ms) {
  const sign = ms < 0 ? "-" : "";
  const seconds = Math.abs(ms) / 1000;
  const whole = Math.floor(seconds / 60);
  return `${sign}${whole}:${(seconds - 60 * whole).toFixed(1).padStart(4, "0")}`;
}

const secondsOf = (from, to) => `${((to - from) / 1000).toFixed(1)} s`;

function gapBands(picture) {
  return picture.gaps.map((gap) => ({
    from: gap.start_ms,
    to: gap.end_ms,
    kind: "problem",
    label: `no frames for ${secondsOf(gap.start_ms, gap.end_ms)}: ${gap.reason.replaceAll("_", " ") || "unknown"}`,
  }));
}

function stallBands(found) {
  return found.stalls.map((stall) => ({
    from: stall.start_ms,
    to: stall.end_ms,
    kind: "warning",
    label: `video stalled for ${secondsOf(stall.start_ms, stall.end_ms)}`,
  }));
}

function decisionMarks(found) {
  return found.decisions.map((one) => ({
    at: one.from_ms,
    label: one.batches > 1 ? `${one.cause.replaceAll("_", " ")} ×${one.batches}` : one.cause.replaceAll("_", " "),
  }));
}

function framesOptions(found) {
  const { bins } = found.picture;
  const there = FATES.filter(([name], index) => index === 0 || bins[name].some((count) => count > 0));
  return {
    title: "Frames a second, and what became of them",
    unit: "frames/s",
    x: bins.starts_ms,
    series: there.map(([name, words]) => ({
      name: words,
      values: bins[name].map((count) => count / bins.bin_seconds),
      style: "step",
      slot: SLOTS[name],
      dashed: name === "unsent",
    })),
    bands: [...gapBands(found.picture), ...stallBands(found)],
    marks: decisionMarks(found),
    domain: [found.from_ms, found.until_ms],
    time: clock,
  };
}

function angleOptions(found) {
  const { curve, repetitions } = found.picture;
  return {
    title: `${curve.joint.replaceAll("_", " ")} over time, with repetitions`,
    unit: curve.unit,
    x: curve.times_ms,
    series: Object.entries(curve.lines).map(([side, values]) => ({
      name: side === "middle" ? curve.joint.replaceAll("_", " ") : side,
      values,
      slot: SLOTS[side],
    })),
    bands: [...gapBands(found.picture), ...stallBands(found)],
    marks: repetitions.slice(0, MOST_REPETITION_LABELS).map((one) => ({
      at: one.turn_ms,
      label: one.seen ? String(one.number) : `${one.number} unseen`,
    })),
    domain: [found.from_ms, found.until_ms],
    time: clock,
  };
}

function words(found) {
  const { picture } = found;
  const when = found.goes_on ? ` as of ${found.made_at.slice(11, 19)} UTC` : "";
  const parts = [`${picture.frames.toLocaleString("en")} frames of the replay${when}`];
  if (picture.bins.bin_seconds > 1) parts.push(`counted by ${picture.bins.bin_seconds} s`);
  if (picture.gap_count > picture.gaps.length) parts.push(`the longest ${picture.gaps.length} of ${picture.gap_count} gaps`);
  if (picture.damage_count > 0) parts.push(`${picture.damage_count} places in it are damaged`);
  if (!picture.curve.counted) parts.push("no repetition was found: the knees are shown");
  if (!found.stalls_placed_surely) parts.push("stalls may lie some seconds beside their place");
  return `${parts.join("; ")}.`;
}

function draw(found) {
  if (found.picture === null || found.picture.bins.starts_ms.length === 0) {
    timeline.hidden = true;
    state.textContent = found.picture === null ? `Nothing can be drawn: ${found.why}.` : "Nothing can be drawn: no frame has come to disk.";
    return;
  }
  timeline.hidden = false;
  state.textContent = words(found);
  const joint = found.picture.curve.joint.replaceAll("_", " ");
  document.getElementById("angle-title").textContent = found.picture.curve.counted ? `Working joint: ${joint}` : `${joint}`;
  if (frames === null) {
    frames = lineChart(document.getElementById("chart-frames"), framesOptions(found));
    angle = lineChart(document.getElementById("chart-angle"), angleOptions(found));
  } else {
    frames.update(framesOptions(found));
    angle.update(angleOptions(found));
  }
}

const goesOn = () => document.getElementById("session-head").dataset.goesOn === "yes";
const away = () => paused || document.hidden;

// What nobody has asked for does not keep the visit alive (see door.py).
const headers = (accept, forced) => (forced ? { Accept: accept } : { Accept: accept, "X-Penstock-By-Itself": "yes" });

async function look(forced) {
  const answer = await fetch(timeline.dataset.source, { headers: headers("application/json", forced) });
  if (answer.status === 401) {
    location.reload(); // to the sign-in, and back here
    return null;
  }
  if (!answer.ok) throw new Error(`${answer.status}`);
  const found = await answer.json();
  draw(found);
  return found;
}

// Parts that somebody reads or works in just now stay as they are until the next time.
function isWorkedIn(part) {
  const selection = getSelection();
  const selected = selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
  return part.contains(document.activeElement) || selected;
}

async function fetchParts(forced) {
  const answer = await fetch(location.href, { headers: headers("text/html", forced) });
  if (answer.redirected) {
    location.reload();
    return;
  }
  if (!answer.ok) throw new Error(`${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.getElementById(part.id);
    if (other === null || isWorkedIn(part)) continue;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    other.querySelectorAll("details").forEach((one, index) => {
      one.open = open[index] ?? one.open;
    });
    part.replaceWith(document.adoptNode(other));
  }
  sayWhen();
}

function sayWhen() {
  const at = `${new Date().toISOString().slice(11, 19)} UTC`;
  if (!goesOn()) told.textContent = `The session has ended: as of ${at}, this page stays as it is.`;
  else if (paused) told.textContent = `Paused: as of ${at}.`;
  else told.textContent = `As of ${at}; refreshes by itself every ${SECONDS} s.`;
}

function failed(error) {
  told.textContent = `The newest look failed (${error.message}); the next one is in ${SECONDS} s.`;
}

let timer = null;

async function turn({ forced = false } = {}) {
  clearTimeout(timer);
  if (forced || !away()) {
    try {
      await fetchParts(forced);
      await look(forced);
    } catch (error) {
      failed(error);
    }
  }
  if (goesOn()) timer = setTimeout(turn, SECONDS * 1000);
}

async function begin() {
  try {
    const found = await look(false);
    // Of one that has ended, only what could not be read for the moment is asked for again.
    if (found !== null && !found.goes_on && found.again_after_seconds !== null) {
      setTimeout(begin, found.again_after_seconds * 1000);
    }
  } catch (error) {
    state.textContent = `The charts cannot be drawn: the service answered ${error.message}.`;
  }
  if (goesOn()) timer = setTimeout(turn, SECONDS * 1000);
}

refresh.querySelector(".buttons").hidden = false;
pauseButton.addEventListener("click", () => {
  paused = !paused;
  pauseButton.setAttribute("aria-pressed", String(paused));
  sayWhen();
  if (!paused) turn({ forced: true });
});
document.getElementById("refresh-now").addEventListener("click", () => turn({ forced: true }));
if (goesOn()) sayWhen();
begin();
