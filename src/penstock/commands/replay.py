"""`penstock replay`: read a session's frames as they were stored, and verify every byte."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from penstock.commands.options import Config, DataDir, Json, settings_in_force
from penstock.commands.output import print_json, print_table
from penstock.errors import StartupError

if TYPE_CHECKING:
    from penstock.storage.replay import ReplayReport

_LISTED = 20


def replay(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|SESSION",
            help="A spool file or replay blob, or a session's id, live or ended.",
        ),
    ],
    *,
    metrics: Annotated[
        bool,
        typer.Option("--metrics", help="Show the session's clinical figures and its repetitions."),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.svg",
            help="Draw the working joint, the repetitions and the gaps.",
        ),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show what a stored session holds: frames, times, gaps, and whether it is undamaged.

    Exit code 0 when every byte is as it must be, 1 when something is damaged, 2 when there is no
    such file. Changes nothing; a live session's file may end in a batch that is being written.
    """
    # NumPy and the codec; the other commands start faster without.
    from penstock.storage.replay import ReplayError, read_replay  # noqa: PLC0415

    with _resolved(source, {"data_dir": data_dir, "config": config}) as path:
        try:
            report = read_replay(path, traces=plot is not None)
        except ReplayError as error:
            raise StartupError(str(error)) from None
        if plot is not None:
            _draw(plot, path, report)
    if metrics:
        figures = _metrics(report)
        print_json(figures) if as_json else _show_metrics(figures)
    elif as_json:
        print_json(report.as_dict())
    else:
        _show(path, report)
    if not report.verified:
        raise typer.Exit(1)


@contextmanager
def _resolved(source: str, flags: dict[str, object]) -> Iterator[Path]:
    named = Path(source)
    if named.exists():
        yield named
        return
    try:
        session_id = str(UUID(source))
    except ValueError:
        raise StartupError(f"{source}: there is no such file, and it is no session's id") from None
    from penstock.kept_replays import kept_replay  # noqa: PLC0415

    settings, _ = settings_in_force(flags, dev=False, required=())
    with kept_replay(settings, session_id) as path:
        yield path


def _metrics(report: "ReplayReport") -> dict[str, Any]:
    from penstock.engine.figures import figures  # noqa: PLC0415
    from penstock.engine.motion.metrics import Account, metrics  # noqa: PLC0415

    if report.tally is None:  # members without a header: nothing but the frames is known
        return metrics(report.motion, Account(used=report.used))
    return figures(
        report.motion, report.accepted_frames, report.tally, report.losses, report.reported
    )._asdict()


def _draw(target: Path, path: Path, report: "ReplayReport") -> None:
    import numpy as np  # noqa: PLC0415

    from penstock.engine.motion.motion import conclude  # noqa: PLC0415
    from penstock.motion_picture import motion_picture  # noqa: PLC0415

    if target.suffix.lower() != ".svg":
        raise StartupError(f"{target}: plots are SVG, so the file's name ends in .svg")
    stamps = [at for trace in report.traces for at in trace.timestamps_ms]
    if not stamps:
        raise StartupError(f"{path}: there is no frame to draw")
    # Each time once and forward, as they were counted.
    times, first = np.unique(np.array(stamps), return_index=True)
    values = np.concatenate([trace.values for trace in report.traces])[first]
    picture = motion_picture(conclude(report.motion), times.tolist(), values, title=path.name)
    try:
        target.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise StartupError(f"{target}: {error.strerror or error}") from None


def _show_metrics(figures: dict[str, Any]) -> None:
    session, found = figures["session_metrics"], figures["rep_metrics"]
    print_table(
        ("Figure", "Value"),
        (
            (name.replace("_", " "), _words(value))
            for name, value in session.items()
            if not isinstance(value, list | dict)
        ),
    )
    for reason in session["confidence_reasons"]:
        typer.echo(f"  {reason}")
    columns: tuple[str, ...] = (
        "rep_number",
        "start_ms",
        "end_ms",
        "side",
        "range_deg",
        "out_s",
        "hold_s",
        "back_s",
    )
    columns += ("peak_speed_deg_per_s", "unseen_ratio", "confidence")
    print_table(
        [name.replace("_", " ") for name in columns],
        ([_words(one[name]) for name in columns] for one in found),
        title="Repetitions",
    )


def _words(value: object) -> str:
    return "-" if value is None else str(value)


def _show(path: Path, report: "ReplayReport") -> None:
    print_table(("Fact", "Value"), _facts(path, report))
    if report.gaps:
        print_table(
            ("From", "To", "Length"),
            (
                (_seconds(gap.start_ms), _seconds(gap.end_ms), _seconds(gap.length_ms))
                for gap in report.gaps[:_LISTED]
            ),
            title=_counted("Gaps", report.gap_count),
        )
    if report.reach_degrees:
        print_table(
            ("Joint", "Least", "Greatest"),
            (
                (name.replace("_", " "), f"{least:.1f}°", f"{greatest:.1f}°")
                for name, (least, greatest) in report.reach_degrees.items()
            ),
            title="Reach of the joints, as the camera saw them",
        )
    if report.damage:
        print_table(
            ("At byte", "What"),
            ((str(damage.offset), damage.what) for damage in report.damage[:_LISTED]),
            title=_counted("Damage", report.damage_count),
        )


def _facts(path: Path, report: "ReplayReport") -> list[tuple[str, str]]:
    facts = [
        ("file", str(path)),
        ("bytes", f"{report.file_bytes}, {report.inflated_bytes} inflated"),
    ]
    if report.identity is not None:
        facts += [
            ("session", report.identity.session_id),
            ("principal", report.identity.principal_id),
            ("org", report.identity.org_id),
        ]
    facts += [
        ("frames", f"{report.frames}, {report.repeated} of them repeated"),
        ("batches", f"{report.batches} in {report.chunks} chunks"),
    ]
    if report.first_timestamp_ms is not None and report.last_timestamp_ms is not None:
        first, last = _seconds(report.first_timestamp_ms), _seconds(report.last_timestamp_ms)
        facts.append(("time", f"{first} to {last} of the session"))
    if report.fps is not None:
        facts.append(("frames a second", f"{report.fps:.2f}"))
    if report.untracked_share is not None:
        facts.append(("untracked landmarks", f"{report.untracked_share:.2%}"))
    facts.append(("gaps", f"{report.gap_count}, the longest {_seconds(report.longest_gap_ms)}"))
    facts.append(("verified", "yes" if report.verified else f"no: {report.damage_count} damages"))
    return facts


def _counted(title: str, count: int) -> str:
    return title if count <= _LISTED else f"{title} (the first {_LISTED} of {count}; all: --json)"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f} s"
