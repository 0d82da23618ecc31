"""Network addresses: read, shortened, and told from what proxies say.

An address that came through proxies is the one that the first of our own proxies saw. Each proxy
appends what it saw to `X-Forwarded-For`, so the list is read from its end, for as long as whoever
wrote an item is one of ours. What a client wrote itself stands further in front and is never read.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_HOPS = 32
_LONGEST_ADDRESS = 64
_WIDTH = {4: 32, 6: 128}
# The upper 96 bits of an IPv4 address in the clothes of IPv6.
_MAPPED = 0xFFFF
# What is kept of an address where any of it is: a provider's customers, not one of them.
_KEPT_BITS = {4: 24, 6: 48}


def read_address(text: str) -> Address | None:
    """Read an address, with or without a port; None for anything else.

    An IPv4 address in the clothes of IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    text = text.strip()
    if len(text) > _LONGEST_ADDRESS:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return plain_address(address)


def plain_address(address: Address) -> Address:
    """Give an IPv4 address for what is one."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def read_network(text: str) -> Network:
    """Read a network such as 198.51.100.0/24; ValueError for anything else.

    Bits beyond the prefix are dropped. A network of IPv4 in IPv6's clothes is one of IPv4.
    """
    network = ip_network(text.strip(), strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


class Range(NamedTuple):
    """A network in numbers: family, first address, length of its prefix."""

    version: int
    first: int
    prefix: int

    @property
    def last(self) -> int:
        """Give the last address."""
        return self.first | ((1 << (_WIDTH[self.version] - self.prefix)) - 1)


def range_of(network: Network) -> Range:
    """Give a network in numbers."""
    return Range(network.version, int(network.network_address), network.prefixlen)


def read_range(text: str) -> Range:
    """Read as `read_network` does, in a tenth of the time where it is written as usual."""
    base, _, bits = text.partition("/")
    version = 6 if ":" in base else 4
    width = _WIDTH[version]
    if bits.isascii() and bits.isdigit() and len(bits) < 4 and int(bits) <= width:
        with suppress(OSError, ValueError):  # which say what is wrong less well
            packed = inet_pton(AF_INET if version == 4 else AF_INET6, base)
            spare = width - int(bits)
            first = int.from_bytes(packed, "big") >> spare << spare
            if version == 6 and spare <= 32 and first >> 32 == _MAPPED:
                return Range(4, first & 0xFFFF_FFFF, 32 - spare)
            return Range(version, first, int(bits))
    return range_of(read_network(text))


def shortened(address: Address) -> str:
    """Give the network that may be stored in an address's place."""
    bits = _KEPT_BITS[address.version]
    return str(ip_network((address, bits), strict=False))


@dataclass(slots=True, frozen=True)
class ProxyChain:
    """The proxies that are ours."""

    trusted: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> "ProxyChain":
        """Make the chain of networks as they are written; ValueError names one that is none."""
        return cls(tuple(read_network(network) for network in networks))

    def trusts(self, address: Address) -> bool:
        """Say whether one of our proxies has this address."""
        return any(address in network for network in self.trusted)

    def client(self, peer: str, forwarded: str) -> Address | None:
        """Give the client's address; None where nobody whom we trust told it.

        `peer` is who connected to us; `forwarded` is all of X-Forwarded-For.
        """
        address = read_address(peer)
        hops = forwarded.split(",") if forwarded and self.trusted else []
        for hop in reversed(hops[-MOST_HOPS:]):
            if address is None or not self.trusts(address):
                return address
            address = read_address(hop)
        return address
