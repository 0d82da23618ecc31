import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine import wire
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.inbox import Arrival
from penstock.engine.losses import Span
from penstock.engine.motion.motion import NO_MOTION
from penstock.engine.motion.signals import SIGNALS
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.ports import MAX_CHUNK_BATCHES, SpoolChunk
from penstock.engine.reported import LONGEST_PHASE, NOTHING_REPORTED, Reported
from penstock.engine.timeline import Timeline
from penstock.engine.wire import FrameBatch
from penstock.storage import members
from penstock.storage.members import (
    ChunkSpan,
    MembersError,
    MembersFault,
    Window,
    chunk_header,
    encode_chunk,
    parse_header,
    shortened_header,
    walk,
    whole_batches,
)

_UNSENT = [reason for reason in Reason if reason.outcome is Outcome.UNSENT]
_SEEN = [reason for reason in Reason if reason.outcome is not Outcome.UNSENT]

MakeBatch = Callable[..., Arrival]
Altered = Callable[..., Arrival]
MakeChunk = Callable[..., SpoolChunk]

naturals = st.integers(0, 2**53)
reported = st.just(NOTHING_REPORTED) | st.builds(
    Reported,
    st.none() | st.integers(0, 1_000_000),
    st.none() | st.floats(0, 100),
    st.none() | st.floats(0, 360),
    st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=LONGEST_PHASE),
)
checkpoints = st.builds(
    Checkpoint,
    st.builds(SessionIdentity, *[st.uuids().map(str)] * 3),
    naturals,
    naturals,
    st.builds(
        Timeline,
        st.none() | naturals,
        st.none() | naturals,
        *[naturals] * 5,
    ),
    st.dictionaries(st.sampled_from(_SEEN), st.integers(0, 2**40)).map(
        lambda ended: Tally(sum(ended.values()), 0, ended)
    ),
    st.binary(max_size=99).map(
        lambda seen: NO_MOTION._replace(times=4 * seen, frames=2 * len(SIGNALS) * seen)
    ),
    st.sampled_from([True]),
    st.lists(st.builds(Span, naturals, naturals, st.sampled_from(list(Reason))), max_size=4).map(
        tuple
    ),
    reported,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
sidecars = st.none() | st.dictionaries(st.text(max_size=8), json_values, max_size=4).map(
    orjson.dumps
)
# The format does not look into a member.
frame_batches = st.builds(
    FrameBatch,
    st.integers(1, 2000),
    st.just(10),
    st.just(()),
    st.binary(min_size=1, max_size=40),
    st.just(b""),
)
batches = st.builds(Arrival, frame_batches, naturals, sidecars)
chunks = st.builds(SpoolChunk, checkpoints, st.lists(batches, max_size=5).map(tuple))


def _walked(data: bytes) -> tuple[list[ChunkSpan], MembersError | None]:
    spans: list[ChunkSpan] = []
    chunks = walk(Window.over(data))
    try:
        while (span := next(chunks, None)) is not None:
            spans.append(span)
    except MembersError as error:
        return spans, error
    return spans, None


def test_a_file_is_one_gzip_stream_of_the_batches(
    make_batch: MakeBatch, make_chunk: MakeChunk, tmp_path: Path
) -> None:
    """Any gzip reader gets exactly the inflated batches, one after another, and no error."""
    first, second, third = (make_batch(2, at) for at in (0, 200, 400))
    data = b"".join(
        encode_chunk(make_chunk(1, first, second))
        + encode_chunk(make_chunk(1))
        + encode_chunk(make_chunk(1, third))
    )
    content = b"".join(gzip.decompress(batch.member) for batch in (first, second, third))
    assert gzip.decompress(data) == content
    path = tmp_path / "session.bin.gz"
    path.write_bytes(data)
    if (binary := shutil.which("gzip")) is None:
        pytest.skip("there is no gzip binary here")
    subprocess.run([binary, "-t", path], check=True)
    assert subprocess.check_output([binary, "-dc", path]) == content


@given(chunks)
def test_what_is_written_is_read(chunk: SpoolChunk) -> None:
    """A header gives back the checkpoint and every batch's facts, its sidecar equal as JSON."""
    data = chunk_header(chunk)
    header, end = parse_header(b"before" + data + b"after", 6)
    assert end == 6 + len(data)
    assert header.before == chunk.before
    assert gzip.decompress(data) == b""
    assert len(header.entries) == len(chunk.batches)
    for entry, batch in zip(header.entries, chunk.batches, strict=True):
        assert entry.frame_count == batch.frame_count
        assert entry.member_length == len(batch.member)
        assert entry.received_unix_ms == batch.received_unix_ms
        if batch.sidecar is None:
            assert entry.sidecar is None
        else:
            assert entry.sidecar is not None
            assert orjson.loads(entry.sidecar) == orjson.loads(batch.sidecar)


@given(checkpoints)
def test_the_header_carries_the_checkpoint_as_the_engine_writes_it(before: Checkpoint) -> None:
    """The JSON under `before` is `Checkpoint.plain()`, whatever the engine adds to it."""
    data = chunk_header(SpoolChunk(before, ()))
    assert orjson.loads(data[16:-12]) == {"before": before.plain(), "batches": []}


@given(st.lists(chunks, max_size=4))
def test_a_walk_finds_every_chunk(several: list[SpoolChunk]) -> None:
    """Hopping by lengths gives each chunk once, in order, whole, up to the last byte."""
    data = b"".join(b"".join(encode_chunk(chunk)) for chunk in several)
    spans = list(walk(Window.over(data)))
    assert [span.header.before for span in spans] == [chunk.before for chunk in several]
    assert all(span.whole == len(span.header.entries) for span in spans)
    assert [span.offset for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert not spans or spans[-1].end == len(data)


def test_a_cut_at_every_byte_is_a_torn_chunk(make_batch: MakeBatch, make_chunk: MakeChunk) -> None:
    """A file that ends anywhere reads as its whole members and a torn end, never as damage."""
    pieces = [encode_chunk(make_chunk(1, make_batch(2), make_batch(1, 200))) for _ in range(2)]
    data = b"".join(pieces[0] + pieces[1])
    second = len(b"".join(pieces[0]))
    ends = [len(pieces[0][0]) + len(pieces[0][1]), second]
    ends += [second + end for end in ends]
    for cut in range(len(data)):
        found, error = _walked(data[:cut])
        assert sum(span.whole for span in found) == sum(end <= cut for end in ends)
        assert error is None or error.fault is MembersFault.TRUNCATED


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_chunks_or_the_typed_error(data: bytes) -> None:
    """No bytes make the reader raise anything but MembersError."""
    for body in (data, b"\x1f\x8b\x08\x06\x00\x00\x00\x00\x00\xff" + data):
        _, error = _walked(body)
        assert error is None or 0 <= error.offset <= len(body)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "before": json_values
            | st.fixed_dictionaries(
                {},
                optional={
                    "v": st.just(1) | json_values,
                    "session_id": json_values,
                    "principal_id": json_values,
                    "org_id": json_values,
                    "started_unix_ms": json_values,
                    "accepted_frames": json_values,
                    "timeline": json_values,
                    "tally": json_values,
                },
            ),
            "batches": json_values,
        },
    )
    | json_values
)
def test_sound_headers_of_foreign_json_are_unsupported(plain: object) -> None:
    """A header whose checksum holds but whose JSON is not ours is told apart from damage."""
    with pytest.raises(MembersError) as caught:
        parse_header(members._header(orjson.dumps(plain)))
    assert caught.value.fault is MembersFault.UNSUPPORTED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("before", "tally"), []),
        (("before", "tally"), {"no such reason": 1}),
        (("before", "tally", "used"), -1),
        (("before", "tally", "used"), 1.5),
        (("before", "timeline", "used"), "3"),
        (("before", "timeline", "first_ms"), ""),
        (("before", "session_id"), 5),
        (("before", "v"), 3),
        (("batches",), [[1, 2, 3]]),
        (("batches",), [[0, 2, 3, None]]),
        (("batches",), [[1, 65_537, 3, None]]),
        (("batches",), [[True, 2, 3, None]]),
        (("batches",), ["four"]),
        (("batches",), None),
    ],
)
def test_every_value_of_a_header_is_typed(
    make_chunk: MakeChunk, path: tuple[str, ...], value: object
) -> None:
    """A value of another type, or below zero, never gets into a Checkpoint or an Entry."""
    plain = {"before": make_chunk(1, used=3).before.plain(), "batches": []}
    parse_header(members._header(orjson.dumps(plain)))
    inner = plain
    for key in path[:-1]:
        inner = inner[key]  # type: ignore[assignment, index]
    inner[path[-1]] = value  # type: ignore[index]
    with pytest.raises(MembersError) as caught:
        parse_header(members._header(orjson.dumps(plain)))
    assert caught.value.fault is MembersFault.UNSUPPORTED


def test_a_flipped_bit_anywhere_in_a_header_is_found(make_chunk: MakeChunk) -> None:
    """No single wrong bit of a header passes unnoticed."""
    data = chunk_header(make_chunk(1, used=3))
    for at in range(len(data) * 8):
        broken = bytearray(data)
        broken[at // 8] ^= 1 << at % 8
        with pytest.raises(MembersError):
            parse_header(bytes(broken))


def test_a_header_too_long_for_the_format_is_refused(
    make_batch: MakeBatch, altered: Altered, make_chunk: MakeChunk
) -> None:
    """A chunk beyond the format's limit is a ValueError, not a file that nobody can read."""
    batch = make_batch(1)._replace(sidecar=orjson.dumps({"note": "x" * 2000}))
    with pytest.raises(ValueError, match="header of"):
        chunk_header(make_chunk(1, *[batch] * 40))
    with pytest.raises(ValueError, match="member of 65537 bytes"):
        chunk_header(make_chunk(1, altered(batch, member=bytes(65_537))))


@pytest.mark.parametrize(
    "sidecar",
    [
        b'{"a":"' + b"x" * 2040 + b'"}',
        b'{"a":' + b"[" * 1015 + b"]" * 1015 + b"}",
        b'"' + b'\\"' * 1023 + b'"',
    ],
)
def test_a_chunk_of_the_promised_size_fits_whatever_its_sidecars(
    make_batch: MakeBatch, altered: Altered, make_chunk: MakeChunk, sidecar: bytes
) -> None:
    """MAX_CHUNK_BATCHES batches fit one header with any sidecars the contract allows."""
    assert len(sidecar) <= 2048
    batch = altered(make_batch(1), frame_count=1970)._replace(
        sidecar=sidecar, received_unix_ms=2**53
    )
    chunk = make_chunk(1, *[batch] * MAX_CHUNK_BATCHES)
    tally = Tally(0, 0, dict.fromkeys(_SEEN, 2**53), dict.fromkeys(_UNSENT, 2**53))
    chunk = chunk._replace(before=chunk.before._replace(tally=tally))
    header, _ = parse_header(chunk_header(chunk))
    assert {entry.sidecar for entry in header.entries} == {sidecar}


def test_a_sidecar_that_is_no_json_does_not_spoil_the_header(
    make_batch: MakeBatch, make_chunk: MakeChunk
) -> None:
    """Whatever the sidecar, the header around it stays readable."""
    for sidecar in (b"", b"{", b"\xff", b'{"a": NaN}'):
        header, _ = parse_header(chunk_header(make_chunk(1, make_batch(1, 0, sidecar))))
        assert header.entries[0].sidecar == sidecar.decode("utf-8", "replace").encode()


@pytest.mark.parametrize("sidecar", [None, b'{"a":1}', b'{"a":[1E9,1E9,1E9,1E9,1E9,1E9,1E9,1E9]}'])
def test_a_shortened_header_keeps_its_length(
    make_batch: MakeBatch, make_chunk: MakeChunk, sidecar: bytes | None
) -> None:
    """A header can be made again for fewer members in the very same place."""
    data = b"".join(encode_chunk(make_chunk(1, *[make_batch(1, 0, sidecar)] * 2)))
    (span,) = walk(Window.over(data))
    for keep in (0, 1, 2):
        header, end = parse_header(shortened_header(span, keep))
        assert end == span.body_offset
        assert header.before == span.header.before
        assert [entry.member_length for entry in header.entries] == [
            entry.member_length for entry in span.header.entries[:keep]
        ]


def test_only_members_as_announced_are_given_back(
    make_batch: MakeBatch, altered: Altered, make_chunk: MakeChunk
) -> None:
    """Decoding a chunk ends at the first member that is damaged or holds another frame count."""
    good = make_batch(2)
    for bad in (
        altered(good, frame_count=3),
        altered(good, member=good.member[:-1] + b"\xff"),
    ):
        data = b"".join(encode_chunk(make_chunk(1, good, bad, good)))
        (span,) = walk(Window.over(data))
        assert [b.member for b in whole_batches(Window.over(data), span)] == [good.member]


def test_a_window_holds_one_block_whatever_the_file() -> None:
    """Reading a file from end to end asks for blocks, and gives the same bytes as slicing."""
    data = bytes(range(256)) * 4096
    asked: list[int] = []

    def read_at(length: int, offset: int) -> bytes:
        asked.append(length)
        return data[offset : offset + length]

    window = Window(read_at, len(data))
    for offset in range(0, len(data) + 1000, 1000):
        assert window.take(offset, 1500) == data[offset : offset + 1500]
    assert len(asked) < 10
    assert max(asked) <= 1 << 18
    assert window.take(5, 10) == data[5:15]
    assert wire.MAX_MEMBER_BYTES < 1 << 18
