"""Where settings come from: flags, the environment, a file. Each value remembers its source.

Unknown names are refused with the nearest known ones: a setting that is spelled wrong would
otherwise be its default, and nobody would notice until it mattered.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.setting_fields import SECRET_NAMES, Settings

PREFIX = "PENSTOCK_"
CONFIG_FILE = "penstock.toml"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
# The command line's own: the token with which `penstock policy` asks a service.
TOKEN_VARIABLE = f"{PREFIX}TOKEN"

# What another service was set by that the surface of runs takes the place of.
FOREIGN_VARIABLES: Mapping[str, str] = {
    "TELEMETRY_API_AUTH_ENABLED": "runs_auth_enabled",
    "TELEMETRY_API_AUTH_TOKEN": "runs_auth_token",
    "TELEMETRY_RATE_LIMIT_ENABLED": "runs_rate_limit_enabled",
    "TELEMETRY_RATE_LIMIT_RPM": "runs_rate_limit_rpm",
}

_NO_SETTINGS = (CONFIG_VARIABLE, TOKEN_VARIABLE)
_FILE_SUFFIX = "_file"
_SECRET_FILE_NAMES = tuple(name + _FILE_SUFFIX for name in SECRET_NAMES)
_KNOWN = (*Settings.model_fields, *_SECRET_FILE_NAMES)

# Kubernetes puts these into every pod beside a Service called "penstock".
_SERVICE_LINK = re.compile(r"PENSTOCK_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_\w+)")
_SERVICE_LINK_HINT = (
    "; Kubernetes sets it for a Service of that name: use enableServiceLinks: false"
)


@dataclass(slots=True, frozen=True)
class Given:
    """A value as it was given, and where."""

    value: object
    source: str


Layer = dict[str, Given]


def from_flags(flags: Mapping[str, object]) -> Layer:
    """Take the flags that were given; None is a flag that was not."""
    return {
        name: Given(value, f"flag --{name.replace('_', '-')}")
        for name, value in flags.items()
        if value is not None and name != "config"
    }


def from_environment(environ: Mapping[str, str], *, cwd: Path, problems: list[str]) -> Layer:
    """Take the PENSTOCK_ variables. An empty one is not set: compose files cannot unset one."""
    layer: Layer = {}
    known = {PREFIX + name.upper(): name for name in _KNOWN}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in _NO_SETTINGS or value == "":
            continue
        if variable not in known:
            # Never the value: the misspelt name may be that of a secret.
            link = _SERVICE_LINK_HINT if _SERVICE_LINK.fullmatch(variable) else ""
            hint = link or _nearest(variable.upper(), (*known, CONFIG_VARIABLE))
            problems.append(f"{variable}: there is no such setting (from environment){hint}")
            continue
        layer[known[variable]] = Given(value, f"environment {variable}")
    return _with_secret_files(layer, cwd=cwd, problems=problems)


def from_foreign(environ: Mapping[str, str]) -> Layer:
    """Take the variables that are another service's; an empty one is not set."""
    return {
        name: Given(environ[variable], f"environment {variable}")
        for variable, name in FOREIGN_VARIABLES.items()
        if environ.get(variable)
    }


def from_file(
    flags: Mapping[str, object], environ: Mapping[str, str], *, cwd: Path, problems: list[str]
) -> Layer:
    """Take the keys of the settings file: the one that is named, else `penstock.toml` here."""
    named = flags.get("config") or environ.get(CONFIG_VARIABLE)
    name = str(named or CONFIG_FILE)
    source = f"file {name}"
    try:
        keys = tomllib.loads((cwd / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            by = "flag --config" if flags.get("config") else f"environment {CONFIG_VARIABLE}"
            problems.append(f"config: {name!r} does not exist (from {by})")
        return {}
    except OSError as error:
        problems.append(f"config: {name!r} cannot be read: {error.strerror}")
        return {}
    except ValueError as error:
        what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"is not TOML: {error}"
        problems.append(f"config: {name!r} {what}")
        return {}
    layer: Layer = {}
    for key, value in keys.items():
        if key in _KNOWN:
            layer[key] = Given(value, source)
        else:
            problems.append(
                f"{key!r}: there is no such setting (from {source})"
                + _nearest(key.lower().replace("-", "_"), _KNOWN)
            )
    return _with_secret_files(layer, cwd=cwd, problems=problems)


def _with_secret_files(layer: Layer, *, cwd: Path, problems: list[str]) -> Layer:
    for file_name in _SECRET_FILE_NAMES:
        given = layer.pop(file_name, None)
        if given is None:
            continue
        name = file_name.removesuffix(_FILE_SUFFIX)
        if name in layer:
            problems.append(
                f"{name}: set twice, by {layer[name].source} and by {given.source}; keep one"
            )
            continue
        if not isinstance(given.value, str):
            problems.append(f"{file_name}: must be a path (from {given.source})")
            continue
        try:
            # An editor ends the file with a newline; it is not part of the secret.
            secret = (cwd / given.value).read_text(encoding="utf-8").strip()
        except OSError as error:
            problems.append(
                f"{file_name}: {given.value!r} cannot be read: {error.strerror} "
                f"(from {given.source})"
            )
        except ValueError:
            problems.append(f"{file_name}: {given.value!r} is not text (from {given.source})")
        else:
            layer[name] = Given(secret, f"file {given.value} ({given.source})")
    return layer


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
