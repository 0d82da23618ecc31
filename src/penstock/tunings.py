"""The tunings that a data folder holds, for whoever shows them.

A folder that cannot be read as a tuning is told of and never in the way of the others: somebody may
have removed a part of it, or another version may have written it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from penstock.bench.tune.page import PLOT
from penstock.bench.tune.report import read_result
from penstock.bench.tune.result import Bounds, Choice, TuningResult
from penstock.bench.tune.state import RESULT, STATE

TUNINGS = "tunings"
# A name is a part of an address; and what a person names so cannot lead out of the folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Some hundred policies at a dozen loads; more was not written by a tuning.
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(slots=True, frozen=True)
class Tuning:
    """One tuning in a list. Where `problem` is given, nothing else is known but the name."""

    name: str
    made_at: str | None = None
    sessions: int = 0
    policies: int = 0
    loads: tuple[float, ...] = ()
    bounds: Bounds | None = None
    choice: Choice | None = None
    unfinished: bool = False
    problem: str | None = None


class TuningMissingError(Exception):
    """No tuning has this name, or it cannot be read. The message says which in one line."""


def list_tunings(folder: Path) -> list[Tuning]:
    """Give the tunings of a data folder, the newest first; those that cannot be read come last."""
    try:
        places = [one for one in (folder / TUNINGS).iterdir() if one.is_dir()]
    except OSError:
        return []
    found = [_summary(place) for place in places if _NAME.fullmatch(place.name)]
    found.sort(key=lambda one: one.name)
    return sorted(found, key=lambda one: one.made_at or "", reverse=True)


def read_tuning(folder: Path, name: str) -> TuningResult:
    """Give a tuning's whole result, or raise TuningMissingError."""
    place = _place(folder, name)
    try:
        if (place / RESULT).stat().st_size > _MOST_BYTES:
            raise TuningMissingError(f"{name}: its result is larger than {_MOST_BYTES} bytes")
        return read_result(place / RESULT)
    except FileNotFoundError:
        raise TuningMissingError(f"{name}: there is no such tuning") from None
    except (OSError, ValueError) as error:
        raise TuningMissingError(f"{name}: {error}") from None


def read_plot(folder: Path, name: str) -> bytes:
    """Give a tuning's plot, a PNG, or raise TuningMissingError."""
    try:
        return (_place(folder, name) / PLOT).read_bytes()
    except OSError:
        raise TuningMissingError(f"{name}: it has no plot") from None


def _place(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise TuningMissingError("there is no tuning of such a name")
    return folder / TUNINGS / name


def _summary(place: Path) -> Tuning:
    unfinished = (place / STATE).exists()
    try:
        result = read_tuning(place.parent.parent, place.name)
    except TuningMissingError as error:
        problem = "it has not come to its end" if unfinished else str(error)
        return Tuning(place.name, unfinished=unfinished, problem=problem)
    return Tuning(
        name=place.name,
        made_at=result.made_at,
        sessions=len(result.sessions),
        policies=len(result.policies),
        loads=tuple(result.tried.loads),
        bounds=result.bounds,
        choice=result.choice,
    )
