"""The machine around the service: descriptors, clock, port, installed versions."""

import errno
import os
import platform
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from itertools import islice
from pathlib import Path

from penstock.doctor.finding import Finding, Machine, ok, problem, warning
from penstock.doctor.stores import Holder
from penstock.settings import Settings

# Descriptors beside connections and spool files: log, sockets, the event loop, imports.
SPARE_DESCRIPTORS = 100

_FIRST_SANE_YEAR, _LAST_SANE_YEAR = 2025, 2100
# A file just written on another machine's clock may be this far ahead without anything wrong.
_CLOCK_TOLERANCE_SECONDS = 60
# The spool may hold a file for every session; so many tell enough about the clock.
_FILES_LOOKED_AT = 5000
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def check_open_files(settings: Settings, machine: Machine) -> Iterator[Finding]:
    """Compare the limit of open files with what the settings may need."""
    need = settings.max_connections + settings.spool_open_files + SPARE_DESCRIPTORS
    _, hard = machine.open_file_limit()  # the service raises its own limit to the hard one
    if hard >= need:
        yield ok("open files", f"the limit is {hard}; {need} may be needed")
        return
    yield warning(
        "open files",
        f"the limit is {hard}; max_connections, spool_open_files and {SPARE_DESCRIPTORS} more are "
        f"{need}, so at full load the spool keeps fewer files open than it is set to",
        f"ulimit -n {need}, or LimitNOFILE={need} in the unit; or lower the two settings",
    )


def check_clock(data_dir: Path, machine: Machine) -> Iterator[Finding]:
    """Look whether the clock can be right: tokens are dated, and files should not be ahead."""
    now = machine.unix()
    advice = "set the clock, and keep it by NTP: tokens are judged by it"
    shown = _instant(now)
    if not _FIRST_SANE_YEAR <= datetime.fromtimestamp(now, UTC).year <= _LAST_SANE_YEAR:
        yield problem("clock", f"it is {shown} by this machine's clock", advice)
        return
    before = machine.monotonic()
    if machine.monotonic() < before:
        yield problem("clock", "the monotonic clock ran backwards", "look at the hypervisor")
        return
    newest = _newest_change(data_dir)
    if newest is not None and newest > now + _CLOCK_TOLERANCE_SECONDS:
        yield problem(
            "clock",
            f"it is {shown} by this machine's clock, but the data folder has a file of "
            f"{_instant(newest)}",
            advice,
        )
        return
    yield ok("clock", shown)


def check_port(settings: Settings, running: Holder | None) -> Iterator[Finding]:
    """Try to listen where the service would."""
    where = f"{settings.host} port {settings.port}"
    if settings.port == 0:
        yield ok("port", f"{settings.host}, any free port")
        return
    try:
        addresses = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        yield problem("port", f"{settings.host}: {error.strerror}", "set host to a local address")
        return
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as listener:
                # As the service does: a port in TIME_WAIT is free.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and running is not None:
                yield ok("port", f"{where} is taken, most likely by {running}")
                return
            yield problem(
                "port",
                f"{where} cannot be used: {error.strerror}",
                "stop what listens there (ss -ltnp), or set host and port",
            )
            return
    yield ok("port", f"{where} is free")


def check_versions() -> Iterator[Finding]:
    """Tell what is installed; a dependency that is missing is a problem."""
    names = [
        found[0]
        for requirement in metadata.requires("penstock") or ()
        if "extra ==" not in requirement and (found := _NAME.match(requirement))
    ]
    versions, missing = [], []
    for name in names:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield ok("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    if missing:
        yield problem(
            "dependencies", f"not installed: {', '.join(missing)}", "install penstock again by pip"
        )
    else:
        yield ok("dependencies", ", ".join(versions))


def _newest_change(data_dir: Path) -> float | None:
    changes: list[float] = []
    for folder in (data_dir, data_dir / "spool"):
        try:
            with os.scandir(folder) as entries:
                changes += [entry.stat().st_mtime for entry in islice(entries, _FILES_LOOKED_AT)]
        except OSError:
            # A folder that cannot be read has a finding of its own.
            continue
    return max(changes, default=None)


def _instant(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
