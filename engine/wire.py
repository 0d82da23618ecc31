"""The frame batch as it travels: one gzip member around a little-endian block.

Theory of operation
-------------------
::

    version u8 = 1 | frame_count u32 | fps_hint u32
    frame_count x 33 landmarks x (x, y, z, visibility) float32
    frame_count x timestamp_ms u32          (elapsed since the session's start)

Decoding inflates once and keeps that one buffer; `FrameBatch.landmarks` is a NumPy view into it.
The member is kept too, as it came, because the spool stores members and never compresses again.
Every byte string is either a `FrameBatch` or a `WireError` with a code; nothing else leaves here.
"""

import struct
import zlib
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

VERSION = 1
LANDMARKS = 33
LANDMARK_VALUES = 4
LANDMARK_BYTES_PER_FRAME = LANDMARKS * LANDMARK_VALUES * 4
BYTES_PER_FRAME = LANDMARK_BYTES_PER_FRAME + 4
HEADER = struct.Struct("<BII")
GZIP_MAGIC = b"\x1f\x8b"

# The contract's limits (compressed 64 KiB, inflated 1 MiB). They are part of the protocol, not
# settings: a client is written against them.
MAX_MEMBER_BYTES = 65_536
MAX_INFLATED_BYTES = 1 << 20

_GZIP_WBITS = 31
_LANDMARK_DTYPE = np.dtype("<f4")


class WireFault(StrEnum):
    """What can be wrong with the bytes of a batch. The values are the answers' `code`."""

    BODY_EMPTY = "body_empty"
    MEMBER_TOO_LARGE = "body_too_large"
    NOT_GZIP = "not_gzip"
    GZIP_CORRUPT = "gzip_corrupt"
    GZIP_TRUNCATED = "gzip_truncated"
    SEVERAL_MEMBERS = "several_members"
    TRAILING_BYTES = "trailing_bytes"
    INFLATED_TOO_LARGE = "inflated_too_large"
    HEADER_TRUNCATED = "header_truncated"
    VERSION_UNSUPPORTED = "version_unsupported"
    FRAME_COUNT_ZERO = "frame_count_zero"
    LENGTH_MISMATCH = "length_mismatch"
    TIMESTAMPS_BACKWARDS = "timestamps_backwards"


class WireError(ValueError):
    """A body that is not a batch: which fault, in words, and how many frames it claimed to hold."""

    def __init__(
        self, fault: WireFault, detail: str, *, frames: int = 0, **facts: int | str
    ) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.frames = frames
        self.facts = facts


class FrameBatch(NamedTuple):
    """One decoded batch. `member` is the gzip member as received, `payload` its inflated bytes."""

    frame_count: int
    fps_hint: int
    timestamps_ms: tuple[int, ...]
    member: bytes
    payload: bytes

    @property
    def landmarks(self) -> npt.NDArray[np.float32]:
        """Give frames x 33 x (x, y, z, visibility): a read-only view, not a copy."""
        return np.frombuffer(
            self.payload,
            _LANDMARK_DTYPE,
            count=self.frame_count * LANDMARKS * LANDMARK_VALUES,
            offset=HEADER.size,
        ).reshape(self.frame_count, LANDMARKS, LANDMARK_VALUES)

    @property
    def timestamp_block(self) -> bytes:
        """Give the bytes of `timestamps_ms`, to be joined with those of other batches."""
        return self.payload[-4 * self.frame_count :]

    @property
    def landmark_block(self) -> bytes:
        """Give the bytes of `landmarks`, to be joined with those of other batches."""
        return self.payload[HEADER.size : -4 * self.frame_count]

    @property
    def landmark_bytes(self) -> int:
        """Give the number of landmark bytes, the unit of `buffer_position_bytes`."""
        return self.frame_count * LANDMARK_BYTES_PER_FRAME

    @property
    def held_bytes(self) -> int:
        """Give what the batch costs in memory while it waits."""
        return len(self.member) + len(self.payload)


def decode(member: bytes) -> FrameBatch:
    """Turn one gzip member into a batch, or raise `WireError`."""
    payload = _inflate(member)
    size = len(payload)
    if size < HEADER.size:
        raise WireError(
            WireFault.HEADER_TRUNCATED,
            f"the inflated batch has {size} bytes; its header alone takes {HEADER.size}",
            limit=HEADER.size,
            seen=size,
        )
    version, frame_count, fps_hint = HEADER.unpack_from(payload)
    if version != VERSION:
        raise WireError(
            WireFault.VERSION_UNSUPPORTED,
            f"version byte {version}; this service reads version {VERSION}",
            seen=version,
            supported=VERSION,
        )
    if frame_count == 0:
        raise WireError(WireFault.FRAME_COUNT_ZERO, "frame_count is 0; a batch holds at least one")
    expected = HEADER.size + frame_count * BYTES_PER_FRAME
    if size != expected:
        raise WireError(
            WireFault.LENGTH_MISMATCH,
            f"frame_count {frame_count} needs {expected} inflated bytes; the batch has {size}",
            expected=expected,
            seen=size,
        )
    timestamps = struct.unpack_from(f"<{frame_count}I", payload, size - 4 * frame_count)
    if frame_count > 1 and list(timestamps) != sorted(timestamps):
        at = next(i for i in range(1, frame_count) if timestamps[i] < timestamps[i - 1])
        raise WireError(
            WireFault.TIMESTAMPS_BACKWARDS,
            f"timestamp_ms of frame {at} is {timestamps[at]}, before {timestamps[at - 1]} of the "
            "frame ahead of it",
            frames=frame_count,
            frame=at,
            seen=timestamps[at],
            previous=timestamps[at - 1],
        )
    return FrameBatch(frame_count, fps_hint, timestamps, member, payload)


def peek_frame_count(member: bytes) -> int:
    """Read how many frames a body claims to hold, inflating only its header; 0 when it can't.

    Used for batches that are refused unread, so that their frames are still counted. A claim that
    no acceptable batch could keep counts as 0: it says nothing about frames.
    """
    try:
        header = zlib.decompressobj(_GZIP_WBITS).decompress(member, HEADER.size)
    except zlib.error:
        return 0
    if len(header) < HEADER.size:
        return 0
    version, frame_count, _ = HEADER.unpack(header)
    fits = HEADER.size + frame_count * BYTES_PER_FRAME <= MAX_INFLATED_BYTES
    return int(frame_count) if version == VERSION and fits else 0


def encode(
    landmarks: npt.ArrayLike,
    timestamps_ms: npt.ArrayLike,
    *,
    fps_hint: int = 10,
    level: int = 6,
) -> bytes:
    """Make the gzip member of a batch, as a client does. The inverse of `decode`."""
    points = np.asarray(landmarks, _LANDMARK_DTYPE)
    # Not u4 at once: a negative or too large time must fail, not wrap.
    times = np.asarray(timestamps_ms)
    if points.ndim != 3 or points.shape[1:] != (LANDMARKS, LANDMARK_VALUES):
        raise ValueError(
            f"landmarks must have shape (frames, {LANDMARKS}, {LANDMARK_VALUES}), not "
            f"{points.shape}"
        )
    if times.shape != (len(points),):
        raise ValueError(f"{len(points)} frames need as many timestamps, not {times.shape}")
    if times.size and (times.min() < 0 or times.max() > 0xFFFF_FFFF):
        raise ValueError("timestamps_ms must fit into an unsigned 32-bit integer")
    block = HEADER.pack(VERSION, len(points), fps_hint) + points.tobytes()
    return compress(block + times.astype("<u4").tobytes(), level=level)


def compress(block: bytes, *, level: int = 6) -> bytes:
    """Wrap bytes into one gzip member, without a time stamp: equal input gives equal output."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WBITS)
    return deflater.compress(block) + deflater.flush()


def thinned(batch: FrameBatch, keep_every: int, first: int) -> FrameBatch | None:
    """Keep every so-manieth frame, beginning with number `first`: a batch like the client's own.

    The member is stored rather than compressed: that takes a fifth of the time, and half as many
    frames are no longer than the whole batch was. Where they would be too long for a member all the
    same, they are compressed; None when even that does not fit.
    """
    times = batch.timestamps_ms[first::keep_every]
    payload = b"".join(
        (
            HEADER.pack(VERSION, len(times), batch.fps_hint),
            batch.landmarks[first::keep_every].tobytes(),
            struct.pack(f"<{len(times)}I", *times),
        )
    )
    for level in (0, 6):
        member = compress(payload, level=level)
        if len(member) <= MAX_MEMBER_BYTES:
            return FrameBatch(len(times), batch.fps_hint, times, member, payload)
    return None


def untracked(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Mark the landmarks (frames x 33) that hold a value that is not finite: not tracked."""
    return np.asarray(~np.isfinite(landmarks).all(axis=2))


def _inflate(member: bytes) -> bytes:
    size = len(member)
    if size == 0:
        raise WireError(WireFault.BODY_EMPTY, "the body is empty; a batch is one gzip member")
    if size > MAX_MEMBER_BYTES:
        raise WireError(
            WireFault.MEMBER_TOO_LARGE,
            f"the body has {size} bytes; the limit is {MAX_MEMBER_BYTES}",
            limit=MAX_MEMBER_BYTES,
            seen=size,
        )
    if member[:2] != GZIP_MAGIC[:size]:
        raise WireError(WireFault.NOT_GZIP, "the body does not begin as gzip does")
    inflater: Any = zlib.decompressobj(_GZIP_WBITS)
    try:
        payload: bytes = inflater.decompress(member, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise WireError(WireFault.GZIP_CORRUPT, f"the gzip member is damaged: {error}") from None
    if len(payload) > MAX_INFLATED_BYTES:
        raise WireError(
            WireFault.INFLATED_TOO_LARGE,
            f"the batch inflates to more than {MAX_INFLATED_BYTES} bytes",
            limit=MAX_INFLATED_BYTES,
        )
    if not inflater.eof:
        raise WireError(WireFault.GZIP_TRUNCATED, "the gzip member ends before its trailer")
    if rest := inflater.unused_data:
        if rest.startswith(GZIP_MAGIC):
            raise WireError(WireFault.SEVERAL_MEMBERS, "a batch is exactly one gzip member")
        raise WireError(
            WireFault.TRAILING_BYTES,
            f"{len(rest)} bytes follow the gzip member",
            seen=len(rest),
        )
    return payload
