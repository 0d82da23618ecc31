"""The way from a command to a running service, as a platform admin: where it is, and by what token.

The token is --token, else PENSTOCK_TOKEN, else one minted with the configured secret.
"""

import getpass
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import NAMESPACE_URL, UUID, uuid5

import typer

from penstock.admin_client import AdminClient, ServiceUnavailableError
from penstock.commands.options import settings_in_force
from penstock.dev import read_dev_secrets
from penstock.errors import StartupError
from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt
from penstock.setting_sources import TOKEN_VARIABLE
from penstock.settings import Settings, secret_bytes

_MINTED_SECONDS = 300
_NO_ORG = str(UUID(int=0))

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The service. Default: the configured host and port on this machine."
    ),
]
Token = Annotated[str | None, typer.Option(metavar="JWT", help="A platform admin's user token.")]


@dataclass(slots=True)
class AdminLink:
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
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask the service; a problem of its own ends the command with 1."""
        if self.client is None:
            self.client = self._open()
        try:
            return self.client.ask(method, path, query=query, body=body)
        except ServiceUnavailableError as error:
            typer.echo(f"penstock: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from None

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


def uuid_option(option: str, text: str) -> str:
    """Give an id in its one spelling; StartupError names the option where it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise StartupError(f"{option}: {text!r}; it must be a UUID") from None


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
