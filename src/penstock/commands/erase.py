"""`penstock erase`: everything that a running service keeps of a person is removed."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.commands.admin_link import AdminLink, Token, Url, uuid_option
from penstock.commands.options import Config, DataDir, Dev, Json
from penstock.commands.output import print_json
from penstock.http.operations.erasures import ERASE, ERASURES

_LOOK_SECONDS = 0.2


def erase(
    *,
    principal_id: Annotated[str, typer.Option(metavar="UUID", help="Whose data it is.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be removed.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also cut off sessions that have not ended.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is done.")] = True,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Remove everything that is kept of a person: ledger, spool and replays, for good.

    Once it is ordered it is carried out, also after a crash; asking again shows how far it is. The
    token is --token, else PENSTOCK_TOKEN, else one minted with the configured secret.
    """
    link = AdminLink(url, token, dev, data_dir, config)
    body = {"principal_id": uuid_option("--principal-id", principal_id)}
    if dry_run:
        found = link.ask("POST", ERASE, body={**body, "dry_run": True})
        if as_json:
            print_json(found)
        else:
            typer.echo(
                f"{found['live_sessions']} sessions that have not ended; in the ledger "
                f"{found['ledger_rows']} rows, of {found['ledger_sessions']} sessions with their "
                "replays; nothing was removed"
            )
        return
    document = link.ask("POST", ERASE, body={**body, "force": force})
    path = f"{ERASURES}/{document['erasure']['erasure_id']}"
    while wait and document["erasure"]["state"] != "done":
        time.sleep(_LOOK_SECONDS)
        document = link.ask("GET", path)
    if as_json:
        print_json(document)
    else:
        typer.echo(_told(document["erasure"]))


def _told(erasure: Mapping[str, Any]) -> str:
    state = "done" if erasure["state"] == "done" else "under way"
    return (
        f"erasure {erasure['erasure_id']} {state}: {erasure['sessions']} sessions, "
        f"{erasure['rows']} rows, {erasure['blobs']} replays, {erasure['files']} files removed, "
        f"{erasure['audits']} audit entries and {erasure['texts']} texts of others without the name"
    )
