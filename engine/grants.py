"""What Core says of consents and quotas, remembered for a while.

Theory of operation
-------------------
An answer is *fresh* for `consent_ttl_seconds` and used without asking; for up to a quarter less,
by its key, so that those who came together do not ask together ever after. Then it is asked for
again, once at a time for each key: whoever else wants it waits for the same answer. Nobody owns the
question: when the one who asks is cancelled, one of those who wait asks in its place.

========================  ======================================================================
what happens              what follows
========================  ======================================================================
Core answers              the answer is fresh
Core cannot be asked      for RETRY_SECONDS nobody asks again, for whatever key; then one does.
                          Meanwhile answers are used that are younger than `consent_stale_seconds`;
                          where there is none, ConsentUnknownError, never a guess
told that it has changed  it is forgotten, and so is what is being answered at that moment
========================  ======================================================================

Only so many answers are remembered; the ones asked for longest ago go first.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import trio

from penstock.engine.ports import Clock, ConsentUnknownError, Purpose, Quota

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

RETRY_SECONDS = 1.0
_SPREAD = 0.25
_SPREAD_STEPS = 256


class GrantsUnavailableError(Exception):
    """Core cannot be asked now; `detail` is one line for an operator."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class GrantSource(Protocol):
    """Who knows consents and quotas. Ends in bounded time, or raises GrantsUnavailableError."""

    async def purposes(self, principal_id: str, org_id: str) -> frozenset[Purpose] | None:
        """Give what a principal consents to; None when nothing was ever said."""
        ...

    async def quota(self, org_id: str) -> Quota:
        """Give what an organisation may send."""
        ...


@dataclass(slots=True, frozen=True)
class GrantLimits:
    """The bounds, by their settings' names."""

    consent_ttl_seconds: float = 60.0
    consent_stale_seconds: float = 600.0
    consent_cache_entries: int = 65536


@dataclass(slots=True, frozen=True)
class GrantStatistics:
    """What is remembered, and how often Core was asked in vain. `fault` is how it failed last."""

    entries: int
    asked: int
    failures: int
    fault: str | None


class _Known(NamedTuple, Generic[V]):
    value: V
    fresh_until: float
    stale_until: float


class _Flight:
    """A question that is under way."""

    __slots__ = ("done", "outdated")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.outdated = False


class _Line:
    """Whether Core can be asked, for all that is asked of it."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.retry_at = 0.0
        self.asked = 0
        self.failures = 0


class _Remembered(Generic[K, V]):
    """The answers to one kind of question, by key."""

    def __init__(
        self,
        ask: Callable[[K], Awaitable[V]],
        line: _Line,
        clock: Clock,
        limits: GrantLimits,
    ) -> None:
        self._ask = ask
        self._line = line
        self._clock = clock
        self._limits = limits
        self._known: dict[K, _Known[V]] = {}
        self._flights: dict[K, _Flight] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get_nowait(self, key: K) -> _Known[V] | None:
        """Give what may be used without asking: what is fresh; while nobody asks, what is stale."""
        known = self._known.get(key)
        if known is None:
            return None
        now = self._clock.monotonic()
        if now < known.fresh_until:
            return known
        return known if now < known.stale_until and self._silent() else None

    async def get(self, key: K) -> V:
        """Give the answer, asking if need be; GrantsUnavailableError where there is none."""
        while True:
            known = self.get_nowait(key)
            if known is not None:
                return known.value
            if self._silent():
                raise GrantsUnavailableError(self._line.fault or "")
            flight = self._flights.get(key)
            if flight is not None:
                await flight.done.wait()
                continue
            try:
                found = await self._fly(key)
            except GrantsUnavailableError:
                continue  # what is left is decided at the loop's top
            if found is not None:
                return found.value

    def forget(self, concerns: Callable[[K], bool]) -> None:
        """Use no answer any more that was given before now."""
        for key in [key for key in self._known if concerns(key)]:
            del self._known[key]
        for key, flight in self._flights.items():
            flight.outdated |= concerns(key)

    async def _fly(self, key: K) -> _Known[V] | None:
        """Ask; give None where the answer was outdated before it came."""
        line, flight = self._line, _Flight()
        self._flights[key] = flight
        line.asked += 1
        if line.fault is not None:
            # This one tries; the others wait until it is known, or for the pause.
            line.retry_at = self._clock.monotonic() + RETRY_SECONDS
        try:
            value = await self._ask(key)
        except GrantsUnavailableError as error:
            line.failures += 1
            line.fault = error.detail
            line.retry_at = self._clock.monotonic() + RETRY_SECONDS
            raise
        finally:
            del self._flights[key]
            flight.done.set()
        line.fault = None
        if flight.outdated:
            return None
        now, limits = self._clock.monotonic(), self._limits
        early = _SPREAD * (hash(key) % _SPREAD_STEPS) / _SPREAD_STEPS
        fresh_until = now + limits.consent_ttl_seconds * (1 - early)
        known = _Known(value, fresh_until, now + limits.consent_stale_seconds)
        self._known.pop(key, None)
        while len(self._known) >= self._limits.consent_cache_entries:
            del self._known[next(iter(self._known))]
        self._known[key] = known
        return known

    def _silent(self) -> bool:
        return self._line.fault is not None and self._clock.monotonic() < self._line.retry_at


class CachedGrants:
    """The ports `Consents` and `Quotas` over whoever knows.

    `without_record` is what a principal consents to who has never been asked.
    """

    def __init__(
        self,
        source: GrantSource,
        clock: Clock,
        limits: GrantLimits,
        *,
        without_record: frozenset[Purpose] = frozenset(),
    ) -> None:
        self._line = _Line()

        async def purposes(key: tuple[str, str]) -> frozenset[Purpose]:
            found = await source.purposes(*key)
            return without_record if found is None else found

        self._consents = _Remembered(purposes, self._line, clock, limits)
        self._quotas = _Remembered(source.quota, self._line, clock, limits)

    async def granted(self, principal_id: str, org_id: str, purpose: Purpose) -> bool:
        """Say whether there is consent, or raise ConsentUnknownError."""
        try:
            return purpose in await self._consents.get((principal_id, org_id))
        except GrantsUnavailableError as error:
            raise ConsentUnknownError(
                "Core cannot be asked for the principal's consent", retry_after=RETRY_SECONDS
            ) from error

    def granted_nowait(self, principal_id: str, org_id: str, purpose: Purpose) -> bool | None:
        """Say so where that may be used without asking."""
        known = self._consents.get_nowait((principal_id, org_id))
        return None if known is None else purpose in known.value

    async def of_org(self, org_id: str) -> Quota:
        """Give the quota in force, or raise ConsentUnknownError."""
        try:
            return await self._quotas.get(org_id)
        except GrantsUnavailableError as error:
            raise ConsentUnknownError(
                "Core cannot be asked for the organisation's quota", retry_after=RETRY_SECONDS
            ) from error

    def of_org_nowait(self, org_id: str) -> Quota | None:
        """Give it where it may be used without asking."""
        known = self._quotas.get_nowait(org_id)
        return None if known is None else known.value

    def forget(self, org_id: str, principal_id: str | None = None) -> None:
        """Ask anew: one principal's consents, or all consents of an organisation and its quota."""
        if principal_id is None:
            self._consents.forget(lambda key: key[1] == org_id)
            self._quotas.forget(lambda key: key == org_id)
        else:
            self._consents.forget(lambda key: key == (principal_id, org_id))

    def statistics(self) -> GrantStatistics:
        """Count what is remembered and what was asked."""
        line = self._line
        entries = len(self._consents) + len(self._quotas)
        return GrantStatistics(entries, line.asked, line.failures, line.fault)
