"""The command line. Errors are one line each on standard error; tracebacks only with --debug.

Exit codes: 0 done, 1 found or met a problem, 2 refused for what the caller gave, 130 interrupted.
"""

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from penstock import __version__
from penstock.commands import audit, bench, outbox, policy, retention, runs, token
from penstock.commands.config import config
from penstock.commands.demo import demo
from penstock.commands.doctor import doctor
from penstock.commands.erase import erase
from penstock.commands.reference import reference
from penstock.commands.replay import replay
from penstock.commands.schema import schema
from penstock.commands.serve import leaves, serve
from penstock.commands.sync import sync
from penstock.commands.tune import tune
from penstock.errors import StartupError

app = typer.Typer(
    name="penstock",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(demo)
app.add_typer(token.app, name="token")
app.add_typer(policy.app, name="policy")
app.add_typer(runs.app, name="runs")
app.add_typer(outbox.app, name="outbox")
app.add_typer(retention.app, name="retention")
app.command()(erase)
app.add_typer(audit.app, name="audit")
app.command()(config)
app.command()(doctor)
app.command()(replay)
app.add_typer(bench.app, name="bench")
app.command()(tune)
app.command()(schema)
app.command()(sync)
app.command(hidden=True)(reference)


@dataclass(slots=True)
class _Root:
    """What the root command's options said."""

    debug: bool = False


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
) -> None:
    """Penstock takes in live exercise-session telemetry and never loses a result.

    Try it out: `penstock serve --dev`. If something is wrong: `penstock doctor`.
    """
    context.obj.debug = debug
    if version:
        typer.echo(f"penstock {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the process's exit code."""
    options = _Root()
    try:
        result = typer.main.get_command(app).main(
            args=arguments, prog_name="penstock", standalone_mode=False, obj=options
        )
    except StartupError as error:
        for line in error.lines:
            _complain(line)
        return 2
    except typer.TyperException as error:
        _complain(_usage(error))
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  the last resort, told in a line
        return _unexpected(error, debug=options.debug)
    return result if isinstance(result, int) else 0


def _unexpected(error: BaseException, *, debug: bool) -> int:
    parts = list(leaves(error))
    if all(isinstance(part, KeyboardInterrupt) for part in parts):
        return 130
    if debug:
        traceback.print_exception(error)
    hint = "" if debug else " (penstock --debug … shows where)"
    for part in parts:
        _complain(f"unexpected {type(part).__name__}: {part}{hint}")
    return 1


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "penstock"
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _complain(line: str) -> None:
    typer.echo(f"penstock: {' '.join(line.split())}", err=True)


if __name__ == "__main__":
    sys.exit(main())
