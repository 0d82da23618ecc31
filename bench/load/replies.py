"""What an answer says: its status, its code, and for a batch the frames and the position. Pure."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.bench.answers import UnreadableAnswerError, read_answer

# What is counted, and shown on a terminal, by its name: nothing else that a server may say.
_CODE = re.compile("[A-Za-z0-9_.-]{1,64}")
_RETRY_AFTER = re.compile(rb"\r\n[Rr]etry-[Aa]fter: *(\d{1,6})\r\n")


@dataclass(slots=True, frozen=True)
class Reply:
    """One complete answer. `code` is a problem document's, else empty; `body` is of a 2xx.

    `retry_after` is a refusal's, in seconds.
    """

    status: int
    closes: bool
    code: str
    body: dict[str, Any]
    retry_after: int | None = None

    @property
    def outcome(self) -> str:
        """Give the answer's name in the counts: `202`, or `429 inbox_full`."""
        return f"{self.status} {self.code}" if self.code else str(self.status)


def read_reply(data: bytes) -> Reply | None:
    """Read what arrived since the request; None while it is not complete.

    Raises UnreadableAnswerError for what is no answer. A refusal may have any body, because
    proxies and other servers refuse in their own words; a 2xx must hold a JSON object.
    """
    answer = read_answer(data)
    if answer is None:
        return None
    head, _, text = data.partition(b"\r\n\r\n")
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = None
    if answer.status < 300:
        if not isinstance(body, dict):
            raise UnreadableAnswerError("a 2xx without its JSON object")
        return Reply(answer.status, answer.closes, "", body)
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, str) or _CODE.fullmatch(code) is None:
        code = ""
    told = _RETRY_AFTER.search(head + b"\r\n")
    return Reply(answer.status, answer.closes, code, {}, int(told[1]) if told else None)


def read_accepted(body: dict[str, Any]) -> tuple[str, int, int]:
    """Give the session, the frames and the position that a batch's 202 names.

    Raises UnreadableAnswerError when one of them is missing or of another type.
    """
    session = body.get("session_id")
    frames = body.get("frames_accepted")
    position = body.get("buffer_position_bytes")
    # `type`, not isinstance: a bool is no count.
    if type(session) is not str or type(frames) is not int or type(position) is not int:
        raise UnreadableAnswerError("a batch's 202 without its three fields")
    return session, frames, position
