/**
 * Penstock's browser client: pose frames, video events and the end of one exercise session.
 *
 * Theory of operation
 * -------------------
 *     addFrame -> FrameBuffer -> one batch about every second -> gzip (worker) -> POST, keepalive
 *     attachVideo -> VideoWatch -> a queue of events -> POST, one after another, until answered
 *     end -> what is buffered goes first -> POST, until it is answered
 *
 * Frames are never sent as the same batch again. They stay in the buffer until the service has
 * answered, so what follows a failure overlaps it: the next batch begins with the frames that got
 * no answer, and the service uses each only once. What the service refuses for load (429) it has
 * counted itself, and it goes; what the client has to give up it tells with the next request
 * (X-Client-Dropped). Events and the end are durable: sent until they are answered.
 *
 * The buffer is bounded. When it is full, every second frame of it goes, and of new ones every
 * second is taken: a long outage costs resolution in time before it costs whole stretches.
 *
 * Times are milliseconds of performance.now(), which no clock change bends; on the wire they are
 * counted from the session's start. One file, because one integrity hash covers one file. There is
 * no state outside the objects, so a page may hold several sessions.
 */

const LANDMARKS = 33;
const VALUES = LANDMARKS * 4;
const FRAME_BYTES = VALUES * 4 + 4;
const HEADER_BYTES = 9;
const WIRE_VERSION = 1;
// So many frames fit into the 65,536 bytes of a batch even where nothing can be compressed.
const MAX_BATCH_FRAMES = 120;
// All keepalive requests of a page together may hold 64 KiB. A batch of a second is well below this
// share of it; what is more can wait for its answer.
const MAX_KEEPALIVE_BYTES = 16 * 1024;
const MAX_LEAVING_FRAMES = 80;
const MAX_KEEP_EVERY = 4;
const MAX_EVENTS = 256;
const MAX_REPORTED = 1_000_000;
const FIRST_BACKOFF_MS = 1_000;
const LAST_BACKOFF_MS = 15_000;
// However soon a service wants to see the end again.
const END_SPACING_MS = 250;
// What a timer can hold; more it would take for nothing (HTML, timer initialization steps).
const MAX_TIMER_MS = 2 ** 31 - 1;
const HEARTBEAT_MS = 10_000;
const RENEWAL_SPACING_MS = 15_000;
// A token that was renewed and is refused again: so often, then the tokens are not the trouble.
const MAX_RENEWALS_IN_A_ROW = 2;
// Batches that may follow each other at once after an outage: one less than the service's burst.
const BURST = 4;
// An answer that asks to come again, while the session ends: so often, then the end goes first.
const PATIENCE_AT_END = 2;
const RESOLUTION = /^[1-9]\d{0,4}x[1-9]\d{0,4}$/;
// What the service knows, the medium before its speed.
const CONNECTIONS = Object.freeze(
  "wifi ethernet cellular bluetooth wimax other none unknown slow-2g 2g 3g 4g 5g".split(" "),
);
const REASONS = Object.freeze(["network", "refused", "cpu", "camera", "hidden", "other"]);
const STATUSES = Object.freeze(["completed", "abandoned", "cancelled", "error"]);

const now = () => performance.now();
const wallClock = (at) => new Date(performance.timeOrigin + at).toISOString();

/** What went wrong, as the service's problem documents say it: `code` is stable. */
export class PortalError extends Error {
  constructor(code, detail, { status = 0, problem = null } = {}) {
    super(detail);
    this.name = "PortalError";
    this.code = code;
    this.status = status;
    this.problem = problem;
  }
}

// ---------------------------------------------------------------------------------------------
// The batch as it travels

/** Write a batch's block: header, landmarks, times. One copy, in the layout of the wire. */
function packBlock(landmarks, times, fps) {
  const frames = times.length;
  const block = new Uint8Array(HEADER_BYTES + frames * FRAME_BYTES);
  const header = new DataView(block.buffer);
  header.setUint8(0, WIRE_VERSION);
  header.setUint32(1, frames, true);
  header.setUint32(5, fps, true);
  block.set(bytesOf(landmarks), HEADER_BYTES);
  block.set(bytesOf(times), HEADER_BYTES + frames * VALUES * 4);
  return block;
}

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Compress with the browser's own gzip. */
async function compress(block) {
  const gzip = new CompressionStream("gzip");
  const writer = gzip.writable.getWriter();
  // A failure to write shows in what is read, too.
  writer.write(block).catch(() => {});
  writer.close().catch(() => {});
  return new Uint8Array(await new Response(gzip.readable).arrayBuffer());
}

/**
 * Make a gzip member without compressing and without waiting: for a page that is being left, where
 * nothing asynchronous comes to its end, and for browsers without CompressionStream.
 */
function storedMember(block) {
  const parts = Math.max(1, Math.ceil(block.length / 0xffff));
  const member = new Uint8Array(10 + parts * 5 + block.length + 8);
  member.set([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
  const view = new DataView(member.buffer);
  let at = 10;
  for (let part = 0; part < parts; part++) {
    const piece = block.subarray(part * 0xffff, (part + 1) * 0xffff);
    member[at] = part === parts - 1 ? 1 : 0;
    view.setUint16(at + 1, piece.length, true);
    view.setUint16(at + 3, ~piece.length & 0xffff, true);
    member.set(piece, at + 5);
    at += 5 + piece.length;
  }
  view.setUint32(at, crc32(block), true);
  view.setUint32(at + 4, block.length, true);
  return member;
}

/** The CRC-32 of gzip (RFC 1952, section 8), four bits at a time: no table worth keeping. */
function crc32(bytes) {
  const table = Array.from({ length: 16 }, (_, n) => {
    let value = n;
    for (let bit = 0; bit < 4; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  let crc = ~0;
  for (const byte of bytes) {
    crc = (crc >>> 4) ^ table[(crc ^ byte) & 15];
    crc = (crc >>> 4) ^ table[(crc ^ (byte >>> 4)) & 15];
  }
  return ~crc >>> 0;
}

/** Make the gzip member of a batch, as a session sends it. */
export async function encodeBatch(landmarks, timestampsMs, { fps = 10, stored = false } = {}) {
  const times = Uint32Array.from(timestampsMs);
  if (!(landmarks instanceof Float32Array) || landmarks.length !== times.length * VALUES) {
    throw new TypeError(`landmarks must be a Float32Array of ${VALUES} values a timestamp`);
  }
  const block = packBlock(landmarks, times, fps);
  return stored || typeof CompressionStream === "undefined" ? storedMember(block) : compress(block);
}

const WORKER_SOURCE = `
  onmessage = async ({ data: { id, block } }) => {
    try {
      const gzip = new CompressionStream("gzip");
      const writer = gzip.writable.getWriter();
      writer.write(block).catch(() => {});
      writer.close().catch(() => {});
      const member = await new Response(gzip.readable).arrayBuffer();
      postMessage({ id, member }, [member]);
    } catch (error) {
      postMessage({ id, fault: String(error) });
    }
  };
  postMessage({ ready: true });
`;

/**
 * Compresses blocks, in a worker as soon as one runs. Where the page's policy (CSP worker-src,
 * trusted types) or the browser forbids it, in the page, asynchronously.
 */
class Gzip {
  #worker = null;
  #ready = false;
  #waiting = new Map();
  #next = 0;

  constructor(wanted) {
    if (!wanted || typeof CompressionStream === "undefined") return;
    const url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
    try {
      this.#worker = new Worker(url, { name: "penstock-gzip" });
    } catch {
      URL.revokeObjectURL(url);
      return;
    }
    this.#worker.onmessage = ({ data }) => {
      if (data.ready) {
        URL.revokeObjectURL(url);
        this.#ready = true;
      } else {
        const { resolve, reject } = this.#waiting.get(data.id);
        this.#waiting.delete(data.id);
        if (data.member) {
          resolve(new Uint8Array(data.member));
        } else {
          reject(new Error(data.fault));
          this.close(); // the page can do it
        }
      }
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      URL.revokeObjectURL(url);
      this.close();
    };
  }

  /** Say where the next block is compressed. */
  get place() {
    if (typeof CompressionStream === "undefined") return "none";
    return this.#ready ? "worker" : "page";
  }

  /** Give a block's gzip member. The block is given away: it may have no bytes afterwards. */
  member(block) {
    if (typeof CompressionStream === "undefined") return Promise.resolve(storedMember(block));
    if (!this.#ready) return compress(block);
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, block }, [block.buffer]);
    });
  }

  /** Let the worker go; what it has not answered fails, and its frames go with the next batch. */
  close() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#ready = false;
    for (const { reject } of this.#waiting.values()) reject(new Error("the worker is gone"));
    this.#waiting.clear();
  }
}

// ---------------------------------------------------------------------------------------------
// What waits

/** Frames that no answer has settled yet, oldest first, in two typed arrays made once. */
class FrameBuffer {
  #landmarks;
  #times;
  count = 0;

  constructor(capacity) {
    this.#landmarks = new Float32Array(capacity * VALUES);
    this.#times = new Uint32Array(capacity);
  }

  get full() {
    return this.count === this.#times.length;
  }

  get lastTime() {
    return this.#times[this.count - 1];
  }

  /** Take a frame: the one copy on its way into a batch. */
  push(landmarks, time) {
    const at = this.count * VALUES;
    if (typeof landmarks[0] === "number") {
      this.#landmarks.set(landmarks, at);
    } else {
      for (let i = 0; i < LANDMARKS; i++) {
        const point = landmarks[i];
        this.#landmarks[at + 4 * i] = point.x;
        this.#landmarks[at + 4 * i + 1] = point.y;
        this.#landmarks[at + 4 * i + 2] = point.z;
        this.#landmarks[at + 4 * i + 3] = point.visibility ?? 1;
      }
    }
    this.#times[this.count++] = time;
  }

  /** Write frames `first` to `end` as a block; say how often they come, if that can be told. */
  pack(first, end, fps) {
    const times = this.#times.subarray(first, end);
    const span = times[times.length - 1] - times[0];
    const measured = span > 0 ? Math.max(1, Math.round(((times.length - 1) * 1000) / span)) : 0;
    const rate = fps || measured;
    const landmarks = this.#landmarks.subarray(first * VALUES, end * VALUES);
    return { block: packBlock(landmarks, times, rate), rate };
  }

  /** Let frames `first` to `end` go. */
  remove(first, end) {
    this.#landmarks.copyWithin(first * VALUES, end * VALUES, this.count * VALUES);
    this.#times.copyWithin(first, end, this.count);
    this.count -= end - first;
  }

  /** Let every second frame from `first` on go; give how many went. */
  thin(first) {
    const before = this.count;
    let kept = first;
    for (let i = first; i < before; i += 2, kept++) {
      this.#landmarks.copyWithin(kept * VALUES, i * VALUES, (i + 1) * VALUES);
      this.#times[kept] = this.#times[i];
    }
    this.count = kept;
    return before - kept;
  }
}

/** Frames that were never sent, by reason: all of them, and those the service has not heard of. */
class Losses {
  #untold = new Map();
  all = Object.fromEntries(REASONS.map((reason) => [reason, 0]));

  get total() {
    return Object.values(this.all).reduce((sum, frames) => sum + frames, 0);
  }

  add(frames, reason) {
    this.all[reason] += frames;
    this.#untold.set(reason, (this.#untold.get(reason) ?? 0) + frames);
  }

  /** Give what the next request tells, at most what one header may say. */
  report() {
    return [...this.#untold].map(([reason, frames]) => [reason, Math.min(frames, MAX_REPORTED)]);
  }

  /** The service has taken a report. */
  settle(report) {
    for (const [reason, frames] of report) {
      const left = this.#untold.get(reason) - frames;
      if (left > 0) this.#untold.set(reason, left);
      else this.#untold.delete(reason);
    }
  }
}

const headerOf = (report) =>
  report.map(([reason, frames]) => `${frames};reason=${reason}`).join(", ");

/** When the next request may go: a bucket that fills at the sustained rate, and waits. */
class Pace {
  #tokens = BURST;
  #filled = now();
  #heldUntil = 0;
  #failures = 0;

  constructor(intervalMs) {
    this.intervalMs = intervalMs;
  }

  /** Give the milliseconds until one more request may go. */
  wait() {
    const at = now();
    this.#tokens = Math.min(BURST, this.#tokens + (at - this.#filled) / this.intervalMs);
    this.#filled = at;
    return Math.max(this.#heldUntil - at, (1 - this.#tokens) * this.intervalMs, 0);
  }

  take() {
    this.#tokens -= 1;
  }

  succeed() {
    this.#failures = 0;
  }

  /** Wait as long as the service said; where it said nothing, longer each time. */
  hold(ms) {
    const backoff = Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures++);
    // Clients that failed together must not come again together.
    this.#heldUntil = now() + (ms ?? backoff * (0.5 + Math.random() / 2));
    return this.#heldUntil - now();
  }

  /** What failed has another chance now. A wait that the service asked for is kept. */
  retryNow(toldToWait) {
    if (!toldToWait) this.#heldUntil = 0;
  }
}

/** A sleep that can be cut short. */
class Alarm {
  #ring = null;

  wait(ms) {
    return new Promise((resolve) => {
      const timer =
        ms === Infinity ? undefined : setTimeout(resolve, Math.min(Math.ceil(ms), MAX_TIMER_MS));
      this.#ring = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  ring() {
    this.#ring?.();
  }
}

/** Sends one request after another: when there is something to send, and the pace allows it. */
class Lane {
  #alarm = new Alarm();
  #closed = false;
  #idle = [];
  flushing = false;

  /** `due` gives the milliseconds until there is something to send; `send` sends it. */
  constructor(intervalMs, due, send) {
    this.pace = new Pace(intervalMs);
    this.due = due;
    this.send = send;
    queueMicrotask(() => this.#run());
  }

  async #run() {
    while (!this.#closed) {
      const due = this.due();
      if (due === Infinity) this.#idle.splice(0).forEach((resolve) => resolve());
      const wait = Math.max(due, this.pace.wait());
      if (wait > 0) {
        await this.#alarm.wait(wait);
      } else {
        this.pace.take();
        await this.send();
      }
    }
    this.#idle.splice(0).forEach((resolve) => resolve());
  }

  wake() {
    this.#alarm.ring();
  }

  /** Send all there is without waiting for more; done when nothing is left. */
  flush() {
    this.flushing = true;
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.wake();
    });
  }

  close() {
    this.#closed = true;
    this.wake();
  }
}

// ---------------------------------------------------------------------------------------------
// The way to the service

/** The session's token, and its renewal before it expires. */
class Token {
  #renew;
  #onerror;
  #renewing = null;
  #renewedAt = -Infinity;
  #renewAt = 0;
  #refusedInARow = 0;

  constructor(token, renew, onerror) {
    this.#renew = renew;
    this.#onerror = onerror;
    this.#take(token);
  }

  /** A `fresh` one was made just now, whatever the patient's clock says. */
  #take(token, fresh = false) {
    const { iat, exp } = claimsOf(token);
    const lifeMs = (exp - iat) * 1000;
    this.value = token;
    // A patient's clock may be wrong: the token's life from now on bounds what the clock says.
    this.expiresAt = now() + (fresh ? lifeMs : Math.min(exp * 1000 - Date.now(), lifeMs));
    this.#renewAt = this.expiresAt - Math.min(300_000, lifeMs / 10);
  }

  /** Give a token for a request; renew it when its time is near, and wait only when it is over. */
  async current() {
    const at = now();
    if (this.#renew && at >= this.#renewAt && at - this.#renewedAt >= RENEWAL_SPACING_MS) {
      const renewed = this.#renewTogether();
      if (at >= this.expiresAt) await renewed;
    }
    return this.value;
  }

  /** The service has taken the token. */
  accepted() {
    this.#refusedInARow = 0;
  }

  /** The service has refused a token: get another. Says "renewed", "later" or "never". */
  async refused(token) {
    if (!this.#renew || this.#refusedInARow >= MAX_RENEWALS_IN_A_ROW) return "never";
    if (token !== this.value) return "renewed";
    if (!(await this.#renewTogether())) return "later";
    this.#refusedInARow++;
    return "renewed";
  }

  /** However many ask, it is asked for once. */
  #renewTogether() {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #renewOnce() {
    this.#renewedAt = now();
    try {
      const token = await this.#renew();
      this.#take(typeof token === "string" ? token : token.telemetry_token, true);
      return true;
    } catch (error) {
      const detail = `the token could not be renewed: ${error?.message ?? error}`;
      const known = error instanceof PortalError;
      this.#onerror(known ? error : new PortalError("token_renewal", detail));
      return false;
    }
  }
}

/** Read what a token says of its own life. It is the service that verifies it. */
function claimsOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    if (Number.isFinite(claims.iat) && Number.isFinite(claims.exp)) return claims;
  } catch {
    // What follows says it.
  }
  throw new PortalError("token_malformed", "the session token is not v1.<claims>.<signature>");
}

/** Make a `renewToken` that asks Core; `userToken` gives the user's own JWT. */
export function renewFromCore(coreUrl, sessionId, userToken) {
  const url = new URL(
    `v1/exercise-sessions/${encodeURIComponent(sessionId)}/telemetry-token`,
    withSlash(coreUrl),
  );
  return async () => {
    const headers = { Authorization: `Bearer ${await userToken()}` };
    const answer = await fetch(url, { method: "POST", headers, cache: "no-store" });
    const document = await answer.json().catch(() => ({}));
    if (answer.ok && typeof document.telemetry_token === "string") return document;
    const { status } = answer;
    const detail = document.detail ?? `Core answered ${status}`;
    throw new PortalError(document.code ?? "token_renewal", detail, { status });
  };
}

const withSlash = (url) => {
  const base = new URL(url, globalThis.location?.href);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
};

/** Posts with the session's token. An answer is never an exception, nor is the lack of one. */
class Wire {
  #base;
  #token;
  #timeoutMs;

  constructor(url, token, timeoutMs) {
    this.#base = withSlash(url);
    this.#token = token;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Post, and give `{ status, document, retryAfterMs, token }`; status 0 means that no answer came.
   * After a 401, `token` says whether the next request has a better one.
   */
  async post(path, body, headers) {
    const token = await this.#token.current();
    let answer;
    let document;
    try {
      answer = await this.#fetch(path, body, headers, token, {
        signal: AbortSignal.timeout(this.#timeoutMs),
        // So that what is under way when the page is left still arrives.
        keepalive: (body.byteLength ?? body.length) <= MAX_KEEPALIVE_BYTES,
      });
      document = objectOf(await answer.text());
    } catch {
      return NO_ANSWER;
    }
    const { status } = answer;
    if (status !== 401) this.#token.accepted();
    return {
      status,
      document,
      retryAfterMs: retryAfterOf(answer, document),
      token: status === 401 ? await this.#token.refused(token) : undefined,
    };
  }

  /** Post from a page that is being left: nobody waits for the answer. */
  postAndLeave(path, body, headers) {
    this.#fetch(path, body, headers, this.#token.value, { keepalive: true }).catch(() => {});
  }

  #fetch(path, body, headers, token, more) {
    return fetch(new URL(path, this.#base), {
      method: "POST",
      body,
      headers: { ...headers, Authorization: `Bearer ${token}` },
      cache: "no-store",
      credentials: "omit",
      ...more,
    });
  }
}

/** Read a JSON object; whatever else a proxy may have answered is none. */
function objectOf(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** Read how long to wait: the body says it in milliseconds, the header in seconds or as a date. */
function retryAfterOf(answer, document) {
  if (Number.isFinite(document.retry_after_ms)) return document.retry_after_ms;
  const header = answer.headers.get("Retry-After");
  if (!header) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

const errorOf = ({ status, document }) =>
  new PortalError(document.code ?? `http_${status}`, document.detail ?? `answered ${status}`, {
    status,
    problem: document,
  });

const NO_ANSWER = Object.freeze({ status: 0, document: {} });

/** Say whether the same request may do better later. */
const passing = ({ status, token }) =>
  [0, 408, 425, 429].includes(status) || status >= 500 || ["renewed", "later"].includes(token);

// ---------------------------------------------------------------------------------------------
// The session

const json = { "Content-Type": "application/json" };
// JSON in a header: what is not ASCII is written as escapes.
const asciiJson = (value) =>
  JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** One exercise session, from its first frame to its answered end. See portal.d.ts. */
export class PortalSession {
  onstate = null;
  ondrop = null;
  onerror = null;

  #options;
  #origin;
  #wire;
  #token;
  #gzip;
  #frames;
  #losses = new Losses();
  #frameLane;
  #eventLane;
  #events = [];
  #eventsLeft = PATIENCE_AT_END;
  #framesLeft = PATIENCE_AT_END;
  #eventsRefused = false;
  #lastEventAt = new Map();
  #videos = new Set();
  #listening = new AbortController();
  #meta = {};
  #state = "live";
  #taking = true;
  #inFlight = 0;
  #keepEvery = 1;
  #sequence = 0;
  #lastTime = -1;
  #collectingSince = now();
  #hurry = false;
  #rate = 0;
  #hidden = null;
  #ending = null;
  #endBody = null;
  #retryEnd = () => {};
  #neverMade = 0;
  #counts = {
    framesAdded: 0,
    framesAccepted: 0,
    framesRefused: 0,
    batchesSent: 0,
    batchesAccepted: 0,
    bytesSent: 0,
    eventsSent: 0,
    eventsDropped: 0,
  };

  constructor(options) {
    const {
      url,
      sessionId,
      token,
      renewToken,
      startedAt,
      exercise,
      resolution,
      coords,
      batchSeconds = 1,
      bufferFrames = 600,
      timeoutSeconds = 10,
      worker = true,
    } = options;
    requireThat(typeof sessionId === "string" && sessionId !== "", "sessionId must be a text");
    requireThat(batchSeconds > 0 && batchSeconds <= 60, "batchSeconds must be above 0, at most 60");
    // One batch may be under way while another one's worth comes in.
    const fewest = 2 * MAX_BATCH_FRAMES;
    requireThat(
      Number.isInteger(bufferFrames) && bufferFrames >= fewest && bufferFrames <= 36_000,
      `bufferFrames must be a whole number from ${fewest} to 36000`,
    );
    const { endOnLeave = null } = options;
    requireThat(
      endOnLeave === null || STATUSES.includes(endOnLeave),
      `endOnLeave must be null or one of ${STATUSES.join(", ")}`,
    );
    this.#options = { ...options, endOnLeave, batchMs: batchSeconds * 1000 };
    this.#origin = startedAt === undefined ? now() : Number(startedAt) - performance.timeOrigin;
    for (const name of ["onstate", "ondrop", "onerror"]) this[name] = options[name] ?? null;
    this.setMeta({ exercise, camera_resolution: resolution, coords });
    this.#token = new Token(token, renewToken, (error) => this.#tell("onerror", error));
    this.#wire = new Wire(url, this.#token, timeoutSeconds * 1000);
    this.#gzip = new Gzip(worker);
    this.#frames = new FrameBuffer(bufferFrames);
    const { batchMs } = this.#options;
    this.#frameLane = new Lane(
      batchMs,
      () => this.#framesDue(),
      () => this.#sendFrames(),
    );
    this.#eventLane = new Lane(
      batchMs,
      () => (this.#events.length ? 0 : Infinity),
      () => this.#sendEvent(),
    );
    this.#listen();
  }

  get sessionId() {
    return this.#options.sessionId;
  }

  get state() {
    return this.#state;
  }

  /** Give the milliseconds since the session's start, as they stand on the wire. */
  elapsed(at = now()) {
    return Math.round(at - this.#origin);
  }

  /** Set what the service is told of every batch from now on; null takes a key away. */
  setMeta(more) {
    const merged = { ...this.#meta, ...more };
    for (const [key, value] of Object.entries(merged)) {
      if (value === null || value === undefined) delete merged[key];
    }
    const { exercise, camera_resolution: resolution, coords } = merged;
    const sound = typeof exercise === "string" && exercise.length >= 1 && exercise.length <= 64;
    requireThat(exercise === undefined || sound, "exercise must be a text of 1 to 64 characters");
    requireThat(
      resolution === undefined || RESOLUTION.test(resolution),
      'the resolution must be like "640x480"',
    );
    requireThat(
      coords === undefined || ["image", "world"].includes(coords),
      'coords must be "image" or "world"',
    );
    requireThat(asciiJson(merged).length <= 2048, "what is told of a batch is over 2048 bytes");
    this.#meta = merged;
  }

  /**
   * Take one frame: 132 numbers, or 33 landmarks of MediaPipe. Says whether it was taken; a frame
   * that is not after the one before it is not, nor is any once the session takes no more.
   */
  addFrame(landmarks, timestampMs = now()) {
    const wanted = typeof landmarks?.[0] === "number" ? VALUES : LANDMARKS;
    if (landmarks?.length !== wanted) {
      throw new TypeError(`a frame is ${VALUES} numbers or ${LANDMARKS} landmarks`);
    }
    const time = this.elapsed(timestampMs);
    if (!this.#taking || !(time > this.#lastTime) || time > 0xffff_ffff) return false;
    this.#lastTime = time;
    this.#counts.framesAdded++;
    if (this.#sequence++ % this.#keepEvery) {
      this.#drop(1, this.#whyWaiting);
      return true;
    }
    const frames = this.#frames;
    if (frames.full) this.#makeRoom();
    // After a silence, a second to collect begins with its first frame.
    if (frames.count === 0 && this.#framesDueIn < 0) this.#collectingSince = now();
    frames.push(landmarks, time);
    if (frames.count === 1 || frames.count === MAX_BATCH_FRAMES) this.#frameLane.wake();
    return true;
  }

  /** Say that frames could not be made: "cpu", "camera", "hidden" or "other". */
  dropFrames(frames, reason = "other") {
    requireThat(Number.isInteger(frames) && frames > 0, "frames must be a whole number above 0");
    requireThat(REASONS.includes(reason), `reason must be one of ${REASONS.join(", ")}`);
    if (this.#taking) this.#lose(frames, reason);
  }

  /** Queue one media event of the taxonomy. Says whether there was room for it. */
  sendEvent(event, media, data = {}, at = now()) {
    requireThat(Number.isFinite(at), "at must be a time on the clock of performance.now()");
    if (this.#eventsRefused || this.#ending) return false;
    return this.#queueEvent(event, media, data, at);
  }

  /** Watch a video (or audio) element and send what happens to it. */
  attachVideo(video, { mediaId, mediaType = "video", start = {} }) {
    requireThat(typeof mediaId === "string" && mediaId !== "", "mediaId must be a text");
    const media = { mediaId, mediaType };
    const watch = new VideoWatch(video, start, (event, data, at) => {
      this.#queueEvent(event, media, { elapsed_ms: this.elapsed(at), ...data }, at);
    });
    this.#videos.add(watch);
    return Object.freeze({
      quality: (data) => watch.quality(data),
      detach: (reason = "abandoned") => {
        watch.close(reason);
        this.#videos.delete(watch);
      },
    });
  }

  /**
   * End the session: sends what is buffered, then the end, again and again until it is answered.
   * Resolves with the service's answer; rejects with a PortalError where the answer is final and
   * none that ends (404, 409 with another status).
   */
  end({ status, exerciseId, endedAt } = {}) {
    requireThat(STATUSES.includes(status), `status must be one of ${STATUSES.join(", ")}`);
    this.#ending ??= this.#end(status, exerciseId, endedAt);
    return this.#ending;
  }

  /** Give up without an end: frees the worker and the listeners, and sends nothing more. */
  close() {
    this.#taking = false;
    this.#eventsRefused = true;
    this.#closeVideos("abandoned");
    this.#finish("closed");
  }

  /** Give what has happened so far, as numbers. */
  statistics() {
    return Object.freeze({
      ...this.#counts,
      state: this.#state,
      elapsedMs: this.elapsed(),
      framesBuffered: this.#frames.count,
      framesDropped: Object.freeze({ ...this.#losses.all }),
      framesAttempted: this.#attempted,
      keepEvery: this.#keepEvery,
      eventsQueued: this.#events.length,
      compression: this.#gzip.place,
      tokenExpiresInMs: Math.round(this.#token.expiresAt - now()),
    });
  }

  get #attempted() {
    return this.#counts.framesAdded + this.#neverMade;
  }

  // -- frames

  get #framesDueIn() {
    return this.#collectingSince + this.#options.batchMs - now();
  }

  #framesDue() {
    const waiting = this.#frames.count;
    if (waiting === 0 || this.#state === "stopped") return Infinity;
    if (this.#hurry || this.#frameLane.flushing || waiting >= MAX_BATCH_FRAMES) return 0;
    return this.#framesDueIn;
  }

  async #sendFrames() {
    this.#collectingSince = now();
    this.#hurry = false;
    const frames = Math.min(this.#frames.count, MAX_BATCH_FRAMES);
    this.#inFlight = frames;
    const report = this.#losses.report();
    const { block, rate } = this.#frames.pack(0, frames, this.#options.fps);
    this.#rate = rate || this.#rate;
    let answer = NO_ANSWER;
    try {
      const member = await this.#gzip.member(block);
      this.#counts.batchesSent++;
      this.#counts.bytesSent += member.byteLength;
      answer = await this.#wire.post("v1/pose/frames", member, this.#poseHeaders(report));
    } catch (error) {
      this.#tell("onerror", new PortalError("client_fault", String(error?.message ?? error)));
    }
    this.#settleFrames(answer, report);
    this.#inFlight = 0;
  }

  #poseHeaders(report) {
    const headers = { "Content-Type": "application/octet-stream" };
    if (Object.keys(this.#meta).length) headers["X-Batch-Meta"] = asciiJson(this.#meta);
    if (report.length) headers["X-Client-Dropped"] = headerOf(report);
    return headers;
  }

  #settleFrames(answer, report) {
    const { status, document } = answer;
    const frames = this.#inFlight;
    const lane = this.#frameLane;
    if (status === 202) {
      lane.pace.succeed();
      this.#losses.settle(report);
      this.#frames.remove(0, frames);
      this.#counts.batchesAccepted++;
      this.#counts.framesAccepted += document.frames_accepted ?? frames;
      if (this.#frames.count < MAX_BATCH_FRAMES) this.#keepEvery = 1;
      this.#become("live");
      return;
    }
    const again = passing(answer);
    if (status === 429 || !again) {
      // The service has counted them: they are its refusal, not this client's loss.
      this.#frames.remove(0, frames);
      this.#counts.framesRefused += frames;
      this.#tell("ondrop", { frames, reason: "service", code: document.code });
    }
    if (again) {
      if (answer.token !== "renewed") lane.pace.hold(answer.retryAfterMs);
      this.#become(status === 0 ? "offline" : "waiting");
      // While the session ends, the end must not wait for ever behind frames that are refused.
      if (lane.flushing && status !== 0 && --this.#framesLeft <= 0) this.#giveUpFrames("refused");
      return;
    }
    this.#tell("onerror", errorOf(answer));
    if (status === 400 || status === 413) return; // this batch only
    // Without consent nothing may be kept; after the session's end nothing is taken any more.
    this.#taking = false;
    this.#giveUpFrames("refused");
    this.#become("stopped");
  }

  #giveUpFrames(reason) {
    const frames = this.#frames.count;
    if (frames === 0) return;
    this.#frames.remove(0, frames);
    this.#drop(frames, reason);
  }

  #makeRoom() {
    const settled = this.#inFlight;
    let frames = 1;
    if (this.#keepEvery < MAX_KEEP_EVERY) {
      frames = this.#frames.thin(settled);
      this.#keepEvery *= 2;
    } else {
      this.#frames.remove(settled, settled + 1);
    }
    this.#drop(frames, this.#whyWaiting);
  }

  get #whyWaiting() {
    return this.#state === "waiting" ? "refused" : "network";
  }

  /** Frames that were added are lost. */
  #drop(frames, reason) {
    this.#losses.add(frames, reason);
    this.#tell("ondrop", { frames, reason });
  }

  /** Frames are lost that were never added. */
  #lose(frames, reason) {
    this.#neverMade += frames;
    this.#drop(frames, reason);
  }

  // -- events

  #queueEvent(event, { mediaId, mediaType = "video" }, data, at = now()) {
    if (this.#eventsRefused) return false;
    // Events are told apart by session, kind and millisecond.
    const time = Math.max(Math.round(at), (this.#lastEventAt.get(event) ?? -Infinity) + 1);
    // Written at once: what cannot be written is its caller's mistake, and must not stop the lane.
    const body = JSON.stringify({
      event,
      session_id: this.sessionId,
      media_id: mediaId,
      media_type: mediaType,
      timestamp: wallClock(time),
      data,
    });
    if (this.#events.length >= MAX_EVENTS) {
      // A heartbeat says least.
      const beat = this.#events.findIndex((queued) => queued.event === "heartbeat");
      this.#counts.eventsDropped++;
      if (beat < 0) return false;
      this.#events.splice(beat, 1);
    }
    this.#lastEventAt.set(event, time);
    this.#events.push({ event, body });
    this.#eventLane.wake();
    return true;
  }

  async #sendEvent() {
    const event = this.#events[0];
    const answer = await this.#wire.post("v1/media/events", event.body, json);
    const { pace, flushing } = this.#eventLane;
    if (passing(answer)) {
      if (answer.token !== "renewed") pace.hold(answer.retryAfterMs);
      if (flushing && answer.status !== 0 && --this.#eventsLeft <= 0) this.#giveUpEvents();
      return;
    }
    pace.succeed();
    if (this.#events[0] === event) this.#events.shift();
    if (answer.status >= 200 && answer.status < 300) {
      this.#counts.eventsSent++;
      return;
    }
    this.#counts.eventsDropped++;
    this.#tell("onerror", errorOf(answer));
    if (answer.status !== 400 && answer.status !== 413) {
      // No consent, no such route, no such session: the next one would fare no better.
      this.#eventsRefused = true;
      this.#giveUpEvents();
    }
  }

  #giveUpEvents() {
    this.#counts.eventsDropped += this.#events.splice(0).length;
  }

  #closeVideos(reason) {
    for (const watch of this.#videos) watch.close(reason);
    this.#videos.clear();
  }

  // -- the end

  async #end(status, exerciseId, endedAt) {
    this.#taking = false;
    this.#closeVideos(status === "cancelled" ? "abandoned" : status);
    this.#countHidden();
    this.#endBody = this.#makeEnd(status, exerciseId, endedAt);
    if (this.#state !== "stopped") this.#become("ending");
    await Promise.all([this.#frameLane.flush(), this.#eventLane.flush()]);
    const pace = new Pace(this.#options.batchMs);
    const alarm = new Alarm();
    this.#retryEnd = () => {
      pace.retryNow(false);
      alarm.ring();
    };
    for (;;) {
      const report = this.#losses.report();
      const headers = report.length ? { ...json, "X-Client-Dropped": headerOf(report) } : json;
      const answer = await this.#wire.post(this.#endPath, this.#endBody, headers);
      if (answer.status === 200) {
        this.#losses.settle(report);
        this.#finish("ended");
        return answer.document;
      }
      if (!passing(answer)) {
        this.#finish(answer.status === 409 ? "ended" : "stopped");
        throw errorOf(answer);
      }
      if (answer.token === "renewed") continue;
      await alarm.wait(Math.max(END_SPACING_MS, pace.hold(answer.retryAfterMs)));
    }
  }

  get #endPath() {
    return `v1/sessions/${encodeURIComponent(this.sessionId)}/end`;
  }

  #makeEnd(status, exerciseId, endedAt) {
    return JSON.stringify({
      ended_at: endedAt === undefined ? wallClock(now()) : new Date(endedAt).toISOString(),
      client_status: status,
      exercise_id: exerciseId,
      total_frames_attempted: this.#attempted,
    });
  }

  #finish(state) {
    this.#frameLane.close();
    this.#eventLane.close();
    this.#gzip.close();
    this.#listening.abort();
    this.#become(state);
  }

  // -- the page and the network

  #listen() {
    const { signal } = this.#listening;
    const back = () => {
      const told = this.#state === "waiting";
      for (const lane of [this.#frameLane, this.#eventLane]) {
        lane.pace.retryNow(told);
        lane.wake();
      }
      this.#retryEnd();
    };
    addEventListener("online", back, { signal });
    addEventListener("pagehide", (event) => this.#leave(event.persisted), { signal });
    // A page that comes back from the browser's cache: what was under way there was cut off.
    addEventListener("pageshow", (event) => event.persisted && back(), { signal });
    document.addEventListener("visibilitychange", () => this.#seeVisibility(), { signal });
    if (document.visibilityState === "hidden") this.#seeVisibility();
  }

  #seeVisibility() {
    if (document.visibilityState === "hidden") {
      this.#hidden = { since: now(), frames: this.#counts.framesAdded };
      // A phone may end a hidden page without another word.
      this.#hurry = true;
      this.#frameLane.wake();
    } else {
      this.#countHidden();
    }
  }

  /** Count the frames that a page in the background had no time to make. */
  #countHidden() {
    const hidden = this.#hidden;
    this.#hidden = null;
    const fps = this.#options.fps || this.#rate;
    if (hidden === null || !fps || this.#options.countHidden === false) return;
    const due = Math.floor(((now() - hidden.since) * fps) / 1000);
    const missing = due - (this.#counts.framesAdded - hidden.frames);
    if (missing > 0) this.#lose(missing, "hidden");
  }

  /** The page goes away: send what there is, in requests that outlive it. */
  #leave(mayComeBack) {
    if (!mayComeBack) this.#closeVideos("abandoned");
    const first = this.#inFlight;
    const end = Math.min(this.#frames.count, first + MAX_LEAVING_FRAMES);
    if (end > first && this.#state !== "stopped") {
      const report = first ? [] : this.#losses.report();
      const member = storedMember(this.#frames.pack(first, end, this.#options.fps).block);
      this.#wire.postAndLeave("v1/pose/frames", member, this.#poseHeaders(report));
      this.#counts.batchesSent++;
      this.#counts.bytesSent += member.byteLength;
      // They stay in the buffer: a page that comes back sends them again, as an overlap.
    }
    for (const event of this.#events) {
      this.#wire.postAndLeave("v1/media/events", event.body, json);
    }
    const { endOnLeave } = this.#options;
    if (!mayComeBack && endOnLeave && !this.#endBody) this.#endBody = this.#makeEnd(endOnLeave);
    if (this.#endBody) this.#wire.postAndLeave(this.#endPath, this.#endBody, json);
  }

  #become(state) {
    const previous = this.#state;
    // From each of these only a later one follows; among the rest, any from any.
    const order = ["ending", "stopped", "ended", "closed"];
    if (state === previous || order.indexOf(state) < order.indexOf(previous)) return;
    this.#state = state;
    this.#tell("onstate", state, previous);
  }

  /** Call the app; what it throws is its own affair and must not stop the session. */
  #tell(name, ...told) {
    try {
      this[name]?.(...told);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

function requireThat(holds, message) {
  if (!holds) throw new TypeError(message);
}

// ---------------------------------------------------------------------------------------------
// The video

/** Turns what a media element does into the events of the taxonomy. */
class VideoWatch {
  #video;
  #emit;
  #attachedAt = now();
  #listening = new AbortController();
  #timer;
  #opened = false;
  #played = false;
  #playing = false;
  #stalledAt = null;
  #seekFrom = null;
  #seekAt = 0;
  #position = 0;
  #furthest = 0;
  #milestones = [25, 50, 75, 100];
  #quality;
  #start;
  #closed = false;

  /** `start` is what the app knows of the start-up and the element does not. */
  constructor(video, start, emit) {
    this.#video = video;
    this.#start = start;
    this.#emit = emit;
    this.#quality = dropUndefined({ bitrate: start.initial_bitrate });
    const on = (name, handler) =>
      video.addEventListener(name, handler, { signal: this.#listening.signal });
    on("canplay", () => this.#open());
    on("playing", () => this.#seePlaying());
    on("waiting", () => this.#seeWaiting());
    on("pause", () => this.#seePause());
    on("ended", () => this.#seePause());
    on("seeking", () => this.#seeSeeking());
    on("seeked", () => this.#seeSeeked());
    on("timeupdate", () => this.#seeTime());
    on("resize", () => this.quality({}));
    on("error", () => this.#seeError());
    this.#timer = setInterval(() => this.#beat(), HEARTBEAT_MS);
    if (video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA) this.#open();
  }

  /** Note a change of quality: of the picture's size by itself, of the bitrate by the app. */
  quality({ bitrate } = {}) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const quality = { ...this.#quality, ...(height && { resolution: `${width}x${height}` }) };
    if (bitrate !== undefined) quality.bitrate = bitrate;
    const before = this.#quality;
    this.#quality = quality;
    const changed = ["bitrate", "resolution"].some((key) => quality[key] !== before[key]);
    if (this.#opened && changed) {
      this.#say("quality_change", {
        from_bitrate: before.bitrate,
        to_bitrate: quality.bitrate,
        from_resolution: before.resolution,
        to_resolution: quality.resolution,
      });
    }
  }

  /** The last word: what was watched, and why it ended. */
  close(reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.#open();
    this.#unstall();
    clearInterval(this.#timer);
    this.#listening.abort();
    this.#say("session_end", { reason: this.#milestones.length ? reason : "completed" });
  }

  get #percent() {
    const { duration } = this.#video;
    return duration > 0 && Number.isFinite(duration) ? (100 * this.#furthest) / duration : 0;
  }

  #say(event, data, at = now()) {
    const position = seconds(this.#video.currentTime);
    this.#emit(event, dropUndefined({ position_seconds: position, ...data }), at);
  }

  /** Everything begins with session_start; it waits until the start-up can be measured. */
  #open() {
    if (this.#opened) return;
    this.#opened = true;
    this.quality();
    const video = this.#video;
    const ready = video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA;
    const load = performance.getEntriesByName(video.currentSrc, "resource").at(-1);
    const connection = navigator.connection;
    // Known only of what is loaded whole by now, and of another origin with Timing-Allow-Origin.
    const timed = load?.responseStart > 0;
    const since = (at) => (timed ? Math.round(load.responseStart - at) : undefined);
    const { duration } = video;
    const speed = connection?.effectiveType;
    this.#say(
      "session_start",
      {
        total_duration_seconds: duration > 0 && duration < 86_400 ? seconds(duration) : undefined,
        ttfb_ms: since(load?.startTime),
        cdn_response_time_ms: since(load?.requestStart),
        video_load_time_ms: ready ? Math.round(now() - this.#attachedAt) : undefined,
        connection_type: CONNECTIONS.find((one) => one === connection?.type || one === speed),
        effective_bandwidth: connection?.downlink,
        rtt_ms: connection?.rtt,
        initial_bitrate: this.#quality.bitrate,
        initial_resolution: this.#quality.resolution,
        heartbeat_interval_ms: HEARTBEAT_MS,
        ...this.#start,
      },
      this.#attachedAt,
    );
  }

  #seePlaying() {
    this.#open();
    this.#unstall();
    if (this.#playing) return;
    this.#playing = true;
    const first = !this.#played;
    this.#played = true;
    this.#say("play", {
      playback_rate: this.#video.playbackRate,
      startup_time_ms: first ? Math.round(now() - this.#attachedAt) : undefined,
    });
  }

  #seeWaiting() {
    // The wait for the first picture is the start-up, and that after a seek belongs to the seek.
    if (!this.#playing || this.#video.seeking || this.#stalledAt !== null) return;
    this.#stalledAt = now();
    this.#say("buffering_start", {});
  }

  #unstall() {
    if (this.#stalledAt === null) return;
    const duration = Math.round(now() - this.#stalledAt);
    this.#stalledAt = null;
    this.#say("buffering_end", { duration_ms: duration });
  }

  #seePause() {
    if (!this.#playing) return;
    this.#unstall();
    this.#playing = false;
    this.#seeTime();
    // At the medium's end as well: what follows until session_end is not watched.
    this.#say("pause", {});
  }

  #seeSeeking() {
    if (this.#seekFrom !== null) return;
    this.#seekFrom = this.#position;
    this.#seekAt = now();
  }

  #seeSeeked() {
    const from = this.#seekFrom;
    this.#seekFrom = null;
    this.#position = this.#video.currentTime;
    if (!this.#opened || from === null) return;
    this.#say("seek", {
      from_seconds: seconds(from),
      to_seconds: seconds(this.#position),
      latency_ms: Math.round(now() - this.#seekAt),
    });
  }

  #seeTime() {
    // A jump is told by its own event first.
    if (this.#video.seeking || this.#seekFrom !== null) return;
    this.#position = this.#video.currentTime;
    if (!this.#played) return;
    this.#furthest = Math.max(this.#furthest, this.#position);
    if (this.#video.ended) this.#furthest = this.#video.duration;
    while (this.#milestones.length && this.#percent >= this.#milestones[0]) {
      this.#say("milestone", { percent: this.#milestones.shift() });
    }
  }

  #seeError() {
    this.#open();
    // It ends a stall, and the playing: what follows begins anew.
    this.#stalledAt = null;
    this.#playing = false;
    const { code, message } = this.#video.error ?? { code: 0, message: "" };
    const names = ["unknown", "aborted", "network", "decode", "source_not_supported"];
    const error_message = message.slice(0, 200) || undefined;
    this.#say("error", { error_code: names[code] ?? names[0], error_message, fatal: true });
  }

  #beat() {
    // In a stall nothing plays, and its end will tell how long.
    if (!this.#playing || this.#stalledAt !== null) return;
    const { buffered, currentTime } = this.#video;
    let ahead = 0;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime && currentTime <= buffered.end(i)) {
        ahead = buffered.end(i) - currentTime;
      }
    }
    this.#say("heartbeat", {
      playing: true,
      buffer_length_ms: Math.round(ahead * 1000),
      playback_rate: this.#video.playbackRate,
      dropped_frames: this.#video.getVideoPlaybackQuality?.().droppedVideoFrames,
      bitrate: this.#quality.bitrate,
    });
  }
}

const seconds = (value) => Math.round(value * 1000) / 1000;
const dropUndefined = (data) =>
  Object.fromEntries(Object.entries(data).filter(([, value]) => value !== undefined));
