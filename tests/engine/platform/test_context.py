from dataclasses import astuple
from ipaddress import ip_address

from penstock.engine.media.rollup import NOWHERE, Surroundings
from penstock.engine.platform.actors import ActorNames, ActorType
from penstock.engine.platform.addresses import Address, ProxyChain
from penstock.engine.platform.context import Enrichment, Person, RequestContext, Visitor
from penstock.engine.platform.exclusions import Exclusion, ExclusionBook, ExclusionEdition

ANN = Person("ann", ActorType.USER, "an org", 2)
DAY = 86_400


class Maps:
    def country(self, address: Address) -> str | None:
        return "RO" if address == ip_address("203.0.113.9") else None


class Hand:
    now = 1_770_681_600.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


def make() -> Enrichment:
    edition = ExclusionEdition([Exclusion("198.51.100.0/24", "ccpa_do_not_sell", 0)])
    return Enrichment(
        ProxyChain.of(("10.0.0.0/8",)),
        ExclusionBook(edition),
        Maps(),
        lambda header: Surroundings(None, "mobile", "Chrome") if header else NOWHERE,
        ActorNames(b"k" * 32, 30 * DAY),
        Hand(),
    )


def test_a_request_is_told_once_and_whole() -> None:
    """Actor, organisation, consent, place, device and connection stand in one value."""
    visitor = Visitor("10.0.0.1", "203.0.113.9", b"a phone", "4g")
    context = make().enrich("r-1", visitor, ANN)
    assert context == RequestContext(
        "r-1", context.actor, ActorType.USER, "an org", 2,
        "203.0.113.0/24", "RO", "mobile", "Chrome", "4g",
    )  # fmt: skip
    assert context.actor is not None
    assert "ann" not in context.actor
    assert "203.0.113.9" not in str(astuple(context))


def test_an_excluded_address_tells_nothing() -> None:
    """No country, no device, no actor, no part of the address; also in the clothes of IPv6."""
    enrichment = make()
    for peer in ("198.51.100.45", "::ffff:198.51.100.45"):
        context = enrichment.enrich("r-1", Visitor(peer, "", b"a phone", "4g"), ANN)
        assert context == RequestContext("r-1", None, ActorType.USER, "an org", 2, excluded=True)
        assert enrichment.surroundings(Visitor(peer, "", b"a phone")) == NOWHERE


def test_a_list_counts_from_the_next_request_on() -> None:
    """What is adopted is in force at once, and what is gone from it no more."""
    enrichment = make()
    visitor = Visitor("198.51.100.45", "", b"a phone")
    assert enrichment.surroundings(visitor) == NOWHERE
    enrichment.exclusions.adopt(ExclusionEdition(()))
    assert enrichment.surroundings(visitor).browser_family == "Chrome"


def test_names_of_actors_rotate() -> None:
    """Within a period a person has one name; in the next one, another that looks like nobody's."""
    names = ActorNames(b"k" * 32, 30 * DAY)
    assert names.name("ann", 5) == names.name("ann", 30 * DAY - 1)
    assert names.name("ann", 5) != names.name("ann", 30 * DAY)
    assert names.name("ann", 5) != names.name("bob", 5)
    assert names.name("ann", 5) != ActorNames(b"l" * 32, 30 * DAY).name("ann", 5)
    assert names.name("ann", 30 * DAY).partition("-")[0] == "1"
