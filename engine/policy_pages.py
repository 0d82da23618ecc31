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
from typing import Any, Self, TypeVar

from penstock.engine.policy import DEFAULT_POLICY, Policy, check_knobs
from penstock.engine.policy_editions import (
    GLOBAL,
    BookFault,
    Candidate,
    Edition,
    InForce,
    StoredBookError,
    is_org,
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

    def with_scope(self, scope: str, editions: tuple[Edition, ...]) -> Self:
        """Give the pages with other editions of one scope."""
        others = {name: held for name, held in self.editions.items() if name != scope}
        return replace(self, editions={**others, scope: editions} if editions else others)

    def overlay(self, scope: str) -> dict[str, Any]:
        """Give the knobs that a scope sets."""
        return {name: edition.knobs[name] for name, edition in self.sources(scope).items()}

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

    def without(self, edition: Edition) -> Self:
        """Give the pages without one edition."""
        kept = tuple(held for held in self.editions[edition.scope] if held is not edition)
        return self.with_scope(edition.scope, kept)

    def faults(self, scope: str) -> tuple[BookFault, ...]:
        """Find what a change of the scope puts wrong, now or when editions expire.

        What does not go through the scope was right before and is not looked at again.
        """
        found = self._clashes(scope)
        pages = self
        for edition in self.passing():
            if found:
                break
            pages = pages.without(edition)
            remark = f" (once the edition of revision {edition.revision} has expired)"
            found = pages._clashes(edition.scope, remark=remark)  # noqa: SLF001  of its own kind
        return found

    def candidate_faults(self, candidate: Candidate) -> tuple[BookFault, ...]:
        """Find where a candidate makes no policy with the editions of the narrower scopes."""
        return self._clashes(GLOBAL, candidate)

    def _clashes(
        self, scope: str, candidate: Candidate | None = None, remark: str = ""
    ) -> tuple[BookFault, ...]:
        found: dict[tuple[object, ...], BookFault] = {}
        for chain in self._chains(scope):
            for fault in self.merge(chain, candidate).policy.faults():
                # A wide scope's fault shows in every narrower one; once is enough.
                key = (fault.knob, fault.other, fault.seen, fault.limit)
                of_org = f" (in {chain[1]})" if len(chain) == 3 else ""
                found.setdefault(key, BookFault.of(chain[-1], fault, of_org + remark))
            if len(found) >= _MOST_FAULTS:
                break
        return tuple(found.values())[:_MOST_FAULTS]

    def _chains(self, scope: str) -> list[tuple[str, ...]]:
        """Give every chain of scopes through this one, the shorter ones first."""
        orgs: list[tuple[str, ...]] = [()]
        sessions: list[tuple[str, ...]] = [()]
        for name in self.editions:
            if name != GLOBAL:
                (orgs if is_org(name) else sessions).append((name,))
        if scope != GLOBAL:
            (orgs if is_org(scope) else sessions)[:] = [(scope,)]
        return [(GLOBAL, *org, *session) for org in orgs for session in sessions]

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
        if plain.get("format") != _FORMAT:
            raise StoredBookError(
                f"the stored policy book has format {plain.get('format')!r}, not {_FORMAT}"
            )
        try:
            candidates = [_checked(Candidate(**entry)) for entry in plain["candidates"]]
            pages = cls(
                plain["revision"],
                plain["changed_unix"],
                _read_stacks(plain["editions"]),
                _read_stacks(plain["undone"]),
                {candidate.name: candidate for candidate in candidates},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise StoredBookError(f"the stored policy book is damaged: {error!r}") from None
        faults = pages.faults(GLOBAL)
        if faults:
            raise StoredBookError(
                "the stored policy book makes no policy with this version's defaults: "
                + "; ".join(f"{fault.scope}: {fault.detail}" for fault in faults)
            )
        return pages


def _plain_stacks(stacks: Mapping[str, tuple[Edition, ...]]) -> dict[str, Any]:
    return {scope: [edition.plain() for edition in held] for scope, held in stacks.items()}


def _read_stacks(plain: Mapping[str, Any]) -> dict[str, tuple[Edition, ...]]:
    return {
        scope: tuple(_checked(Edition(**entry)) for entry in held) for scope, held in plain.items()
    }


def _checked(stored: Stored) -> Stored:
    knobs, faults = check_knobs(stored.knobs)
    if faults:
        raise StoredBookError(
            "the stored policy book does not fit this version: "
            + "; ".join(f"{fault.knob}: {fault.detail}" for fault in faults)
        )
    return replace(stored, knobs=knobs)
