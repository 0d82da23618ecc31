"""What stands in the book of policies at one revision; nothing here changes.

A scope's editions lie upon one another: at the bottom the standing one, which has no end, on it
those that expire, the newest on top. A knob has the value of the topmost edition that sets it, and
of the narrowest scope that does.

Nobody knows beforehand to which organisation a session that has an edition will belong, so every
pair of such a session and of an organisation's edition has to make a policy. Where that is in the
way, the session's edition can set both knobs.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Self, TypeVar

from penstock.engine.policy import DEFAULT_POLICY, Policy, check_knobs
from penstock.engine.policy_clashes import find_clashes
from penstock.engine.policy_editions import (
    GLOBAL,
    BookFault,
    Candidate,
    DamagedBookError,
    Edition,
    InForce,
    ScopeError,
    StoredBookError,
    read_scope,
)

# Enough to be answered with; what has more wrong has the same wrong many times.
_MOST_FAULTS = 20
_FORMAT = 1

Stored = TypeVar("Stored", Edition, Candidate)


@dataclass(slots=True, frozen=True)
class Pages:
    """The editions and candidates of one revision. Mappings are never changed."""

    revision: int = 0
    changed_unix: float | None = None
    editions: Mapping[str, tuple[Edition, ...]] = field(default_factory=dict)
    # What a scope's editions were before the edit that may still be reverted, oldest edit first.
    undone: Mapping[str, tuple[Edition, ...]] = field(default_factory=dict)
    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    _overlays: dict[str, Mapping[str, Any]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    @property
    def size(self) -> int:
        """Count the editions."""
        return sum(len(held) for held in self.editions.values())

    def with_scope(self, scope: str, editions: tuple[Edition, ...]) -> Self:
        """Give the pages with other editions of one scope."""
        others = {name: held for name, held in self.editions.items() if name != scope}
        pages = replace(self, editions={**others, scope: editions} if editions else others)
        pages._overlays.update(self._overlays)  # noqa: SLF001  of its own kind
        pages._overlays.pop(scope, None)  # noqa: SLF001
        return pages

    def overlay(self, scope: str) -> Mapping[str, Any]:
        """Give the knobs that a scope sets."""
        found = self._overlays.get(scope)
        if found is None:
            sources = self.sources(scope)
            found = self._overlays[scope] = {
                name: edition.knobs[name] for name, edition in sources.items()
            }
        return found

    def sources(self, scope: str) -> dict[str, Edition]:
        """Give the edition that each knob of a scope comes from."""
        found: dict[str, Edition] = {}
        for edition in self.editions.get(scope, ()):
            found |= dict.fromkeys(edition.knobs, edition)
        return found

    def merge(self, chain: Iterable[str], candidate: Candidate | None = None) -> InForce:
        """Put the policy of a chain of scopes together. A candidate lies on the global scope."""
        knobs: dict[str, Any] = {}
        scopes = tuple(chain)
        for scope in scopes:
            knobs |= self.overlay(scope)
            if scope == GLOBAL and candidate is not None:
                knobs |= candidate.knobs
        return InForce(Policy(**knobs) if knobs else DEFAULT_POLICY, scopes)

    def passing(self) -> list[Edition]:
        """Give the editions that expire, in the order in which they do."""
        found = [
            (edition.expires_unix, edition.revision, scope, edition)
            for scope, editions in self.editions.items()
            for edition in editions
            if edition.expires_unix is not None
        ]
        return [edition for *_, edition in sorted(found, key=lambda entry: entry[:3])]

    def at(self, now_unix: float) -> Self:
        """Give the pages without the editions that have ended by then, here and in `undone`."""
        editions, undone = (_still(stacks, now_unix) for stacks in (self.editions, self.undone))
        if editions == self.editions and undone == self.undone:
            return self
        kept = {scope: held for scope, held in editions.items() if held}
        return replace(self, editions=kept, undone=undone)

    def without(self, edition: Edition) -> Self:
        """Give the pages without one edition."""
        kept = tuple(held for held in self.editions[edition.scope] if held is not edition)
        return self.with_scope(edition.scope, kept)

    def faults(self, scope: str | None) -> tuple[BookFault, ...]:
        """Find what a change of the scope puts wrong, now or when editions expire.

        What does not go through the scope was right before and is not looked at again; without
        a scope everything is looked at.
        """
        found = self._clashes(scope)
        pages = self
        for edition in self.passing():
            if found:
                break
            pages = pages.without(edition)
            remark = f" (once the edition of revision {edition.revision} has expired)"
            found = pages._clashes(  # noqa: SLF001  of its own kind
                edition.scope, knobs=edition.knobs, remark=remark
            )
        return found

    def candidate_faults(self, candidate: Candidate) -> tuple[BookFault, ...]:
        """Find where a candidate makes no policy with the editions of the narrower scopes."""
        return self._clashes(GLOBAL, candidate)

    def _clashes(
        self,
        scope: str | None,
        candidate: Candidate | None = None,
        knobs: Collection[str] | None = None,
        remark: str = "",
    ) -> tuple[BookFault, ...]:
        base = self.merge((GLOBAL,), candidate).policy
        narrow = {name: self.overlay(name) for name in self.editions if name != GLOBAL}
        found: dict[tuple[object, ...], BookFault] = {}
        for clash in find_clashes(base, narrow, scope, knobs):
            # What is wrong in many scopes in the same way is told once.
            key = clash[1:]
            if key in found:
                continue
            chain = clash.chain
            of_org = f" (in {chain[1]})" if len(chain) == 3 else ""
            for fault in self.merge(chain, candidate).policy.faults():
                if (fault.knob, fault.other) == (clash.lower, clash.upper):
                    found[key] = BookFault.of(chain[-1], fault, of_org + remark)
            if len(found) >= _MOST_FAULTS:
                break
        return tuple(found.values())

    def stand(self, edition: Edition, clear: Collection[str]) -> tuple[Edition, ...]:
        """Give the scope's editions with this one standing, upon what it leaves of the others."""
        standing: dict[str, Any] = {}
        passing = []
        for held in self.editions.get(edition.scope, ()):
            kept = {
                name: value
                for name, value in held.knobs.items()
                if name not in edition.knobs and name not in clear
            }
            if held.expires_unix is None:
                standing = kept
            elif kept:
                passing.append(replace(held, knobs=kept))
        standing |= edition.knobs
        return (replace(edition, knobs=standing), *passing) if standing else tuple(passing)

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values, from which `from_plain` makes the same pages."""
        return {
            "format": _FORMAT,
            "revision": self.revision,
            "changed_unix": self.changed_unix,
            "editions": _plain_stacks(self.editions),
            "undone": _plain_stacks(self.undone),
            "candidates": [candidate.plain() for candidate in self.candidates.values()],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `plain` gave, or raise StoredBookError."""
        found = plain.get("format") if isinstance(plain, Mapping) else None
        if type(found) is not int:
            raise DamagedBookError("the stored policy book says no format")
        if found != _FORMAT:
            raise StoredBookError(f"the stored policy book has format {found}, not {_FORMAT}")
        try:
            candidates = [_checked(Candidate(**entry)) for entry in plain["candidates"]]
            pages = cls(
                _counted(plain["revision"]),
                _timed(plain["changed_unix"]),
                _read_stacks(plain["editions"]),
                _read_stacks(plain["undone"]),
                {candidate.name: candidate for candidate in candidates},
            )
        except (KeyError, TypeError, ValueError, AttributeError, ScopeError) as error:
            raise DamagedBookError(f"the stored policy book is damaged: {error!r}") from None
        faults = pages.faults(None)
        if faults:
            raise StoredBookError(
                "the stored policy book makes no policy with this version's defaults: "
                + "; ".join(f"{fault.scope}: {fault.detail}" for fault in faults)
            )
        return pages


def _still(
    stacks: Mapping[str, tuple[Edition, ...]], now_unix: float
) -> dict[str, tuple[Edition, ...]]:
    return {
        scope: tuple(edition for edition in held if not edition.has_ended(now_unix))
        for scope, held in stacks.items()
    }


def _plain_stacks(stacks: Mapping[str, tuple[Edition, ...]]) -> dict[str, Any]:
    return {scope: [edition.plain() for edition in held] for scope, held in stacks.items()}


def _read_stacks(plain: Mapping[str, Any]) -> dict[str, tuple[Edition, ...]]:
    found = {
        scope: tuple(_checked(Edition(**entry)) for entry in held) for scope, held in plain.items()
    }
    for scope, held in found.items():
        for edition in held:
            _timed(edition.expires_unix)
            if edition.scope != read_scope(scope):
                raise ValueError(f"an edition of {edition.scope!r} is with {scope!r}")
    return found


def _checked(stored: Stored) -> Stored:
    _counted(stored.revision)
    _timed(stored.made_unix)
    if not isinstance(stored.author, str) or not isinstance(stored.reason, str):
        raise TypeError("an author or a reason is no text")
    knobs, faults = check_knobs(stored.knobs)
    if faults:
        raise StoredBookError(
            "the stored policy book does not fit this version: "
            + "; ".join(f"{fault.knob}: {fault.detail}" for fault in faults)
        )
    return replace(stored, knobs=knobs)


def _counted(revision: object) -> int:
    if type(revision) is not int or revision < 0:
        raise ValueError("a revision is no whole number")
    return revision


def _timed(unix: object) -> float | None:
    if unix is None:
        return None
    if isinstance(unix, bool) or not isinstance(unix, int | float) or not isfinite(unix):
        raise ValueError("a time is no number")
    return unix
