// The flow page: listens to the service's samples, one a second, and draws them.

import { lineChart, plain, utc } from "./charts.js";

const SECONDS = 900;
const COLOURS = 5; // series of a chart by name; what is left is summed as "other"
const head = document.getElementById("flow");
const state = head.querySelector(".state");
const pauseButton = document.getElementById("pause");
const windowButtons = [...head.querySelectorAll("button[data-minutes]")];

let times = []; // milliseconds since 1970, oldest first
let columns = new Map(); // name -> numbers or null, as long as times
let marks = [];
let lastId = "";
let minutes = 5;
let paused = false;
let shownBadge = "";

// Keeping the samples.

function takeHistory({ at, columns: told, marks: toldMarks }) {
  times = at;
  columns = new Map(Object.entries(told));
  marks = toldMarks;
}

function takeSample({ at, values, marks: newMarks }) {
  for (const [name, column] of columns) column.push(values[name] ?? null);
  for (const [name, value] of Object.entries(values)) {
    if (!columns.has(name)) columns.set(name, [...times.map(() => null), value]);
  }
  times.push(at);
  marks.push(...newMarks);
  if (times.length > SECONDS) {
    times.shift();
    for (const column of columns.values()) column.shift();
    marks = marks.filter((mark) => mark.at >= times[0]);
  }
}

function view() {
  const last = times[times.length - 1];
  // Of a service that is younger than the time chosen, its age is shown, but a minute at least.
  const first = Math.max(last - minutes * 60_000, Math.min(times[0], last - 60_000));
  const from = Math.max(0, times.findIndex((at) => at >= first));
  const x = times.slice(from);
  return {
    x,
    domain: [first, last],
    column: (name) => columns.get(name)?.slice(from) ?? x.map(() => null),
    has: (name) => columns.has(name),
    marks: marks.filter((mark) => mark.at >= first).map(({ at, label }) => ({ at, label })),
  };
}

const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
const newest = (name) => columns.get(name)?.at(-1) ?? null;

// The largest of the columns under a prefix as series of their own, the rest as one. A reason has
// the same colour in every chart, for as long as the page is open.
const slots = new Map([["accepted", 1], ["used", 1], ["policy_thinned", 2], ["policy_refused", 4]]);

function slotOf(reason, taken) {
  if (!slots.has(reason)) slots.set(reason, [2, 3, 4, 5].find((slot) => !taken.has(slot)) ?? 5);
  return slots.get(reason);
}

function largest(seen, prefix, first) {
  const names = [...columns.keys()].filter((name) => name.startsWith(prefix));
  const sums = names.map((name) => ({ name, values: seen.column(name) }))
    .map((one) => ({ ...one, total: sum(one.values) }))
    .filter((one) => one.total > 0 || one.name === first)
    .sort((one, other) => (other.name === first) - (one.name === first) || other.total - one.total);
  const shown = sums.slice(0, COLOURS);
  const reasonOf = (one) => one.name.slice(prefix.length);
  const taken = new Set(shown.map((one) => slots.get(reasonOf(one))));
  const series = shown.map((one) => {
    const slot = slotOf(reasonOf(one), taken);
    taken.add(slot);
    return { name: reasonOf(one).replaceAll("_", " "), values: one.values, slot };
  });
  const rest = sums.slice(COLOURS);
  if (rest.length > 0) {
    const values = seen.x.map((_, index) => sum(rest.map((one) => one.values[index])));
    series.push({ name: "other", values, slot: 6, dashed: true });
  }
  return series;
}

// Drawing.

const RUNGS = ["", "thins", "refuses", "refuses bulk"];

function rungBands(seen) {
  const bands = [];
  const rungs = seen.column("rung");
  rungs.forEach((rung, index) => {
    const last = bands.at(-1);
    if (last && last.to === null && last.rung !== rung) last.to = seen.x[index];
    if (rung > 0 && (!last || last.to !== null)) {
      bands.push({ from: seen.x[index], to: null, rung, label: RUNGS[rung], kind: rung > 1 ? "problem" : "warning" });
    }
  });
  return bands;
}

const scaled = (seen, name, factor) => seen.column(name).map((value) => (value === null ? null : value * factor));

const CHARTS = {
  "chart-batches": {
    title: "Batches by answer", unit: "batches/s", max: 4,
    series: (seen) => largest(seen, "batches.", "batches.accepted"),
  },
  "chart-frames": {
    title: "Frames by where they ended", unit: "frames/s", max: 10,
    series: (seen) => largest(seen, "frames.", "frames.used"),
  },
  "chart-stress": {
    title: "Stress and its parts", unit: "0 to 100", max: 100,
    bands: rungBands,
    series: (seen) => ["level", "memory", "backlog", "writer", "delay"].map((name, index) => ({
      name, values: seen.column(`stress.${name}`), slot: [6, 1, 2, 3, 4][index], dashed: index === 0,
    })),
  },
  "chart-latency": {
    title: "Time to an answer", unit: "ms", max: 1,
    series: (seen) => [50, 99].map((percent, index) => ({
      name: `p${percent}, at most`, values: seen.column(`latency.p${percent}.high`),
      low: seen.column(`latency.p${percent}.low`), high: seen.column(`latency.p${percent}.high`),
      style: "step", slot: index + 1,
    })),
  },
  "chart-writer": {
    title: "Writer's lanes", unit: "waiting", max: 10, max2: 1,
    series: (seen) => [
      ...["finals", "durable", "spool"].map((name, index) => ({ name, values: seen.column(`${name}.queued`), slot: index + 1 })),
      ...["finals", "durable", "spool"].map((name, index) => ({
        name: `${name}, oldest s`, values: seen.column(`${name}.lag`), slot: index + 1, axis: "right", dashed: true,
      })),
    ],
  },
  "chart-memory": {
    title: "Memory and sessions", unit: "MiB", max: 1, max2: 10,
    series: (seen) => [
      { name: "waiting frames", values: scaled(seen, "memory.held", 2 ** -20), slot: 1 },
      { name: "in inboxes", values: scaled(seen, "inboxes.held", 2 ** -20), slot: 3 },
      { name: "live sessions", values: seen.column("sessions"), slot: 2, axis: "right", dashed: true },
    ],
  },
};

const drawn = new Map();

function drawCharts(seen) {
  for (const [id, { title, unit, max, max2, series, bands }] of Object.entries(CHARTS)) {
    const options = {
      title, unit, max, max2, x: seen.x, domain: seen.domain, marks: seen.marks,
      series: series(seen), bands: bands ? bands(seen) : [],
    };
    if (drawn.has(id)) drawn.get(id).update(options);
    else drawn.set(id, lineChart(document.getElementById(id), options));
  }
}

function write(id, value) {
  const node = document.getElementById(id);
  const text = value === null ? "–" : plain(value);
  if (node.textContent !== text) node.textContent = text;
}

function lostShare() {
  const last = (name) => sum((columns.get(name) ?? []).slice(-10));
  const seen = last("frames_seen");
  return seen > 0 ? (100 * (last("outcomes.refused") + last("outcomes.shed") + last("outcomes.lost"))) / seen : null;
}

function drawFigures() {
  const batches = [...columns.keys()].filter((name) => name.startsWith("batches."));
  write("now-batches", sum(batches.map(newest)));
  write("now-frames", newest("frames_seen"));
  write("now-lost", lostShare());
  write("now-stress", newest("stress.level"));
  write("now-p99", newest("latency.p99.high"));
  const limit = newest("memory.limit");
  write("now-memory", limit ? (100 * newest("memory.held")) / limit : null);
  write("now-sessions", newest("sessions"));
  write("now-ends", newest("ends"));
}

function drawReasons(seen) {
  for (const row of document.querySelectorAll("#reasons tr[data-column]")) {
    const total = sum(seen.column(row.dataset.column));
    row.hidden = total === 0 && row.dataset.column !== "frames.used";
    row.querySelector(".now").textContent = plain(newest(row.dataset.column) ?? 0);
    row.querySelector(".sum").textContent = Math.round(total).toLocaleString("en");
  }
}

let drawnChanges = "";

function drawChanges() {
  const key = marks.map((mark) => mark.at + mark.label).join();
  if (key === drawnChanges) return;
  drawnChanges = key;
  const items = [...marks].reverse().map((mark) => {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = new Date(mark.at).toISOString();
    time.textContent = utc(mark.at);
    const label = document.createElement("strong");
    label.textContent = mark.label;
    item.append(time, " ", label, ` ${mark.detail}`);
    return item;
  });
  document.getElementById("changes").replaceChildren(...items);
}

let due = false;

function draw() {
  due = false;
  if (times.length === 0) return;
  const seen = view();
  drawFigures();
  drawCharts(seen);
  drawReasons(seen);
  drawChanges();
}

function drawSoon() {
  if (paused || due || document.hidden) return;
  due = true;
  requestAnimationFrame(draw);
}

// Listening.

function tell(text, kind) {
  if (shownBadge === text) return;
  shownBadge = text;
  const badge = document.createElement("span");
  badge.className = `badge ${kind}`;
  badge.textContent = text;
  state.replaceChildren(badge);
}

function listen() {
  const after = lastId ? `?after=${encodeURIComponent(lastId)}` : "";
  const source = new EventSource(head.dataset.live + after);
  const take = (keep) => (event) => {
    lastId = event.lastEventId;
    keep(JSON.parse(event.data));
    if (!paused) tell("live", "ok");
    drawSoon();
  };
  source.addEventListener("history", take(takeHistory));
  source.addEventListener("sample", take(takeSample));
  source.addEventListener("signed-out", () => {
    source.close();
    tell("signed out: open the page again", "problem");
  });
  source.addEventListener("error", () => {
    tell("connection lost, trying again", "warning");
    if (source.readyState === EventSource.CLOSED) find(source);
  });
}

// A browser does not say why a stream was refused; asking once more does.
async function find(source) {
  source.close();
  const answer = await fetch(head.dataset.live, { headers: { Accept: "application/json" } }).catch(() => null);
  answer?.body?.cancel();
  if (answer?.status === 401) {
    tell("signed out: open the page again", "problem");
    return;
  }
  if (answer?.status === 503) tell("refused for now, trying again", "warning");
  setTimeout(listen, 5000);
}

for (const button of windowButtons) {
  button.addEventListener("click", () => {
    minutes = Number(button.dataset.minutes);
    for (const other of windowButtons) other.setAttribute("aria-pressed", String(other === button));
    if (times.length > 0) draw();
  });
}

pauseButton.addEventListener("click", () => {
  paused = !paused;
  pauseButton.setAttribute("aria-pressed", String(paused));
  pauseButton.textContent = paused ? "Go on" : "Pause";
  tell(paused ? "paused" : "live", paused ? "note" : "ok");
  drawSoon();
});

document.addEventListener("visibilitychange", drawSoon);
listen();
