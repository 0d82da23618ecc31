"""What the measured points of `penstock bench scale` mean: a line each, and a sentence.

Pure. A point is (x, y, a note); what is told is the slope in words where the points are on a
straight line, and else the reason why there is none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from penstock.bench.lines import Line, fit, why_not
from penstock.bench.report.models import ScaleLine, ScalePoint

# What the memory of a whole process varies by as load comes and goes, whoever causes it.
_PROCESS_KIB = 512


@dataclass(slots=True, frozen=True)
class Axes:
    """What is drawn against what, and how a straight line is put into words."""

    name: str
    x_name: str
    y_name: str
    show_x: Callable[[float], str]
    tell: Callable[[Line], str]
    grain: float = 0.0


@dataclass(slots=True)
class Points:
    """The points of one line as they are measured, in any order."""

    axes: Axes
    measured: list[ScalePoint] = field(default_factory=list[ScalePoint])

    def add(self, x: float, y: float, note: str = "") -> None:
        """Take in one measurement."""
        self.measured.append(ScalePoint(x=x, y=y, note=note))

    def line(self) -> ScaleLine:
        """Put the line through the points, and say what it means."""
        line = fit([(point.x, point.y) for point in self.measured], grain=self.axes.grain)
        told = self.axes.tell(line) if line.straight else why_not(line, self.axes.show_x)
        return ScaleLine(
            name=self.axes.name,
            x_name=self.axes.x_name,
            y_name=self.axes.y_name,
            points=sorted(self.measured, key=lambda point: point.x),
            slope=line.slope,
            intercept=line.intercept,
            r_squared=line.r_squared,
            straight=line.straight,
            told=told,
        )


def cpu_by_rate() -> Axes:
    """Give the processor's microseconds a second against batches a second."""
    return Axes(
        "CPU by sessions",
        "batches/s",
        "CPU µs a second",
        lambda x: f"{x:,.0f} batches/s",
        lambda line: (
            f"straight: {line.slope:.3g} µs of CPU a batch, and "
            f"{line.intercept / 1e6:.2%} of a core whatever the load{_unsure(line)}"
        ),
    )


def memory_by_sessions(how: str) -> Axes:
    """Give resident memory against sessions that are held in one way."""
    return Axes(
        f"memory by sessions, {how}",
        "sessions",
        "resident KiB",
        lambda x: f"{x:,.0f} sessions",
        lambda line: f"straight: {line.slope:.3g} KiB a session{_unsure(line)}",
    )


def cpu_by_frames(sessions: int) -> Axes:
    """Give the processor time of a batch against its frames."""
    return Axes(
        f"CPU by frames, {sessions:,} sessions",
        "frames a batch",
        "CPU µs a batch",
        lambda x: f"{x:g} frames a batch",
        lambda line: (
            f"straight: {line.slope:.3g} µs of CPU a frame, and "
            f"{line.intercept:.3g} µs a batch however few it holds{_unsure(line)}"
        ),
    )


def cpu_by_bytes(sessions: int) -> Axes:
    """Give the processor time of a batch against the size of its body."""
    return Axes(
        f"CPU by bytes, {sessions:,} sessions",
        "body KiB a batch",
        "CPU µs a batch",
        lambda x: f"{x:.1f} KiB a batch",
        lambda line: (
            f"straight: {line.slope:.3g} µs of CPU a KiB of compressed body{_unsure(line)}"
        ),
    )


def cpu_by_age(sessions: int) -> Axes:
    """Give the processor time of a batch against the minutes that its session has lasted."""
    return Axes(
        f"CPU by age, {sessions:,} sessions",
        "minutes",
        "CPU µs a batch",
        _minutes,
        lambda line: (
            f"flat: a batch costs the same whatever the session's age, {_middle(line):.3g} µs"
            if line.flat
            else f"straight: {_more(line)} µs of CPU a batch with each minute"
        ),
    )


def memory_by_age(sessions: int) -> Axes:
    """Give the memory that a session has taken against the minutes that it has lasted."""
    grain = _PROCESS_KIB / sessions
    return Axes(
        f"memory by age, {sessions:,} sessions",
        "minutes",
        "KiB a session",
        _minutes,
        lambda line: (
            "flat: a session takes the same memory whatever its age, "
            f"{_middle(line):.3g} KiB, to within {max(grain, line.noise or 0):.3g} KiB"
            if line.flat
            else f"straight: {_more(line)} KiB a session with each minute"
        ),
        grain,
    )


def _unsure(line: Line) -> str:
    return "; the rise is so small that it may be none" if line.flat else ""


def _minutes(x: float) -> str:
    return f"{x:.3g} minutes"


def _middle(line: Line) -> float:
    values: Sequence[float] = tuple(line.means.values())
    return sum(values) / len(values)


def _more(line: Line) -> str:
    return f"{abs(line.slope):.3g} {'more' if line.slope > 0 else 'less'}"
