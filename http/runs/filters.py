"""What a query of runs asks for, read from the query string.

A status or a moment that is none is 400; a limit or an offset that is none is 422.
"""

import re
from collections.abc import Mapping

from penstock.engine.runs.moments import MomentError, unix_us
from penstock.engine.runs.records import Place, RunPage
from penstock.engine.runs.run import LARGEST_INTEGER, status_of
from penstock.http.runs.bodies import unknown_status
from penstock.http.runs.words import InvalidError, misfit, shown

MOST_RUNS = 1000
USUAL_RUNS = 100

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,40}\s*", re.ASCII)
_CURSOR = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})", re.ASCII)
# A plus that was not escaped has become a space.
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$")


class FilterError(Exception):
    """A filter that means nothing; the message says which, and what was given."""


def read_page(query: Mapping[str, str]) -> RunPage:
    """Read the query; FilterError or InvalidError where it means nothing."""
    limit = _whole(query, "limit", USUAL_RUNS, 1, MOST_RUNS)
    offset = _whole(query, "offset", 0, 0, LARGEST_INTEGER)
    return RunPage(
        limit=limit,
        offset=offset,
        after=_cursor(query),
        agent_name=_text(query, "agent_name"),
        status=_status(query),
        job_type=_text(query, "job_type"),
        created_before_us=_moment(query, "created_before"),
        created_after_us=_moment(query, "created_after"),
        start_from_us=_moment(query, "start_time_from"),
        start_to_us=_moment(query, "start_time_to"),
    )


def cursor_of(place: Place) -> str:
    """Write where a page ended, for the next one."""
    return f"{place.created_unix_us}.{place.number}"


def _whole(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    place = ["query", name]
    if not _WHOLE.fullmatch(text):
        message = "Input should be a valid integer"
        raise InvalidError([misfit(place, message, "int_parsing", text)])
    number = int(text)
    if number < low:
        message = f"Input should be greater than or equal to {low}"
        raise InvalidError([misfit(place, message, "greater_than_equal", text)])
    if number > high:
        message = f"Input should be less than or equal to {high}"
        raise InvalidError([misfit(place, message, "less_than_equal", text)])
    return number


def _text(query: Mapping[str, str], name: str) -> str | None:
    text = query.get(name)
    if text is not None and "\0" in text:
        raise FilterError(f"{name}: {shown(text)}; no run has such a text")
    return text


def _status(query: Mapping[str, str]) -> str | None:
    word = query.get("status")
    if word is None:
        return None
    status = status_of(word)
    if status is None:
        raise FilterError(unknown_status(word))
    return status.value


def _moment(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return unix_us(_LOST_PLUS.sub(r"+\1", text))
    except MomentError as error:
        raise FilterError(f"{name}: {shown(text)}; it {error}") from None


def _cursor(query: Mapping[str, str]) -> Place | None:
    text = query.get("cursor")
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise FilterError(f"cursor: {shown(text)}; it must be an X-Next-Cursor of an answer")
    return Place(int(found[1]), int(found[2]))
