"""Who did something, as a name that says nothing to whoever does not hold the key.

The name is a keyed hash of the person's id. The key is another one each period, so that what
somebody did in one period cannot be put together with what they did in another one, once the
period's key is not made any more. The period is part of the name: names of different periods never
look alike.

For whoever holds the secret and knows the id, all names of somebody can be made again. So an
erasure finds what is kept under them, and nothing that stays the same has to be stored beside them.
"""

import hmac
from dataclasses import dataclass
from enum import StrEnum

# No period is shorter: there were never more of them since 1970 than days.
SHORTEST_PERIOD_SECONDS = 24 * 3600


class ActorType(StrEnum):
    """What kind of actor somebody is, as the internal callers name it."""

    USER = "user"
    ADMIN = "admin"
    SPECIALIST = "specialist"
    SYSTEM = "system"


@dataclass(slots=True, frozen=True)
class ActorNames:
    """Gives names for ids. `period_seconds` is how long one key serves.

    `former` are the secrets that served before; no new name is made with them.
    """

    secret: bytes
    period_seconds: int
    former: tuple[bytes, ...] = ()

    def name(self, principal_id: str, now_unix: float) -> str:
        """Give somebody's name of the present period."""
        return _name(self.secret, int(now_unix) // self.period_seconds, principal_id.encode())

    def every_name(self, principal_id: str, now_unix: float) -> frozenset[str]:
        """Give every name of somebody up to now, however long periods were. Blocks for a while."""
        person = principal_id.encode()
        periods = range(int(now_unix) // SHORTEST_PERIOD_SECONDS + 1)
        secrets = (self.secret, *self.former)
        return frozenset(_name(secret, period, person) for secret in secrets for period in periods)


def period_of(name: str) -> str:
    """Give the part of a name that is its period."""
    return name.partition("-")[0]


def _name(secret: bytes, period: int, person: bytes) -> str:
    key = hmac.digest(secret, b"penstock actor %d" % period, "sha256")
    return f"{period}-{hmac.digest(key, person, 'sha256')[:16].hex()}"
