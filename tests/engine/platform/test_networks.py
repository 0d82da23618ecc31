from ipaddress import IPv4Network, IPv6Network, ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.platform.addresses import Address, Network, range_of, read_network, read_range
from penstock.engine.platform.exclusions import Exclusion, ExclusionEdition
from penstock.engine.platform.networks import NetworkTable

# Few addresses, so that networks nest and touch.
v4_networks = st.builds(
    lambda number, prefix: IPv4Network((number, prefix), strict=False),
    st.integers(0, 300) | st.integers(2**32 - 300, 2**32 - 1),
    st.integers(0, 32),
)
v6_networks = st.builds(
    lambda number, prefix: IPv6Network((number, prefix), strict=False),
    st.integers(0, 300)
    | st.integers(2**64 - 200, 2**64 + 200)
    | st.integers(2**128 - 300, 2**128 - 1),
    st.integers(0, 128),
)


def slowly(networks: list[Network], address: Address) -> Network | None:
    around = [n for n in networks if n.version == address.version and address in n]
    return max(around, key=lambda network: network.prefixlen, default=None)


@given(st.lists(v4_networks | v6_networks, max_size=40))
def test_the_longest_prefix_is_found(networks: list[Network]) -> None:
    """At and beside every border, the table finds what looking at each network finds."""
    table = NetworkTable(range_of(network) for network in networks)
    borders = {int(n.network_address) for n in networks} | {
        int(n.broadcast_address) for n in networks
    }
    numbers = sorted({n + step for n in borders for step in (-1, 0, 1)} | {0})
    for number in numbers:
        for bits, family in ((32, IPv4Network), (128, IPv6Network)):
            if 0 <= number < 2**bits:
                address = family((number, bits)).network_address
                place = table.find(address)
                found = None if place is None else networks[place]
                assert found == slowly(networks, address)


def test_ipv4_in_the_clothes_of_ipv6_is_found() -> None:
    """An excluded address is excluded however the socket writes it."""
    table = NetworkTable([read_range("198.51.100.0/24")])
    assert table.find(ip_address("::ffff:198.51.100.45")) == 0
    assert table.find(ip_address("::ffff:198.51.101.45")) is None


def test_a_whole_family_does_not_cover_the_other() -> None:
    """::/0 excludes all of IPv6 and nothing of IPv4."""
    table = NetworkTable([read_range("::/0")])
    assert table.find(ip_address("2001:db8::1")) == 0
    assert table.find(ip_address("192.0.2.1")) is None


def test_an_edition_tells_what_it_was_given() -> None:
    """Columns give back each exclusion, its page, its law, and the same id in every edition."""
    given_ones = [
        Exclusion("198.51.100.0/24", "ccpa_do_not_sell", 1_770_681_600_000),
        Exclusion("2001:db8:1::/48", "gdpr_objection", 1_770_681_600_001),
        Exclusion("198.51.100.45/32", "gdpr_objection", 5),
    ]
    edition = ExclusionEdition(given_ones, "a batch", 7)
    assert list(edition) == given_ones
    assert (len(edition), edition.batch_id, edition.synced_unix_ms) == (3, "a batch", 7)
    assert edition.page(2, 2) == given_ones[2:]
    assert edition.page(3, 2) == []
    found = edition.check(ip_address("198.51.100.45"))
    assert found is not None
    assert found == given_ones[2]
    assert found.legal_basis == "legal_obligation_gdpr"
    wider = edition.check(ip_address("198.51.100.46"))
    assert wider is not None
    assert wider.legal_basis == "legal_obligation_ccpa"
    assert wider.exclusion_id == ExclusionEdition(given_ones)[0].exclusion_id
    assert edition.check(ip_address("192.0.2.1")) is None


def test_many_networks_are_kept_in_columns() -> None:
    """Fifty thousand networks are all found, and none beside them."""
    random = np.random.default_rng(3)
    numbers = random.choice(2**24, 50_000, replace=False).tolist()
    networks: list[Network] = [IPv4Network((number << 8, 24)) for number in numbers]
    table = NetworkTable(range_of(network) for network in networks)
    taken = set(numbers)
    for place in range(0, 50_000, 97):
        assert table.find(networks[place].network_address + 7) == place
    for number in random.choice(2**24, 500).tolist():
        found = table.find(IPv4Network((number << 8, 24)).network_address)
        assert (found is not None) == (number in taken)


@given(v4_networks | v6_networks, st.booleans())
def test_a_network_in_numbers_is_the_network(network: Network, wide: bool) -> None:  # noqa: FBT001 - drawn
    """However it is written, the fast reading gives what the thorough one gives."""
    text = str(network)
    if wide and network.version == 4:
        text = f"::ffff:{network.network_address}/{network.prefixlen + 96}"
    found = read_range(text)
    assert found == range_of(read_network(text)) == range_of(network)
    assert found.last == int(network.broadcast_address)


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4/33", "1.2.3/8", "::/129", "1.2.3.4/", "\x00/8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    """Both readings refuse alike."""
    with pytest.raises(ValueError, match=r".*"):
        read_range(text)
