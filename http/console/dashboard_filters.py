"""The filters of the dashboard's lists: what the fields of a form mean, and what is wrong with one.

What cannot be meant is told beside its field, and then nothing is looked for: a list that ignored a
filter would be read as one that has it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from penstock.engine.platform.viewing import NEVER_UNIX_MS, Mark
from penstock.http.cold_routes import Call
from penstock.http.core.requests import expect, misfit
from penstock.http.instants import unix_ms
from penstock.http.uuids import is_uuid

CURSOR = "cursor"
LONGEST_VALUE = 200
_LONGEST_CURSOR = 200
_LONGEST_SHOWN = 40
_MARK = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9-]{1,64})")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]*")

Value = str | int


@dataclass(slots=True, frozen=True)
class Filter:
    """One field. `read` raises ValueError with what is wrong; `argument` is the look's own name."""

    name: str
    label: str
    read: Callable[[str], Value]
    argument: str = ""
    hint: str = ""
    kind: str = "text"
    options: tuple[tuple[str, str], ...] | None = None


@dataclass(slots=True, frozen=True)
class Asked:
    """What somebody looks for: the fields as they were sent, what they mean, what is wrong."""

    sent: Mapping[str, str]
    arguments: Mapping[str, Value]
    faults: Mapping[str, str]
    after: Mark | None

    def address(self, path: str, after: Mark | None = None) -> str:
        """Give the address of the same list, from its newest row or behind a mark."""
        query = dict(self.sent)
        if after is not None:
            query[CURSOR] = f"{after.at_unix_ms}.{after.key}"
        return f"{path}?{urlencode(query)}" if query else path


def read_asked(call: Call, filters: Sequence[Filter], key: type[int] | type[str]) -> Asked:
    """Read a list's query; RefusedError for what is no field, or no cursor of this list's."""
    expect(call, *(one.name for one in filters), CURSOR)
    sent: dict[str, str] = {}
    arguments: dict[str, Value] = {}
    faults: dict[str, str] = {}
    for one in filters:
        text = call.query.get(one.name, "").strip()
        if not text:
            continue
        sent[one.name] = text[:LONGEST_VALUE]
        if len(text) > LONGEST_VALUE:
            faults[one.name] = f"It has {len(text)} characters; at most {LONGEST_VALUE}."
            continue
        try:
            arguments[one.argument or one.name] = one.read(text)
        except ValueError as error:
            faults[one.name] = str(error)
    begin, end = arguments.get("from_unix_ms", 0), arguments.get("to_unix_ms", NEVER_UNIX_MS)
    if isinstance(begin, int) and isinstance(end, int) and begin >= end:
        faults["to"] = "It must be later than the time that the list begins with."
    return Asked(sent, arguments, faults, _mark(call, key))


def read_moment(text: str) -> int:
    """Read a moment as forms send it, in UTC where it has no zone; a day is its beginning."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is not None:
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        if 1970 < at.year < 9999:
            return unix_ms(at)
    seen = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    raise ValueError(f"It must be a day or a moment such as 2026-05-07T10:30, in UTC, not {seen}.")


def read_org(text: str) -> str:
    """Read an organisation's id."""
    if not is_uuid(text):
        raise ValueError("It must be a UUID.")
    return text.lower()


def read_word(text: str) -> str:
    """Read a name as actions, events and their kinds have them."""
    if _WORD.fullmatch(text) is None:
        raise ValueError("It must be letters, figures and _.:/- only.")
    return text


def read_text(text: str) -> str:
    """Read any text that can be printed."""
    if not text.isprintable():
        raise ValueError("It must not have control characters.")
    return text


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """Give the reader of one of some words."""

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"It must be one of {', '.join(known)}.")
        return text

    return read


TIMES = (
    Filter("from", "From (UTC)", read_moment, "from_unix_ms", kind="datetime-local"),
    Filter("to", "Before (UTC)", read_moment, "to_unix_ms", kind="datetime-local"),
)
ACTOR = Filter("actor", "Actor", read_text, hint="The hash, as lists show it, in full.")
ORG = Filter("org", "Organisation", read_org, "org_id")


def _mark(call: Call, key: type[int] | type[str]) -> Mark | None:
    text = call.query.get(CURSOR)
    if text is None:
        return None
    found = _MARK.fullmatch(text[:_LONGEST_CURSOR])
    if found is None or (key is int and not (found[2].isdigit() and len(found[2]) < 16)):
        raise misfit(CURSOR, "it must be that of a link of this list", text)
    return Mark(int(found[1]), key(found[2]))
