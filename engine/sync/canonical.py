"""One spelling for equal JSON, so that equal records are told by their digests.

Keys are sorted, white space is gone, and a whole number is written without a point: to JSON 5 and
5.0 are the same number (RFC 8259, section 6; JSON Schema counts both as integers).
"""

import hashlib

import orjson

_DIGEST_BYTES = 16


class NotCanonicalError(ValueError):
    """It is no JSON, or nothing that can be written back as JSON."""


def parse(text: bytes) -> object:
    """Read JSON; NotCanonicalError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise NotCanonicalError("the body is no JSON") from None


def canonical(value: object) -> bytes:
    """Write a value in the one spelling; NotCanonicalError where it is nested too deeply."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        # Most records have no float at all: only then are the values themselves gone through.
        if b".0" in text:
            text = orjson.dumps(_whole(value), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError):
        raise NotCanonicalError("it is nested too deeply") from None
    return text


def digest(text: bytes) -> str:
    """Give what stands for a canonical text."""
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value) if abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return value
