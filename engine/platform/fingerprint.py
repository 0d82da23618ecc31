"""Which error reports tell of the same error.

Two reports are of one error when their type, code, feature and stack are the same once everything
that differs from one occurrence to the next is left out of the stack: line and column numbers,
addresses in memory, ids, the host and version that a script was loaded from. Messages are not
looked at: they hold what differs.
"""

import hashlib
import re

COUNTED_FRAMES = 10
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/()]{1,255}", re.IGNORECASE)
_QUERY = re.compile(r"[?#][^\s():]*")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
# What builds put into file names: app.3f9a1c2e.js is app.#.js of any build.
_BUILD = re.compile(r"\b(?=[a-z]*\d)[0-9a-z]{8,}\b", re.IGNORECASE)
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
_POSITION = re.compile(r"(?::\d+){1,2}(?=\)?$)")
_FRAME = re.compile(r"^(?:at\s|\S*@|File\s|\s*in\s)|:\d+\)?$")


def normalised_stack(stack: str) -> str:
    """Give the innermost frames of a stack, without what differs between two occurrences."""
    lines = [line.strip() for line in stack.splitlines() if line.strip()]
    frames = [line for line in lines if _FRAME.search(line)]
    return "\n".join(_normalised(line) for line in (frames or lines)[:COUNTED_FRAMES])


def fingerprint(error_type: str, error_code: str | None, feature: str | None, stack: str) -> str:
    """Give the name that all reports of one error share."""
    parts = (error_type, error_code or "", feature or "", normalised_stack(stack))
    # Lengths first: parts that run into one another must not make another error's name.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _normalised(line: str) -> str:
    line = _POSITION.sub("", line[:500])
    line = _QUERY.sub("", _URL.sub("", line))
    line = _BUILD.sub("#", _UUID.sub("#", line))
    return _NUMBER.sub("#", line)
