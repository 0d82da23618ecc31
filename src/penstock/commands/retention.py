"""`penstock retention …`: what a running service keeps for how long, and what went for it."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.commands.admin_link import AdminLink, Token, Url
from penstock.commands.options import Config, DataDir, Dev, Json
from penstock.commands.output import print_json, print_table
from penstock.engine.policy_editions import spelled_out
from penstock.http.operations.retention import PREFIX

app = typer.Typer(
    help="See what a running service keeps for how long, and have it look at once, as a platform "
    "admin. "
    "The token is --token, else PENSTOCK_TOKEN, else one minted with the configured secret."
)

_LOOK_SECONDS = 0.2


@app.command("show")
def show(
    *,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show the limits in force and the newest run."""
    document = AdminLink(url, token, dev, data_dir, config).ask("GET", PREFIX)
    _print(document, as_json=as_json)


@app.command("run")
def run(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be removed.")
    ] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Remove what is older or larger than the settings let it be, and wait for the end of that.

    The service does so by itself each hour. Interrupting this leaves the run to go on.
    """
    link = AdminLink(url, token, dev, data_dir, config)
    document = link.ask("POST", PREFIX, body={"dry_run": dry_run})
    number = document["run"]["number"]
    while document["run"]["number"] == number and document["run"]["state"] == "running":
        time.sleep(_LOOK_SECONDS)
        document = link.ask("GET", PREFIX)
    _print(document, as_json=as_json)
    if document["run"]["state"] == "stopped":
        raise typer.Exit(1)


def _print(document: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    rules = {name: limit for name, limit in document["rules"].items() if limit is not None}
    if rules:
        print_table(("Limit", "Value"), [(name, f"{value:g}") for name, value in rules.items()])
    else:
        typer.echo("no limit is set: nothing is removed")
    done = document["run"]
    if done is None:
        typer.echo("no run yet")
        return
    kind = "dry run" if done["dry_run"] else "run"
    typer.echo(f"{kind} of {done['started_at']}: {done['state']}; {_removed(done)}")
    if done["stopped"] is not None:
        typer.echo(f"stopped: {spelled_out(done['stopped'])}")


def _removed(done: Mapping[str, Any]) -> str:
    parts = []
    if (blobs := done["blobs"]) is not None:
        parts.append(
            f"{blobs['removed']} of {blobs['found']} replays "
            f"({blobs['removed_bytes']} of {blobs['found_bytes']} bytes)"
        )
    if done["finals"] is not None:
        parts.append(f"finals of {done['finals']} sessions")
    if done["audits"] is not None:
        parts.append(f"{done['audits']} audit entries")
    verb = "would be removed" if done["dry_run"] else "removed"
    return f"{', '.join(parts) or 'nothing'} {verb}"
