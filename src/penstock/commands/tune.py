"""`penstock tune`: what drop policies cost the figures, and which is the best within an error."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.commands.admin_link import AdminLink, Token, Url, uuid_option
from penstock.commands.bench.options import Quiet, made_now, telling_errors
from penstock.commands.options import Config, DataDir, Dev, Json, settings_in_force
from penstock.commands.output import print_json, print_table
from penstock.commands.policy import PATH
from penstock.errors import StartupError

if TYPE_CHECKING:
    from penstock.bench.tune.result import Bounds, TuningResult
    from penstock.bench.tune.run import Looked, Tell
    from penstock.bench.tune.takes import Source
    from penstock.engine.policy import Policy
    from penstock.settings import Settings

_MOST_SEEDS = 50
_DEFAULT_KNOBS = "dwell_seconds=0.5,1,3 keep_every=2,4 loss_percent=5,20"


def tune(
    *,
    recordings: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Spool files, replay blobs and motion recordings (.npz) below it; may be given "
            "several times. Default: the sessions of the data folder.",
        ),
    ] = None,
    session: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A session, live or ended; may be given several times."),
    ] = None,
    synthetic: Annotated[
        int, typer.Option(metavar="N", min=0, max=10_000, help="Synthetic patients.")
    ] = 0,
    knob: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KNOB=LIST",
            help="Values of a knob, with commas between; may be given several times. Every "
            f"combination is tried. Default: {_DEFAULT_KNOBS}.",
        ),
    ] = None,
    load: Annotated[
        str, typer.Option(metavar="LIST", help="What is offered, in multiples of the capacity.")
    ] = "1.05,1.2,1.5",
    max_rom_error: Annotated[
        str, typer.Option(metavar="DEGREES", help="How far the range of motion may be off.")
    ] = "3deg",
    max_rep_error: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="How far the repetitions may be off.")
    ] = None,
    max_tempo_error: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How far the time of a repetition may be, as 80ms."),
    ] = None,
    max_wait: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long a batch may wait for its turn, in the mean."),
    ] = "1s",
    seeds: Annotated[
        int, typer.Option(min=1, max=_MOST_SEEDS, help="Runs of each policy at each load.")
    ] = 3,
    seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow it.")] = 1,
    places: Annotated[
        int,
        typer.Option(min=10, max=10_000, help="Patients at a time in the model of the service."),
    ] = 120,
    most: Annotated[
        int,
        typer.Option(min=1, max=10_000, help="Sessions at most; of more, some drawn by the seed."),
    ] = 64,
    longest: Annotated[
        float,
        typer.Option(min=5, max=7200, help="Seconds of a session; of a longer one its beginning."),
    ] = 180.0,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where it is written. Default: in the data folder's tunings."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes. Default: one a core.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Try drop policies on kept or synthetic sessions, and recommend one.

    Draws frames lost against the errors of repetitions, range of motion and tempo, and prints the
    command that sets the best policy within --max-rom-error. With --url, --token or --dev the
    policy in force is that of the running service, else the default. Stopped, it goes on where it
    was when the same is asked for again. Exit code 1: no policy keeps within the errors.
    """
    made_at, command = made_now()
    for text in session or ():
        # What is written must not lead to anybody.
        command = command.replace(text, "ID")
    with telling_errors():
        from penstock.bench.tune import grid  # noqa: PLC0415  NumPy: other commands start faster
        from penstock.bench.tune.plot import check_plotting  # noqa: PLC0415
        from penstock.bench.tune.report import conclude, finished, write  # noqa: PLC0415
        from penstock.bench.tune.run import TunePlan, look  # noqa: PLC0415
        from penstock.bench.tune.run import tune as work_out  # noqa: PLC0415
        from penstock.bench.tune.workers import some_workers  # noqa: PLC0415
        from penstock.stored_takes import sampled  # noqa: PLC0415

        check_plotting()
        with _grid_errors():
            bounds = _bounds(max_rom_error, max_rep_error, max_tempo_error, max_wait)
            loads = grid.read_loads(load)
            grid.read_grid(knob or grid.DEFAULT_KNOBS, _default())
        settings = _settings(data_dir, config)
        asked = any((url, token, dev))
        link = AdminLink(url, token, dev, data_dir, config) if asked else None
        base, base_from = _in_force(link)
        with _grid_errors():
            tried = grid.read_grid(knob or grid.DEFAULT_KNOBS, base)
        with ExitStack() as stack:
            sources = _sources(stack, settings, recordings, session, synthetic, seed)
            workers = stack.enter_context(some_workers(jobs or len(os.sched_getaffinity(0))))
            tell = stack.enter_context(_progress(quiet=quiet))
            plan = TunePlan(
                sampled(sources, most, seed),
                tried.policies,
                loads,
                tuple(range(seed, seed + seeds)),
                places,
                longest,
            )
            looked = look(plan, workers, tell)
            folder = output or _default_folder(settings, looked)
            done = finished(folder, looked.tried.digest)
            points = work_out(looked, folder, workers, tell) if done is None else done.points
        result = conclude(
            policies=tried.policies,
            in_force_from=base_from,
            tried=looked.tried,
            sessions=looked.sessions,
            left_out=[*looked.left_out, *tried.left_out],
            points=points,
            bounds=bounds,
            made_at=made_at if done is None else done.made_at,
            command=command,
        )
        write(result, folder)
    _show(result, folder, as_json=as_json)
    if result.choice is None:
        raise typer.Exit(1)


def _default() -> "Policy":
    from penstock.engine.policy import DEFAULT_POLICY  # noqa: PLC0415

    return DEFAULT_POLICY


def _settings(data_dir: str | None, config: str | None) -> "Settings":
    settings, _ = settings_in_force(
        {"data_dir": data_dir, "config": config}, dev=False, required=()
    )
    return settings


@contextmanager
def _grid_errors() -> Iterator[None]:
    """Tell what is wrong with the options as every command does, a line for each."""
    from penstock.bench.tune.grid import GridError  # noqa: PLC0415

    try:
        yield
    except GridError as error:
        raise StartupError(*error.lines) from None


def _bounds(rom: str, rep: str | None, tempo: str | None, wait: str) -> "Bounds":
    from penstock.bench.tune.grid import read_bound  # noqa: PLC0415
    from penstock.bench.tune.result import Bounds  # noqa: PLC0415

    degrees = {"deg": 1.0, "°": 1.0, "degrees": 1.0}
    repetitions = {"": 1.0, "rep": 1.0, "reps": 1.0}
    times = {"ms": 1.0, "s": 1000.0}
    waits = {"s": 1.0, "ms": 0.001}
    return Bounds(
        range_degrees=read_bound("--max-rom-error", rom, degrees),
        repetitions=None if rep is None else read_bound("--max-rep-error", rep, repetitions),
        tempo_ms=None if tempo is None else read_bound("--max-tempo-error", tempo, times),
        wait_seconds=read_bound("--max-wait", wait, waits),
    )


def _in_force(link: AdminLink | None) -> "tuple[Policy, str]":
    """Give the global policy in force, and where that was learnt."""
    from penstock.engine.policy import DEFAULT_POLICY, PolicyFaultsError  # noqa: PLC0415

    if link is None:
        return DEFAULT_POLICY, "the default one, as no service was asked (--url, --token or --dev)"
    document = link.ask("GET", PATH)
    try:
        knobs = document["scopes"]["global"]["knobs"]
        policy = DEFAULT_POLICY.changed({name: one["value"] for name, one in knobs.items()})
    except (KeyError, TypeError, AttributeError, PolicyFaultsError) as error:
        raise StartupError(f"the service's policy cannot be used here: {error}") from None
    where = link.url or "the service on this machine"
    return policy, f"that of {where}, at revision {document.get('revision')}"


def _sources(
    stack: ExitStack,
    settings: "Settings",
    recordings: list[Path] | None,
    sessions: list[str] | None,
    synthetic: int,
    seed: int,
) -> "list[Source]":
    from penstock.bench.tune.takes import PatientSource  # noqa: PLC0415
    from penstock.kept_replays import kept_replay  # noqa: PLC0415
    from penstock.stored_takes import StoredSource, kept_sources  # noqa: PLC0415

    found: list[Source] = []
    if recordings:
        found += kept_sources(recordings)
        if not found:
            raise StartupError(
                f"--recordings: {', '.join(map(str, recordings))}: there is no spool file, replay "
                "blob or motion recording"
            )
    elif not sessions and not synthetic:
        own = [settings.data_dir / "spool", settings.data_dir / "blobs"]
        found += kept_sources(place for place in own if place.is_dir())
        if not found:
            raise StartupError(
                f"{settings.data_dir} holds no session; give --recordings, --session, or "
                "--synthetic 24 for patients that are made up"
            )
    for text in dict.fromkeys(sessions or ()):
        session_id = uuid_option("--session", text)
        path = stack.enter_context(kept_replay(settings, session_id))
        if all(one.name != session_id for one in found):
            found.append(StoredSource(path, session_id))
    found += [PatientSource(seed, number) for number in range(synthetic)]
    return found


def _default_folder(settings: "Settings", looked: "Looked") -> Path:
    """Name the folder by what is tried, so that the same is found again."""
    from penstock.tunings import TUNINGS  # noqa: PLC0415

    folder = settings.data_dir / TUNINGS / f"tuning-{looked.tried.digest[:10]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"{folder} cannot be made: {error.strerror}") from None
    return folder


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[Tell]":
    """Show a bar a step on a terminal; elsewhere a line a tenth of a step."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, TaskID  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    if quiet or not console.is_terminal:
        yield _told if not quiet else _untold
        return
    with Progress(console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield tell


def _told(what: str, done: int, total: int) -> None:
    if done and done * 10 // total != (done - 1) * 10 // total:
        typer.echo(f"{what}: {done} of {total}", err=True)


def _untold(_what: str, _done: int, _total: int) -> None:
    pass


def _show(result: "TuningResult", folder: Path, *, as_json: bool) -> None:
    from penstock.bench.tune import words  # noqa: PLC0415

    if as_json:
        document: dict[str, Any] = result.model_dump(by_alias=True, mode="json")
        print_json(document | {"folder": str(folder)})
        return
    print_table(words.HEAD, words.rows(result))
    for line in words.told(result):
        typer.echo(line)
    typer.echo(f"Written to {folder}: result.json, plot.png, index.html")
    if result.choice is not None and result.choice.line is not None:
        typer.echo(f"\n{result.choice.line}")
