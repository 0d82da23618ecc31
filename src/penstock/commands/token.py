"""`penstock token …`: mint the tokens that clients and operators present."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from penstock.commands.durations import read_seconds
from penstock.commands.options import Config, DataDir, Dev, settings_in_force
from penstock.dev import DEV_SECRETS_FILE, ensure_dev_secrets
from penstock.engine.sync.kinds import key_fault
from penstock.errors import StartupError
from penstock.http.roles import Role
from penstock.jwts import mint_service_jwt, mint_user_jwt
from penstock.settings import Settings, secret_bytes

app = typer.Typer(
    help="Mint tokens with the configured secrets. Each command prints the bare token."
)

Ttl = Annotated[
    str,
    typer.Option(metavar="TIME", help="How long it is valid: seconds, or such as 90s, 15m, 2h."),
]
SessionId = Annotated[str, typer.Option(metavar="UUID", help="The exercise session's id.")]
PrincipalId = Annotated[str, typer.Option(metavar="UUID", help="The person's id.")]
OrgId = Annotated[str, typer.Option(metavar="UUID", help="The organisation's id.")]


@app.command("session")
def session(
    *,
    session_id: SessionId,
    principal_id: PrincipalId,
    org_id: OrgId,
    ttl: Ttl = "2h",
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Mint the token with which a client sends one session's batches."""
    from penstock.http.session_tokens import mint_session_token  # noqa: PLC0415  pulls in the front

    lifetime = read_seconds("--ttl", ttl)
    ids = {
        "session_id": _uuid("--session-id", session_id),
        "principal_id": _uuid("--principal-id", principal_id),
        "org_id": _uuid("--org-id", org_id),
    }
    secret, _, _ = _secret("session_secret", dev=dev, data_dir=data_dir, config=config)
    now = int(time.time())
    typer.echo(mint_session_token(secret, **ids, issued_unix=now, expires_unix=now + lifetime))


@app.command("user")
def user(
    *,
    principal_id: PrincipalId,
    org_id: OrgId,
    role: Annotated[Role, typer.Option(help="Whom the token speaks for.")],
    consent_level: Annotated[
        int, typer.Option(min=0, max=3, help="How much telemetry the person consents to.")
    ] = 0,
    ttl: Ttl = "2h",
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Mint a JWT that speaks for one person in one organisation."""
    lifetime = read_seconds("--ttl", ttl)
    principal, org = _uuid("--principal-id", principal_id), _uuid("--org-id", org_id)
    secret, issuer, audience = _secret("user_jwt_secret", dev=dev, data_dir=data_dir, config=config)
    now = int(time.time())
    typer.echo(
        mint_user_jwt(
            secret,
            principal_id=principal,
            org_id=org,
            role=role,
            consent_level=consent_level,
            issuer=issuer,
            audience=audience,
            issued_unix=now,
            expires_unix=now + lifetime,
        )
    )


@app.command("service")
def service(
    *, ttl: Ttl = "2h", dev: Dev = False, data_dir: DataDir = None, config: Config = None
) -> None:
    """Mint a JWT for calls from another service to this one."""
    lifetime = read_seconds("--ttl", ttl)
    secret, issuer, audience = _secret(
        "service_jwt_secret", dev=dev, data_dir=data_dir, config=config
    )
    now = int(time.time())
    typer.echo(
        mint_service_jwt(
            secret,
            issuer=issuer,
            audience=audience,
            issued_unix=now,
            expires_unix=now + lifetime,
        )
    )


@app.command("device")
def device(
    *,
    user_id: Annotated[str, typer.Option(metavar="ID", help="The user's id.")],
    device_id: Annotated[str, typer.Option(metavar="ID", help="The device's id.")],
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Mint the token with which a device syncs, until it is revoked.

    Only its digest is kept, in the ledger: it cannot be shown again.
    """
    from penstock.device_tokens import mint_stored_token  # noqa: PLC0415  pulls in the front
    from penstock.engine.sync.records import DeviceIdentity  # noqa: PLC0415

    user, owned = _key("--user-id", user_id), _key("--device-id", device_id)
    settings = _settings((), dev=dev, data_dir=data_dir, config=config)
    typer.echo(mint_stored_token(settings, DeviceIdentity(user, owned)))


@app.command("revoke-device")
def revoke_device(
    *,
    user_id: Annotated[str, typer.Option(metavar="ID", help="The user's id.")],
    device_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this device's tokens.")
    ] = None,
    token_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Only the token of this id.")
    ] = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Revoke a user's device tokens; they hold for no further request. Prints how many."""
    from penstock.device_tokens import revoke_stored_tokens  # noqa: PLC0415  pulls in the front

    user = _key("--user-id", user_id)
    settings = _settings((), dev=dev, data_dir=data_dir, config=config)
    typer.echo(revoke_stored_tokens(settings, user, device_id, token_id))


def _settings(
    required: tuple[str, ...], *, dev: bool, data_dir: str | None, config: str | None
) -> Settings:
    flags = {"data_dir": data_dir, "config": config}
    settings, _ = settings_in_force(flags, dev=dev, required=required, dev_secrets=_dev_secrets)
    return settings


def _key(option: str, text: str) -> str:
    if fault := key_fault(text):
        raise StartupError(f"{option}: it {fault}")
    return text


def _secret(
    name: str, *, dev: bool, data_dir: str | None, config: str | None
) -> tuple[bytes, str, str]:
    settings = _settings((name,), dev=dev, data_dir=data_dir, config=config)
    return secret_bytes(getattr(settings, name)), settings.jwt_issuer, settings.jwt_audience


def _dev_secrets(data_dir: Path) -> Mapping[str, str]:
    # Allowed, since either may come first; but in a mistyped folder the tokens would open nothing.
    if not (data_dir / DEV_SECRETS_FILE).exists():
        typer.echo(
            f"note: no service has run in {data_dir} yet; its secrets are made now", err=True
        )
    return ensure_dev_secrets(data_dir)


def _uuid(option: str, text: str) -> str:
    # Ids are compared as text everywhere else, so only the canonical spelling leaves here.
    try:
        return str(UUID(text))
    except ValueError:
        raise StartupError(f"{option}: {text!r}; it must be a UUID") from None
