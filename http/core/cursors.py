"""Cursors: the place where a page ended, as clients hand it back.

A cursor holds nothing that the page did not show, and opens nothing: what may be read is decided by
the token on every page. So it is not signed; what could not have been one of ours is refused.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson

from penstock.engine.core.records import AdherenceMark, SessionMark
from penstock.engine.session_list import Mark
from penstock.http.cold_routes import Call
from penstock.http.core.requests import misfit

_LONGEST = 1000
_MOST_MS = 1 << 53


def session_mark(call: Call) -> SessionMark | None:
    """Read where a page of sessions ended."""
    place = _place(call, (int, str))
    return None if place is None else SessionMark(*place)


def row_mark(call: Call) -> Mark | None:
    """Read where a page of the operators' list of sessions ended."""
    place = _place(call, (int, str))
    return None if place is None else Mark(*place)


def adherence_mark(call: Call) -> AdherenceMark | None:
    """Read where a page of a cohort ended."""
    place = _place(call, (str, str))
    return None if place is None else AdherenceMark(*place)


def exercise_mark(call: Call) -> str | None:
    """Read where a page of exercises ended."""
    place = _place(call, (str,))
    return None if place is None else str(place[0])


def cursor_of(*place: str | int) -> str:
    """Write a place."""
    return urlsafe_b64encode(orjson.dumps(place)).rstrip(b"=").decode()


def _place(call: Call, types: Sequence[type]) -> list[Any] | None:
    text = call.query.get("cursor")
    if text is None:
        return None
    place: Any = None
    if len(text) <= _LONGEST:
        with suppress(binascii.Error, ValueError):
            place = orjson.loads(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    if (
        not isinstance(place, list)
        or [type(part) for part in place] != list(types)
        or any(isinstance(part, int) and abs(part) > _MOST_MS for part in place)
    ):
        raise misfit("cursor", "it must be the next_cursor of a page of this route", text)
    return place
