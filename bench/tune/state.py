"""What a tuning has worked out so far, on disk, so that a stopped one goes on where it was.

::

    state/plan.json    the digest of what is tried; locked while somebody works on it
    state/fates.npy    runs x batches of all sessions: what became of each
    state/service.npy  runs x (mean wait, mean stress)
    state/errors.npy   sessions x runs x columns
    state/modelled.npy, state/measured.npy    which rows of these are there

A row is written before it is marked, so what is marked is whole whenever the process ends. All of
it are counts and errors: no angle of anybody, and no landmark.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from penstock.bench.errors import BenchError
from penstock.bench.tune.fates import Codes
from penstock.bench.tune.figures import COLUMNS, Errors

STATE = "state"
RESULT = "result.json"
_PLAN = "plan.json"


class StateError(BenchError):
    """The folder cannot be used for this tuning. One line, for the operator."""


class State:
    """The arrays. Rows are written once."""

    def __init__(self, folder: Path, runs: int, sessions: int, batches: int) -> None:
        shapes = {
            "fates": ((runs, batches), np.uint8),
            "service": ((runs, 2), np.float64),
            "errors": ((sessions, runs, COLUMNS), np.float64),
            "modelled": ((runs,), np.uint8),
            "measured": ((sessions,), np.uint8),
        }
        self._arrays: dict[str, Any] = {}
        for name, (shape, kind) in shapes.items():
            path = folder / f"{name}.npy"
            mode: Any = "r+" if path.exists() else "w+"
            array: Any = np.lib.format.open_memmap(path, mode, dtype=kind, shape=shape)
            if array.shape != shape or array.dtype != kind:
                raise StateError(f"{path}: it is of another tuning; remove {folder}")
            self._arrays[name] = array

    @classmethod
    @contextmanager
    def opened(
        cls, output: Path, digest: str, *, runs: int, sessions: int, batches: int
    ) -> Iterator[Self]:
        """Open a folder's state around the block, or begin it; StateError when it is another's."""
        folder = output / STATE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            plan = (folder / _PLAN).open("a+", encoding="utf-8")
        except OSError as error:
            raise StateError(f"{output} cannot be written: {error.strerror}") from None
        with plan:
            try:
                fcntl.flock(plan, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(f"{output}: another tuning is at work there") from None
            plan.seek(0)
            if not (text := plan.read()):
                plan.write(json.dumps({"digest": digest}) + "\n")
                plan.flush()
            elif _digest(text) != digest:
                raise StateError(
                    f"{output} has a stopped tuning of something else (other sessions, knobs, "
                    f"loads or seeds); give another --output, or remove {folder}"
                )
            yield cls(folder, runs, sessions, batches)

    def unmodelled(self) -> list[int]:
        """Name the runs that are still to be modelled."""
        return np.flatnonzero(self._arrays["modelled"] == 0).tolist()

    def unmeasured(self) -> list[int]:
        """Name the sessions that are still to be measured."""
        return np.flatnonzero(self._arrays["measured"] == 0).tolist()

    def put_run(self, run: int, codes: Codes, wait_seconds: float, stress: float) -> None:
        """Keep one run."""
        self._arrays["fates"][run] = codes
        self._arrays["service"][run] = wait_seconds, stress
        self._mark("modelled", run, "fates", "service")

    def put_session(self, session: int, rows: Errors) -> None:
        """Keep one session's errors in all runs."""
        self._arrays["errors"][session] = rows
        self._mark("measured", session, "errors")

    def fates(self, first: int, size: int) -> Codes:
        """Give what became of one session's batches, a row a run."""
        return np.array(self._arrays["fates"][:, first : first + size])

    @property
    def service(self) -> Errors:
        """Give runs x (mean wait, mean stress)."""
        return np.array(self._arrays["service"])

    @property
    def errors(self) -> Errors:
        """Give sessions x runs x columns, as the file has them: only what is looked at is read."""
        found: Errors = self._arrays["errors"]
        return found

    def _mark(self, name: str, row: int, *written: str) -> None:
        for array in written:
            self._arrays[array].flush()
        self._arrays[name][row] = 1


def forget(output: Path) -> None:
    """Remove the state of a tuning that is done."""
    shutil.rmtree(output / STATE, ignore_errors=True)


def _digest(text: str) -> object:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get("digest") if isinstance(found, dict) else None
