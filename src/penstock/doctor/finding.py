"""A finding, and the machine as the checks see it."""

import math
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """How bad it is. Only a problem makes the doctor's exit code 1."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(slots=True, frozen=True)
class Finding:
    """What a check saw, and, unless all is well, what to do about it."""

    check: str
    state: State
    seen: str
    advice: str = ""


def ok(check: str, seen: str) -> Finding:
    """Tell that all is well."""
    return Finding(check, State.OK, seen)


def warning(check: str, seen: str, advice: str) -> Finding:
    """Tell what works but not as well as it should."""
    return Finding(check, State.WARNING, seen, advice)


def problem(check: str, seen: str, advice: str) -> Finding:
    """Tell what does not work, or must not stay so."""
    return Finding(check, State.PROBLEM, seen, advice)


@dataclass(slots=True, frozen=True)
class Room:
    """What a disk has left for this user. `inodes` is None where the file system makes them."""

    bytes: int
    inodes: int | None


def _room(path: Path) -> Room:
    status = os.statvfs(path)
    return Room(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None)


def _open_file_limit() -> tuple[float, float]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _number(soft), _number(hard)


def _number(limit: int) -> float:
    return math.inf if limit == resource.RLIM_INFINITY else limit


@dataclass(slots=True, frozen=True)
class Machine:
    """What the checks ask the operating system. A test gives other answers."""

    unix: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    user: Callable[[], int] = os.geteuid
    room: Callable[[Path], Room] = _room
    open_file_limit: Callable[[], tuple[float, float]] = _open_file_limit
