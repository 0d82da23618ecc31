"""What the book of policies holds: scopes, editions, candidates, and the changes made to them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple, Self

from penstock.engine.policy import Fault, Policy

GLOBAL = "global"
_NARROW = re.compile(r"(?:org|session):[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CANDIDATE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
# Control characters, line separators, and what turns the direction of the text.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
CANDIDATE_NAME_RULE = "1 to 32 of a-z, 0-9, - and _, not beginning with - or _"


class ScopeError(Exception):
    """A text names no scope."""


def read_scope(text: str) -> str:
    """Give the scope that a text names, in its one spelling, or raise ScopeError."""
    scope = text.lower()
    if scope == GLOBAL or _NARROW.fullmatch(scope):
        return scope
    raise ScopeError(f"{text[:80]!r} must be global, org:<UUID> or session:<UUID>")


def org_scope(org_id: str) -> str:
    """Name the scope of one organisation."""
    return f"org:{org_id}"


def session_scope(session_id: str) -> str:
    """Name the scope of one session."""
    return f"session:{session_id}"


def is_org(scope: str) -> bool:
    """Say whether a scope is an organisation's."""
    return scope.startswith("org:")


def is_candidate_name(text: str) -> bool:
    """Say whether a candidate may be named so."""
    return _CANDIDATE_NAME.fullmatch(text) is not None


def spelled_out(text: str) -> str:
    """Give a text in which what would hide, or turn it around, is written as its number."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def hidden_in(text: str) -> str | None:
    """Name the first character that shows nothing of itself and changes how the rest is read."""
    found = _HIDDEN.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}"


class InForce(NamedTuple):
    """A whole policy and the scopes that it was put together from, the widest first."""

    policy: Policy
    scopes: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Edition:
    """Knobs that were turned in one scope, by whom, why, and until when (None: without an end)."""

    scope: str
    knobs: Mapping[str, Any]
    author: str
    reason: str
    made_unix: float
    expires_unix: float | None
    revision: int

    def has_ended(self, now_unix: float) -> bool:
        """Say whether its time has passed by then."""
        return self.expires_unix is not None and self.expires_unix <= now_unix

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return _plain(self) | {"knobs": dict(self.knobs)}


@dataclass(slots=True, frozen=True)
class Candidate:
    """Knobs that the global scope might be given: evaluated beside the policy, without effect."""

    name: str
    knobs: Mapping[str, Any]
    author: str
    reason: str
    made_unix: float
    revision: int

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return _plain(self) | {"knobs": dict(self.knobs)}


class Action(StrEnum):
    """What was done to the book."""

    EDITED = "edited"
    REVERTED = "reverted"
    EXPIRED = "expired"
    PROPOSED = "proposed"
    WITHDRAWN = "withdrawn"


@dataclass(slots=True, frozen=True)
class PolicyChange:
    """One accepted change, and the revision of the book that it made.

    `before` and `after` are the knobs that the scope set then and sets now, or the candidate's
    where one is named; None where there was or is none.
    """

    revision: int
    action: Action
    scope: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    author: str
    reason: str
    made_unix: float
    expires_unix: float | None = None
    candidate: str | None = None

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return _plain(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `plain` gave, or raise TypeError or ValueError."""
        for name in ("made_unix", "expires_unix"):
            if not isinstance(plain.get(name), int | float | None):
                raise TypeError(f"a change's {name} is no number")
        return cls(**{**plain, "action": Action(str(plain.get("action")))})


def _plain(found: Edition | Candidate | PolicyChange) -> dict[str, Any]:
    # As `asdict`, which copies every value and takes a full book most of its time.
    return {field.name: getattr(found, field.name) for field in fields(found)}


class BookFault(NamedTuple):
    """What is wrong with an edit, and in which scope it shows. See `policy.Fault`."""

    scope: str
    knob: str
    detail: str
    seen: Any = None
    limit: Any = None
    other: str | None = None

    @classmethod
    def of(cls, scope: str, fault: Fault, remark: str = "") -> Self:
        """Place a policy's fault in a scope."""
        detail = fault.detail + remark
        return cls(scope, fault.knob, detail, fault.seen, fault.limit, fault.other)


class BookFaultsError(Exception):
    """The edit would put something into force that is no policy. Nothing has changed."""

    def __init__(self, faults: tuple[BookFault, ...]) -> None:
        super().__init__("; ".join(f"{f.scope}: {f.knob}: {f.detail}" for f in faults))
        self.faults = faults


class StaleRevisionError(Exception):
    """The change was made on another revision of the book than the one in force."""

    def __init__(self, seen: int, current: int) -> None:
        super().__init__(f"made on revision {seen}; the book is at revision {current}")
        self.seen = seen
        self.current = current


class NothingToRevertError(Exception):
    """No edit of the scope is left that could be undone."""


class UnknownCandidateError(Exception):
    """No candidate has this name."""


class BookFullError(Exception):
    """The book holds as many of them as it may."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"the book holds {limit} {what}, as many as it may")
        self.what = what
        self.limit = limit


class StoredBookError(Exception):
    """A stored book cannot be used by this version. The message says why."""


class DamagedBookError(StoredBookError):
    """A stored book is none that any version wrote."""
