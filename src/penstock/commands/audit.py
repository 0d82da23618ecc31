"""`penstock audit`: whether the audit is whole, and as it was written."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import trio
import typer

from penstock.commands.ledger_errors import telling_ledger_errors
from penstock.commands.options import Config, DatabaseUrl, DataDir, Json, settings_in_force
from penstock.commands.output import print_json
from penstock.errors import StartupError

if TYPE_CHECKING:
    from penstock.settings import Settings

_PAGE = 1000

app = typer.Typer(help="The audit: who did what to whom.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Keep `verify` a command of its own, also while it is the only one."""


@app.command()
def verify(
    *,
    noted: Annotated[
        str | None,
        typer.Option(
            "--noted",
            metavar="LINK:HASH",
            help="A link as an earlier run printed it: the chain must still have it.",
        ),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Follow the chain of audit entries from its first link to its last.

    Exit code 0 when it holds, 1 when an entry was changed, taken out or put in; what is wrong is
    told by its link. A chain that was written anew as a whole holds by itself: note the last link
    and its hash elsewhere, and give them with --noted the next time. The service may run.
    """
    settings, _ = settings_in_force(
        {"data_dir": data_dir, "database_url": database_url, "config": config},
        dev=False,
        required=(),
    )
    told = _read_noted(noted)
    with telling_ledger_errors():
        found = trio.run(partial(_verify, settings, told))
    if as_json:
        print_json(found)
    elif found["holds"]:
        typer.echo(
            f"the audit's chain holds: {found['entries']} entries, "
            f"{found['redacted']} of them redacted by erasures; "
            f"last link {found['link']}:{found['hash']}"
        )
    else:
        typer.echo(f"the audit's chain breaks at link {found['break_at']}: {found['why']}")
    if not found["holds"]:
        raise typer.Exit(1)


async def _verify(settings: "Settings", noted: tuple[int, str] | None) -> dict[str, Any]:
    from penstock.engine.platform.audit_chain import ChainReader  # noqa: PLC0415 - as above
    from penstock.engine.platform.records import AuditChainOf, AuditLinks  # noqa: PLC0415
    from penstock.ledgers import LEDGER_FILE, open_ledger  # noqa: PLC0415

    path = settings.data_dir / LEDGER_FILE
    if settings.database_url is None and not await trio.Path(path).exists():
        raise StartupError(f"there is no ledger: {path} does not exist")
    async with open_ledger(settings) as ledger:
        chain = await ledger.read(AuditChainOf())
        reader = ChainReader(chain, noted)
        broken = None
        while broken is None and (links := await ledger.read(AuditLinks(reader.link, _PAGE))):
            broken = reader.follow(links)
        broken = broken or reader.conclude()
    return {
        "holds": broken is None,
        "entries": reader.link - chain.removed_links,
        "removed_by_age": chain.removed_links,
        "redacted": reader.redacted,
        "link": reader.link,
        "hash": reader.hash,
        "break_at": None if broken is None else broken.link,
        "why": None if broken is None else broken.why,
    }


def _read_noted(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    link, _, found = text.partition(":")
    hexadecimal = len(found) == 64 and all(character in "0123456789abcdef" for character in found)
    if not (link.isascii() and link.isdigit() and len(link) < 19 and hexadecimal):
        raise StartupError(f"--noted: {text!r:.100}; it must be a link and its hash, as printed")
    return int(link), found
