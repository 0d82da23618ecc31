"""Visits: who is signed in to the console, until when.

A visit begins with a platform admin's token and ends with it, after so many hours, after an hour in
which nothing was asked for, or with a sign-out. Nothing is written down: a restart signs everybody
out. The visitor's cookie holds 256 random bits, of which only the hash is kept here; who reads this
process's memory finds no cookie that would open the console.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from penstock.engine.ports import Clock
from penstock.http.user_tokens import UserClaims

# So many at once. When one more begins, the one goes that was used longest ago.
MOST_VISITS = 1000
IDLE_SECONDS = 3600.0
_ID_BYTES = 32


@dataclass(slots=True, frozen=True)
class Visit:
    """One signed-in visit. `csrf` is what a form must send along to be believed."""

    principal_id: str
    org_id: str
    csrf: str
    began_unix: float
    ends_unix: float


class Begun(NamedTuple):
    """A visit that has just begun, and the secret that its visitor comes back with."""

    visit_id: str
    visit: Visit


@dataclass(slots=True)
class _Kept:
    visit: Visit
    idle_at: float


class Visits:
    """The visits of this process, the least recently used first."""

    def __init__(self, clock: Clock, hours: float) -> None:
        self._clock = clock
        self._seconds = hours * 3600
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, claims: UserClaims) -> Begun:
        """Begin a visit under a new id; the oldest ends where there are too many."""
        now = self._clock.unix()
        visit = Visit(
            claims.principal_id,
            claims.org_id,
            secrets.token_urlsafe(_ID_BYTES),
            now,
            min(claims.expires_unix, now + self._seconds),
        )
        visit_id = secrets.token_urlsafe(_ID_BYTES)
        while len(self._kept) >= MOST_VISITS:
            self._kept.popitem(last=False)
        self._kept[_digest(visit_id)] = _Kept(visit, self._clock.monotonic() + IDLE_SECONDS)
        return Begun(visit_id, visit)

    def find(self, visit_id: str) -> Visit | None:
        """Give the visit that goes on under this id, and count this as its use."""
        key = _digest(visit_id)
        kept = self._current(key)
        if kept is None:
            return None
        kept.idle_at = self._clock.monotonic() + IDLE_SECONDS
        self._kept.move_to_end(key)
        return kept.visit

    def peek(self, visit_id: str) -> Visit | None:
        """Give the visit without using it: for what an open page asks by itself."""
        kept = self._current(_digest(visit_id))
        return None if kept is None else kept.visit

    def goes_on(self, visit_id: str) -> bool:
        """Say whether the visit goes on, without using it: for what runs by itself."""
        return self._current(_digest(visit_id)) is not None

    def end(self, visit_id: str) -> None:
        """End a visit, if there is one."""
        self._kept.pop(_digest(visit_id), None)

    def _current(self, key: bytes) -> _Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock.unix() < kept.visit.ends_unix and self._clock.monotonic() < kept.idle_at:
            return kept
        del self._kept[key]
        return None


def _digest(visit_id: str) -> bytes:
    return hashlib.sha256(visit_id.encode("utf-8", "replace")).digest()
