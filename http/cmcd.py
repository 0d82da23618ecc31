"""CMCD: what a player tells a CDN with its requests, read onto the fields of a media event.

CTA-5004, version 1. It comes in an event as `data.cmcd`, as an object (`{"br": 3200, "bs": true}`)
or in the standard's own form (`br=3200,bs,sid="6e2fb550"`), or in headers: the standard's
`CMCD-Object`, `CMCD-Request`, `CMCD-Session` and `CMCD-Status`, or all of it in one `CMCD`.

Every key of the standard is checked; those that say something of the viewer's experience become
fields. Keys with a hyphen are the sender's own and any other key is one of a later version: both
are left alone, as is everything of a sender that says `v` is another version than 1.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from penstock.engine.media.events import MediaData, MediaKind

CMCD_VERSION = 1
MAX_CMCD_CHARACTERS = 2048
CMCD_HEADERS = (b"cmcd", b"cmcd-object", b"cmcd-request", b"cmcd-session", b"cmcd-status")

_LIST = "must be a list like br=3200,bs"
_LONGEST_SHOWN = 80
_MOST_KBPS = 10_000_000
_MOST_MS = 86_400_000


class Form(StrEnum):
    """What a key's value is written as."""

    INTEGER = "a whole number"
    DECIMAL = "a number"
    FLAG = "nothing but its key, or true"
    TEXT = "a quoted text"
    WORD = "one of the words"


class _Key(NamedTuple):
    form: Form
    most: float = 0
    words: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        match self.form:
            case Form.INTEGER | Form.DECIMAL:
                return f"{self.form} from 0 to {self.most:.12g}"
            case Form.TEXT:
                return f"{self.form} of at most {self.most:g} characters"
            case Form.WORD:
                return f"{self.form} {', '.join(self.words)}"
            case Form.FLAG:
                return self.form.value


KEYS = {
    "br": _Key(Form.INTEGER, _MOST_KBPS),
    "bl": _Key(Form.INTEGER, _MOST_MS),
    "bs": _Key(Form.FLAG),
    "cid": _Key(Form.TEXT, 64),
    "d": _Key(Form.INTEGER, _MOST_MS),
    "dl": _Key(Form.INTEGER, _MOST_MS),
    "mtp": _Key(Form.INTEGER, _MOST_KBPS),
    "nor": _Key(Form.TEXT, 1024),
    "nrr": _Key(Form.TEXT, 64),
    "ot": _Key(Form.WORD, words=("m", "a", "v", "av", "i", "c", "tt", "k", "o")),
    "pr": _Key(Form.DECIMAL, 100),
    "rtp": _Key(Form.INTEGER, _MOST_KBPS),
    "sf": _Key(Form.WORD, words=("d", "h", "s", "o")),
    "sid": _Key(Form.TEXT, 64),
    "st": _Key(Form.WORD, words=("v", "l")),
    "su": _Key(Form.FLAG),
    "tb": _Key(Form.INTEGER, _MOST_KBPS),
    "v": _Key(Form.INTEGER, 100),
}
# Bitrates are those of the object that was asked for: of a manifest's, nobody sees anything. A
# video's sound is not its picture, so `a` counts for neither.
_SHOWN = (None, "v", "av")

# One member of the list: commas inside quotes and inner lists (of later versions) do not part it.
_MEMBER = re.compile(r'(?:[^",()]|"(?:[^"\\]|\\["\\])*"|\([^()"]*\))*')
_INTEGER = re.compile(r"[0-9]{1,15}")
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_NAME = re.compile(r"[A-Za-z*][A-Za-z0-9_.*-]{0,63}")


class _Bare(str):
    """A value as it was written, without quotes: a word, or nothing that its key may hold."""

    __slots__ = ()


class CmcdFault(NamedTuple):
    """What is wrong. `key` is the CMCD key, empty where it is none of them."""

    key: str
    detail: str
    seen: str
    limit: int | None = None


@dataclass(slots=True, frozen=True)
class Cmcd:
    """What was told, in the units of media events. What was not told is None."""

    bitrate: float | None = None
    top_bitrate: float | None = None
    buffer_length_ms: float | None = None
    buffer_starved: bool | None = None
    effective_bandwidth: float | None = None
    playback_rate: float | None = None


NO_CMCD = Cmcd()
Members = dict[str, Any]


def read_cmcd(value: str | Mapping[str, Any]) -> Cmcd | CmcdFault:
    """Read `data.cmcd`, in either form."""
    if isinstance(value, str):
        members = _parse(value)
    else:
        # Null is what a client writes that has the key but no value.
        members = {name: member for name, member in value.items() if member is not None}
    return members if isinstance(members, CmcdFault) else _fields(members)


def read_cmcd_headers(headers: Iterable[tuple[bytes, bytes]]) -> Cmcd | CmcdFault:
    """Read the CMCD headers among a request's; names are in small letters."""
    values = [value for name, value in headers if name in CMCD_HEADERS]
    if not values:
        return NO_CMCD
    return read_cmcd(b",".join(value for value in values if value.strip()).decode("latin1"))


def with_cmcd(data: MediaData, kind: MediaKind, cmcd: Cmcd) -> MediaData:
    """Fill in what an event does not say itself."""
    told = {name: getattr(cmcd, name) for name in Cmcd.__dataclass_fields__}
    # Two kinds have a word of their own for the bitrate that is shown from now on.
    own = {MediaKind.SESSION_START: "initial_bitrate", MediaKind.QUALITY_CHANGE: "to_bitrate"}
    told[own.get(kind, "bitrate")] = told.pop("bitrate")
    missing = {
        name: value
        for name, value in told.items()
        if value is not None and getattr(data, name) is None
    }
    return replace(data, **missing) if missing else data


def _fields(members: Members) -> Cmcd | CmcdFault:
    version = members.get("v", CMCD_VERSION)
    if _checked("v", version) is None and version != CMCD_VERSION:
        return NO_CMCD
    for name, value in members.items():
        if name in KEYS and (fault := _checked(name, value)):
            return fault
    shown = members.get("ot") in _SHOWN
    throughput = members.get("mtp")
    return Cmcd(
        bitrate=_bits(members.get("br")) if shown else None,
        top_bitrate=_bits(members.get("tb")) if shown else None,
        buffer_length_ms=members.get("bl"),
        buffer_starved=members.get("bs"),
        effective_bandwidth=None if throughput is None else throughput / 1000,
        playback_rate=members.get("pr"),
    )


def _bits(kilobits: int | None) -> float | None:
    return None if kilobits is None else kilobits * 1000.0


def _checked(name: str, value: object) -> CmcdFault | None:
    """Say what is wrong with a key's value, if anything is."""
    key = KEYS[name]
    match key.form:
        case Form.INTEGER:
            right = isinstance(value, int) and not isinstance(value, bool)
            right = right and 0 <= value <= key.most  # type: ignore[operator]
        case Form.DECIMAL:
            right = isinstance(value, int | float) and not isinstance(value, bool)
            right = right and 0 <= value <= key.most  # type: ignore[operator]
        case Form.FLAG:
            right = isinstance(value, bool)
        case Form.TEXT:
            right = isinstance(value, str) and not isinstance(value, _Bare)
            right = right and len(value) <= key.most  # type: ignore[arg-type]
        case Form.WORD:
            right = isinstance(value, str) and value in key.words
    return None if right else _fault(name, f"must be {key.allowed}", value)


def _fault(name: str, detail: str, seen: object) -> CmcdFault:
    text = seen if isinstance(seen, str) else repr(seen)
    return CmcdFault(name, detail, text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN])


def _parse(text: str) -> Members | CmcdFault:
    """Take the standard's form apart. What a key may hold is checked afterwards."""
    if len(text) > MAX_CMCD_CHARACTERS:
        return CmcdFault(
            "",
            f"must not be longer than {MAX_CMCD_CHARACTERS} characters",
            f"{len(text)} characters",
            MAX_CMCD_CHARACTERS,
        )
    members: Members = {}
    if not text.strip(" \t"):
        return members
    at = 0
    while True:
        match = _MEMBER.match(text, at)
        end = at if match is None else match.end()
        member = text[at:end].strip(" \t")
        name, equals, written = member.partition("=")
        if not _NAME.fullmatch(name):
            return _fault("", _LIST, member or text[at:])
        if name in members:
            return _fault(name, "may be there once", member)
        members[name] = _read(name, written) if equals else True
        if end == len(text):
            return members
        if text[end] != ",":
            return _fault(name, _LIST, text[end:])
        at = end + 1


def _read(name: str, written: str) -> object:
    """Read a value by its key's form; what does not have it stays as it was written."""
    form = KEYS[name].form if name in KEYS else None
    if form is Form.INTEGER and _INTEGER.fullmatch(written):
        return int(written)
    if form is Form.DECIMAL and _DECIMAL.fullmatch(written):
        return float(written)
    if form is Form.TEXT:
        quoted = _QUOTED.fullmatch(written)
        if quoted:
            return re.sub(r"\\(.)", r"\1", quoted[1])
    return _Bare(written)
