"""A spool file or replay blob, read for people: what is in it, and where it is not sound.

One pass from the front, one block in memory. Where the file has header members (see `members`)
they say where each batch lies, and a damaged batch costs that batch alone. Anything else is taken
as a plain concatenation of batch members, whose ends only inflating finds. Behind bytes that are
neither, the reading goes on at the next place where a header member or a whole batch begins.

Only a file that cannot be opened or read raises (`ReplayError`); damage is part of the report.
"""

import os
import stat
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.folding import last_word
from penstock.engine.frame_bins import Standing
from penstock.engine.inbox import Arrival
from penstock.engine.losses import Span
from penstock.engine.motion.metrics import reach
from penstock.engine.motion.motion import NO_MOTION, Motion, conclude
from penstock.engine.motion.signals import Floats
from penstock.engine.outcomes import FrameLedger, Reason, Tally
from penstock.engine.reported import NOTHING_REPORTED, Reported
from penstock.engine.sidecar import NO_META, BatchMeta
from penstock.engine.timeline import GAP_MS, Timeline
from penstock.engine.turbine import measured, moved
from penstock.engine.wire import (
    GZIP_MAGIC,
    LANDMARKS,
    MAX_INFLATED_BYTES,
    MAX_MEMBER_BYTES,
    WireError,
    WireFault,
    decode,
    untracked,
)
from penstock.storage.members import (
    ChunkHeader,
    Entry,
    MembersError,
    MembersFault,
    Window,
    read_header,
)

# A file of nothing but gaps or damage must not make a report as large as itself.
MAX_LISTED = 1000
SIDECAR_KEYS = ("camera_resolution", "coords", "exercise")
_MAX_VALUES = 50
_MAX_VALUE_LENGTH = 64
_SEARCH_BYTES = 1 << 16
# NumPy takes as long for one batch as for a dozen. More would only take memory.
_MEASURED_AT_ONCE = 64
# The magic and the one method there is; with it, a search stops less often at chance bytes.
_MAGIC = GZIP_MAGIC + b"\x08"


class ReplayError(Exception):
    """The file cannot be opened or read. One line, for the user."""


@dataclass(slots=True, frozen=True)
class Gap:
    """A time without frames, longer than `timeline.GAP_MS`."""

    start_ms: int
    end_ms: int
    length_ms: int


@dataclass(slots=True, frozen=True)
class Damage:
    """Something that is not as it must be, and at which byte."""

    offset: int
    what: str


@dataclass(slots=True, frozen=True)
class CheckpointSummary:
    """The session's counts as the last header had them: before that header's batches."""

    offset: int
    started_unix_ms: int
    accepted_frames: int
    seen: int
    by_reason: Mapping[str, int]


@dataclass(slots=True, frozen=True)
class SidecarSummary:
    """How many batches came with a sidecar, and how often each value of `SIDECAR_KEYS` was seen."""

    batches: int
    values: Mapping[str, Mapping[str, int]]


class Trace(NamedTuple):
    """What was measured in some batches: times, and values by the columns of `signals.SIGNALS`.

    `sizes` are the batches' frames.
    """

    timestamps_ms: tuple[int, ...]
    values: Floats
    sizes: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class ReplayReport:
    """What `read_replay` found. Lists end after `MAX_LISTED`; the counts do not.

    `reach_degrees` holds the least and the greatest angle of each joint that was seen, `motion` is
    the state that all frames have been folded into, and `traces` what was measured in each frame,
    if that was wanted. `tally`, `accepted_frames`, `losses` and `reported` are the session's own
    after the last frame; the tally is None where no header says who the session is. `standings`
    come with the traces.
    """

    identity: SessionIdentity | None
    chunks: int
    batches: int
    frames: int
    used: int
    repeated: int
    first_timestamp_ms: int | None
    last_timestamp_ms: int | None
    duration_ms: int
    fps: float | None
    gaps: tuple[Gap, ...]
    gap_count: int
    longest_gap_ms: int
    landmark_bytes: int
    file_bytes: int
    inflated_bytes: int
    untracked_share: float | None
    reach_degrees: Mapping[str, tuple[float, float]]
    checkpoint: CheckpointSummary | None
    sidecars: SidecarSummary
    damage: tuple[Damage, ...]
    damage_count: int
    torn_bytes: int
    verified: bool
    motion: Motion
    tally: Tally | None
    accepted_frames: int
    losses: tuple[Span, ...]
    reported: Reported
    traces: tuple[Trace, ...]
    standings: tuple[Standing, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give JSON-ready values: all but the state and the traces."""
        bare = asdict(replace(self, motion=NO_MOTION, tally=None, traces=(), standings=()))
        for name in _BESIDE:
            del bare[name]
        return bare


_BESIDE = ("motion", "tally", "accepted_frames", "losses", "reported", "traces", "standings")


def read_replay(path: Path, *, traces: bool = False) -> ReplayReport:
    """Read and verify a whole spool file or replay blob. ReplayError when it cannot be read.

    With `traces` what was measured in each frame is kept, some 70 bytes a frame.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ReplayError(f"{path}: not a plain file")
            window = Window(lambda length, at: os.pread(fd, length, at), os.fstat(fd).st_size)
            reading = _Reading(window, traced=[] if traces else None)
            reading.run()
        finally:
            os.close(fd)
    except OSError as error:
        raise ReplayError(f"{path}: {error.strerror or error}") from None
    return reading.report()


@dataclass(slots=True, eq=False)
class _Reading:
    """The pass through one file, and what it has found so far."""

    window: Window
    traced: list[Trace] | None = None
    identity: SessionIdentity | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_offset: int = 0
    chunks: int = 0
    batches: int = 0
    timeline: Timeline = field(default_factory=Timeline)
    gaps: list[Gap] = field(default_factory=list)
    landmark_bytes: int = 0
    inflated_bytes: int = 0
    untracked: int = 0
    motion: Motion = NO_MOTION
    waiting: list[Arrival] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    tally: Tally | None = None
    accepted_frames: int = 0
    reported: Reported = NOTHING_REPORTED
    sidecars: int = 0
    values: dict[str, Counter[str]] = field(
        default_factory=lambda: {key: Counter() for key in SIDECAR_KEYS}
    )
    damage: list[Damage] = field(default_factory=list)
    damage_count: int = 0
    torn_bytes: int = 0

    def run(self) -> None:
        """Read from the first byte to the last."""
        size = self.window.size
        if size == 0:
            self._note(0, "the file is empty")
        offset = 0
        while offset < size:
            try:
                header, body_offset = read_header(self.window, offset)
            except MembersError as error:
                offset = self._without_header(offset, error)
            else:
                offset = self._chunk(offset, header, body_offset)
        self._measure()

    def report(self) -> ReplayReport:
        """Sum up."""
        timeline = self.timeline
        frames = timeline.used + timeline.repeated
        duration = (timeline.newest_ms or 0) - (timeline.first_ms or 0)
        return ReplayReport(
            identity=self.identity,
            chunks=self.chunks,
            batches=self.batches,
            frames=frames,
            used=timeline.used,
            repeated=timeline.repeated,
            first_timestamp_ms=timeline.first_ms,
            last_timestamp_ms=timeline.newest_ms,
            duration_ms=duration,
            fps=round((timeline.used - 1) * 1000 / duration, 3) if duration else None,
            gaps=tuple(self.gaps),
            gap_count=timeline.gaps,
            longest_gap_ms=timeline.longest_gap_ms,
            landmark_bytes=self.landmark_bytes,
            file_bytes=self.window.size,
            inflated_bytes=self.inflated_bytes,
            untracked_share=self.untracked / (frames * LANDMARKS) if frames else None,
            reach_degrees=reach(conclude(self.motion)),
            checkpoint=self._checkpoint_summary(),
            sidecars=SidecarSummary(
                self.sidecars, {key: dict(seen) for key, seen in self.values.items() if seen}
            ),
            damage=tuple(self.damage),
            damage_count=self.damage_count,
            torn_bytes=self.torn_bytes,
            verified=self.damage_count == 0,
            motion=self.motion,
            tally=self.tally,
            accepted_frames=self.accepted_frames,
            losses=self.checkpoint.losses if self.checkpoint else (),
            reported=self.reported,
            traces=tuple(self.traced or ()),
            standings=tuple(self.standings),
        )

    def _checkpoint_summary(self) -> CheckpointSummary | None:
        if self.checkpoint is None:
            return None
        tally = self.checkpoint.tally
        return CheckpointSummary(
            offset=self.checkpoint_offset,
            started_unix_ms=self.checkpoint.started_unix_ms,
            accepted_frames=self.checkpoint.accepted_frames,
            seen=tally.seen,
            by_reason=tally.plain(),
        )

    def _chunk(self, offset: int, header: ChunkHeader, body_offset: int) -> int:
        identity = header.before.identity
        if self.identity is None:
            self.identity = identity
        elif identity != self.identity:
            self._note(offset, "a header of another session")
        self.checkpoint, self.checkpoint_offset = header.before, offset
        self.tally = header.before.tally.copy()
        self.accepted_frames = header.before.accepted_frames
        self.chunks += 1
        if self.traced is not None:
            self.standings.append(Standing(self.timeline.newest_ms, header.before.tally))
        at = body_offset
        for number, entry in enumerate(header.entries):
            member = bytes(self.window.take(at, entry.member_length))
            if len(member) < entry.member_length:
                missing = sum(later.frame_count for later in header.entries[number:])
                self._torn(at, f"the file ends inside a chunk, {missing} announced frames missing")
                return self.window.size
            self._announced(at, member, entry)
            at += entry.member_length
        return at

    def _announced(self, offset: int, member: bytes, entry: Entry) -> None:
        try:
            batch = decode(member)
        except WireError as error:
            self._note(offset, f"batch of {entry.frame_count} frames: {error.detail}")
            return
        if batch.frame_count != entry.frame_count:
            self._note(
                offset, f"{batch.frame_count} frames where {entry.frame_count} were announced"
            )
        meta = NO_META if entry.sidecar is None else BatchMeta.read(entry.sidecar)
        self._fold(Arrival(batch, entry.received_unix_ms, entry.sidecar, meta))
        if entry.sidecar is not None:
            self._sidecar(entry.sidecar)

    def _without_header(self, offset: int, error: MembersError) -> int:
        """Read a batch that no header announced, or note what is there; give where to go on."""
        if error.fault is MembersFault.TRUNCATED:
            self._torn(offset, "the file ends inside a header member")
            return self.window.size
        if error.fault is not MembersFault.NOT_A_HEADER:
            self._note(offset, error.detail)
            return self._next_member(offset + 1)
        try:
            member = _plain_member(self.window, offset)
        except WireError as fault:
            resumed = self._next_member(offset + 1)
            if fault.fault is WireFault.GZIP_TRUNCATED and resumed == self.window.size:
                self._torn(offset, "the file ends inside a batch")
            else:
                self._note(offset, f"neither a header member nor a batch: {fault.detail}")
            return resumed
        try:
            self._fold(Arrival(decode(member), 0))
        except WireError as fault:
            self._note(offset, f"a gzip member that is no batch: {fault.detail}")
        return offset + len(member)

    def _next_member(self, offset: int) -> int:
        """Find where a header member or a whole batch begins next; the file's end when nowhere."""
        size = self.window.size
        while offset < size:
            block = bytes(self.window.take(offset, _SEARCH_BYTES))
            at = block.find(_MAGIC)
            if at < 0:
                # The magic may begin in the last bytes of this block.
                offset += max(len(block) - len(_MAGIC) + 1, 1)
                continue
            offset += at
            if self._begins_here(offset):
                return offset
            offset += 1
        return size

    def _begins_here(self, offset: int) -> bool:
        try:
            read_header(self.window, offset)
        except MembersError:
            try:
                decode(_plain_member(self.window, offset))
            except WireError:
                return False
        return True

    def _fold(self, arrival: Arrival) -> None:
        batch = arrival.batch
        self.batches += 1
        self.reported = last_word(self.reported, [arrival])
        self.waiting.append(arrival)
        if len(self.waiting) == _MEASURED_AT_ONCE:
            self._measure()
        self.landmark_bytes += batch.landmark_bytes
        self.inflated_bytes += len(batch.payload)
        self.untracked += int(untracked(batch.landmarks).sum())
        newest, known = self.timeline.newest_ms, self.timeline.gaps
        used, repeated = self.timeline.fold(batch.timestamps_ms)
        self.accepted_frames += used + repeated
        if self.tally is not None:
            ledger = FrameLedger()
            ledger.admit(self.tally, used + repeated)
            ledger.settle(self.tally, Reason.USED, used)
            ledger.settle(self.tally, Reason.REPEATED, repeated)
        if self.timeline.gaps > known:
            self._list_gaps(newest, batch.timestamps_ms)

    def _measure(self) -> None:
        """Take what waits into the motion."""
        if not self.waiting:
            return
        self.motion = moved([(self.motion, self.waiting)])[0]
        if self.traced is not None:
            stamps = chain.from_iterable(arrival.batch.timestamps_ms for arrival in self.waiting)
            sizes = tuple(len(arrival.batch.timestamps_ms) for arrival in self.waiting)
            self.traced.append(Trace(tuple(stamps), measured(self.waiting), sizes))
        self.waiting = []

    def _list_gaps(self, newest: int | None, timestamps_ms: tuple[int, ...]) -> None:
        for at in timestamps_ms:
            if newest is not None and at - newest > GAP_MS and len(self.gaps) < MAX_LISTED:
                self.gaps.append(Gap(newest, at, at - newest))
            newest = at if newest is None else max(newest, at)

    def _sidecar(self, sidecar: bytes) -> None:
        self.sidecars += 1
        try:
            content = orjson.loads(sidecar)
        except orjson.JSONDecodeError:
            return
        if not isinstance(content, dict):
            return
        for key, seen in self.values.items():
            value = content.get(key)
            if not isinstance(value, str):
                continue
            value = value[:_MAX_VALUE_LENGTH]
            if value in seen or len(seen) < _MAX_VALUES:
                seen[value] += 1

    def _note(self, offset: int, what: str) -> None:
        self.damage_count += 1
        if len(self.damage) < MAX_LISTED:
            self.damage.append(Damage(offset, what))

    def _torn(self, offset: int, what: str) -> None:
        self.torn_bytes = self.window.size - offset
        self._note(offset, what)


def _plain_member(window: Window, offset: int) -> bytes:
    """Cut out the gzip member that begins at an offset, however long it is; WireError if none."""
    block = bytes(window.take(offset, MAX_MEMBER_BYTES))
    inflater: Any = zlib.decompressobj(31)
    try:
        payload = inflater.decompress(block, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise WireError(WireFault.GZIP_CORRUPT, str(error)) from None
    if inflater.eof:
        return block[: len(block) - len(inflater.unused_data)]
    if len(payload) > MAX_INFLATED_BYTES:
        raise WireError(WireFault.INFLATED_TOO_LARGE, "it inflates to more than a batch may")
    if offset + len(block) < window.size:
        raise WireError(WireFault.MEMBER_TOO_LARGE, "it is longer than a batch may be")
    raise WireError(WireFault.GZIP_TRUNCATED, "it ends before its trailer")
