"""What the machine is, and what the kernel says of a process. Linux only: all of it is in /proc."""

import os
import platform
import resource
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from penstock.bench.errors import BenchError

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# The packages whose version changes what a request costs.
_PACKAGES = ("penstock", "trio", "hypercorn", "quart", "quart-trio", "httptools", "h11", "numpy")


_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# What "unlimited" comes to: the kernel's own bound of a process (fs.nr_open).
_MOST_FILES = 1_048_576


class TooFewFilesError(BenchError):
    """The limit of open files does not let the run take place."""


class TooFewPortsError(BenchError):
    """There are not enough local ports for the connections."""


@dataclass(slots=True, frozen=True)
class Cores:
    """Which core serves and which one asks; None when there is only one, and nothing is pinned."""

    server: int | None
    generator: int | None

    @property
    def told(self) -> str:
        """Say it in words for the report."""
        if self.server is None:
            return "one core only: servers and generator share it, so all rates are too low"
        return f"servers on core {self.server}, generator on core {self.generator}"


def choose_cores() -> Cores:
    """Take the last core this process may use for the servers, and the first for the generator."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[-1], usable[0]) if len(usable) > 1 else Cores(None, None)


def machine_facts() -> dict[str, str]:
    """Give what a reader must know before comparing figures with those of another machine."""
    system = platform.uname()
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "cpu": _cpu_model(),
        "cores": f"{os.cpu_count()}, of which usable {len(os.sched_getaffinity(0))}",
        "shared cores": _siblings(),
        "system": f"{system.system} {system.release} {system.machine}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "load average before": load,
    }


def cpu_seconds(pid: int) -> float:
    """Give the processor time that a process and its threads have used."""
    # The name, in parentheses, may hold anything; what follows its last parenthesis is numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    """Give the memory of a process that is in RAM, shared libraries included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def allow_open_files(needed: int) -> int:
    """Raise this process's limit as far as it may go, and give it.

    Raises TooFewFilesError when that is too low.

    Servers started afterwards inherit the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != unlimited and hard < needed:
        raise TooFewFilesError(
            f"{needed} open files are needed and the hard limit is {hard}; raise it (ulimit -Hn) "
            "or take fewer connections or sessions"
        )
    return hard if hard != unlimited else _MOST_FILES


def check_local_ports(connections: int) -> None:
    """Raise TooFewPortsError when one client address cannot have so many connections to a port."""
    low, high = map(int, _PORT_RANGE.read_text().split())
    ports = high - low + 1
    if connections > ports:
        raise TooFewPortsError(
            f"{connections:,} connections to one server need as many local ports and there are "
            f"{ports:,}; take fewer connections, or widen net.ipv4.ip_local_port_range"
        )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _siblings() -> str:
    # Two hardware threads of one core slow each other: the generator then takes from the server.
    groups = set()
    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        if path.exists():
            groups.add(path.read_text().strip())
    shared = sorted(group for group in groups if not group.isdigit())
    return ("hardware threads of one core: " + "; ".join(shared)) if shared else "none"
