"""What earlier and running processes left: the lock, the spool, and the grants file."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.doctor.finding import Finding, Machine, ok, problem, warning
from penstock.settings import Settings


@dataclass(slots=True, frozen=True)
class Holder:
    """The running service that holds a data folder. `pid` is None when it has not said."""

    pid: int | None

    def __str__(self) -> str:
        return "the running service" + ("" if self.pid is None else f", process {self.pid}")


def lock_holder(data_dir: Path) -> Holder | None:
    """Say which process holds the data folder's lock; None when nobody does."""
    from penstock.storage.lock import LOCK_NAME  # noqa: PLC0415

    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, and for an instant: two doctors do not see each other as a service.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).strip()
        return Holder(int(text) if text.isdigit() else None)
    finally:
        os.close(descriptor)
    return None


def check_spool(data_dir: Path, running: Holder | None) -> Iterator[Finding]:
    """Tell who runs here and which frames wait in files."""
    from penstock.storage.repair import DAMAGED  # noqa: PLC0415
    from penstock.storage.spool import SUFFIX  # noqa: PLC0415

    yield ok("lock", "no service runs in this data folder" if running is None else f"{running}")
    spool = data_dir / "spool"
    try:
        count, size = _count(spool, SUFFIX)
        damaged, damaged_size = _count(spool / DAMAGED, "")
    except OSError as error:
        yield problem(
            "spool",
            f"{error.filename} cannot be read: {error.strerror}",
            f"give {spool} and all in it to the user that runs the service",
        )
        return
    whose = "left behind; each is taken up by its session's next batch"
    if running is not None:
        whose = "of live sessions or left behind"
    yield ok("spool", f"{count} files, {size} bytes, {whose}" if count else "empty")
    if damaged:
        yield warning(
            "damaged spool files",
            f"{damaged} files, {damaged_size} bytes in {spool / DAMAGED}: ends cut off in recovery",
            "find out why (disk errors?), then keep or remove them; nothing reads them again",
        )


def check_grants(settings: Settings, machine: Machine, *, dev: bool) -> Iterator[Finding]:
    """Say where consents come from; read the grants file as the service would."""
    from penstock.storage.grants import FileGrants, GrantsFileError  # noqa: PLC0415

    if settings.grants_file is None:
        core = "the embedded Core" if settings.core_api_url is None else settings.core_api_url
        silence = "everything" if dev else "nothing"
        yield ok("grants", f"those of {core}; who was never asked consents to {silence}")
        return
    try:
        FileGrants(settings.grants_file, _Clock(machine))
    except GrantsFileError as error:
        yield problem("grants", str(error), "mend the file; the service refuses to start with it")
    else:
        yield ok("grants", f"{settings.grants_file} is valid")


@dataclass(slots=True, frozen=True)
class _Clock:
    """The machine's clocks as the engine's port names them."""

    machine: Machine

    def monotonic(self) -> float:
        return self.machine.monotonic()

    def unix(self) -> float:
        return self.machine.unix()


def _count(folder: Path, suffix: str) -> tuple[int, int]:
    count = size = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False):
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        pass
    return count, size
