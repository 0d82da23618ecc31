"""Who may ask, and how often: a shared token and a limit by address, both off by default."""

import hmac
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from penstock.http.exchange import Answer, json_answer

WINDOW_SECONDS = 60.0
# Addresses whose requests are remembered. The one that has been silent longest goes first.
_MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class AddressLimit:
    """So many requests an address within any minute. What was refused does not count."""

    runs_rate_limit_rpm: int
    _taken: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def take_nowait(self, address: str, now: float) -> bool:
        """Count a request; false when there were too many."""
        taken = self._taken.setdefault(address, deque())
        self._taken.move_to_end(address)
        while taken and taken[0] <= now - WINDOW_SECONDS:
            taken.popleft()
        if len(taken) >= self.runs_rate_limit_rpm:
            return False
        taken.append(now)
        if len(self._taken) > _MOST_ADDRESSES:
            self._taken.popitem(last=False)
        return True

    def refusal(self) -> Answer:
        """Say so, as the contract does: in a minute all of the limit is there again."""
        limit = self.runs_rate_limit_rpm
        detail = f"Rate limit exceeded: {limit} requests a minute (setting runs_rate_limit_rpm)"
        return json_answer(429, {"detail": detail}, code="rate_address_exceeded")._replace(
            retry_after=int(WINDOW_SECONDS),
            headers=(
                (b"x-ratelimit-limit", b"%d" % limit),
                (b"x-ratelimit-remaining", b"0"),
            ),
        )


@dataclass(slots=True, frozen=True)
class SharedToken:
    """The one token that all clients have."""

    token: bytes

    def refusal(self, authorization: bytes) -> Answer | None:
        """Refuse whoever does not have it."""
        scheme, _, given = authorization.strip().partition(b" ")
        if not authorization or scheme.lower() != b"bearer":
            return _unauthorized("Authorization header required: Bearer <token>")
        if not hmac.compare_digest(given.strip(), self.token):
            return _unauthorized("Invalid authentication token")
        return None


@dataclass(slots=True, frozen=True)
class Gate:
    """Both, each None where it is off."""

    token: SharedToken | None = None
    limit: AddressLimit | None = None

    def refusal(
        self, authorization: bytes, peer: str, now: float, *, by_token: bool
    ) -> Answer | None:
        """Refuse a request for what can be known before its body; `by_token` where one is due."""
        if by_token and self.token is not None:
            refused = self.token.refusal(authorization)
            if refused is not None:
                return refused
        if self.limit is not None and not self.limit.take_nowait(peer, now):
            return self.limit.refusal()
        return None


def _unauthorized(detail: str) -> Answer:
    return json_answer(401, {"detail": detail}, code="unauthorized")._replace(
        headers=((b"www-authenticate", b"Bearer"),)
    )
