"""The folder of a tuning: its result, its plot, its page; the result is written last."""

import os
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from penstock.bench.errors import BenchError
from penstock.bench.tune import page, words
from penstock.bench.tune.choose import choose
from penstock.bench.tune.grid import turned
from penstock.bench.tune.plot import draw
from penstock.bench.tune.result import (
    Bounds,
    Choice,
    Point,
    SessionTold,
    Tried,
    TuningResult,
)
from penstock.bench.tune.state import RESULT, STATE, forget
from penstock.engine.policy import Policy

PAGE = "index.html"
_FEW_SESSIONS = 8


def conclude(
    *,
    policies: Sequence[Policy],
    in_force_from: str,
    tried: Tried,
    sessions: list[SessionTold],
    left_out: list[str],
    points: list[Point],
    bounds: Bounds,
    made_at: str,
    command: str,
) -> TuningResult:
    """Choose the best policy, and give the whole result."""
    best = choose(points, policies, bounds)
    choice = None
    if best is not None:
        knobs = turned(policies[best.policy], policies[0])
        point = next(p for p in points if (p.policy, p.load) == best)
        line = _line(knobs, point) if knobs else None
        choice = Choice(policy=best.policy, load=best.load, knobs=knobs, line=line)
    return TuningResult(
        made_at=made_at,
        command=command,
        version=version("penstock"),
        tried=tried,
        sessions=sessions,
        left_out=left_out,
        policies=[policy.plain() for policy in policies],
        in_force_from=in_force_from,
        points=points,
        bounds=bounds,
        choice=choice,
        notes=list(_notes(sessions, left_out)),
    )


def reason_of(point: Point) -> str:
    """Say in the history why the policy was set."""
    off = (
        ""
        if point.range_degrees is None
        else (
            f"range off by {point.range_degrees.value:.1f} degrees (at most "
            f"{point.range_degrees.high:.1f}), "
        )
    )
    return (
        f"tuned: {off}{100 * point.lost_share.value:.0f} % of the frames lost at {point.load:g} "
        "times the capacity"
    )


def _line(knobs: dict[str, object], point: Point) -> str:
    reason = shlex.quote(reason_of(point))
    return f"penstock policy set {words.knobs_told(knobs)} --reason {reason}"


def _notes(sessions: list[SessionTold], left_out: list[str]) -> list[str]:
    notes = []
    if len(sessions) < _FEW_SESSIONS:
        notes.append(
            f"Only {len(sessions)} sessions: the intervals say little about others. Take at "
            f"least {_FEW_SESSIONS}."
        )
    without = sum(one.range_degrees is None for one in sessions)
    if without:
        notes.append(f"{without} sessions tell no range of motion even with all of their frames.")
    if left_out:
        notes.append(f"Left out: {'; '.join(left_out[:3])}" + _more(len(left_out) - 3))
    return notes


def _more(number: int) -> str:
    return f", and {number} more." if number > 0 else "."


def write(result: TuningResult, output: Path) -> None:
    """Write the three files and remove the state; BenchError when that is impossible."""
    try:
        draw(result, output / page.PLOT)
        (output / PAGE).write_text(page.render(result), encoding="utf-8")
        new = output / f"{RESULT}.new"
        new.write_text(result.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
        os.replace(new, output / RESULT)  # noqa: PTH105  a name that is there is replaced
    except OSError as error:
        raise BenchError(f"{output} cannot be written: {error.strerror}") from None
    forget(output)


def finished(output: Path, digest: str) -> TuningResult | None:
    """Give the result that a folder has of this very tuning; BenchError when it is another's."""
    path = output / RESULT
    if not path.exists():
        try:
            strange = [one.name for one in output.iterdir() if one.name != STATE]
        except FileNotFoundError:
            strange = []
        except OSError as error:
            raise BenchError(f"{output} cannot be used: {error.strerror}") from None
        if strange and not (output / STATE).exists():
            raise BenchError(
                f"{output} is not empty and holds no tuning ({strange[0]} is there); give another "
                "--output"
            )
        return None
    try:
        result = read_result(path)
    except ValueError as error:
        raise BenchError(f"{path}: {error}; give another --output, or remove it") from None
    if result.tried.digest != digest:
        raise BenchError(
            f"{output} holds another tuning (of other sessions, knobs, loads or seeds); give "
            "another --output, or remove it"
        )
    return result


def read_result(path: Path) -> TuningResult:
    """Read a result; ValueError says in one line why it is none."""
    try:
        return TuningResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ValueError(f"it is no result of a tuning: {where}: {first['msg']}") from None
