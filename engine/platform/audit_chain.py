"""The chain of audit entries: each one's hash is made with that of the one before.

So an entry that is changed, taken out or put in between breaks every link behind it. What was cut
off at the end is told by the count and the hash of the last link, as they were noted elsewhere: a
chain that ends before a noted link, or has another hash there, was cut or written anew.

Entries that have grown too old are taken away at the beginning only; the hash of the last of them
is kept, and the chain is followed from there. An entry that somebody was taken out of, since that
person's data was erased, keeps its digest and so its place. What was left of it is told by a digest
in a later link of the same chain, made with the redaction: so not even that can be edited.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from penstock.engine.platform.records import AuditChain, AuditLink
from penstock.engine.records import AuditEntry

BEGINNING = "0" * 64


def content_of(entry: AuditEntry, detail: str) -> str:
    """Give what is hashed of an entry: all of it. `detail` is its detail as it is stored."""
    parts = [entry.entry_id, entry.at_unix_ms, entry.actor, entry.action, entry.subject, detail]
    return orjson.dumps(parts).decode()


def digest_of(content: str) -> str:
    """Give the digest of an entry, which stays when a person is taken out of it."""
    return hashlib.sha256(content.encode()).hexdigest()


def link_hash(before: str, link: int, digest: str) -> str:
    """Give a link's hash."""
    return hashlib.sha256(f"{before}\n{link}\n{digest}".encode()).hexdigest()


@dataclass(slots=True, frozen=True)
class Break:
    """Where the chain does not hold, and why."""

    link: int
    why: str


class ChainReader:
    """Follows the chain, link by link."""

    def __init__(self, chain: AuditChain, noted: tuple[int, str] | None = None) -> None:
        self._chain = chain
        self._noted = noted
        self.link = chain.removed_links
        self.hash = chain.removed_hash
        self._left: dict[int, str] = {}
        self._told: dict[int, str] = {}

    @property
    def redacted(self) -> int:
        """Give how many entries there were that somebody was taken out of."""
        return len(self._left)

    def begin_with(self, link: AuditLink) -> None:
        """Follow the chain from behind this link only, and take the link itself as it is."""
        self.link, self.hash = link.link, link.hash

    def follow(self, links: Iterable[AuditLink]) -> Break | None:
        """Follow some more links; give the first that does not hold."""
        for found in links:
            expected = self.link + 1
            if found.link != expected:
                return Break(expected, f"it is missing; the next one is {found.link}")
            if found.hash != link_hash(self.hash, found.link, found.digest):
                return Break(found.link, "its hash is not made with that of the one before")
            content = digest_of(found.content)
            if found.redacted:
                self._left[found.link] = content
            elif found.digest != content:
                return Break(found.link, "it is not what it was when it was written")
            self._told.update(found.blinded)
            self.link, self.hash = found.link, found.hash
            if self._noted is not None and self._noted[0] == found.link:
                wrong = self._differs(found.hash)
                if wrong is not None:
                    return wrong
        return None

    def conclude(self) -> Break | None:
        """Say, after the last link, whether the chain ends where it must."""
        chain, noted = self._chain, self._noted
        if self.link < chain.links:
            return Break(self.link + 1, f"it is missing; the chain has {chain.links} links")
        if noted is not None and noted[0] > self.link:
            return Break(self.link + 1, f"it is missing; link {noted[0]} was noted once")
        if noted is not None and noted[0] == chain.removed_links:
            return self._differs(chain.removed_hash)
        if self.link == chain.links and self.hash != chain.hash:
            return Break(chain.links, "its hash is not the one that the chain ends with")
        for link, content in self._left.items():
            if self._told.get(link) != content:
                return Break(link, "it is redacted, and not what an erasure made of it")
        if chain.unlinked:
            return Break(chain.links, f"{chain.unlinked} entries are not part of the chain")
        return None

    def _differs(self, found: str) -> Break | None:
        noted = self._noted
        if noted is None or noted[1] == found:
            return None
        return Break(noted[0], "its hash is not the one that was noted")
