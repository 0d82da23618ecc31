"""What `--dev` stands for: a service on this machine only, with secrets nobody had to make.

The secrets are made once per data folder and kept in it, so that a token minted by
`penstock token … --dev` is one that `penstock serve --dev` accepts, whichever ran first. Secrets
that are set explicitly win over them, and a host that others can reach is refused: a generated
file is no way to keep the secret of a service that is open to a network.
"""

import ipaddress
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from penstock.errors import StartupError
from penstock.private_files import create_private

DEV_SECRETS_FILE = "dev-secrets.json"
DEV_SECRET_NAMES = ("session_secret", "user_jwt_secret", "service_jwt_secret")

_SECRET_BYTES = 32


class DevSecretsError(StartupError):
    """The file of generated secrets cannot be made or read."""


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach the host. Other names are not looked up: no."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def ensure_dev_secrets(data_dir: Path) -> Mapping[str, str]:
    """Give the data folder's generated secrets, making them first if there are none.

    Two processes may do this at once: one creates the file, both read it.
    """
    path = data_dir / DEV_SECRETS_FILE
    if not path.exists():
        made = {name: secrets.token_hex(_SECRET_BYTES) for name in DEV_SECRET_NAMES}
        try:
            create_private(path, json.dumps(made, indent=2).encode() + b"\n")
        except OSError as error:
            raise DevSecretsError(
                f"cannot write the dev secrets to {path}: {error.strerror}"
            ) from None
    return read_dev_secrets(data_dir)


def read_dev_secrets(data_dir: Path) -> Mapping[str, str]:
    """Give the data folder's generated secrets, or nothing when none have been made."""
    path = data_dir / DEV_SECRETS_FILE
    try:
        held = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DevSecretsError(f"cannot read the dev secrets {path}: {error.strerror}") from None
    except ValueError:
        held = None
    if (
        not isinstance(held, dict)
        or held.keys() != set(DEV_SECRET_NAMES)
        or not all(isinstance(secret, str) for secret in held.values())
    ):
        raise DevSecretsError(
            f"{path} is damaged; remove it, and new secrets are made at the next start with --dev"
        )
    return held
