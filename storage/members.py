"""The spool file's format: gzip members only, the empty ones carrying what resumes a session.

Theory of operation
-------------------
A spool file is a sequence of *chunks*. A chunk is one *header member* and then the gzip members of
its batches, exactly as they were received::

    file   = chunk*
    chunk  = header member, batch member*
    header = 1f 8b 08 06 00000000 00 ff | XLEN | "PK" LEN JSON | CRC16 | 03 00 | 00000000 00000000

The header is a valid gzip member of no content (RFC 1952: FLG says FEXTRA and FHCRC; the JSON is
the data of one extra subfield), so the whole file is a valid gzip file whose content is the
inflated batches one after another: `zcat` reads it, and it can be the replay blob as it is.

The JSON is ``{"before": checkpoint, "batches": [[frames, length, received, sidecar], ...]}``: the
session's state *before* the chunk, and the lengths that let a reader hop to the next header
without inflating anything. Nothing is found by searching: a batch member cannot pose as a header,
because it lies where a header said a batch lies.

Nothing here reads or writes a file. Any bytes are chunks or a `MembersError`, nothing else.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self
from zlib import crc32

import orjson

from penstock.engine.checkpoint import CHECKPOINT_VERSION, Checkpoint, written_motion
from penstock.engine.inbox import Arrival
from penstock.engine.losses import plain_spans
from penstock.engine.ports import SpoolChunk
from penstock.engine.reported import NOTHING_REPORTED
from penstock.engine.sidecar import NO_META, BatchMeta
from penstock.engine.wire import MAX_MEMBER_BYTES, WireError, decode

# RFC 1952: XLEN is an unsigned 16-bit integer, and the subfield's own id and length take four.
MAX_HEADER_DATA = 65_535 - 4

_PREFIX = b"\x1f\x8b\x08\x06\x00\x00\x00\x00\x00\xff"
_EXTRA = struct.Struct("<H2sH")
_EXTRA_ID = b"PK"
_CRC16 = struct.Struct("<H")
# An empty deflate block, then CRC-32 and length of no bytes.
_TRAILER = b"\x03\x00" + bytes(8)
_FIXED_BYTES = len(_PREFIX) + _EXTRA.size
_OVERHEAD = _FIXED_BYTES + _CRC16.size + len(_TRAILER)
MAX_HEADER_BYTES = MAX_HEADER_DATA + _OVERHEAD

# orjson refuses to read what is nested more than 1024 deep; a sidecar with fewer brackets than this
# cannot get there inside the header.
_MAX_BRACKETS = 512
_BLOCK_BYTES = 1 << 18


class MembersFault(StrEnum):
    """Why bytes are not a header member."""

    TRUNCATED = "truncated"  # they begin as one does and end too early
    NOT_A_HEADER = "not_a_header"
    CORRUPT = "corrupt"  # a header by its form, but its checksum or its trailer is not right
    UNSUPPORTED = "unsupported"  # sound, but its JSON is not ours: another version wrote it


class MembersError(ValueError):
    """Bytes that are no header member: which fault, and where in the file."""

    def __init__(self, fault: MembersFault, offset: int, detail: str) -> None:
        super().__init__(f"offset {offset}: {detail}")
        self.fault = fault
        self.offset = offset
        self.detail = detail


@dataclass(slots=True, frozen=True)
class Entry:
    """What a header says of one batch. `sidecar` is equal to the client's as JSON, not as bytes."""

    frame_count: int
    member_length: int
    received_unix_ms: int
    sidecar: bytes | None


@dataclass(slots=True, frozen=True)
class ChunkHeader:
    """The state before a chunk, and what the chunk holds."""

    before: Checkpoint
    entries: tuple[Entry, ...]


@dataclass(slots=True, frozen=True)
class ChunkSpan:
    """Where a chunk lies. `whole` of its members lie entirely inside the file."""

    offset: int
    header: ChunkHeader
    body_offset: int
    end: int
    whole: int


class Window:
    """A file seen through one block at a time, so that its size never matters to memory.

    `read_at(length, offset)` gives the bytes there, fewer at the end of the file.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], size: int) -> None:
        self._read_at = read_at
        self.size = size
        self._block = b""
        self._start = 0

    @classmethod
    def over(cls, data: bytes) -> Self:
        """Look at bytes that are in memory anyway."""
        return cls(lambda length, offset: data[offset : offset + length], len(data))

    def take(self, offset: int, length: int) -> memoryview:
        """Give the bytes at an offset, fewer at the end; a view, valid as long as it is held."""
        length = min(length, self.size - offset)
        if length <= 0:
            return memoryview(b"")
        at = offset - self._start
        if at < 0 or at + length > len(self._block):
            wanted = min(max(length, _BLOCK_BYTES), self.size - offset)
            self._block, self._start, at = self._read_at(wanted, offset), offset, 0
        return memoryview(self._block)[at : at + length]


def chunk_header(chunk: SpoolChunk) -> bytes:
    """Make the header member of a chunk; ValueError when its JSON or a member is too long."""
    before = chunk.before
    identity = before.identity
    timeline = before.timeline
    # This is Checkpoint.plain(), written out: `asdict` would take longer than everything else in
    # an append together, and this runs once for every batch received.
    plain: dict[str, Any] = {
        "v": CHECKPOINT_VERSION,
        "session_id": identity.session_id,
        "principal_id": identity.principal_id,
        "org_id": identity.org_id,
        "started_unix_ms": before.started_unix_ms,
        "accepted_frames": before.accepted_frames,
        "timeline": {
            "first_ms": timeline.first_ms,
            "newest_ms": timeline.newest_ms,
            "used": timeline.used,
            "repeated": timeline.repeated,
            "gaps": timeline.gaps,
            "gap_ms_total": timeline.gap_ms_total,
            "longest_gap_ms": timeline.longest_gap_ms,
        },
        "tally": before.tally.plain(),
        "motion": written_motion(before),
    }
    if before.losses:
        plain["losses"] = plain_spans(before.losses)
    if before.reported != NOTHING_REPORTED:
        plain["reported"] = before.reported.plain()
    batches: list[tuple[int, int, int, orjson.Fragment | str | None]] = []
    for batch, received_unix_ms, raw, *_ in chunk.batches:
        length = len(batch.member)
        if not 0 < length <= MAX_MEMBER_BYTES:
            raise ValueError(f"a member of {length} bytes; a batch has 1 to {MAX_MEMBER_BYTES}")
        sidecar = None if raw is None else _embedded(raw)
        batches.append((batch.frame_count, length, received_unix_ms, sidecar))
    data = orjson.dumps({"before": plain, "batches": batches})
    if len(data) > MAX_HEADER_DATA:  # the largest motion beside the largest sidecars
        data = orjson.dumps({"before": plain | {"motion": None}, "batches": batches})
    return _header(data)


def encode_chunk(chunk: SpoolChunk) -> list[bytes]:
    """Give the buffers of a chunk in the order of the file; ValueError as `chunk_header` does."""
    return [chunk_header(chunk), *[arrival.member for arrival in chunk.batches]]


def shortened_header(span: ChunkSpan, keep: int) -> bytes:
    """Make the header again, of the same length, announcing only the first `keep` members.

    A chunk that was cut must not announce what is gone, or the next chunk would be read as its
    end. White space at the end of the JSON keeps the length, so nothing after it moves.
    """
    room = span.body_offset - span.offset - _OVERHEAD
    header = replace(span.header, entries=span.header.entries[:keep])
    data = _header_json(header)
    if len(data) > room:  # numbers of a sidecar can be longer the way that orjson writes them
        bare = tuple(replace(entry, sidecar=None) for entry in header.entries)
        data = _header_json(replace(header, entries=bare))
    return _header(data.ljust(room))


def parse_header(data: bytes | memoryview, offset: int = 0) -> tuple[ChunkHeader, int]:
    """Read the header member at an offset; give it and the offset after it, or MembersError."""
    view = memoryview(data)[offset:]
    begin = bytes(view[: len(_PREFIX)])
    if begin != _PREFIX:
        fault = MembersFault.TRUNCATED if _PREFIX.startswith(begin) else MembersFault.NOT_A_HEADER
        raise MembersError(fault, offset, "no header member begins here")
    if len(view) < _FIXED_BYTES:
        raise MembersError(MembersFault.TRUNCATED, offset, "a header member is cut short")
    extra_length, extra_id, length = _EXTRA.unpack_from(view, len(_PREFIX))
    if extra_id != _EXTRA_ID or extra_length != length + 4:
        raise MembersError(MembersFault.NOT_A_HEADER, offset, "a gzip member of another kind")
    end = _FIXED_BYTES + length
    if len(view) < length + _OVERHEAD:
        raise MembersError(MembersFault.TRUNCATED, offset, "a header member is cut short")
    (crc16,) = _CRC16.unpack_from(view, end)
    if crc16 != crc32(view[:end]) & 0xFFFF:
        raise MembersError(MembersFault.CORRUPT, offset, "the header member's CRC does not match")
    if view[end + _CRC16.size : length + _OVERHEAD] != _TRAILER:
        raise MembersError(MembersFault.CORRUPT, offset, "the header member is not empty")
    try:
        plain = orjson.loads(view[_FIXED_BYTES:end])
        header = ChunkHeader(
            _checkpoint(plain["before"]), tuple(_entry(*entry) for entry in plain["batches"])
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The checksum held, so this is what somebody wrote, not what a disk made of it.
        detail = f"the header member's JSON is not as expected ({type(error).__name__})"
        raise MembersError(MembersFault.UNSUPPORTED, offset, detail) from None
    return header, offset + length + _OVERHEAD


def read_header(window: Window, offset: int) -> tuple[ChunkHeader, int]:
    """Read the header member at an offset of a file; as `parse_header`, with the file's offsets."""
    try:
        header, length = parse_header(window.take(offset, MAX_HEADER_BYTES))
    except MembersError as error:
        raise MembersError(error.fault, offset, error.detail) from None
    return header, offset + length


def walk(window: Window) -> Iterator[ChunkSpan]:
    """Hop from chunk to chunk; the last may be torn. MembersError where no header is found."""
    offset = 0
    while offset < window.size:
        header, body_offset = read_header(window, offset)
        end, whole = body_offset, 0
        for entry in header.entries:
            end += entry.member_length
            whole += end <= window.size
        yield ChunkSpan(offset, header, body_offset, end, whole)
        offset = end


def whole_batches(window: Window, span: ChunkSpan) -> tuple[Arrival, ...]:
    """Decode a chunk's members up to the first that is torn or not what the header announced."""
    batches: list[Arrival] = []
    at = span.body_offset
    for entry in span.header.entries[: span.whole]:
        try:
            batch = decode(bytes(window.take(at, entry.member_length)))
        except WireError:
            break
        if batch.frame_count != entry.frame_count:
            break
        meta = NO_META if entry.sidecar is None else BatchMeta.read(entry.sidecar)
        batches.append(Arrival(batch, entry.received_unix_ms, entry.sidecar, meta))
        at += entry.member_length
    return tuple(batches)


def _header(data: bytes) -> bytes:
    size = len(data)
    if size > MAX_HEADER_DATA:
        raise ValueError(f"a chunk's header of {size} bytes; the limit is {MAX_HEADER_DATA}")
    head = _PREFIX + _EXTRA.pack(size + 4, _EXTRA_ID, size) + data
    return head + _CRC16.pack(crc32(head) & 0xFFFF) + _TRAILER


def _header_json(header: ChunkHeader) -> bytes:
    batches = [
        (
            entry.frame_count,
            entry.member_length,
            entry.received_unix_ms,
            None if entry.sidecar is None else _embedded(entry.sidecar),
        )
        for entry in header.entries
    ]
    return orjson.dumps({"before": header.before.plain(), "batches": batches})


def _embedded(sidecar: bytes) -> orjson.Fragment | str:
    # A fragment is copied unread, so one that is not JSON, or is nested too deep, would make the
    # whole header unreadable. The front refuses such sidecars; the file must not depend on that.
    # What cannot be embedded as JSON is kept as a string of its text.
    try:
        value = orjson.loads(sidecar)
    except orjson.JSONDecodeError:
        return sidecar.decode("utf-8", "replace")
    if isinstance(value, str) or sidecar.count(b"[") + sidecar.count(b"{") > _MAX_BRACKETS:
        return sidecar.decode()
    return orjson.Fragment(sidecar)


def _entry(frame_count: object, length: object, received: object, sidecar: object) -> Entry:
    if _natural(frame_count) < 1 or not 0 < _natural(length) <= MAX_MEMBER_BYTES:
        raise ValueError("no batch has such a length")
    raw: bytes | None
    match sidecar:
        case None:
            raw = None
        case str():
            raw = sidecar.encode()
        case _:
            raw = orjson.dumps(sidecar)
    return Entry(_natural(frame_count), _natural(length), _natural(received), raw)


def _checkpoint(plain: dict[str, Any]) -> Checkpoint:
    checkpoint = Checkpoint.from_plain(plain)
    identity, timeline = checkpoint.identity, checkpoint.timeline
    for text in (identity.session_id, identity.principal_id, identity.org_id):
        if not isinstance(text, str):
            raise TypeError("an id is a string")
    for number in (
        checkpoint.started_unix_ms,
        checkpoint.accepted_frames,
        0 if timeline.first_ms is None else timeline.first_ms,
        0 if timeline.newest_ms is None else timeline.newest_ms,
        timeline.used,
        timeline.repeated,
        timeline.gaps,
        timeline.gap_ms_total,
        timeline.longest_gap_ms,
        *checkpoint.tally.ended.values(),
        *checkpoint.tally.unsent.values(),
        *(time for span in checkpoint.losses for time in span[:2]),
    ):
        _natural(number)
    return checkpoint


def _natural(number: object) -> int:
    if type(number) is not int or number < 0:
        raise TypeError("a count is a whole number and not negative")
    return number
