"""A picture of why a session was counted as it was: the working joint, repetitions, gaps.

One SVG without a script and without anything from outside, so that it can be opened, mailed and
printed. Times run along x; a repetition is a band with its number, a gap in the frames a grey one.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

import numpy as np

from penstock.engine.motion.metrics import session_metrics
from penstock.engine.motion.motion import Concluded
from penstock.engine.motion.repetition import Repetition
from penstock.engine.motion.signals import ANGLES, SIGNALS, Floats
from penstock.engine.timeline import GAP_MS

_WIDTH, _HEIGHT = 1100, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 56, 34
_PAD_SHARE = 0.05
_STYLE = """
svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#1a1f26}.soft{fill:#57606c}
.rep{fill:#1f5f9e;fill-opacity:.12}.odd{fill-opacity:.22}.hidden{fill:#b3261e;fill-opacity:.15}
.gap{fill:#57606c;fill-opacity:.35}.left{stroke:#1f5f9e}.right,.middle{stroke:#b4511a}
.line{fill:none;stroke-width:1.4}.axis{stroke:#d9dde3}.turn{fill:#2f7d52}
"""
_MARKS = 6
_LABELS = {"left": "left", "right": "right", "middle": "trunk"}


def motion_picture(found: Concluded, times: Sequence[int], values: Floats, *, title: str) -> str:
    """Draw a session of which every frame was kept: `values` by the columns of SIGNALS."""
    joint = found.counted.joint if found.counted else "knee_flexion"
    lines = {
        side: values[:, SIGNALS.index(name)]
        for side, name in (
            ("left", f"{joint}_left"),
            ("right", f"{joint}_right"),
            ("middle", joint),
        )
        if name in SIGNALS
    }
    begin, end = (times[0], times[-1]) if times else (0, 1)
    known = np.concatenate(list(lines.values())) if len(values) else np.zeros(1)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    pad = max(1.0, (high - low) * _PAD_SHARE)
    scale = _Scale(begin, max(end, begin + 1), low - pad, high + pad)
    unit = "degrees" if joint in ANGLES else "% of the trunk"
    parts = [*_axes(scale, f"{joint.replace('_', ' ')}, {unit}")]
    parts += _repetitions(scale, found.repetitions)
    parts += (
        scale.band(a, b, "gap", f"no frames for {(b - a) / 1000:.1f} s")
        for a, b in pairwise(times)
        if b - a > GAP_MS
    )
    for side, column in lines.items():
        parts += _line(scale, times, column, side)
    parts += _words(found, title, lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"{''.join(parts)}</svg>\n"
    )


class _Scale:
    """Where times and values lie in the picture."""

    def __init__(self, begin: float, end: float, low: float, high: float) -> None:
        self.begin, self.end, self.low, self.high = begin, end, low, high

    def x(self, at: float) -> float:
        share = (at - self.begin) / (self.end - self.begin)
        return round(_LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def band(self, begin: float, end: float, kind: str, told: str) -> str:
        x, width = self.x(begin), max(1.0, self.x(end) - self.x(begin))
        return (
            f'<rect class="{kind}" x="{x}" y="{_TOP}" width="{width:.1f}" '
            f'height="{_HEIGHT - _TOP - _BOTTOM}"><title>{escape(told)}</title></rect>'
        )


def _axes(scale: _Scale, name: str) -> Iterable[str]:
    for n in range(_MARKS + 1):
        value = scale.low + (scale.high - scale.low) * n / _MARKS
        y = scale.y(value)
        yield f'<path class="axis" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>'
        yield f'<text class="soft" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.0f}</text>'
        at = scale.begin + (scale.end - scale.begin) * n / _MARKS
        yield (
            f'<text class="soft" x="{scale.x(at)}" y="{_HEIGHT - 14}" '
            f'text-anchor="middle">{at / 1000:.0f} s</text>'
        )
    yield f'<text class="soft" x="{_LEFT}" y="{_TOP - 8}">{escape(name)}</text>'


def _repetitions(scale: _Scale, found: Sequence[Repetition]) -> Iterable[str]:
    for number, one in enumerate(found, 1):
        degrees = "" if one.degrees is None or one.partly else f", {one.degrees:.0f}"
        told = (
            f"repetition {number}, {one.side}{degrees}"
            if one.seen
            else (f"repetition {number}: took place while frames were missing")
        )
        kind = "hidden" if not one.seen else "rep odd" if number % 2 else "rep"
        yield scale.band(one.start_ms, one.end_ms, kind, told)
        x = scale.x(one.turn_ms)
        yield f'<circle class="turn" cx="{x}" cy="{_TOP + 6}" r="2.5"/>'
        yield f'<text x="{x}" y="{_TOP + 22}" text-anchor="middle">{number}</text>'


def _line(scale: _Scale, times: Sequence[int], column: Floats, side: str) -> Iterable[str]:
    path: list[str] = []
    before = None
    for at, value in zip(times, column.tolist(), strict=True):
        if value != value:  # noqa: PLR0124 - not a number: not tracked
            before = None
            continue
        move = "M" if before is None or at - before > GAP_MS else "L"
        path.append(f"{move}{scale.x(at)} {scale.y(value)}")
        before = at
    yield f'<path class="line {side}" d="{"".join(path)}"/>'


def _words(found: Concluded, title: str, lines: Iterable[str]) -> Iterable[str]:
    figures = session_metrics(found)
    told = f"{figures['rep_count']} repetitions, confidence {figures['confidence']}"
    if figures["confidence_reasons"]:
        told += f": {'; '.join(figures['confidence_reasons'])}"
    yield f'<text x="{_LEFT}" y="18" font-weight="600">{escape(title)}</text>'
    yield f'<text class="soft" x="{_LEFT}" y="34">{escape(told)}</text>'
    for place, side in enumerate(lines):
        x = _WIDTH - _RIGHT - 150 + 75 * place
        yield f'<path class="line {side}" d="M{x} 14h18"/>'
        yield f'<text class="soft" x="{x + 22}" y="18">{_LABELS[side]}</text>'
