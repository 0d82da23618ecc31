"""`penstock policy …`: see and change the drop policy of a running service."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import typer

from penstock.commands import policy_tables as tables
from penstock.commands.admin_link import AdminLink, Token, Url
from penstock.commands.durations import read_seconds
from penstock.commands.options import Config, DataDir, Dev, Json
from penstock.commands.output import print_json
from penstock.errors import StartupError

app = typer.Typer(
    help="See and change the drop policy of a running service, as a platform admin. "
    "The token is --token, else PENSTOCK_TOKEN, else one minted with the configured secret."
)

PATH = "/v1/admin/policy"
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?", re.IGNORECASE)

Org = Annotated[str | None, typer.Option(metavar="UUID", help="Only of this organisation.")]
Session = Annotated[str | None, typer.Option(metavar="UUID", help="Only of this session.")]
Reason = Annotated[str, typer.Option(help="Why, for those who read the history.")]
Limit = Annotated[int, typer.Option(min=1, help="How many entries to show.")]
Knobs = Annotated[
    list[str] | None,
    typer.Argument(metavar="KNOB=VALUE...", help="The knobs to set."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The candidate's name.")]


@app.command("show")
def show(
    *,
    org: Org = None,
    session: Session = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show what is in force, where each knob comes from, the candidates, and the pressure.

    With --org or --session: the merged policy of one organisation or session.
    """
    link = _Link(url, token, dev, data_dir, config)
    query = {"org_id": _uuid("--org", org), "session_id": _uuid("--session", session)}
    shown = tables.show_session if org or session else tables.show_state
    _print(link.look("GET", query=query), shown, as_json=as_json)


@app.command("set")
def set_knobs(
    knobs: Knobs = None,
    *,
    reason: Reason,
    clear: Annotated[
        list[str] | None,
        typer.Option(metavar="KNOB", help="A knob to give up; may be given several times."),
    ] = None,
    org: Org = None,
    session: Session = None,
    lasting: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Until when: seconds, or such as 90s, 15m, 2h."),
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Set knobs, for everybody or for one organisation or session; effective at once."""
    body: dict[str, Any] = {
        "scope": _scope(org, session),
        "set": read_knobs(knobs or ()),
        "clear": clear or [],
        "reason": reason,
    }
    if lasting is not None:
        body["expires_in_seconds"] = read_seconds("--for", lasting)
    link = _Link(url, token, dev, data_dir, config)
    _print_change(link.change("PATCH", "", body), as_json=as_json)


@app.command("revert")
def revert(
    *,
    reason: Reason,
    org: Org = None,
    session: Session = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Undo the last edit, of the global policy or of one organisation or session."""
    link = _Link(url, token, dev, data_dir, config)
    body = {"scope": _scope(org, session), "reason": reason}
    _print_change(link.change("POST", "/revert", body), as_json=as_json)


@app.command("history")
def history(
    *,
    org: Org = None,
    session: Session = None,
    limit: Limit = 20,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show who changed what, when and why, newest first."""
    scope = _scope(org, session) if org or session else None
    link = _Link(url, token, dev, data_dir, config)
    document = link.look("GET", "/history", {"scope": scope, "limit": limit})
    _print(document, tables.show_history, as_json=as_json)


@app.command("explain")
def explain(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    *,
    limit: Limit = 20,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show a session's policy, what it lost of what budget, and what was decided about it.

    While it is live, every decision about it is kept from then on for ten minutes: ask again to
    see more.
    """
    session_id = _uuid("SESSION", session)
    link = _Link(url, token, dev, data_dir, config)
    document = link.look("GET", f"/sessions/{session_id}", {"limit": limit})
    _print(document, tables.show_explanation, as_json=as_json)


@app.command("propose")
def propose(
    name: Name,
    knobs: Knobs = None,
    *,
    reason: Reason,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Try a candidate beside the global policy: what it would do is counted, and nothing else.

    `penstock policy show` has the counts. Up to three at a time.
    """
    link = _Link(url, token, dev, data_dir, config)
    body = {"set": read_knobs(knobs or ()), "reason": reason}
    _print_change(link.change("PUT", _candidate(name), body), as_json=as_json)


@app.command("withdraw")
def withdraw(
    name: Name,
    *,
    reason: Reason,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """End a candidate, with its counts."""
    link = _Link(url, token, dev, data_dir, config)
    query = {"revision": link.revision(), "reason": reason}
    _print_change(link.look("DELETE", _candidate(name), query), as_json=as_json)


class _Link(AdminLink):
    """The way to the policy."""

    def look(
        self, method: str, path: str = "", query: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """Ask about the policy."""
        return self.ask(method, PATH + path, query=query)

    def revision(self) -> int:
        """Read the revision that a change is to be made on."""
        return int(self.look("GET", "/history", {"limit": 1})["revision"])

    def change(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a change on the book as it is now."""
        return self.ask(method, PATH + path, body={"revision": self.revision(), **body})


def read_knobs(given: Sequence[str]) -> dict[str, int | float | str]:
    """Read knob=value pairs. What is allowed, the service says; numbers are numbers here."""
    found: dict[str, int | float | str] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise StartupError(f"{pair!r}: it must be KNOB=VALUE")
        if name in found:
            raise StartupError(f"{name}: it is given twice")
        if _INTEGER.fullmatch(text):
            found[name] = int(text)
        else:
            found[name] = float(text) if _NUMBER.fullmatch(text) else text
    return found


def _scope(org: str | None, session: str | None) -> str:
    if org is not None and session is not None:
        raise StartupError("--org and --session: give one of them, a change is of one scope")
    if org is not None:
        return f"org:{_uuid('--org', org)}"
    return "global" if session is None else f"session:{_uuid('--session', session)}"


def _uuid(option: str, text: str | None) -> str | None:
    # Ids are compared as text everywhere else, so only the canonical spelling leaves here.
    try:
        return None if text is None else str(UUID(text))
    except ValueError:
        raise StartupError(f"{option}: {text!r}; it must be a UUID") from None


def _candidate(name: str) -> str:
    return f"/candidates/{quote(name, safe='')}"


def _print(
    document: dict[str, Any], show: Callable[[Mapping[str, Any]], None], *, as_json: bool
) -> None:
    if as_json:
        print_json(document)
    else:
        show(tables.visible(document))


def _print_change(document: dict[str, Any], *, as_json: bool) -> None:
    _print(document["change"], tables.show_change, as_json=as_json)
