import shlex
import sys
from pathlib import Path

import jwt
import pytest

from penstock.cli import main
from penstock.dev import ensure_dev_secrets
from penstock.settings import Settings
from penstock.welcome import print_welcome


def _console_command(told: str) -> list[str]:
    """Find the command that the welcome says to run, as a shell takes it."""
    lines = told.replace("\\\n", " ").splitlines()
    (command,) = (line for line in lines if " token user " in line)
    return shlex.split(command)


@pytest.mark.parametrize(
    ("called", "words"),
    [
        ("/opt/bin/penstock", ["/opt/bin/penstock"]),
        ("/opt/lib/penstock/__main__.py", ["/opt/bin/python", "-m", "penstock"]),
    ],
)
def test_the_welcome_says_how_to_sign_in_to_the_console(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    called: str,
    words: list[str],
) -> None:
    """The command that is printed can be run, and gives a token that the console takes."""
    monkeypatch.setattr(sys, "argv", [called, "serve"])
    monkeypatch.setattr(sys, "executable", "/opt/bin/python")
    secrets = ensure_dev_secrets(tmp_path)
    print_welcome(Settings(data_dir=tmp_path), "http://127.0.0.1:8080")
    told = capsys.readouterr().out
    assert "http://127.0.0.1:8080/console" in told
    command = _console_command(told)
    assert command[: len(words)] == words
    assert main(command[len(words) :]) == 0
    token = capsys.readouterr().out.split()[-1]
    secret = secrets["user_jwt_secret"]
    claims = jwt.decode(token, secret, algorithms=["HS256"], audience="penstock")
    assert claims["role"] == "platform_admin"


def test_without_the_console_nothing_is_said_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is switched off is not recommended."""
    print_welcome(Settings(data_dir=tmp_path, surfaces=("sessions",)), "http://127.0.0.1:8080")
    assert "/console" not in capsys.readouterr().out
