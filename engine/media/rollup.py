"""What the statistics are made of, so that none of them scans events or sessions.

A session has one *standing*: the few whole numbers of it that statistics add up. It is counted in
the hour in which its first event was received, in nine *cells*: one for each dimension (with the
session's value of it), once among all media and, but for the status, once among its own medium's. A
cell is a row of sums, and in the dimension `status` the sketches of quantiles as well.

When a session's figures change, its old standing is taken out of its cells and the new one put in
(`changes`). All are whole numbers, so nothing is left over, and a cell is the same as if every
session had been counted once, at its last.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self

from penstock.engine.media.metrics import MediaMetrics, MediaStatus
from penstock.engine.media.sketch import Sketch, bucket_of

ROLLUP_VERSION = 1
HOUR_SECONDS = 3600
ALL_MEDIA = ""
UNKNOWN = "unknown"
# As long as any country's, device's or browser's name is.
LONGEST_VALUE = 64


class Dimension(StrEnum):
    """What sessions are told apart by."""

    COUNTRY_CODE = "country_code"
    DEVICE_TYPE = "device_type"
    CONNECTION_TYPE = "connection_type"
    BROWSER_FAMILY = "browser_family"
    STATUS = "status"


class Measure(StrEnum):
    """What is averaged over sessions: each as a sum and the number of sessions that have it."""

    TTFB_MS = "ttfb_ms"
    LOAD_TIME_MS = "load_time_ms"
    BUFFERING_COUNT = "buffering_count"
    BUFFERING_DURATION_MS = "buffering_duration_ms"
    BITRATE_BPS = "bitrate_bps"
    WATCH_TIME_MS = "watch_time_ms"
    COMPLETION_BASIS_POINTS = "completion_basis_points"


SKETCHED = (Measure.TTFB_MS, Measure.LOAD_TIME_MS, Measure.BUFFERING_DURATION_MS)
# The sums of a cell, in order; a ledger may have a column for each.
COLUMNS = (
    "sessions",
    *(status.value for status in MediaStatus),
    "errored",
    *(f"{measure}_{part}" for measure in Measure for part in ("count", "sum")),
)


class Surroundings(NamedTuple):
    """Where a session was watched, as far as the request told; None where nobody may know."""

    country_code: str | None = None
    device_type: str | None = None
    browser_family: str | None = None


NOWHERE = Surroundings()


@dataclass(slots=True, frozen=True)
class Standing:
    """What a session counts for in the statistics."""

    session_id: str
    media_id: str
    hour_unix: int
    status: MediaStatus
    errored: bool
    country_code: str
    device_type: str
    connection_type: str
    browser_family: str
    ttfb_ms: int | None
    load_time_ms: int | None
    buffering_count: int | None
    buffering_duration_ms: int | None
    bitrate_bps: int | None
    watch_time_ms: int
    completion_basis_points: int | None

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return {"v": ROLLUP_VERSION, **{name: getattr(self, name) for name in _STANDING}}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises KeyError or ValueError."""
        if plain["v"] != ROLLUP_VERSION:
            raise ValueError(f"standing version {plain['v']}, not {ROLLUP_VERSION}")
        values: dict[str, Any] = {name: plain[name] for name in _STANDING}
        values["status"] = MediaStatus(values["status"])
        return cls(**values)


_STANDING = tuple(Standing.__dataclass_fields__)


class CellKey(NamedTuple):
    """Which cell: an hour, a dimension, a value of it, and one medium or all of them."""

    hour_unix: int
    dimension: Dimension
    value: str
    media_id: str = ALL_MEDIA


@dataclass(slots=True, eq=True)
class Cell:
    """The sums of some sessions. `sketches` are there in the dimension `status` only."""

    sums: list[int] = field(default_factory=lambda: [0] * len(COLUMNS))
    sketches: dict[Measure, Sketch] = field(default_factory=dict)

    def add(self, standing: Standing, *, sketched: bool) -> None:
        """Count a session."""
        self._change(standing, 1)
        for measure, value in _measured(standing, SKETCHED if sketched else ()):
            self.sketches.setdefault(measure, Sketch()).add(value)

    def remove(self, standing: Standing, *, sketched: bool) -> None:
        """Take out a session that was counted so; one that was not raises ValueError."""
        if not self.sums[0]:
            raise ValueError("the cell holds no session")
        for measure, value in _measured(standing, SKETCHED if sketched else ()):
            self.sketches.get(measure, Sketch()).remove(value)
        self._change(standing, -1)

    def merge(self, other: "Cell") -> None:
        """Count all that another cell has counted."""
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        for measure, sketch in other.sketches.items():
            self.sketches.setdefault(measure, Sketch()).merge(sketch)

    def of(self, column: str) -> int:
        """Give one of the sums by its column's name."""
        return self.sums[_INDEX[column]]

    def mean(self, measure: Measure) -> float | None:
        """Give a measure's mean over the sessions that have it; None if none has."""
        count = self.of(f"{measure}_count")
        return self.of(f"{measure}_sum") / count if count else None

    def _change(self, standing: Standing, by: int) -> None:
        for column, amount in columns_of(standing):
            self.sums[_INDEX[column]] += by * amount

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        sketches = {measure.value: sketch.plain() for measure, sketch in self.sketches.items()}
        return {"v": ROLLUP_VERSION, "sums": list(self.sums), "sketches": sketches}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises KeyError, TypeError or ValueError."""
        if plain["v"] != ROLLUP_VERSION or len(plain["sums"]) != len(COLUMNS):
            raise ValueError(f"this is no cell of version {ROLLUP_VERSION}")
        sketches = {Measure(name): Sketch.from_plain(s) for name, s in plain["sketches"].items()}
        return cls(list(plain["sums"]), sketches)


_INDEX = {column: index for index, column in enumerate(COLUMNS)}


class Change(NamedTuple):
    """What one session's standing does to one cell: `removed` goes out and `added` comes in."""

    key: CellKey
    removed: Standing | None
    added: Standing | None

    @property
    def sketched(self) -> bool:
        """Say whether the cell has sketches."""
        return self.key.dimension is Dimension.STATUS

    def columns(self) -> dict[str, int]:
        """Give by how much each sum changes; those that do not change are left out."""
        by: dict[str, int] = {}
        for sign, standing in ((-1, self.removed), (1, self.added)):
            for column, amount in () if standing is None else columns_of(standing):
                by[column] = by.get(column, 0) + sign * amount
        return {column: amount for column, amount in by.items() if amount}

    def buckets(self) -> dict[tuple[Measure, int], int]:
        """Give by how much each bucket of the sketches changes, likewise."""
        by: dict[tuple[Measure, int], int] = {}
        for sign, standing in ((-1, self.removed), (1, self.added)):
            if standing is not None and self.sketched:
                for measure, value in _measured(standing, SKETCHED):
                    place = (measure, bucket_of(value))
                    by[place] = by.get(place, 0) + sign
        return {place: amount for place, amount in by.items() if amount}

    def apply(self, cell: Cell) -> None:
        """Make the change to a cell."""
        if self.removed is not None:
            cell.remove(self.removed, sketched=self.sketched)
        if self.added is not None:
            cell.add(self.added, sketched=self.sketched)


def standing_of(metrics: MediaMetrics, surroundings: Surroundings) -> Standing:
    """Say what a session counts for. Buffering is known of those only that began to play."""
    seconds = metrics.first_received_unix_ms // 1000
    played = metrics.exited_before_start is False
    percent = metrics.completion_percent
    return Standing(
        session_id=metrics.session_id,
        media_id=metrics.media_id,
        hour_unix=seconds - seconds % HOUR_SECONDS,
        status=metrics.status,
        errored=metrics.errored,
        country_code=_value(surroundings.country_code),
        device_type=_value(surroundings.device_type),
        connection_type=_value(metrics.connection_type),
        browser_family=_value(surroundings.browser_family),
        ttfb_ms=_whole(metrics.ttfb_ms),
        load_time_ms=_whole(metrics.load_time_ms),
        buffering_count=metrics.rebuffer_count if played else None,
        buffering_duration_ms=metrics.rebuffer_duration_ms if played else None,
        bitrate_bps=_whole(metrics.time_weighted_bitrate_bps),
        watch_time_ms=round(metrics.watch_time_seconds * 1000),
        completion_basis_points=None if percent is None else round(percent * 100),
    )


def _value(text: str | None) -> str:
    return (text or UNKNOWN)[:LONGEST_VALUE]


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _measured(standing: Standing, measures: Iterable[Measure]) -> Iterable[tuple[Measure, int]]:
    for measure in measures:
        value: int | None = getattr(standing, measure)
        if value is not None:
            yield measure, value


def columns_of(standing: Standing) -> list[tuple[str, int]]:
    """Give what a session adds to the sums, column by column."""
    columns = [("sessions", 1), (standing.status.value, 1), ("errored", int(standing.errored))]
    for measure, value in _measured(standing, Measure):
        columns += [(f"{measure}_count", 1), (f"{measure}_sum", value)]
    return columns


def keys_of(standing: Standing) -> list[CellKey]:
    """Name the cells that a session is counted in."""
    return [
        CellKey(standing.hour_unix, dimension, str(getattr(standing, dimension)), media_id)
        for dimension in Dimension
        # Nobody asks how the sessions of one medium ended.
        for media_id in (ALL_MEDIA, standing.media_id)[: 1 if dimension is Dimension.STATUS else 2]
    ]


def changes(before: Standing | None, after: Standing | None) -> list[Change]:
    """Say what becomes of the cells when a session's standing changes; nothing if it does not."""
    if before == after:
        return []
    out = [] if before is None else keys_of(before)
    into = [] if after is None else keys_of(after)
    both = dict.fromkeys((*out, *into))
    return [
        Change(key, before if key in out else None, after if key in into else None) for key in both
    ]
