"""The tunings that a data folder holds, for whoever shows them.

A folder that cannot be read as a tuning is told of and never in the way of the others: somebody may
have removed a part of it, or another version may have written it. Names may come from anywhere, and
the folder may hold anything: no name and no link below the folder of the tunings leads out of it,
and no file is read beyond its bound.
"""

import fcntl
import io
import os
import re
import stat
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from penstock.bench.tune.page import PLOT
from penstock.bench.tune.report import parse_result
from penstock.bench.tune.result import Bounds, Choice, Point, TuningResult
from penstock.bench.tune.state import PLAN, RESULT, STATE

TUNINGS = "tunings"
MOST_LISTED = 200
# A name is a part of an address; and what a person names so cannot lead out of the folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# 500 policies at a dozen loads, the most that a tuning takes, are 8 MB.
_MOST_BYTES = 16 * 1024 * 1024
_MOST_PLOT_BYTES = 4 * 1024 * 1024
# What is marked as worked out: a byte for each run or session.
_MOST_MARK_BYTES = 1024 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW

Stamp = tuple[int, int, int]


@dataclass(slots=True, frozen=True)
class Step:
    """How far an unfinished tuning has come in one of its two steps."""

    name: str
    done: int
    total: int


@dataclass(slots=True, frozen=True)
class Tuning:
    """One tuning in a list. Where `problem` is given, nothing else is known but the name.

    Of an unfinished one its `steps` are known, and whether somebody works on it now.
    """

    name: str
    made_at: str | None = None
    sessions: int = 0
    policies: int = 0
    loads: tuple[float, ...] = ()
    bounds: Bounds | None = None
    choice: Choice | None = None
    chosen: Point | None = None
    unfinished: bool = False
    under_way: bool = False
    steps: tuple[Step, ...] = ()
    problem: str | None = None


class TuningMissingError(Exception):
    """No tuning has this name, or it cannot be read. The message says which in one line."""


def list_tunings(
    folder: Path, known: MutableMapping[str, tuple[Stamp, Tuning]] | None = None
) -> list[Tuning]:
    """Give the tunings of a data folder, the newest first; those that cannot be read come last.

    At most MOST_LISTED, those that were changed last. A result that is `known` and has not changed
    since is not read again.
    """
    known = {} if known is None else known
    names = [name for name in _names(folder) if _NAME.fullmatch(name)]
    found = [_summary(folder, name, known) for name in names[:MOST_LISTED]]
    for name in known.keys() - set(names):
        del known[name]
    found.sort(key=lambda one: one.name)
    return sorted(found, key=lambda one: one.made_at or "", reverse=True)


def read_tuning(folder: Path, name: str) -> TuningResult:
    """Give a tuning's whole result, or raise TuningMissingError."""
    try:
        return parse_result(_read(folder, name, _MOST_BYTES, RESULT))
    except FileNotFoundError:
        raise TuningMissingError(f"{name}: there is no such tuning") from None
    except OSError as error:
        raise TuningMissingError(f"{name}: it cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise TuningMissingError(f"{name}: {error}") from None


def read_plot(folder: Path, name: str) -> bytes:
    """Give a tuning's plot, a PNG, or raise TuningMissingError."""
    try:
        plot = _read(folder, name, _MOST_PLOT_BYTES, PLOT)
    except OSError:
        raise TuningMissingError(f"{name}: it has no plot") from None
    if not plot.startswith(_PNG):
        raise TuningMissingError(f"{name}: its plot is no PNG")
    return plot


def stamp_of(folder: Path, name: str) -> Stamp | None:
    """Give what changes when a tuning's result does; None where it has none."""
    try:
        with _opened(folder, name, RESULT) as descriptor:
            about = os.fstat(descriptor)
    except (TuningMissingError, OSError):
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def _names(folder: Path) -> list[str]:
    """Name the folders, and links that look like them, the last changed first."""
    try:
        with os.scandir(folder / TUNINGS) as entries:
            found = [
                (one.stat(follow_symlinks=False).st_mtime_ns, one.name)
                for one in entries
                if one.is_dir(follow_symlinks=False) or one.is_symlink()
            ]
    except OSError:
        return []
    return [name for _, name in sorted(found, reverse=True)]


def _summary(folder: Path, name: str, known: MutableMapping[str, tuple[Stamp, Tuning]]) -> Tuning:
    stamp = stamp_of(folder, name)
    if stamp is None:
        known.pop(name, None)
        return _unread(folder, name)
    if name not in known or known[name][0] != stamp:
        known[name] = stamp, _told(folder, name)
    return known[name][1]


def _told(folder: Path, name: str) -> Tuning:
    try:
        result = read_tuning(folder, name)
    except TuningMissingError as error:
        return Tuning(name, problem=str(error))
    choice = result.choice
    return Tuning(
        name=name,
        made_at=result.made_at,
        sessions=len(result.sessions),
        policies=len(result.policies),
        loads=tuple(result.tried.loads),
        bounds=result.bounds,
        choice=choice,
        chosen=None if choice is None else result.point(choice.policy, choice.load),
    )


def _unread(folder: Path, name: str) -> Tuning:
    """Say what a folder without a result is."""
    try:
        with _opened(folder, name, STATE):
            pass
    except (TuningMissingError, OSError):
        try:
            read_tuning(folder, name)
        except TuningMissingError as error:
            return Tuning(name, problem=str(error))
    return Tuning(
        name,
        unfinished=True,
        under_way=_under_way(folder, name),
        steps=tuple(_steps(folder, name)),
        problem="it has not come to its end",
    )


def _under_way(folder: Path, name: str) -> bool:
    try:
        with _opened(folder, name, STATE, PLAN) as descriptor:
            # Shared, and for an instant: two who look do not see each other as a tuning.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (TuningMissingError, OSError):
        pass
    return False


def _steps(folder: Path, name: str) -> Iterator[Step]:
    for step, file in (("runs modelled", "modelled"), ("sessions measured", "measured")):
        try:
            data = _read(folder, name, _MOST_MARK_BYTES, STATE, f"{file}.npy")
            marks = np.load(io.BytesIO(data), allow_pickle=False)
            yield Step(step, int(np.count_nonzero(marks)), int(marks.size))
        except (TuningMissingError, OSError, ValueError, EOFError):
            return


def _read(folder: Path, name: str, most: int, *path: str) -> bytes:
    """Read a file of a tuning, of at most so many bytes."""
    with _opened(folder, name, *path) as descriptor, open(descriptor, "rb", closefd=False) as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise TuningMissingError(f"{name}: {path[-1]} is no file")
        data = file.read(most + 1)
        if len(data) > most:
            raise TuningMissingError(f"{name}: {path[-1]} is larger than {most} bytes")
        return data


@contextmanager
def _opened(folder: Path, name: str, *path: str) -> Iterator[int]:
    """Open what lies below a tuning's folder, step by step, and follow no link on the way."""
    if not _NAME.fullmatch(name):
        raise TuningMissingError("there is no tuning of such a name")
    # Without waiting: a pipe that lies there would have its reader wait for a writer.
    descriptor = os.open(folder / TUNINGS / name, _FLAGS | os.O_DIRECTORY)
    try:
        for step in path:
            below = os.open(step, _FLAGS | os.O_NONBLOCK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)
