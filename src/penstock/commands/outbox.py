"""`penstock outbox …`: the finals that a running service has not delivered yet."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.commands.admin_link import AdminLink, Token, Url, uuid_option
from penstock.commands.options import Config, DataDir, Dev, Json
from penstock.commands.output import print_json, print_table
from penstock.engine.policy_editions import spelled_out
from penstock.errors import StartupError
from penstock.http.operations.outbox import PREFIX

app = typer.Typer(
    help="See the finals of a running service that are not delivered yet, and have those tried "
    "again that it has given up, as a platform admin. "
    "The token is --token, else PENSTOCK_TOKEN, else one minted with the configured secret."
)


@app.command("list")
def list_deliveries(
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many to show.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="UUID", help="Begin behind this session.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show what waits for the blob store or for Core, how often it was tried, and why it failed."""
    query = {
        "limit": limit,
        "dead": "true" if dead else None,
        "after": None if after is None else uuid_option("--after", after),
    }
    document = AdminLink(url, token, dev, data_dir, config).ask("GET", PREFIX, query=query)
    if as_json:
        print_json(document)
        return
    oldest = document["oldest_pending_at"]
    since = "" if oldest is None else f", the oldest since {oldest}"
    typer.echo(f"{document['pending']} on their way{since}; {document['dead']} given up")
    if document["deliveries"]:
        columns = ("Session", "State", "Waits for", "Ended", "Attempts", "Next", "Why")
        print_table(columns, [_cells(delivery) for delivery in document["deliveries"]])
    if document["after"] is not None:
        typer.echo(f"there are more: --after {document['after']}")


@app.command("retry")
def retry(
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="The session's id.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Have deliveries tried again that were given up: one session's, or all. It is audited."""
    if (session is None) != everything:
        raise StartupError("SESSION or --all: give one of them")
    body = {} if session is None else {"session_id": uuid_option("SESSION", session)}
    link = AdminLink(url, token, dev, data_dir, config)
    document = link.ask("POST", f"{PREFIX}/retry", body=body)
    if as_json:
        print_json(document)
    else:
        typer.echo(f"{document['retried']} are tried again; penstock outbox list shows how it goes")


def _cells(delivery: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        delivery["session_id"],
        delivery["state"],
        delivery["waits_for"],
        delivery["ended_at"],
        str(delivery["attempts"]),
        delivery["next_attempt_at"] or "",
        # It is what a store or another service said.
        spelled_out(delivery["error"] or ""),
    )
