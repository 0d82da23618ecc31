// A patient's skeleton as the service receives it.
//
// Events come about once a second and carry the frames of that second. They are played at the pace
// at which they were taken: the clock of the playing follows the newest frame at a second's
// distance, and jumps where it has fallen behind.

const LAG_MS = 1100;
const MOST_BEHIND_MS = 3000;
const TRACE_MS = 20000;
const MOST_WAITING = 300;
const AGAIN_MS = 5000;
const SIGNED_OUT = "Signed out. Open the page again.";
const SEEN = 0.3; // below that visibility a landmark's place is a guess

// MediaPipe's 33 landmarks: which of them a limb joins.
const LIMBS = [
  [11, 12], [11, 23], [12, 24], [23, 24],
  [11, 13], [13, 15], [15, 19], [12, 14], [14, 16], [16, 20],
  [23, 25], [25, 27], [27, 31], [27, 29], [24, 26], [26, 28], [28, 32], [28, 30],
  [0, 7], [0, 8], [9, 10],
];
const LEFT = new Set([11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31]);

const live = document.getElementById("live");
const skeleton = document.getElementById("skeleton");
const trace = document.getElementById("trace");
const state = document.getElementById("state");
const spoken = document.getElementById("spoken");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const colours = getComputedStyle(document.documentElement);

const waiting = []; // frames that have not been shown: { at, points, aspect, world, angle }
const shownAngles = []; // [at, degrees or null], of the last seconds
let clock = null; // what the frame's time was that was shown at `since`
let since = 0;
let reps = null;
let view = null; // left, top, right, bottom of what is looked at

const colour = (name) => colours.getPropertyValue(`--${name}`).trim();
const tell = (id, text) => {
  document.getElementById(id).textContent = text;
};

function take(told) {
  const world = told.coords === "world";
  told.times.forEach((at, n) => {
    const angle = told.angle ? told.angle[n] : null;
    waiting.push({ at, points: told.points[n], aspect: told.aspect, world, angle });
  });
  for (const name of ["aggregated", "shed", "refused", "lost"]) {
    tell(name, told.frames[name].toLocaleString("en"));
  }
  tell("reps", String(told.reps));
  if (told.joint) tell("joint", told.joint.replaceAll("_", " "));
  if (reps !== null && told.reps > reps) {
    spoken.textContent = told.reps === 1 ? "1 repetition" : `${told.reps} repetitions`;
  }
  reps = told.reps;
  state.textContent = "Live";
  // A tab that nobody sees is not drawn in, and goes on to be told.
  if (waiting.length > MOST_WAITING) waiting.splice(0, waiting.length - MOST_WAITING);
  live.dataset.waiting = String(waiting.length);
  const newest = waiting.at(-1)?.at ?? 0;
  if (clock === null || newest - playing() > MOST_BEHIND_MS || newest < clock) {
    clock = newest - LAG_MS;
    since = performance.now();
  }
  live.dataset.taken = String(Number(live.dataset.taken ?? 0) + 1);
}

const playing = () => clock + performance.now() - since;

function canvas(element, height) {
  const ratio = devicePixelRatio || 1;
  const width = element.clientWidth;
  if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
    element.width = Math.round(width * ratio);
    element.height = Math.round(height * ratio);
  }
  const pen = element.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return [pen, width, height];
}

// What is looked at: wherever the patient goes it follows at once, and comes nearer slowly.
function lookAt(points) {
  const seen = points.filter((point) => point[2] >= SEEN);
  if (seen.length < 2) return;
  const [xs, ys] = [seen.map(([x]) => x), seen.map(([, y]) => y)];
  const now = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  view ??= now;
  view = view.map((edge, n) => {
    const inner = edge + (now[n] - edge) * 0.02;
    return n < 2 ? Math.min(inner, now[n]) : Math.max(inner, now[n]);
  });
}

// From a frame's coordinates to the canvas's.
function places(frame, width, height) {
  const points = frame.points.map(([x, y, seen]) => [frame.world ? x : x * frame.aspect, y, seen]);
  lookAt(points);
  if (view === null) return points;
  const [left, top, right, bottom] = view;
  const scale = 0.86 * Math.min(width / (right - left || 1), height / (bottom - top || 1));
  return points.map(([x, y, seen]) => [
    width / 2 + (x - (left + right) / 2) * scale,
    height / 2 + (y - (top + bottom) / 2) * scale,
    seen,
  ]);
}

function drawSkeleton(frame) {
  const [pen, width, height] = canvas(skeleton, skeleton.clientHeight);
  const at = places(frame, width, height);
  pen.lineCap = "round";
  pen.lineWidth = Math.max(3, height / 110);
  for (const [a, b] of LIMBS) {
    if (at[a][2] < SEEN || at[b][2] < SEEN) continue;
    pen.strokeStyle = colour(LEFT.has(a) && LEFT.has(b) ? "series-1" : a > 10 ? "series-2" : "dim");
    if (LEFT.has(a) !== LEFT.has(b)) pen.strokeStyle = colour("dim");
    pen.beginPath();
    pen.moveTo(at[a][0], at[a][1]);
    pen.lineTo(at[b][0], at[b][1]);
    pen.stroke();
  }
  pen.fillStyle = colour("text");
  for (const [x, y, seen] of at) {
    if (seen < SEEN) continue;
    pen.beginPath();
    pen.arc(x, y, Math.max(2, height / 160), 0, 2 * Math.PI);
    pen.fill();
  }
}

function drawTrace(now) {
  while (shownAngles.length && shownAngles[0][0] < now - TRACE_MS) shownAngles.shift();
  const [pen, width, height] = canvas(trace, trace.clientHeight);
  const known = shownAngles.map(([, angle]) => angle).filter((angle) => angle !== null);
  if (known.length < 2) return;
  const low = Math.min(...known);
  const span = Math.max(20, Math.max(...known) - low);
  const text = (value, y) => pen.fillText(`${Math.round(value)}°`, 2, y);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = colour("dim");
  text(low + span, 12);
  text(low, height - 4);
  pen.strokeStyle = colour("series-3");
  pen.lineWidth = 2;
  pen.beginPath();
  let drawing = false;
  for (const [at, angle] of shownAngles) {
    if (angle === null) {
      drawing = false;
      continue;
    }
    const x = 40 + ((at - now + TRACE_MS) / TRACE_MS) * (width - 44);
    const y = height - 6 - ((angle - low) / span) * (height - 14);
    if (drawing) pen.lineTo(x, y);
    else pen.moveTo(x, y);
    drawing = true;
  }
  pen.stroke();
}

function play() {
  if (clock !== null) {
    const now = playing();
    let newest = null;
    while (waiting.length && waiting[0].at <= now) {
      newest = waiting.shift();
      shownAngles.push([newest.at, newest.angle]);
    }
    if (newest !== null) {
      drawSkeleton(newest);
      drawTrace(newest.at);
      if (newest.angle !== null) tell("angle", String(Math.round(newest.angle)));
      live.dataset.shown = String(newest.at);
    }
  }
  // Who wants no motion gets a picture a second.
  if (still.matches) setTimeout(play, 1000);
  else requestAnimationFrame(play);
}

function listen() {
  const events = new EventSource(live.dataset.events);
  events.addEventListener("message", (event) => take(JSON.parse(event.data)));
  events.addEventListener("signed-out", () => {
    events.close();
    state.textContent = SIGNED_OUT;
  });
  events.addEventListener("error", () => {
    state.textContent = "The line is broken; trying again…";
    if (events.readyState === EventSource.CLOSED) find();
  });
}

// A browser does not say why a stream was refused; asking once more does.
async function find() {
  const answer = await fetch(live.dataset.events, { headers: { Accept: "application/json" } }).catch(() => null);
  answer?.body?.cancel();
  if (answer?.status === 401) {
    state.textContent = SIGNED_OUT;
    return;
  }
  if (answer?.status === 503) state.textContent = "As many look on already as may; trying again…";
  setTimeout(listen, AGAIN_MS);
}

listen();
play();
