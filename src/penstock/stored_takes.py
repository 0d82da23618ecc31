"""Where `penstock tune` finds sessions that were kept: spool files, replay blobs, recordings."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from penstock.bench.tune.takes import RecordingSource, Source, Take, TakeError
from penstock.errors import StartupError
from penstock.storage.replay import ReplayError, read_replay
from penstock.storage.spool import SUFFIX

_RECORDING = ".npz"


@dataclass(slots=True, frozen=True)
class StoredSource:
    """A session's spool file or replay blob."""

    path: Path
    session: str

    @property
    def name(self) -> str:
        """Give the session's id."""
        return self.session

    @property
    def told(self) -> None:
        """Give none: a result outlives the erasure of a person, so no id may be in it."""
        return

    def read(self, longest_seconds: float) -> Take:  # noqa: ARG002  files are read whole
        """Read what was measured in each frame; what is damaged is passed over."""
        try:
            report = read_replay(self.path, traces=True)
        except ReplayError as error:
            why = str(error).removeprefix(f"{self.path}: ")
            raise TakeError(f"a kept session: {why}") from None
        if not report.traces:
            raise TakeError("a kept session: its file holds no frame")
        folded = report.motion.folded
        return Take(
            np.concatenate([np.array(one.timestamps_ms, np.int64) for one in report.traces]),
            np.concatenate([one.values for one in report.traces]),
            tuple(size for one in report.traces for size in one.sizes),
            folded.world,
            folded.exercise,
        )


def kept_sources(places: Iterable[Path]) -> list[Source]:
    """Find what folders hold, and the files that are named; each session once, by name.

    StartupError names a place that is not there or cannot be read.
    """
    found: dict[str, Source] = {}
    for place in places:
        if not place.exists():
            raise StartupError(f"--recordings: {place} does not exist")
        for path in _files(place):
            source = _source(path)
            if source is None:
                if path == place:
                    raise StartupError(
                        f"--recordings: {path} is neither *{SUFFIX} (a spool file or a replay "
                        f"blob) nor *{_RECORDING} (a motion recording)"
                    )
                continue
            found.setdefault(source.name, source)
    return list(found.values())


def sampled(sources: Sequence[Source], most: int, seed: int) -> list[Source]:
    """Give at most so many of them, chosen by the seed, in their order."""
    if len(sources) <= most:
        return list(sources)
    chance = random.Random(f"{seed} sources")  # noqa: S311  it is to be repeatable
    return [sources[at] for at in sorted(chance.sample(range(len(sources)), most))]


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    try:
        return sorted(path for path in place.rglob("*") if path.is_file())
    except OSError as error:
        raise StartupError(f"--recordings: {place}: {error.strerror}") from None


def _source(path: Path) -> Source | None:
    if path.name.endswith(SUFFIX):
        return StoredSource(path, path.name.removesuffix(SUFFIX))
    return RecordingSource(path) if path.suffix == _RECORDING else None
