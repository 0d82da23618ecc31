"""The tunings of the data folder as the console's pages show them."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from penstock.http.console.tunings import (
    Progress,
    TriedPolicy,
    TuningEntry,
    TuningSheet,
    TuningState,
)

if TYPE_CHECKING:
    from penstock.bench.tune.result import Band, TuningResult
    from penstock.tunings import Stamp, Tuning

# More than these cannot be told apart in a chart; the plot and result.json have them all.
MOST_POINTS = 1500
MOST_POLICIES = 200
MOST_SESSIONS = 100
_SESSIONS_HEAD = ("Session", "Frames", "Seconds", "Repetitions", "Range, degrees", "Tempo, ms")
_CANDIDATE = "tuned"
# What a policy is chosen by; the others follow.
_FIRST = ("lost, %", "range off, deg", "repetitions off", "tempo off, ms", "wait, ms")


class TuningFolder:
    """Reads the tunings. What reads them is imported with the first look: few services are asked.

    It is used by one thread at a time.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._known: dict[str, tuple[Stamp, Tuning]] = {}
        # The one that was looked at last: its page asks for its points, and leads to other loads.
        self._last: tuple[str, Stamp, TuningSheet] | None = None

    @property
    def place(self) -> str:
        """Say where the tunings are."""
        return str(self._data_dir / "tunings")

    def entries(self) -> Sequence[TuningEntry]:
        """List them, the newest first, and last those that are not done."""
        from penstock.tunings import list_tunings  # noqa: PLC0415

        return [_entry(one) for one in list_tunings(self._data_dir, self._known)]

    def sheet(self, name: str) -> TuningSheet | str:
        """Give one that is done, or say in one line why there is nothing to show."""
        from penstock.tunings import TuningMissingError, read_tuning, stamp_of  # noqa: PLC0415

        stamp = stamp_of(self._data_dir, name)
        if self._last is None or self._last[:2] != (name, stamp):
            self._last = None
            try:
                sheet = _sheet(name, read_tuning(self._data_dir, name))
            except TuningMissingError as error:
                return str(error)
            if stamp is not None:
                self._last = name, stamp, sheet
        else:
            sheet = self._last[2]
        return replace(sheet, has_plot=self.plot(name) is not None)

    def plot(self, name: str) -> bytes | None:
        """Give the PNG of one, where it has one."""
        from penstock.tunings import TuningMissingError, read_plot  # noqa: PLC0415

        try:
            return read_plot(self._data_dir, name)
        except TuningMissingError:
            return None


def _entry(one: "Tuning") -> TuningEntry:
    from penstock.bench.tune import words  # noqa: PLC0415

    progress = tuple(Progress(step.name, step.done, step.total) for step in one.steps)
    if one.unfinished:
        state = TuningState.UNDER_WAY if one.under_way else TuningState.STOPPED
        return TuningEntry(one.name, state, progress=progress)
    if one.problem is not None:
        problem = one.problem.removeprefix(f"{one.name}: ")
        return TuningEntry(one.name, TuningState.DAMAGED, problem[:300])
    choice = one.choice
    return TuningEntry(
        one.name,
        TuningState.DONE,
        made_unix=_unix(one.made_at or ""),
        sessions=one.sessions,
        policies=one.policies,
        loads=tuple(f"{load:g}" for load in one.loads),
        best=""
        if choice is None
        else (words.knobs_told(choice.knobs) or "the one that was in force"),
        best_load="" if choice is None else f"{choice.load:g}",
        best_error="" if one.chosen is None else words.band(one.chosen.range_degrees),
    )


def _sheet(name: str, result: "TuningResult") -> TuningSheet:
    from penstock.bench.tune import words  # noqa: PLC0415

    choice = result.choice
    # The policy and the load are told apart from the figures.
    order = sorted(
        range(2, len(words.HEAD)),
        key=lambda at: _FIRST.index(words.HEAD[at]) if words.HEAD[at] in _FIRST else len(_FIRST),
    )
    rows = zip(result.points, words.rows(result), strict=True)
    policies: dict[str, list[TriedPolicy]] = {f"{load:g}": [] for load in result.tried.loads}
    for point, row in rows:
        policies.setdefault(row[1], []).append(
            TriedPolicy(
                _turns(result, point.policy),
                point.policy == 0,
                choice is not None and choice.policy == point.policy,
                tuple(row[at] for at in order),
            )
        )
    for tried in policies.values():
        tried.sort(key=lambda one: not (one.best or one.in_force))
    most = max(len(tried) for tried in policies.values())
    return TuningSheet(
        name=name,
        made_unix=_unix(result.made_at),
        made_at=result.made_at,
        version=result.version,
        command=result.command,
        told=tuple(words.told(result)),
        line=None if choice is None else choice.line,
        prefill=_prefill(result),
        best_load=f"{result.tried.loads[0] if choice is None else choice.load:g}",
        head=tuple(_capital(words.HEAD[at]) for at in order),
        policies={load: tried[:MOST_POLICIES] for load, tried in policies.items()},
        others=max(0, most - MOST_POLICIES),
        sessions_head=_SESSIONS_HEAD,
        sessions=list(_sessions(result)),
        more_sessions=max(0, len(result.sessions) - MOST_SESSIONS),
        chart=None if len(result.points) > MOST_POINTS else orjson.dumps(_chart(result)),
    )


def _turns(result: "TuningResult", policy: int) -> str:
    from penstock.bench.tune import words  # noqa: PLC0415

    base = result.policies[0]
    turned = {k: v for k, v in result.policies[policy].items() if v != base[k]}
    return words.knobs_told(turned)


def _sessions(result: "TuningResult") -> Iterator[tuple[str, ...]]:
    for one in result.sessions[:MOST_SESSIONS]:
        yield (
            one.name,
            f"{one.frames:,}",
            f"{one.seconds:.1f}",
            str(one.repetitions),
            "" if one.range_degrees is None else f"{one.range_degrees:.1f}",
            "" if one.tempo_ms is None else f"{one.tempo_ms:.0f}",
        )


def _prefill(result: "TuningResult") -> dict[str, str]:
    """Give the policy form's fields, as the line that is printed would set them."""
    from penstock.bench.tune import words  # noqa: PLC0415

    choice = result.choice
    if choice is None or choice.line is None:
        return {}
    fields = {f"set.{knob}": words.knobs_told({knob: value}).partition("=")[2]
              for knob, value in choice.knobs.items()}  # fmt: skip
    try:
        said = shlex.split(choice.line)
    except ValueError:
        said = []
    reason = said[-1] if said[-2:-1] == ["--reason"] else "as it was tuned"
    return {**fields, "reason": reason, "name": _CANDIDATE}


def _chart(result: "TuningResult") -> dict[str, Any]:
    """Give the points in the order of what they lose, and what is told with them."""
    best = None if result.choice is None else result.choice.policy
    points = sorted(result.points, key=lambda point: point.lost_share.value)
    return {
        "loads": result.tried.loads,
        "bounds": result.bounds.model_dump(),
        "points": [
            {
                "policy": _turns(result, point.policy) or "in force",
                "in_force": point.policy == 0,
                "best": point.policy == best,
                "load": point.load,
                "lost": 100 * point.lost_share.value,
                "range_degrees": _band(point.range_degrees),
                "repetitions": _band(point.repetitions),
                "tempo_ms": _band(point.tempo_ms),
            }
            for point in points
        ],
    }


def _band(band: "Band | None") -> tuple[float, float, float] | None:
    return None if band is None else (band.value, band.low, band.high)


def _unix(moment: str) -> float | None:
    """Read a moment; None where it is none, as files may hold anything."""
    try:
        at = datetime.fromisoformat(moment)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]
