"""`penstock policy …`: see and change the drop policy of a running service."""

import getpass
import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, UUID, uuid5

import typer

from penstock.admin_client import AdminClient, ServiceUnavailableError
from penstock.commands import policy_tables as tables
from penstock.commands.durations import read_seconds
from penstock.commands.options import Config, DataDir, Dev, Json, settings_in_force
from penstock.commands.output import print_json
from penstock.dev import read_dev_secrets
from penstock.errors import StartupError
from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt
from penstock.setting_sources import TOKEN_VARIABLE
from penstock.settings import Settings, secret_bytes

app = typer.Typer(
    help="See and change the drop policy of a running service, as a platform admin. "
    "The token is --token, else PENSTOCK_TOKEN, else one minted with the configured secret."
)

PATH = "/v1/admin/policy"
_MINTED_SECONDS = 300
_NO_ORG = str(UUID(int=0))
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?", re.IGNORECASE)

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The service. Default: the configured host and port on this machine."
    ),
]
Token = Annotated[str | None, typer.Option(metavar="JWT", help="A platform admin's user token.")]
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
    _print(link.ask("GET", query=query), shown, as_json=as_json)


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
        "set": _read_knobs(knobs or ()),
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
    document = link.ask("GET", "/history", query={"scope": scope, "limit": limit})
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
    document = link.ask("GET", f"/sessions/{session_id}", query={"limit": limit})
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
    body = {"set": _read_knobs(knobs or ()), "reason": reason}
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
    _print_change(link.ask("DELETE", _candidate(name), query=query), as_json=as_json)


@dataclass(slots=True)
class _Link:
    """The way to the service, as the options say."""

    url: str | None
    token: str | None
    dev: bool
    data_dir: str | None
    config: str | None
    client: AdminClient | None = None

    def ask(
        self,
        method: str,
        path: str = "",
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask the service; a problem of its own ends the command with 1."""
        if self.client is None:
            self.client = self._open()
        try:
            return self.client.ask(method, PATH + path, query=query, body=body)
        except ServiceUnavailableError as error:
            typer.echo(f"penstock: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from None

    def revision(self) -> int:
        """Read the revision that a change is to be made on."""
        return int(self.ask("GET", "/history", query={"limit": 1})["revision"])

    def change(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a change on the book as it is now."""
        return self.ask(method, path, body={"revision": self.revision(), **body})

    def _open(self) -> AdminClient:
        # A flag wins over the environment, here as everywhere.
        token = self.token or (None if self.dev else os.environ.get(TOKEN_VARIABLE)) or None
        if token is not None and self.url is not None:
            return AdminClient(self.url, token)
        settings, _ = settings_in_force(
            {"data_dir": self.data_dir, "config": self.config},
            dev=self.dev,
            required=(),
            dev_secrets=self._dev_secrets,
        )
        return AdminClient(self.url or _address(settings), token or _mint(settings))

    def _dev_secrets(self, data_dir: Path) -> Mapping[str, str]:
        found = read_dev_secrets(data_dir)
        if not found:
            raise StartupError(
                f"--dev: no service has run in {data_dir} yet; give its --data-dir, or a --token"
            )
        return found


def _address(settings: Settings) -> str:
    """Give the URL at which this machine reaches the service of these settings."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port or 8080}"


def _mint(settings: Settings) -> str:
    """Sign for whoever runs the command; the same person on the same machine is the same author."""
    if settings.user_jwt_secret is None:
        raise StartupError(
            f"user_jwt_secret: not set, so no token can be minted; give a --token or set "
            f"{TOKEN_VARIABLE} (beside a service that runs with --dev: --dev)"
        )
    try:
        person = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        person = str(os.getuid())
    now = int(time.time())
    return mint_user_jwt(
        secret_bytes(settings.user_jwt_secret),
        principal_id=str(uuid5(NAMESPACE_URL, f"penstock:{person}@{socket.gethostname()}")),
        org_id=_NO_ORG,
        role=Role.PLATFORM_ADMIN,
        consent_level=0,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        issued_unix=now,
        expires_unix=now + _MINTED_SECONDS,
    )


def _read_knobs(given: Sequence[str]) -> dict[str, int | float | str]:
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
