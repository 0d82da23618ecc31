"""What a client says it could not send: `X-Client-Dropped: 30;reason=network, 4;reason=cpu`.

Frames that never left the client are no frames that this service saw, but the session lacks them
all the same, so its loss budget counts them.
"""

import re
from enum import StrEnum
from typing import NamedTuple

from penstock.engine.outcomes import Reason

MAX_UNSENT_FRAMES = 1_000_000

_ITEM = re.compile(r"([0-9]{1,12})[ \t]*;[ \t]*reason=([a-z_]{1,20})")
_REASONS = {
    reason.value.removeprefix("unsent_"): reason
    for reason in (
        Reason.UNSENT_NETWORK,
        Reason.UNSENT_REFUSED,
        Reason.UNSENT_CPU,
        Reason.UNSENT_CAMERA,
        Reason.UNSENT_HIDDEN,
        Reason.UNSENT_OTHER,
    )
}
UNSENT_WORDS = tuple(_REASONS)
# Each reason once, in as few words as it takes: whatever is longer says something else.
_MAX_CHARACTERS = 256


class Unsent(NamedTuple):
    """So many frames were never sent, and why."""

    frames: int
    reason: Reason


class UnsentField(StrEnum):
    """The part of the value that is wrong."""

    VALUE = "value"
    FRAMES = "frames"
    REASON = "reason"


class UnsentFault(NamedTuple):
    """What is wrong with the value, and where."""

    field: UnsentField
    detail: str
    seen: str


def parse_unsent(value: str) -> tuple[Unsent, ...] | UnsentFault:
    """Read the header's value, or say what is wrong with it."""
    if len(value) > _MAX_CHARACTERS:
        detail = f"it must not be longer than {_MAX_CHARACTERS} characters"
        return UnsentFault(UnsentField.VALUE, detail, f"{len(value)} characters")
    found: dict[Reason, int] = {}
    for item in value.split(","):
        text = item.strip(" \t")
        match = _ITEM.fullmatch(text)
        if match is None:
            detail = "each item must be like 30;reason=network"
            return UnsentFault(UnsentField.VALUE, detail, text)
        frames = int(match[1])
        if not 1 <= frames <= MAX_UNSENT_FRAMES:
            detail = f"the number must be from 1 to {MAX_UNSENT_FRAMES}"
            return UnsentFault(UnsentField.FRAMES, detail, match[1])
        reason = _REASONS.get(match[2])
        if reason is None:
            detail = f"the reason must be one of {', '.join(UNSENT_WORDS)}"
            return UnsentFault(UnsentField.REASON, detail, match[2])
        if reason in found:
            return UnsentFault(UnsentField.REASON, "each reason may be there once", match[2])
        found[reason] = frames
    return tuple(Unsent(frames, reason) for reason, frames in found.items())
