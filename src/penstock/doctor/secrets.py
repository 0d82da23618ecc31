"""Are the secrets there, apart from each other, and in a state in which the service starts."""

import stat
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from penstock.dev import DEV_SECRET_NAMES, DEV_SECRETS_FILE, is_loopback, read_dev_secrets
from penstock.doctor.finding import Finding, Machine, ok, problem, warning
from penstock.errors import StartupError
from penstock.rotation import RECORD_FILE, next_record, read_record
from penstock.settings import SECRET_NAMES, Settings, missing_secrets, secret_bytes

_MAKE = "make one by `openssl rand -hex 32`"


def check_secrets(settings: Settings, machine: Machine, *, dev: bool) -> Iterator[Finding]:
    """Look at every secret in force. Lengths were checked when the settings were loaded."""
    in_force = {
        name: secret_bytes(secret)
        for name in SECRET_NAMES
        # These sign nothing, and have no length.
        if name not in {"database_url", "maxmind_license_key"}
        if (secret := getattr(settings, name)) is not None
    }
    missing = missing_secrets(settings, DEV_SECRET_NAMES if dev else None)
    if not missing:
        yield ok("secrets", f"{len(in_force)} are set and long enough")
    elif dev:
        yield ok("secrets", f"{', '.join(missing)}: made at the first start with --dev")
    else:
        names = ", ".join(f"PENSTOCK_{name.upper()}" for name in missing)
        yield problem(
            "secrets",
            f"not set: {', '.join(missing)}",
            f"set {names} (or …_FILE), {_MAKE} each; for trying out use --dev",
        )
    alike = [
        f"{one} and {other}"
        for one, other in combinations(in_force, 2)
        if in_force[one] == in_force[other]
    ]
    if alike:
        yield problem(
            "distinct secrets",
            f"the same: {'; '.join(alike)}",
            f"give each its own, or a token of one kind can pass for another; {_MAKE}",
        )
    elif len(in_force) > 1:
        yield ok("distinct secrets", "no two are the same")
    if not dev:
        yield from _rotation(settings, machine)
    yield from _dev_file(settings, in_force)


def _rotation(settings: Settings, machine: Machine) -> Iterator[Finding]:
    current, previous = settings.session_secret, settings.session_secret_previous
    if current is None:
        return
    path = settings.data_dir / RECORD_FILE
    try:
        recorded = read_record(settings.data_dir)
        following = next_record(
            recorded,
            current=secret_bytes(current),
            previous=None if previous is None else secret_bytes(previous),
            overlap_seconds=settings.session_secret_overlap_seconds,
            now_unix=machine.unix(),
            path=path,
        )
    except StartupError as error:
        yield problem("rotation", str(error), "the service would refuse to start as it is now")
        return
    if recorded is None:
        yield ok("rotation", "no session secret has been recorded in this data folder yet")
    elif following.current != recorded.current:
        yield ok("rotation", "the next start rotates the session secret, and may")
    else:
        yield ok("rotation", "the session secret is the recorded one")


def _dev_file(settings: Settings, in_force: dict[str, bytes]) -> Iterator[Finding]:
    path = settings.data_dir / DEV_SECRETS_FILE
    try:
        held = read_dev_secrets(settings.data_dir)
    except StartupError as error:
        yield problem("dev secrets", str(error), f"rm {path}")
        return
    if not held:
        yield ok("dev secrets", "none in this data folder")
        return
    used = {secret.encode() for secret in held.values()} & set(in_force.values())
    if used and not is_loopback(settings.host):
        yield problem(
            "dev secrets",
            f"secrets of {path} are in force, and others can reach host {settings.host}",
            f"set secrets of your own ({_MAKE} each) and remove that file",
        )
    elif _readable_by_others(path):
        yield problem("dev secrets", f"other users can read {path}", f"chmod 600 {path}")
    elif not is_loopback(settings.host):
        yield warning(
            "dev secrets",
            f"{path} is left from trying out; nothing uses it",
            f"rm {path}",
        )
    else:
        yield ok("dev secrets", f"kept in {path}")


def _readable_by_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
