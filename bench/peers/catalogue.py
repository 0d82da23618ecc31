"""Every server that can be compared, in each of its forms, and how to start it.

The Go peer is built when it is first wanted, without the network. A peer that cannot run here is
left out, and the reason says what it needs.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from penstock.bench.errors import BenchError
from penstock.bench.servers import SECRET, ServerSpec, penstock_spec

Form = Literal["accept", "full"]

PENSTOCK = "penstock"
_GO_SOURCE = Path(__file__).parent / "go"
_GO_SECONDS = 120.0
_FASTAPI_MODULES = ("fastapi", "uvicorn", "uvloop", "httptools")


@dataclass(slots=True, frozen=True)
class Kind:
    """A server: its forms, what it is, and its module when it is a Python peer."""

    forms: tuple[Form, ...]
    told: str
    module: str | None = None


_BOTH: tuple[Form, ...] = ("accept", "full")
KINDS = {
    PENSTOCK: Kind(("full",), "the product, everything on"),
    "express": Kind(
        ("accept",),
        "Penstock's express lane with nothing behind it",
        "penstock.bench.peers.express",
    ),
    "plain": Kind(_BOTH, "Hypercorn (Trio) and Quart-Trio", "penstock.bench.peers.plain"),
    "fastapi": Kind(
        _BOTH, "FastAPI on uvicorn, uvloop and httptools", "penstock.bench.peers.fastapi_peer"
    ),
    "go": Kind(_BOTH, "Go net/http and compress/gzip"),
}


@dataclass(slots=True, frozen=True)
class Entry:
    """One server in one form, ready to be started. `folder` is where a peer keeps its files."""

    name: str
    form: Form
    told: str
    spec: ServerSpec
    folder: Path | None


def entries(
    names: Collection[str],
    forms: Collection[Form],
    scratch: Path,
    sessions: int,
    settings: dict[str, object],
) -> tuple[list[Entry], dict[str, str]]:
    """Give what can be started, form by form, and why the others cannot; make what they need."""
    left_out = {name: why for name in names if (why := _missing(name)) is not None}
    found = []
    for form in forms:
        for name, kind in KINDS.items():
            if name not in names or name in left_out or form not in kind.forms:
                continue
            folder = scratch / f"{name}-{form}" if form == "full" else None
            if name == PENSTOCK:
                spec = penstock_spec(scratch / name, sessions, **settings)
            else:
                spec = _peer_spec(name, form, folder, scratch)
            found.append(Entry(name, form, kind.told, spec, folder))
    return found, left_out


def versions_of(names: Collection[str]) -> dict[str, str]:
    """Name the versions of what these peers are made of, beside what the machine's facts name."""
    told: dict[str, str] = {}
    if "fastapi" in names:
        packages = [name for name in _FASTAPI_MODULES if name != "httptools"]
        told["versions of fastapi"] = ", ".join(f"{name} {version(name)}" for name in packages)
    if "go" in names:
        told["versions of go"] = _go_version()
    return told


def _go_version() -> str:
    asked = ["go", "version"]
    try:
        ran = subprocess.run(  # noqa: S603  the command is ours
            asked,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
            timeout=_GO_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not known: {error}"
    return " ".join(ran.stdout.decode(errors="replace").split()) or "not known"


def _missing(name: str) -> str | None:
    if name == "fastapi":
        missing = [module for module in _FASTAPI_MODULES if find_spec(module) is None]
        if missing:
            return f"{', '.join(missing)} not installed: pip install 'penstock[bench]'"
    if name == "go" and shutil.which("go") is None:
        return "go is not on the path"
    return None


def _peer_spec(name: str, form: Form, folder: Path | None, scratch: Path) -> ServerSpec:
    module = KINDS[name].module
    command = [str(_built_go(scratch))] if module is None else [sys.executable, "-m", module]
    if name != "express":  # it has one form only
        command += ["--form", form]
    if folder is not None:
        command += ["--folder", str(folder)]
    return ServerSpec(f"{name} {form}", command, {"PENSTOCK_SESSION_SECRET": SECRET.decode()})


def _built_go(scratch: Path) -> Path:
    program = scratch / "go-peer"
    if program.exists():
        return program
    environ = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    if not {"HOME", "XDG_CACHE_HOME", "GOCACHE"} & environ.keys():
        environ["GOCACHE"] = str(scratch / "go-cache")
    try:
        built = subprocess.run(  # noqa: S603  the command is ours
            ["go", "build", "-trimpath", "-o", str(program), "."],  # noqa: S607  the path's go
            cwd=_GO_SOURCE,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GO_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"the Go peer could not be built: {error}") from None
    if built.returncode != 0:
        words = built.stderr.decode(errors="replace").strip()
        raise BenchError(f"the Go peer could not be built: {words}")
    return program
