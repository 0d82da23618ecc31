from dataclasses import replace

import pytest

from penstock.engine.platform.audit_chain import (
    BEGINNING,
    Break,
    ChainReader,
    digest_of,
    link_hash,
)
from penstock.engine.platform.records import AuditChain, AuditLink


def chain_of(count: int) -> tuple[AuditChain, list[AuditLink]]:
    links: list[AuditLink] = []
    before = BEGINNING
    for number in range(1, count + 1):
        digest = digest_of(f"entry {number}")
        before = link_hash(before, number, digest)
        links.append(AuditLink(number, before, digest, f"entry {number}"))
    return AuditChain(count, before, 0, BEGINNING, 0), links


def verify(
    chain: AuditChain, links: list[AuditLink], noted: tuple[int, str] | None = None
) -> Break | None:
    reader = ChainReader(chain, noted)
    for link in links:
        if (found := reader.follow([link])) is not None:
            return found
    return reader.conclude()


def test_a_whole_chain_holds() -> None:
    """Also an empty one, one that grew meanwhile, and one whose beginning grew too old."""
    chain, links = chain_of(9)
    assert verify(chain, links) is None
    assert verify(*chain_of(0)) is None
    assert verify(chain._replace(links=7, hash=links[6].hash), links) is None
    removed = chain._replace(removed_links=4, removed_hash=links[3].hash)
    assert verify(removed, links[4:]) is None
    assert verify(chain, links, (5, links[4].hash)) is None
    assert verify(removed, links[4:], (4, links[3].hash)) is None


@pytest.mark.parametrize(
    ("spoil", "link"),
    [
        (lambda links: [*links[:3], links[3]._replace(content="edited"), *links[4:]], 4),
        (lambda links: links[:3] + links[4:], 4),
        (lambda links: links[:-1], 9),
        (lambda links: links[1:], 1),
        (lambda links: [links[1], links[0], *links[2:]], 1),
        (lambda links: links[:0], 1),
    ],
)
def test_whatever_is_done_to_it_shows(spoil: object, link: int) -> None:
    """An edit, a gap, a cut at either end, another order: each is told by its place."""
    chain, links = chain_of(9)
    found = verify(chain, spoil(links))  # type: ignore[operator]
    assert found is not None
    assert found.link == link


def test_a_chain_written_anew_differs_from_what_was_noted() -> None:
    """Who can write everything can make a chain that holds, but not the one that was noted."""
    chain, links = chain_of(9)
    noted = (9, links[8].hash)
    forged, other = chain_of(9)
    before = BEGINNING
    anew = []
    for link in other:
        digest = digest_of(f"{link.content}!")
        before = link_hash(before, link.link, digest)
        anew.append(AuditLink(link.link, before, digest, f"{link.content}!"))
    forged = forged._replace(hash=before)
    assert verify(forged, anew) is None
    assert verify(forged, anew, noted) == Break(9, "its hash is not the one that was noted")
    short = chain._replace(links=5, hash=links[4].hash)
    found = verify(short, links[:5], noted)
    assert found is not None
    assert found.link == 6
    assert replace(found, link=0).why.endswith("link 9 was noted once")


def test_entries_outside_of_it_show() -> None:
    """What was put into the table past the chain is told."""
    chain, links = chain_of(2)
    found = verify(chain._replace(unlinked=3), links)
    assert found is not None
    assert "3 entries" in found.why


def test_who_was_erased_leaves_the_chain_whole() -> None:
    """A redacted entry keeps its place, and what is left of it is what a later link tells."""
    chain, links = chain_of(5)
    links[2] = links[2]._replace(content="what is left", redacted=True)
    links[3] = links[3]._replace(blinded=((3, digest_of("what was left first")),))
    links[4] = links[4]._replace(blinded=((3, digest_of("what is left")),))
    assert verify(chain, links) is None
    for link, spoilt in (
        (3, links[2]._replace(content="edited since")),
        (3, links[2]._replace(digest=digest_of("another"))),
        (2, links[1]._replace(content="never redacted", redacted=True)),
    ):
        found = verify(chain, [*links[: link - 1], spoilt, *links[link:]])
        assert found is not None
        assert found.link == link
    found = verify(chain, [*links[:4], links[4]._replace(blinded=())])
    assert found == Break(3, "it is redacted, and not what an erasure made of it")
