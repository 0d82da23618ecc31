"""A command line that sees only what its test gives it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.cli import main


@dataclass(slots=True, frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


Run = Callable[..., Ran]


@pytest.fixture
def secrets() -> dict[str, str]:
    return {
        "PENSTOCK_SESSION_SECRET": "planted-session-secret-" + "s" * 20,
        "PENSTOCK_USER_JWT_SECRET": "planted-user-secret-" + "u" * 20,
        "PENSTOCK_SERVICE_JWT_SECRET": "planted-service-secret-" + "v" * 20,
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder and environment, with the variables given."""

    def run_command(*arguments: str, **environ: str) -> Ran:
        with monkeypatch.context() as patched:
            patched.chdir(tmp_path)
            for variable in list(os.environ):
                if variable.startswith("PENSTOCK_"):
                    patched.delenv(variable)
            for variable, value in environ.items():
                patched.setenv(variable, value)
            code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_command
