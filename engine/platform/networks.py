"""The longest prefix among very many networks, in a few steps of bisection.

Networks nest but never cross. So their borders cut the line of all addresses into stretches, each
of which has one innermost network, or none. The stretches' beginnings are kept in order, in plain
arrays: a million networks take some tens of megabytes, and an address is found among them by three
bisections. Addresses of 128 bits are two columns of 64.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from penstock.engine.platform.addresses import Address, Range, plain_address

_LOW_64 = (1 << 64) - 1
_NOBODY = -1


class _Stretches:
    """The line of one family's addresses."""

    __slots__ = ("_high", "_low", "_owner")

    def __init__(self, networks: list[tuple[int, int, int]], highest: int) -> None:
        """Take networks as (first, last, owner). Of equal ones the later one counts."""
        self._high, self._low = array("Q"), array("Q")
        self._owner = array("q")
        networks.sort(key=lambda network: (network[0], -network[1]))
        around: list[tuple[int, int]] = []
        for first, last, owner in networks:
            while around and around[-1][0] < first:
                self._leave(around)
            self._begin(first, owner)
            around.append((last, owner))
        while around and around[-1][0] < highest:
            self._leave(around)

    def _leave(self, around: list[tuple[int, int]]) -> None:
        last, _ = around.pop()
        self._begin(last + 1, around[-1][1] if around else _NOBODY)

    def _begin(self, start: int, owner: int) -> None:
        high, low = start >> 64, start & _LOW_64
        if self._owner and self._high[-1] == high and self._low[-1] == low:
            self._owner[-1] = owner
            return
        self._high.append(high)
        self._low.append(low)
        self._owner.append(owner)

    def find(self, address: int) -> int:
        """Give the owner of the innermost network around the address, or -1."""
        high = address >> 64
        end = bisect_right(self._high, high)
        begin = bisect_left(self._high, high, 0, end)
        # Where none of the same upper half begins before it, the stretch before those holds it.
        place = bisect_right(self._low, address & _LOW_64, begin, end) - 1
        return self._owner[place] if place >= 0 else _NOBODY


class NetworkTable:
    """Finds the innermost of many networks, by its place in the sequence that was given."""

    __slots__ = ("_v4", "_v6")

    def __init__(self, networks: Iterable[Range]) -> None:
        rows: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
        for place, network in enumerate(networks):
            rows[network.version].append((network.first, network.last, place))
        self._v4 = _Stretches(rows[4], (1 << 32) - 1)
        self._v6 = _Stretches(rows[6], (1 << 128) - 1)

    def find(self, address: Address) -> int | None:
        """Give the place of the longest prefix around the address; None where there is none."""
        address = plain_address(address)
        stretches = self._v4 if address.version == 4 else self._v6
        place = stretches.find(int(address))
        return None if place < 0 else place
