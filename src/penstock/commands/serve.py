"""`penstock serve`: run the service until it is told to stop."""

import errno
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Annotated

import trio
import typer

from penstock.commands.options import Config, DatabaseUrl, DataDir, Dev, settings_in_force
from penstock.errors import StartupError

_CANNOT_LISTEN = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="TCP port to listen on; 0 takes a free one.")
    ] = None,
    data_dir: DataDir = None,
    blob_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where replays go: a folder, s3://, gs:// or az://."),
    ] = None,
    database_url: DatabaseUrl = None,
    surfaces: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Groups of routes to serve, separated by commas."),
    ] = None,
    dev: Dev = False,
    config: Config = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning, error or critical.")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="auto, json or console.")
    ] = None,
) -> None:
    """Run the service until SIGTERM or SIGINT, then finish what was accepted and exit.

    Every setting can also come from the environment (PENSTOCK_<NAME>) or a settings file; a flag
    wins. `penstock config` shows what is in force. Exit code 2 means that the start was refused.
    """
    flags = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "blob_url": blob_url,
        "database_url": database_url,
        "surfaces": surfaces,
        "config": config,
        "log_level": log_level,
        "log_format": log_format,
    }
    settings, sources = settings_in_force(flags, dev=dev, required=None)
    # Here and not above: the other commands need neither the server nor its second of imports.
    from penstock.service import run_service  # noqa: PLC0415

    try:
        trio.run(partial(run_service, settings, sources, dev=dev))
    except (Exception, BaseExceptionGroup) as error:
        refusals = [_refusal(leaf, settings.host, settings.port) for leaf in leaves(error)]
        if () in refusals:
            raise
        raise StartupError(*dict.fromkeys(chain.from_iterable(refusals))) from None


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Split exception groups, however deep, into what really happened."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from leaves(part)
    else:
        yield error


def _refusal(error: BaseException, host: str, port: int) -> tuple[str, ...]:
    """Put an expected reason not to start into lines; none for anything else."""
    if isinstance(error, StartupError):
        return error.lines
    if isinstance(error, OSError) and error.errno in _CANNOT_LISTEN and error.filename is None:
        return (f"cannot listen on {host} port {port}: {error.strerror}",)
    return ()
