"""Reading an answer: bytes in, an answer out, or "not yet", or "this is none". Pure.

Only what the measured servers send is read: HTTP/1.1 with a Content-Length, one answer at a time,
because the generators have one request under way a connection. Anything else is unreadable; it is
counted, and never taken for an answer.
"""

import re
from dataclasses import dataclass

# The longest answer that makes sense here, head and body; a problem document has some 400 bytes.
MAX_ANSWER_BYTES = 65_536

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d{1,9})\r\n")
_CLOSE = re.compile(rb"\r\n[Cc]onnection: *[Cc]lose\r\n")
_START = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_ACCEPTED = 202


class UnreadableAnswerError(ValueError):
    """The bytes are not the answer to a batch."""


@dataclass(slots=True, frozen=True)
class Answer:
    """One complete answer: its status, and whether the server closes the connection after it."""

    status: int
    closes: bool


def read_answer(data: bytes) -> Answer | None:
    """Read what arrived since the request; None while it is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > MAX_ANSWER_BYTES or not _may_begin(data):
            raise UnreadableAnswerError("no HTTP/1.1 answer")
        return None
    start = _START.match(data)
    length = _LENGTH.search(data, 0, end + 2)
    if start is None or length is None:
        raise UnreadableAnswerError("no HTTP/1.1 answer with a Content-Length")
    status = int(start[1])
    missing = end + 4 + int(length[1]) - len(data)
    if missing < 0 or int(length[1]) > MAX_ANSWER_BYTES:
        raise UnreadableAnswerError("more bytes than one answer")
    if missing > 0:
        return None
    if status == _ACCEPTED and not (data.startswith(b"{", end + 4) and data.endswith(b"}")):
        raise UnreadableAnswerError("a 202 without its JSON object")
    return Answer(status, _CLOSE.search(data, 0, end + 2) is not None)


def _may_begin(data: bytes) -> bool:
    opening = b"HTTP/1.1 "
    return data[: len(opening)] == opening[: len(data)]
