"""The answers of the two statistics, made of cells.

A window is made of whole hours. It begins with the hour that the period reaches back into, so it
covers the period and up to an hour before it, and `window_start_unix` tells where it begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from penstock.engine.media.metrics import MediaStatus
from penstock.engine.media.rollup import HOUR_SECONDS, Cell, Dimension, Measure
from penstock.engine.media.sketch import Sketch

GROUPINGS = tuple(dimension for dimension in Dimension if dimension is not Dimension.STATUS)


class Period(StrEnum):
    """How far back a statistic looks."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    @property
    def seconds(self) -> int:
        """Give its length."""
        hours = {Period.HOUR: 1, Period.DAY: 24, Period.WEEK: 168, Period.MONTH: 720}
        return hours[self] * HOUR_SECONDS

    def window_start_unix(self, now_unix: float) -> int:
        """Give the first hour that belongs to the period."""
        begin = int(now_unix) - self.seconds
        return begin - begin % HOUR_SECONDS


@dataclass(slots=True, frozen=True)
class BandwidthStatistics:
    """How the sessions of one value of a dimension went. Means are over the sessions with a value.

    `completion_rate` is of those that are over; None where there are none.
    """

    value: str
    total_sessions: int
    avg_ttfb_ms: float | None
    avg_load_time_ms: float | None
    avg_buffering_count: float | None
    avg_buffering_duration_ms: float | None
    avg_bitrate: float | None
    completion_rate: float | None
    error_rate: float | None


class Quantiles(NamedTuple):
    """The median and the 95th percentile, wrong by at most the sketch's relative error."""

    p50: float | None
    p95: float | None


@dataclass(slots=True, frozen=True)
class SessionStatistics:
    """How all sessions went, or those of one status. Quantiles are of sessions, not of stalls."""

    total_sessions: int
    completed: int
    abandoned: int
    active: int
    avg_watch_time_seconds: float | None
    avg_completion_percent: float | None
    ttfb_ms: Quantiles
    load_time_ms: Quantiles
    buffer_duration_ms: Quantiles


def bandwidth_statistics(cells: Iterable[tuple[str, Cell]]) -> list[BandwidthStatistics]:
    """Sum up one dimension's cells, each with its value; the value with most sessions first."""
    merged: dict[str, Cell] = {}
    for value, cell in cells:
        merged.setdefault(value, Cell()).merge(cell)
    found = [_bandwidth(value, cell) for value, cell in merged.items() if cell.of("sessions")]
    return sorted(found, key=lambda one: (-one.total_sessions, one.value))


def session_statistics(
    cells: Iterable[tuple[str, Cell]], status: MediaStatus | None = None
) -> SessionStatistics:
    """Sum up the cells of the dimension `status`, each with its status; all, or those of one."""
    total = Cell()
    for value, cell in cells:
        if status is None or value == status:
            total.merge(cell)
    watch_ms = total.mean(Measure.WATCH_TIME_MS)
    basis_points = total.mean(Measure.COMPLETION_BASIS_POINTS)
    return SessionStatistics(
        total_sessions=total.of("sessions"),
        completed=total.of(MediaStatus.COMPLETED),
        abandoned=total.of(MediaStatus.ABANDONED),
        active=total.of(MediaStatus.ACTIVE),
        avg_watch_time_seconds=None if watch_ms is None else watch_ms / 1000,
        avg_completion_percent=None if basis_points is None else basis_points / 100,
        ttfb_ms=_quantiles(total, Measure.TTFB_MS),
        load_time_ms=_quantiles(total, Measure.LOAD_TIME_MS),
        buffer_duration_ms=_quantiles(total, Measure.BUFFERING_DURATION_MS),
    )


def _bandwidth(value: str, cell: Cell) -> BandwidthStatistics:
    sessions = cell.of("sessions")
    completed = cell.of(MediaStatus.COMPLETED)
    over = completed + cell.of(MediaStatus.ABANDONED)
    return BandwidthStatistics(
        value=value,
        total_sessions=sessions,
        avg_ttfb_ms=cell.mean(Measure.TTFB_MS),
        avg_load_time_ms=cell.mean(Measure.LOAD_TIME_MS),
        avg_buffering_count=cell.mean(Measure.BUFFERING_COUNT),
        avg_buffering_duration_ms=cell.mean(Measure.BUFFERING_DURATION_MS),
        avg_bitrate=cell.mean(Measure.BITRATE_BPS),
        completion_rate=completed / over if over else None,
        error_rate=cell.of("errored") / sessions,
    )


def _quantiles(cell: Cell, measure: Measure) -> Quantiles:
    sketch = cell.sketches.get(measure, Sketch())
    return Quantiles(sketch.quantile(0.50), sketch.quantile(0.95))
