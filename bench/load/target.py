"""What is asked: a Penstock started for the run, or a service of the same contract that runs.

Only this machine is ever asked. A load generator pointed at another one is an attack on it, or on
the network between; whoever owns both can run it there, or through a tunnel of their own.
"""

import ipaddress
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from penstock.bench import machine
from penstock.bench.errors import BenchError
from penstock.bench.limits import OTHER_CONNECTIONS, files_told, needed_settings
from penstock.bench.load.plan import Kind, authority
from penstock.bench.servers import (
    SECRET,
    RunningServer,
    ServerFailedError,
    penstock_spec,
    run_server,
)
from penstock.bench.traffic import PATH, write_grants

_PROBE_SECONDS = 10.0
# A session that nobody has. Without a token, a request is refused before anybody looks for it.
_NOBODY = UUID(int=0)
_LOCALHOST = "localhost"
_PROBES = {
    Kind.POSE: PATH,
    Kind.MEDIA: "/v1/media/events",
    Kind.END: f"/v1/sessions/{_NOBODY}/end",
}
_NOT_THERE = (404, 405, 501)
# What a server needs besides connections; spool files are as many as are left.
_OTHER_FILES = 256


@dataclass(slots=True, frozen=True)
class Target:
    """A service that runs. `facts` go into the report; `cores` are those left to the generator."""

    name: str
    address: tuple[str, int]
    secret: bytes
    routes: frozenset[Kind]
    facts: Mapping[str, str]
    pid: int | None = None
    server: RunningServer | None = None
    cores: tuple[int, ...] = ()

    def check(self) -> None:
        """Raise ServerFailedError when the process has ended, if it was started here."""
        if self.server is not None:
            self.server.check()

    def cpu_seconds(self) -> float | None:
        """Give the processor time used so far; None when nobody said which process it is."""
        if self.pid is None:
            return None
        with self._process_is_there():
            return machine.cpu_seconds(self.pid)

    def resident_bytes(self) -> int | None:
        """Give the memory in RAM now; None when nobody said which process it is."""
        if self.pid is None:
            return None
        with self._process_is_there():
            return machine.resident_bytes(self.pid)

    @contextmanager
    def _process_is_there(self) -> Iterator[None]:
        self.check()
        try:
            yield
        except OSError:
            raise ServerFailedError(f"{self.name}: process {self.pid} has ended") from None


@contextmanager
def start_penstock(
    *,
    sessions: int,
    connections: int,
    settings: Mapping[str, object] | None = None,
    grant: Callable[[Path, int], None] = write_grants,
) -> Iterator[Target]:
    """Run a Penstock around the block, on a core of its own and in a folder that goes away.

    `sessions` and `connections` are the most that will be there at once; what the defaults would
    not bear is raised, and told as every other setting. `grant` writes the grants file.
    """
    cores = machine.choose_cores()
    told = needed_settings(sessions, connections) | dict(settings or {})
    with tempfile.TemporaryDirectory(prefix="penstock-load-") as folder:
        limit = machine.allow_open_files(connections + OTHER_CONNECTIONS + _OTHER_FILES)
        spec = penstock_spec(Path(folder) / "penstock", sessions, grant, **told)
        with ExitStack() as stack:
            with _ctrl_c_later():
                server = stack.enter_context(run_server(spec, cores.server))
            yield Target(
                name=spec.name,
                address=server.address,
                secret=SECRET,
                routes=served_routes(server.address),
                facts={
                    "server": "Penstock, started for this run",
                    "address": _shown(server.address),
                    **{f"setting {name}": value for name, value in spec.told.items()},
                    "open files": files_told(limit, sessions, connections),
                    "cores": cores.told,
                },
                pid=server.process.pid,
                server=server,
                cores=_left_over(cores.server),
            )


def join_running(url: str, *, secret: bytes, pid: int | None = None) -> Target:
    """Take a service that runs on this machine; raise BenchError if it will not do."""
    address = loopback_address(url)
    if pid is not None and not Path(f"/proc/{pid}/stat").exists():
        raise BenchError(f"there is no process {pid}; --pid must be the service's")
    facts = {
        "server": "a service that was running already",
        "address": _shown(address),
        "process": str(pid) if pid is not None else "not given, so its CPU and memory are not read",
        "cores": "not chosen by this command: server and generator may share one",
    }
    return Target("the target", address, secret, served_routes(address), facts, pid)


def loopback_address(url: str) -> tuple[str, int]:
    """Read the address of `--target`; raise BenchError when it is not this machine's."""
    wrong = BenchError(f"the target {url!r} is not a URL such as http://127.0.0.1:8080")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if not host:
        raise wrong
    if not _is_loopback(host):
        raise BenchError(
            f"the target {host!r} is not a loopback address (127.0.0.0/8, ::1, localhost), and "
            "load sent to another machine is an attack on it; run this command on that machine, "
            "or reach the service through an SSH tunnel that ends here"
        )
    if parts.scheme != "http" or not port or parts.path.strip("/") or parts.query:
        raise wrong
    # A name is not looked up: a hosts file may say anything.
    return ("127.0.0.1" if host.lower() == _LOCALHOST else host), port


def served_routes(address: tuple[str, int]) -> frozenset[Kind]:
    """Ask each route without a token: what is there refuses that, what is not there says so."""
    routes = frozenset(
        kind for kind, path in _PROBES.items() if _status(address, path) not in _NOT_THERE
    )
    if Kind.POSE not in routes:
        raise BenchError(f"the service at {_shown(address)} does not serve POST {PATH}")
    return routes


def _is_loopback(host: str) -> bool:
    if host.lower() == _LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _status(address: tuple[str, int], path: str) -> int:
    connection = HTTPConnection(*address, timeout=_PROBE_SECONDS)
    try:
        connection.request("POST", path, b"")
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException) as error:
        raise BenchError(f"nobody answers HTTP at {_shown(address)}: {error}") from None
    else:
        return response.status
    finally:
        connection.close()


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    # What is blocked here stays blocked in a child that is started meanwhile. The service does not
    # end by the terminal's Ctrl-C then: its own count of the frames is needed to the end.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _left_over(server: int | None) -> tuple[int, ...]:
    if server is None:
        return ()
    return tuple(sorted(os.sched_getaffinity(0) - {server}))


def _shown(address: tuple[str, int]) -> str:
    return f"http://{authority(address)}"
