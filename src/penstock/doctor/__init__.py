"""What could keep the service from running well on this machine, and what to do about it.

Checks only look: nothing is created but one probe file, which is removed. Each check stands alone,
so that the one thing that is broken does not hide the others.
"""

from collections.abc import Iterator

from penstock.doctor.database import check_database
from penstock.doctor.finding import Finding, Machine, State
from penstock.doctor.folder import check_folder
from penstock.doctor.machine import check_clock, check_open_files, check_port, check_versions
from penstock.doctor.outbox import check_outbox
from penstock.doctor.secrets import check_secrets
from penstock.doctor.stores import check_grants, check_spool, lock_holder
from penstock.settings import Settings

__all__ = ["Finding", "Machine", "State", "examine"]


def examine(settings: Settings, machine: Machine, *, dev: bool) -> Iterator[Finding]:
    """Run every check, in the order in which a start would meet what they look at."""
    running = lock_holder(settings.data_dir)
    yield from check_folder(settings.data_dir, machine, sessions=settings.max_live_sessions)
    yield from check_open_files(settings, machine)
    yield from check_clock(settings.data_dir, machine)
    yield from check_secrets(settings, machine, dev=dev)
    yield from check_database(settings)
    yield from check_outbox(settings, machine)
    yield from check_spool(settings.data_dir, running)
    yield from check_grants(settings, machine, dev=dev)
    yield from check_port(settings, running)
    yield from check_versions()
