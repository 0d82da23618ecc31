"""Who did something, as a name that says nothing to whoever does not hold the key.

The name is a keyed hash of the person's id. The key is another one each period, so that what
somebody did in one period cannot be put together with what they did in another one, once the
period's key is not made any more. The period is part of the name: names of different periods never
look alike.
"""

import hmac
from dataclasses import dataclass
from enum import StrEnum


class ActorType(StrEnum):
    """What kind of actor somebody is, as the internal callers name it."""

    USER = "user"
    ADMIN = "admin"
    SPECIALIST = "specialist"
    SYSTEM = "system"


@dataclass(slots=True, frozen=True)
class ActorNames:
    """Gives names for ids. `period_seconds` is how long one key serves."""

    secret: bytes
    period_seconds: int

    def name(self, principal_id: str, now_unix: float) -> str:
        """Give somebody's name of the present period."""
        period = int(now_unix) // self.period_seconds
        key = hmac.digest(self.secret, b"penstock actor %d" % period, "sha256")
        return f"{period}-{hmac.digest(key, principal_id.encode(), 'sha256')[:16].hex()}"
