"""What is known of a request before anything is done with it: asked once, told as one value.

An address under a privacy exclusion tells nothing: no country, no device, no actor's name, and no
part of itself. The address as a whole is in no context; where one is stored, it is shortened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from penstock.engine.media.rollup import NOWHERE, Surroundings
from penstock.engine.platform.actors import ActorNames, ActorType
from penstock.engine.platform.addresses import Address, ProxyChain, shortened
from penstock.engine.platform.exclusions import ExclusionBook
from penstock.engine.ports import Clock


class Atlas(Protocol):
    """Where addresses are."""

    def country(self, address: Address) -> str | None:
        """Give the country's two letters; None where that is not known."""
        ...


class Visitor(NamedTuple):
    """What a request's connection and headers say, as they came."""

    peer: str
    forwarded: str = ""
    user_agent: bytes = b""
    connection_type: str | None = None


class Person(NamedTuple):
    """Whom a verified token speaks for."""

    principal_id: str
    actor_type: ActorType
    org_id: str | None
    consent_level: int


@dataclass(slots=True, frozen=True)
class RequestContext:
    """One request's circumstances. `network` is the client's address, shortened.

    None is what is not known, and where `excluded` what may not be.
    """

    request_id: str
    actor: str | None
    actor_type: ActorType
    org_id: str | None
    consent_level: int
    network: str | None = None
    country_code: str | None = None
    device_type: str | None = None
    browser_family: str | None = None
    connection_type: str | None = None
    excluded: bool = False


@dataclass(slots=True, frozen=True)
class Enrichment:
    """Makes contexts. Neither waits nor fails, whatever a request claims."""

    proxies: ProxyChain
    exclusions: ExclusionBook
    atlas: Atlas
    devices: Callable[[bytes], Surroundings]
    actors: ActorNames
    clock: Clock

    def enrich(self, request_id: str, visitor: Visitor, person: Person) -> RequestContext:
        """Give the context of a request that a person made."""
        name = self.actors.name(person.principal_id, self.clock.unix())
        address = self.proxies.client(visitor.peer, visitor.forwarded)
        return self.enrich_told(request_id, visitor, person, name, address)

    def enrich_told(
        self,
        request_id: str,
        visitor: Visitor,
        person: Person,
        actor: str | None,
        address: Address | None,
    ) -> RequestContext:
        """Give the context of a request whose actor and address are told by whom we trust."""
        known = (request_id, person.actor_type, person.org_id, person.consent_level)
        if address is not None and self.exclusions.excludes(address):
            return _context(*known, excluded=True)
        found = self.devices(visitor.user_agent)
        return _context(
            *known,
            actor=actor,
            network=None if address is None else shortened(address),
            country_code=None if address is None else self.atlas.country(address),
            device_type=found.device_type,
            browser_family=found.browser_family,
            connection_type=visitor.connection_type,
        )

    def surroundings(self, visitor: Visitor) -> Surroundings:
        """Give what statistics group by: where and on what; nothing where that is excluded."""
        address = self.proxies.client(visitor.peer, visitor.forwarded)
        if address is not None and self.exclusions.excludes(address):
            return NOWHERE
        found = self.devices(visitor.user_agent)
        country = None if address is None else self.atlas.country(address)
        return found if country is None else found._replace(country_code=country)


def _context(
    request_id: str,
    actor_type: ActorType,
    org_id: str | None,
    consent_level: int,
    *,
    actor: str | None = None,
    network: str | None = None,
    country_code: str | None = None,
    device_type: str | None = None,
    browser_family: str | None = None,
    connection_type: str | None = None,
    excluded: bool = False,
) -> RequestContext:
    return RequestContext(
        request_id,
        actor,
        actor_type,
        org_id,
        consent_level,
        network,
        country_code,
        device_type,
        browser_family,
        connection_type,
        excluded,
    )
