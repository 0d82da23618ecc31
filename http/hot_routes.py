"""The routes that the express lane answers, and how a request's first bytes tell them apart.

Pose batches are nearly all there is, so they have their own test; the others are in a small table.
A route may have one parameter in its path. What could be written in more than one way (escapes, a
parameter of unusual characters or length) is not taken, and so is Hypercorn's and Quart's to read.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from penstock.engine.wire import MAX_MEMBER_BYTES
from penstock.http.exchange import Answer, Head
from penstock.http.pose import PATH

_METHOD = b"POST "
_PLACE = "{id}"
_PARAMETER = rb"[0-9A-Za-z_-]{1,64}"
_SHORTEST_PREFIX = _METHOD + PATH.encode()
_POSE_PREFIXES = (_SHORTEST_PREFIX + b" ", _SHORTEST_PREFIX + b"?")
# So many first bytes tell a pose batch from anything else.
TELLING_BYTES = len(_POSE_PREFIXES[0])


@dataclass(slots=True, frozen=True)
class Route:
    """A path to post to; `{id}` stands for its parameter. Longer bodies are not the lane's."""

    path: str
    max_body_bytes: int


POSE = Route(PATH, MAX_MEMBER_BYTES)


class Target(NamedTuple):
    """Where one request goes."""

    route: Route
    parameter: str = ""


POSE_TARGET = Target(POSE)


class Surface(Protocol):
    """What answers a route other than that of the pose batches. It is given the parameter."""

    def check_head(self, parameter: str, head: Head, /) -> object:
        """Give an Answer when the head alone is enough to refuse; anything else to go on."""

    async def answer(self, parameter: str, head: Head, body: bytes, /) -> Answer:
        """Answer a whole request."""
        ...


def is_pose(first: bytes) -> bool:
    """Say whether these bytes begin a pose batch."""
    return first.startswith(_POSE_PREFIXES)


def may_be_pose(first: bytes) -> bool:
    """Say whether these bytes begin a pose batch, or are too few to tell; none do not."""
    if first.startswith(_POSE_PREFIXES):
        return True
    return bool(first) and _SHORTEST_PREFIX.startswith(first)


class HotRoutes:
    """The table of routes, of which that of the pose batches is one unless it is left out."""

    def __init__(self, routes: Iterable[Route] = (), *, pose: bool = True) -> None:
        self._pose = pose
        self._rows = [_row(route) for route in routes]

    def find(self, buffer: bytes) -> Target | None:
        """Tell where the request goes that begins so; None when that cannot be said, or not yet."""
        if buffer.startswith(_POSE_PREFIXES):
            return POSE_TARGET if self._pose else None
        for row in self._rows:
            found = row.whole.match(buffer)
            if found is not None:
                return Target(row.route, found.group(1).decode())
        return None

    def may_become(self, buffer: bytes) -> bool:
        """Say whether more bytes could make these a request to one of the routes."""
        if self._pose and _SHORTEST_PREFIX.startswith(buffer):
            return True
        for row in self._rows:
            if row.before.startswith(buffer):
                return True
            if buffer.startswith(row.before):
                found = row.parameter.match(buffer, len(row.before))
                if found is not None and row.after.startswith(buffer[found.end() :]):
                    return True
        return False


class _Row(NamedTuple):
    """A route as its requests begin: `before`, the parameter, `after`, and a space or a query."""

    route: Route
    whole: re.Pattern[bytes]
    before: bytes
    parameter: re.Pattern[bytes]
    after: bytes


def _row(route: Route) -> _Row:
    path, place, rest = route.path.partition(_PLACE)
    before, after = _METHOD + path.encode(), rest.encode()
    parameter = b"(%b)" % (_PARAMETER if place else b"")
    whole = re.escape(before) + parameter + re.escape(after) + b"[ ?]"
    return _Row(route, re.compile(whole), before, re.compile(parameter), after)
