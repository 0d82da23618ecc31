"""What the service runs with, and where each value came from.

A flag wins over the environment, which wins over the file, which wins over the default. All that
is wrong is found in one go and told in one line each; a start never fails on the second problem
only once the first is mended.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from penstock.dev import DEV_SECRET_NAMES, ensure_dev_secrets, is_loopback
from penstock.errors import StartupError
from penstock.setting_fields import SECRET_NAMES, Settings, allowed, is_live
from penstock.setting_sources import (
    PREFIX,
    Layer,
    from_environment,
    from_file,
    from_flags,
    from_foreign,
)
from penstock.setting_types import MIN_SECRET_BYTES

__all__ = [
    "DEFAULT_SOURCE",
    "DEV_SOURCE",
    "SECRET_NAMES",
    "Settings",
    "SettingsError",
    "allowed",
    "is_live",
    "load_settings",
    "missing_secrets",
    "secret_bytes",
    "shown",
]

DEFAULT_SOURCE = "default"
DEV_SOURCE = "generated (dev)"

_LONGEST_SHOWN = 80

_AT_MOST = (
    # A secret that is rotated out must not take tokens with it that still hold.
    ("session_token_ttl_seconds", "session_secret_overlap_seconds"),
    # What is fresh is not stale.
    ("consent_ttl_seconds", "consent_stale_seconds"),
    # By its final it is known that a session has ended, as long as a token of it holds,
    ("session_secret_overlap_seconds", "finals_max_age_seconds"),
    ("provisional_keep_seconds", "finals_max_age_seconds"),
    # and whose its replay is.
    ("blob_max_age_seconds", "finals_max_age_seconds"),
)


class SettingsError(StartupError):
    """The settings cannot be used; one line a problem."""


def load_settings(
    flags: Mapping[str, object],
    *,
    environ: Mapping[str, str],
    cwd: Path,
    dev: bool,
    required: Collection[str] | None = None,
    dev_secrets: Callable[[Path], Mapping[str, str]] = ensure_dev_secrets,
) -> tuple[Settings, Mapping[str, str]]:
    """Give the settings in force and the source of each, or raise SettingsError.

    `required` names the secrets that this command cannot do without; None: those of the service.
    `dev_secrets` says how a command with --dev comes by them (one that only looks must not make
    any).
    """
    problems: list[str] = []
    given: Layer = {
        **from_file(flags, environ, cwd=cwd, problems=problems),
        **from_foreign(environ),
        **from_environment(environ, cwd=cwd, problems=problems),
        **from_flags(flags),
    }
    values = {name: entry.value for name, entry in given.items()}
    settings, bad = _validated(values, given, problems)
    problems += _contradictions(settings, given, bad, cwd=cwd, dev=dev)
    sources = {
        name: given[name].source if name in given else DEFAULT_SOURCE
        for name in Settings.model_fields
    }
    if dev and not problems:
        missing = [name for name in DEV_SECRET_NAMES if getattr(settings, name) is None]
        made = dev_secrets(cwd / settings.data_dir) if missing else {}
        generated = {name: made[name] for name in missing if name in made}
        settings = Settings.model_validate(values | generated)
        sources |= dict.fromkeys(generated, DEV_SOURCE)
    if not dev:
        problems += [_how_to_set(name) for name in missing_secrets(settings, required, spoilt=bad)]
    if problems:
        raise SettingsError(*problems)
    return settings, sources


def missing_secrets(
    settings: Settings, required: Collection[str] | None = None, *, spoilt: Collection[str] = ()
) -> list[str]:
    """Name the secrets that are required and not set; None: what a service does not start without.

    People's JWTs are signed by an identity provider or with the user secret, so one of the two must
    be there; from the user secret another one follows, which is asked for where there is none.
    Settings that are `spoilt` are given, though as something that cannot be used.
    """

    def given(name: str) -> bool:
        return name in spoilt or getattr(settings, name) is not None

    if required is None:
        alone = given("jwks_url") and not given("user_jwt_secret")
        of_people = "actor_hash_secret" if alone else "user_jwt_secret"
        required = ("session_secret", of_people, "service_jwt_secret")
    return [name for name in required if not given(name)]


def secret_bytes(secret: SecretStr) -> bytes:
    """Give a secret as the key that signs."""
    return secret.get_secret_value().encode()


def shown(settings: Settings, name: str) -> str | int | float | bool | list[str] | None:
    """Give a setting's value as it may be shown and as JSON can hold it: secrets masked."""
    value = getattr(settings, name)
    if name in SECRET_NAMES:
        return "not set" if value is None else f"set ({len(value)} characters)"
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _validated(
    values: Mapping[str, object], given: Layer, problems: list[str]
) -> tuple[Settings, set[str]]:
    # What is wrong is left out, so that the rest can still be checked against each other.
    try:
        return Settings.model_validate(values), set()
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
    bad: set[str] = set()
    for detail in details:
        name = str(detail["loc"][0])
        if name not in bad:
            bad.add(name)
            problems.append(_misfit(name, given[name].value, given[name].source, dict(detail)))
    return Settings.model_validate({n: v for n, v in values.items() if n not in bad}), bad


def _misfit(name: str, value: object, source: str, detail: Mapping[str, Any]) -> str:
    reason = detail.get("ctx", {}).get("error", "") if detail["type"] == "value_error" else ""
    if name in SECRET_NAMES:
        seen = f"{reason or 'is no text'} (its value is not shown)"
    else:
        text = repr(value)
        text = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
        seen = f"{text} {reason}" if reason else text
    return f"{name}: {seen}; it must be {allowed(name)} (from {source})"


def _contradictions(
    settings: Settings, given: Layer, bad: Collection[str], *, cwd: Path, dev: bool
) -> list[str]:
    """Find what is wrong between settings that are right one by one."""
    lines: list[str] = []

    def source(name: str) -> str:
        return given[name].source if name in given else DEFAULT_SOURCE

    def usable(*names: str) -> bool:
        return not any(name in bad for name in names)

    tls = {"tls_cert": settings.tls_cert, "tls_key": settings.tls_key}
    if usable(*tls) and len({path is None for path in tls.values()}) > 1:
        there, absent = sorted(tls, key=lambda name: tls[name] is None)
        lines.append(
            f"{absent}: not set, while {there} is (from {source(there)}); set both or none"
        )
    lines += [
        f"{name}: {str(path)!r} is not a file (from {source(name)})"
        for name, path in tls.items()
        if path is not None and not (cwd / path).is_file()
    ]
    previous = settings.session_secret_previous
    if previous is not None and settings.session_secret == previous:
        lines.append(
            "session_secret_previous: is the same as session_secret; it must be the secret "
            f"before the last rotation, or not set (from {source('session_secret_previous')})"
        )
    if (
        usable("shutdown_notice_seconds", "shutdown_seconds")
        and settings.shutdown_notice_seconds >= settings.shutdown_seconds
    ):
        lines.append(
            f"shutdown_notice_seconds: {settings.shutdown_notice_seconds:g}; it must be less than "
            f"shutdown_seconds, {settings.shutdown_seconds:g} "
            f"(from {source('shutdown_notice_seconds')})"
        )
    if (
        settings.runs_auth_enabled
        and settings.runs_auth_token is None
        and usable("runs_auth_token")
    ):
        lines.append(
            "runs_auth_token: not set, while runs_auth_enabled is "
            f"(from {source('runs_auth_enabled')}); set both or none"
        )
    lines += _orders(settings, usable, source)
    if dev and usable("host") and not is_loopback(settings.host):
        lines.append(
            f"host: {settings.host!r}; with --dev it must be a loopback address such as 127.0.0.1 "
            f"or localhost, since its secrets and consents protect nobody (from {source('host')})"
        )
    return lines


def _orders(
    settings: Settings, usable: Callable[..., bool], source: Callable[[str], str]
) -> list[str]:
    """Find limits that contradict one another."""
    lines = []
    for lesser, greater in _AT_MOST:
        low, high = getattr(settings, lesser), getattr(settings, greater)
        if usable(lesser, greater) and None not in (low, high) and low > high:
            lines.append(
                f"{lesser}: {low:g}; it must be at most {greater}, {high:g} (from {source(lesser)})"
            )
    finals, blobs = "finals_max_age_seconds", "blob_max_age_seconds"
    unset = settings.finals_max_age_seconds is None, settings.blob_max_age_seconds is None
    if usable(finals, blobs) and unset == (False, True):
        lines.append(
            f"{finals}: it is set while {blobs} is not; without its final nobody could tell whose "
            f"a replay is, so set both (from {source(finals)})"
        )
    return lines


def _how_to_set(name: str) -> str:
    variable = PREFIX + name.upper()
    return (
        f"{name}: not set; set {variable} or {variable}_FILE to a secret of at least "
        f"{MIN_SECRET_BYTES} bytes, made by `openssl rand -hex 32` or "
        '`python3 -c "import secrets; print(secrets.token_hex(32))"` (for trying out: --dev)'
    )
