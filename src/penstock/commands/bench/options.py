"""What the bench commands share: options, errors in one line, and where reports go."""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from penstock.bench.report.models import Report

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the whole report as JSON."),
]
HtmlFile = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write the report as one page with plots."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Run Penstock with this setting; the report names it. May be repeated.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Everything random follows from it.")]


# What a server that is measured must have: the harness reads its log for the address, signs tokens
# with its secret, and keeps to this machine and to a folder that goes away.
_OWN_SETTINGS = frozenset(
    {
        "data_dir", "grants_file", "host", "log_format", "log_level", "port", "service_jwt_secret",
        "session_secret", "session_secret_previous", "surfaces", "tls_cert", "tls_key",
        "user_jwt_secret",
    }
)  # fmt: skip


def settings_given(texts: Sequence[str] | None) -> dict[str, object]:
    """Read `--set` options; the last of a name wins."""
    settings: dict[str, object] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.replace("_", "").isalnum():
            raise typer.BadParameter(
                f"{text!r} is not NAME=VALUE, a setting of Penstock", param_hint="'--set'"
            )
        if name.lower() in _OWN_SETTINGS:
            raise typer.BadParameter(
                f"{name.lower()} cannot be chosen here: the benchmark sets it itself, or needs "
                "its default, for the server that it starts",
                param_hint="'--set'",
            )
        settings[name.lower()] = value
    return settings


@contextmanager
def telling_errors() -> Iterator[None]:
    """Tell a BenchError in one line and exit with 1; let SIGTERM unwind as Ctrl-C does."""
    from penstock.bench.errors import BenchError  # noqa: PLC0415
    from penstock.bench.report.text import one_line  # noqa: PLC0415
    from penstock.bench.servers import end_on_sigterm  # noqa: PLC0415

    end_on_sigterm()
    try:
        yield
    except BenchError as error:
        typer.echo(f"penstock: {one_line(' '.join(str(error).split()))}", err=True)
        raise typer.Exit(1) from None


def check_writable(*paths: Path | None) -> None:
    """Refuse before a long run what would fail only after it."""
    files = [path for path in paths if path is not None]
    for path in files:
        folder = path.absolute().parent
        if not folder.is_dir():
            raise typer.BadParameter(f"{folder} is not a folder", param_hint=f"'{path}'")
        if path.is_dir():
            raise typer.BadParameter(f"{path} is a folder, not a file", param_hint=f"'{path}'")
        _try_to_write(path)
    # A device, such as /dev/stdout, may take several.
    places = [path.resolve() for path in files if path.is_file() or not path.exists()]
    if len(set(places)) < len(places):
        raise typer.BadParameter(
            "two reports in one file: the second would replace the first",
            param_hint=f"'{files[-1]}'",
        )


def _try_to_write(path: Path) -> None:
    # Permissions are not all that counts, and nothing at all for root: it is tried.
    new = not path.exists()
    try:
        with path.open("ab"):
            pass
        if new:
            path.resolve().unlink()
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be written: {error.strerror}", param_hint=f"'{path}'"
        ) from None


def teller(*, quiet: bool) -> Callable[[str], None]:
    """Give what tells a line of progress; nothing when it is to be quiet."""
    return (lambda _: None) if quiet else partial(typer.echo, err=True)


def made_now() -> tuple[str, str]:
    """Give the moment and the command line, for a report."""
    command = shlex.join(["penstock", *sys.argv[1:]])
    return datetime.now(UTC).isoformat(timespec="seconds"), command


def finish(report: "Report", *, json: Path | None, html: Path | None) -> None:
    """Show the report, write it where wished, and exit with 1 when it has faults."""
    from penstock.bench.report.html import render_html  # noqa: PLC0415
    from penstock.bench.report.text import one_line, render_text  # noqa: PLC0415

    typer.echo(render_text(report))
    told = list(report.faults)
    if json is not None:
        told += write(json, report.model_dump_json(by_alias=True, indent=2) + "\n")
    if html is not None:
        told += write(html, render_html(report))
    for fault in told:
        typer.echo(f"penstock: {one_line(fault)}", err=True)
    if told:
        raise typer.Exit(1)


def write(path: Path, text: str) -> list[str]:
    """Write a file, and give what is to be told when that was not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        return [f"{path} could not be written: {error.strerror}"]
    return []
