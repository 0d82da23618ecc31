from ipaddress import ip_address, ip_network

import pytest

from penstock.engine.platform.addresses import ProxyChain, read_address, read_network, shortened

CHAIN = ProxyChain.of(("10.0.0.0/8", "fd00::/8"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:4711 ", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_address_is_read_however_it_is_written(text: str, address: str) -> None:
    """Ports, brackets, zones and IPv6's clothes are taken off."""
    assert read_address(text) == ip_address(address)


@pytest.mark.parametrize("text", ["", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "x" * 999, ":::"])
def test_what_is_no_address_is_none(text: str) -> None:
    """Whatever a header says, reading it fails in one way only."""
    assert read_address(text) is None


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Nobody in between.
        ("203.0.113.9", "", "203.0.113.9"),
        # Not one of ours: what it says of others is its own invention.
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("203.0.113.9", "10.0.0.1, 10.0.0.2", "203.0.113.9"),
        # One of ours, and two in a row.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        # What the client wrote itself stands in front of what our proxy saw.
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        # Our proxy saw something that is no address: then nobody knows.
        ("10.0.0.1", "198.51.100.1, unknown", None),
        ("10.0.0.1", "198.51.100.1,", None),
        # All of it ours: a request from within.
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("", "198.51.100.1", None),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str, forwarded: str, client: str | None) -> None:
    """A forged X-Forwarded-For never names the client."""
    expected = None if client is None else ip_address(client)
    assert CHAIN.client(peer, forwarded) == expected


def test_without_proxies_the_header_says_nothing() -> None:
    """By default nobody is believed."""
    assert ProxyChain().client("203.0.113.9", "198.51.100.1") == ip_address("203.0.113.9")


def test_a_long_chain_is_read_from_its_end_only() -> None:
    """A header of thousands of hops costs no more than one of a few."""
    forwarded = ", ".join(["10.0.0.1"] * 5000)
    assert CHAIN.client("10.0.0.1", forwarded) == ip_address("10.0.0.1")


def test_what_is_kept_of_an_address_is_its_network() -> None:
    """A stored network is that of a provider's customers, not of one of them."""
    assert shortened(ip_address("198.51.100.45")) == "198.51.100.0/24"
    assert shortened(ip_address("2001:db8:1:2::3")) == "2001:db8:1::/48"


def test_a_network_of_ipv4_is_one_in_any_clothes() -> None:
    """Exclusions cannot be walked around by writing an address in another family."""
    assert read_network("::ffff:198.51.100.0/120") == ip_network("198.51.100.0/24")
    assert read_network("198.51.100.45/24") == ip_network("198.51.100.0/24")
