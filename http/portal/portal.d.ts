/** Types of Penstock's browser client. What each part does is told in full in portal.js. */

/** Why frames were never sent, in the words of the header X-Client-Dropped. */
export type DropReason = "network" | "refused" | "cpu" | "camera" | "hidden" | "other";

/** How the session ended. */
export type EndStatus = "completed" | "abandoned" | "cancelled" | "error";

/**
 * - `live`: batches are answered.
 * - `waiting`: the service said to come again later, or the token is being renewed.
 * - `offline`: no answer came.
 * - `ending`: `end()` was called and is not answered yet.
 * - `stopped`: the service takes no frames of this session (`onerror` said why).
 * - `ended`: the end is answered.
 * - `closed`: `close()` was called.
 */
export type PortalState =
  | "live"
  | "waiting"
  | "offline"
  | "ending"
  | "stopped"
  | "ended"
  | "closed";

export type MediaEventKind =
  | "session_start"
  | "play"
  | "pause"
  | "seek"
  | "heartbeat"
  | "buffering_start"
  | "buffering_end"
  | "quality_change"
  | "milestone"
  | "error"
  | "session_end";

/** One landmark as MediaPipe gives it. Without a visibility, it counts as seen. */
export interface Landmark {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly visibility?: number;
}

/** 132 numbers (33 times x, y, z, visibility), or 33 landmarks. */
export type Frame = Float32Array | ArrayLike<number> | ArrayLike<Landmark>;

/** Core's answer to a renewal, or the bare token. */
export type RenewedToken = string | { readonly telemetry_token: string };

/** What the service is told of every batch. Other keys are kept with the frames. */
export interface BatchMeta {
  /** 1 to 64 characters. */
  exercise?: string | null;
  /** Like "640x480": without it, angles are measured as in a picture of 4 to 3. */
  camera_resolution?: string | null;
  coords?: "image" | "world" | null;
  /** 0 to 1. */
  pose_confidence?: number | null;
  processing_time_ms?: number | null;
  [key: string]: unknown;
}

/** Frames that will not be in the session. */
export interface Drop {
  readonly frames: number;
  /** `service`: it refused them, and has counted them itself. */
  readonly reason: DropReason | "service";
  /** The service's code, with `service`. */
  readonly code?: string;
}

export interface PortalOptions {
  /** Where the service is, such as "https://telemetry.example". */
  url: string;
  sessionId: string;
  /** The session token that Core gave: v1.<claims>.<signature>. */
  token: string;
  /** Gives another token before this one expires, or when it was refused. See `renewFromCore`. */
  renewToken?: () => RenewedToken | Promise<RenewedToken>;
  /**
   * When the session began, in Unix milliseconds or as a Date; without it, now. A page that goes on
   * with a session that it did not begin must give it, or its frames would come before the others.
   */
  startedAt?: number | Date;
  exercise?: string;
  /** The camera's, like "640x480". */
  resolution?: string;
  coords?: "image" | "world";
  /** Frames a second; without it, it is measured. */
  fps?: number;
  /** A batch is sent so often. Default 1. */
  batchSeconds?: number;
  /** Frames kept for better times, 240 to 36000. Default 600. */
  bufferFrames?: number;
  /** A request without an answer has failed after this time. Default 10. */
  timeoutSeconds?: number;
  /** Compress in a worker where the page's policy allows one. Default true. */
  worker?: boolean;
  /** Count frames that a hidden page had no time to make. Default true. */
  countHidden?: boolean;
  /** End the session so when the page is left without `end()`. Default null: do not. */
  endOnLeave?: EndStatus | null;
  onstate?: ((state: PortalState, previous: PortalState) => void) | null;
  ondrop?: ((drop: Drop) => void) | null;
  onerror?: ((error: PortalError) => void) | null;
}

export interface EndOptions {
  status: EndStatus;
  exerciseId?: string;
  /** Without it, the time of the first call of `end()`. */
  endedAt?: number | Date;
}

/** The service's answer to the end. */
export interface SessionEnd {
  readonly session_id: string;
  /** `publication_pending`: it is kept, and will be published without another word. */
  readonly status: EndStatus | "publication_pending";
  readonly client_status: EndStatus;
  readonly revision: number;
  readonly frames_received: number;
  readonly frames_dropped: number;
  readonly replay_blob: string | null;
  readonly aggregates_published_at: string | null;
  readonly frames_shed: number;
  readonly frames_lost: number;
  readonly suspicious_gap: boolean;
  readonly completeness: number | null;
  readonly [key: string]: unknown;
}

export interface Media {
  mediaId: string;
  mediaType?: "video" | "audio";
}

export interface WatchedMedia extends Media {
  /**
   * What the app knows of the start-up and the element does not, such as a player's `ttfb_ms`,
   * `cdn_response_time_ms` and `initial_bitrate`. It wins over what the client measures.
   */
  start?: Readonly<Record<string, string | number>>;
}

/** A watched element. */
export interface WatchedVideo {
  /** Tell the bitrate that is played, in bits a second: an element does not know it. */
  quality(data: { bitrate?: number }): void;
  /** Watch no more; says session_end. Without a reason "abandoned", or "completed" at its end. */
  detach(reason?: "completed" | "abandoned" | "error"): void;
}

export interface PortalStatistics {
  readonly state: PortalState;
  readonly elapsedMs: number;
  /** Frames that `addFrame` took. */
  readonly framesAdded: number;
  /** `framesAdded` and those that were dropped before they were made. */
  readonly framesAttempted: number;
  readonly framesAccepted: number;
  readonly framesRefused: number;
  readonly framesBuffered: number;
  readonly framesDropped: Readonly<Record<DropReason, number>>;
  /** Of new frames every so-manieth is taken: 1, or 2 or 4 after a long outage. */
  readonly keepEvery: number;
  readonly batchesSent: number;
  readonly batchesAccepted: number;
  /** Bytes of the batches' bodies. */
  readonly bytesSent: number;
  readonly eventsSent: number;
  readonly eventsQueued: number;
  readonly eventsDropped: number;
  /** Where batches are compressed: `none` without CompressionStream. */
  readonly compression: "worker" | "page" | "none";
  readonly tokenExpiresInMs: number;
}

/** What went wrong. `code` is stable: the service's problem code, or one of the client's. */
export class PortalError extends Error {
  constructor(
    code: string,
    detail: string,
    more?: { status?: number; problem?: Readonly<Record<string, unknown>> | null },
  );
  readonly code: string;
  /** The HTTP status, or 0 where there was no answer. */
  readonly status: number;
  /** The service's problem document. */
  readonly problem: Readonly<Record<string, unknown>> | null;
}

/** One exercise session, from its first frame to its answered end. */
export class PortalSession {
  constructor(options: PortalOptions);

  readonly sessionId: string;
  readonly state: PortalState;
  onstate: ((state: PortalState, previous: PortalState) => void) | null;
  ondrop: ((drop: Drop) => void) | null;
  onerror: ((error: PortalError) => void) | null;

  /**
   * Take a frame; it is copied, so the array may be used again. `timestampMs` is on the clock of
   * `performance.now()`, as the time that is given to MediaPipe. False: it was not taken.
   */
  addFrame(landmarks: Frame, timestampMs?: number): boolean;

  /** Say that frames could not be made, and why. */
  dropFrames(frames: number, reason?: DropReason): void;

  /** Set what the service is told of every batch from now on; null takes a key away. */
  setMeta(more: BatchMeta): void;

  /** Watch a media element and send what happens to it. */
  attachVideo(video: HTMLMediaElement, media: WatchedMedia): WatchedVideo;

  /** Queue an event that no element knows of. `at` is on the clock of `performance.now()`. */
  sendEvent(
    event: MediaEventKind,
    media: Media,
    data?: Readonly<Record<string, unknown>>,
    at?: number,
  ): boolean;

  /** Send what is left and end the session; tried until it is answered. */
  end(options: EndOptions): Promise<SessionEnd>;

  /** Send nothing more. */
  close(): void;

  /** Milliseconds since the session's start, as they stand on the wire. */
  elapsed(at?: number): number;

  statistics(): PortalStatistics;
}

/** Make the gzip member of a batch: 132 values a timestamp. */
export function encodeBatch(
  landmarks: Float32Array,
  timestampsMs: ArrayLike<number>,
  options?: {
    fps?: number;
    /** Do not compress: no waiting, and longer. */
    stored?: boolean;
  },
): Promise<Uint8Array>;

/** Make a `renewToken` that asks Core; `userToken` gives the user's own JWT. */
export function renewFromCore(
  coreUrl: string | URL,
  sessionId: string,
  userToken: () => string | Promise<string>,
): () => Promise<{ readonly telemetry_token: string }>;
