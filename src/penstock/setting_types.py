"""The kinds of values that settings take, each with the words that describe it to an operator."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from penstock.dev import is_loopback
from penstock.engine.platform.addresses import read_network

# HMAC-SHA256 is as strong as its key up to the size of its hash (RFC 7518, section 3.2).
MIN_SECRET_BYTES = 32
KNOWN_SURFACES = ("sessions", "core", "platform", "runs", "usage", "sync", "console")


class Allowed:
    """What a value must be, in words that complete "must be …"."""

    __slots__ = ("words",)

    def __init__(self, words: str) -> None:
        self.words = words


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _known_surfaces(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("names none")
    for name in names:
        if name not in KNOWN_SURFACES:
            raise ValueError(f"names {name!r}")
    return tuple(dict.fromkeys(names))


def _exact_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in origins and len(origins) > 1:
        raise ValueError("names '*' beside other origins")
    # Browsers send the origin in lower case, so that comparing strings is exact.
    lowered = tuple(dict.fromkeys(origin.lower() for origin in origins))
    for origin in lowered:
        if origin != "*" and not _is_origin(origin):
            raise ValueError(f"names {origin!r}")
    return lowered


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        served = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return served and "@" not in parts.netloc and text == f"{parts.scheme}://{parts.netloc}"


def _some_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("names none")
    return names


def _trusted_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if not host or parts.scheme not in {"http", "https"} or parts.username is not None:
        raise ValueError("is no http or https URL")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("could be changed on its way")
    return url


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        served = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        bare = not ("@" in parts.netloc or parts.query or parts.fragment)
    except ValueError:
        served = bare = False
    if not (served and bare):
        raise ValueError("is no such URL")
    return text.rstrip("/")


def _credential_url(text: str) -> str:
    # It is asked with credentials, which no network in between may read.
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
        served = bool(host) and parts.port != 0 and "@" not in parts.netloc and not parts.fragment
    except ValueError:
        safe = served = False
    if not (safe and served):
        raise ValueError("is no such URL")
    return text


def _networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        try:
            read_network(network)
        except ValueError:
            raise ValueError(f"names {network!r}") from None
    return networks


def _plain_path(value: object) -> object:
    if value == "":
        raise ValueError("is empty")
    # Nothing expands it outside a shell; a folder named "~" would be made instead.
    if str(value).startswith("~"):
        raise ValueError("begins with '~', which only a shell expands")
    return value


def _long_enough(secret: SecretStr) -> SecretStr:
    size = len(secret.get_secret_value().encode())
    if size < MIN_SECRET_BYTES:
        raise ValueError(f"has {size} bytes")
    return secret


def _some(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("is empty")
    return secret


def _of_postgres(url: SecretStr) -> SecretStr:
    # Nothing of it is told: what stands where it should not may be the password.
    if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("does not begin with postgresql://")
    return url


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


LOWER = BeforeValidator(_lower)

Surfaces = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    AfterValidator(_known_surfaces),
    Allowed(f"one or more of {', '.join(KNOWN_SURFACES)}, separated by commas"),
]
Origins = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    AfterValidator(_exact_origins),
    Allowed("exact origins such as https://portal.example, separated by commas, or '*' alone"),
]
ClaimNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    AfterValidator(_some_names),
    Allowed("one or more names, separated by commas"),
]
TrustedUrl = Annotated[
    str,
    AfterValidator(_trusted_url),
    Allowed("an https URL, or an http one of this machine, without a user"),
]
BaseUrl = Annotated[
    str,
    AfterValidator(_base_url),
    Allowed("a URL such as https://core.example, without credentials, query or fragment"),
]
CredentialUrl = Annotated[
    str,
    AfterValidator(_credential_url),
    Allowed("an https:// URL without credentials or fragment; http:// on loopback only"),
]
Networks = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    AfterValidator(_networks),
    Allowed("addresses or networks such as 10.0.0.0/8, separated by commas"),
]
PlainPath = Annotated[Path, BeforeValidator(_plain_path), Allowed("a path")]
Secret = Annotated[
    SecretStr, AfterValidator(_long_enough), Allowed(f"at least {MIN_SECRET_BYTES} bytes long")
]
# Of another service's making, whose clients have it already.
SharedSecret = Annotated[SecretStr, AfterValidator(_some), Allowed("a text that is not empty")]
DatabaseUrl = Annotated[
    SecretStr,
    AfterValidator(_of_postgres),
    Allowed("as in postgresql://user:password@host:5432/name, or empty for the embedded ledger"),
]
EMPTY_IS_NONE = BeforeValidator(_empty_is_none)
