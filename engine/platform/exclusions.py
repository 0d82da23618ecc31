"""Privacy exclusions: networks of people who asked that nothing be told about them.

A list is whole or it is not put into force: an edition never changes, and the book exchanges one
for the next in one step. It is kept in columns, since there may be very many.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from penstock.engine.platform.addresses import Address, Range, read_range
from penstock.engine.platform.networks import NetworkTable

LONGEST_KIND = 64
_LOW_64 = (1 << 64) - 1


class Exclusion(NamedTuple):
    """One network, what was asked for it, and when that changed last, in ms since 1970."""

    network: str
    kind: str
    updated_unix_ms: int

    @property
    def exclusion_id(self) -> str:
        """Give the id: the same for as long as the network is excluded for the same reason."""
        return str(uuid5(NAMESPACE_URL, f"penstock:exclusion:{self.kind}:{self.network}"))

    @property
    def legal_basis(self) -> str:
        """Name the law by which nothing may be told: ccpa for ccpa_do_not_sell."""
        return f"legal_obligation_{self.kind.partition('_')[0]}"


class ExclusionEdition:
    """One whole list, as it was synced. Unchangeable."""

    __slots__ = ("_first", "_kind", "_kinds", "_table", "_updated", "batch_id", "synced_unix_ms")

    def __init__(
        self, exclusions: Iterable[Exclusion], batch_id: str = "", synced_unix_ms: int | None = None
    ) -> None:
        """Take a list in its order; ValueError names a network that is none.

        Takes seconds for a million, so that is for a thread of its own.
        """
        self.batch_id = batch_id
        self.synced_unix_ms = synced_unix_ms
        # The first address's upper and lower half, its family, and the prefix.
        self._first = high, low, version, prefix = array("Q"), array("Q"), array("B"), array("B")
        self._kind, self._updated = array("H"), array("q")
        self._kinds: list[str] = []
        places: dict[str, int] = {}
        networks: list[Range] = []
        for text, kind, updated in exclusions:
            network = read_range(text)
            networks.append(network)
            high.append(network.first >> 64)
            low.append(network.first & _LOW_64)
            version.append(network.version)
            prefix.append(network.prefix)
            if kind not in places:
                places[kind] = len(self._kinds)
                self._kinds.append(kind)
            self._kind.append(places[kind])
            self._updated.append(updated)
        self._table = NetworkTable(networks)

    def __len__(self) -> int:
        return len(self._kind)

    def __getitem__(self, place: int) -> Exclusion:
        high, low, version, prefix = (column[place] for column in self._first)
        number = high << 64 | low
        address = IPv4Address(number) if version == 4 else IPv6Address(number)
        kind = self._kinds[self._kind[place]]
        return Exclusion(f"{address}/{prefix}", kind, self._updated[place])

    def __iter__(self) -> Iterator[Exclusion]:
        return (self[place] for place in range(len(self)))

    def check(self, address: Address) -> Exclusion | None:
        """Give the narrowest exclusion that covers the address."""
        place = self._table.find(address)
        return None if place is None else self[place]

    def covers(self, address: Address) -> bool:
        """Say whether any exclusion covers the address."""
        return self._table.find(address) is not None

    def page(self, page: int, per_page: int) -> list[Exclusion]:
        """Give a page; the first one is 1."""
        first = (page - 1) * per_page
        return [self[place] for place in range(first, min(first + per_page, len(self)))]


@dataclass(slots=True)
class ExclusionBook:
    """The edition in force, and how many requests it has covered."""

    edition: ExclusionEdition
    excluded: int = 0

    def excludes(self, address: Address) -> bool:
        """Say whether nothing may be told of a request from this address, and count it if so."""
        covered = self.edition.covers(address)
        self.excluded += covered
        return covered

    def adopt(self, edition: ExclusionEdition) -> None:
        """Put an edition into force, from the next request on."""
        self.edition = edition
