"""Can the data folder be made, written, and kept from others; and does its disk have room."""

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from penstock.doctor.finding import Finding, Machine, ok, problem, warning

MIB = 1 << 20
LITTLE_ROOM_BYTES = 2048 * MIB
NO_ROOM_BYTES = 200 * MIB
NO_INODES = 1000

_FREE_ADVICE = "free space on that disk, or set data_dir to a folder on another one"


def check_folder(data_dir: Path, machine: Machine, *, sessions: int) -> Iterator[Finding]:
    """Look at the folder, its rights, a synced write, and the disk's room for `sessions` files."""
    try:
        status = data_dir.stat()
    except FileNotFoundError:
        status = None
    except OSError as error:
        yield problem(
            "data folder",
            f"{data_dir} cannot be looked at: {error.strerror}",
            "set data_dir to a folder of the user that runs the service",
        )
        return
    if status is None:
        parent = _nearest_existing(data_dir)
        if not os.access(parent, os.W_OK | os.X_OK):
            yield problem(
                "data folder",
                f"{data_dir} does not exist, and this user may not make it in {parent}",
                f"make it and give it to this user, or set data_dir (user {machine.user()})",
            )
            return
        yield ok("data folder", f"{data_dir} does not exist yet; the service will make it")
        yield from _room(parent, machine, sessions)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield problem("data folder", f"{data_dir} is not a folder", "set data_dir to a folder")
        return
    yield _rights(data_dir, status, machine)
    yield _write(data_dir)
    yield from _room(data_dir, machine, sessions)


def _nearest_existing(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())


def _rights(data_dir: Path, status: os.stat_result, machine: Machine) -> Finding:
    mode = stat.S_IMODE(status.st_mode)
    seen = f"{data_dir} has mode {mode:04o}"
    advice = f"chmod 700 {data_dir}"
    if status.st_uid != machine.user():
        return problem(
            "data folder",
            f"{data_dir} belongs to user {status.st_uid}; this is user {machine.user()}",
            "run as the folder's user, or give the folder to this one (chown -R)",
        )
    if mode & 0o007:
        return problem("data folder", f"{seen}: every user of this machine gets in", advice)
    if mode & 0o070:
        return warning("data folder", f"{seen}: its group gets in", advice)
    return ok("data folder", seen)


def _write(data_dir: Path) -> Finding:
    path = data_dir / f".doctor.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, b"probe\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink()
    except OSError as error:
        return problem(
            "write and sync",
            f"a file in {data_dir} cannot be written: {error.strerror}",
            "look at the folder's rights, quota and mount options (read-only?)",
        )
    return ok("write and sync", "a probe file was written, synced and removed")


def _room(folder: Path, machine: Machine, sessions: int) -> Iterator[Finding]:
    try:
        room = machine.room(folder)
    except OSError as error:
        yield problem("disk room", f"cannot be told: {error.strerror}", "look at the mount")
        return
    seen = f"{room.bytes // MIB} MiB are free"
    if room.bytes < NO_ROOM_BYTES:
        yield problem("disk room", f"{seen}; {NO_ROOM_BYTES // MIB} are needed", _FREE_ADVICE)
    elif room.bytes < LITTLE_ROOM_BYTES:
        yield warning("disk room", f"{seen}; {LITTLE_ROOM_BYTES // MIB} are good", _FREE_ADVICE)
    else:
        yield ok("disk room", seen)
    if room.inodes is None:
        yield ok("inodes", "made on demand by this file system")
    elif room.inodes < NO_INODES:
        yield problem("inodes", f"{room.inodes} are free; {NO_INODES} are needed", _FREE_ADVICE)
    elif room.inodes < sessions:
        yield warning(
            "inodes",
            f"{room.inodes} are free; max_live_sessions is {sessions}, each with a file",
            _FREE_ADVICE,
        )
    else:
        yield ok("inodes", f"{room.inodes} are free")
