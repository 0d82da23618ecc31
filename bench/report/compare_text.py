"""A comparison in the terminal: what was not the same first, then the figures."""

from penstock.bench.report import units
from penstock.bench.report.compare import Comparison, Side
from penstock.bench.report.figures import Figure
from penstock.bench.report.noise import Verdict
from penstock.bench.report.text import table, wrapped

_HEAD = ("figure", "A", "B", "B/A", "95 % interval", "verdict")
_MEBIBYTE = 1 << 20
_LONGEST_UNIT = 5


def render_comparison(comparison: Comparison) -> str:
    """Lay a comparison out for people."""
    parts = [
        "\n".join(
            wrapped(f"{name}  {side.made_at}  {side.command}", indent="   ")
            for name, side in (("A", comparison.a), ("B", comparison.b))
        )
    ]
    cautions = [*_faults("A", comparison.a), *_faults("B", comparison.b)]
    cautions += [
        f"not the same: {one.where}, {one.name}: {one.a} -> {one.b}"
        for one in comparison.differences
    ]
    if cautions:
        parts.append("\n".join(wrapped(line, indent="  ") for line in cautions))
    if comparison.figures:
        rows = [_row(one) for one in comparison.figures]
        parts.append(table(_HEAD, rows, words=(0, 5)))
        parts.append("\n".join(wrapped(line) for line in _notes(comparison)))
    else:
        parts.append("The reports have no figure in common.")
    return "\n\n".join(parts)


def _faults(name: str, side: Side) -> list[str]:
    return [f"{name} should not be used: {fault}" for fault in side.faults]


def _row(one: Figure) -> tuple[str, ...]:
    scale, unit = (1 / _MEBIBYTE, "MiB") if one.unit == "bytes" else (1.0, one.unit)
    interval = units.NONE
    if one.ratio_low is not None and one.ratio_high is not None:
        interval = f"{one.ratio_low:.3f} to {one.ratio_high:.3f}"
    return (
        # A slope's unit is as long as its name, and is in the JSON.
        f"{one.name}, {unit}" if 0 < len(unit) <= _LONGEST_UNIT else one.name,
        units.figure(one.a * scale),
        units.figure(one.b * scale),
        units.NONE if one.ratio is None else f"{one.ratio:.3f}",
        interval,
        one.verdict.value,
    )


def _notes(comparison: Comparison) -> list[str]:
    counted = {
        verdict: sum(one.verdict is verdict for one in comparison.figures) for verdict in Verdict
    }
    told = ", ".join(f"{count} {verdict.value}" for verdict, count in counted.items() if count)
    with_verdict = len(comparison.figures) - counted[Verdict.UNJUDGED]
    lines = [f"Of {len(comparison.figures)} figures: {told}."]
    if with_verdict:
        lines.append(
            "The intervals hold the noise within the two runs. Of twenty verdicts about equal "
            "servers one is wrong by chance, and between runs a shared machine may change more: "
            "measure again before believing a single one."
        )
    if counted[Verdict.UNJUDGED]:
        lines.append("What a run has only one of is not judged: its noise is not known.")
    return lines
