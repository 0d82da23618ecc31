"""A video file of encoded pictures: as much of WebM (Matroska) as a browser needs to play it.

A recorder in the browser takes as long as what it records, and tells no length. A browser's encoder
works as fast as it can, and this puts its pictures into a file.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Elements by their names in the specification (RFC 9559, section 27.1).
_EBML, _DOC_TYPE = b"\x1a\x45\xdf\xa3", b"\x42\x82"
_SEGMENT, _INFO, _DURATION = b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66", b"\x44\x89"
_TIMESTAMP_SCALE = b"\x2a\xd7\xb1"
_TRACKS, _TRACK_ENTRY = b"\x16\x54\xae\x6b", b"\xae"
_TRACK_NUMBER, _TRACK_UID, _TRACK_TYPE, _CODEC_ID = b"\xd7", b"\x73\xc5", b"\x83", b"\x86"
_VIDEO, _PIXEL_WIDTH, _PIXEL_HEIGHT = b"\xe0", b"\xb0", b"\xba"
_CLUSTER, _TIMESTAMP, _SIMPLE_BLOCK = b"\x1f\x43\xb6\x75", b"\xe7", b"\xa3"

_NANOSECONDS_A_MILLISECOND = 1_000_000


class Picture(NamedTuple):
    """One encoded picture: a key picture needs none before it."""

    at_ms: int
    key: bool
    data: bytes


def webm(pictures: Sequence[Picture], size: tuple[int, int], duration_ms: int) -> bytes:
    """Put VP8 pictures into a file that plays for so long; each key picture begins a cluster."""
    width, height = size
    info = _element(
        _INFO,
        _number(_TIMESTAMP_SCALE, _NANOSECONDS_A_MILLISECOND)
        + _element(_DURATION, struct.pack(">d", duration_ms)),
    )
    picture = _number(_PIXEL_WIDTH, width) + _number(_PIXEL_HEIGHT, height)
    track = (
        _number(_TRACK_NUMBER, 1)
        + _number(_TRACK_UID, 1)
        + _number(_TRACK_TYPE, 1)  # of pictures
        + _element(_CODEC_ID, b"V_VP8")
        + _element(_VIDEO, picture)
    )
    tracks = _element(_TRACKS, _element(_TRACK_ENTRY, track))
    segment = info + tracks + b"".join(_clusters(pictures))
    return _element(_EBML, _element(_DOC_TYPE, b"webm")) + _element(_SEGMENT, segment)


def _clusters(pictures: Iterable[Picture]) -> Iterable[bytes]:
    begun, blocks = 0, b""
    for at_ms, key, data in pictures:
        if key and blocks:
            yield _element(_CLUSTER, _number(_TIMESTAMP, begun) + blocks)
            blocks = b""
        if not blocks:
            begun = at_ms
        # The track's number as a size, the time in the cluster, and whether it is a key picture.
        blocks += _element(
            _SIMPLE_BLOCK, struct.pack(">BhB", 0x81, at_ms - begun, 0x80 * key) + data
        )
    if blocks:
        yield _element(_CLUSTER, _number(_TIMESTAMP, begun) + blocks)


def _element(name: bytes, content: bytes) -> bytes:
    # A size of eight bytes begins with the bit that says so.
    return name + struct.pack(">Q", 1 << 56 | len(content)) + content


def _number(name: bytes, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))
