"""What holds for every command: exit codes, one line an error, no traceback, no secret."""

import errno
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import typer

from penstock import __version__
from penstock.cli import app
from penstock.errors import StartupError
from penstock.rotation import RotationError
from penstock.settings import Settings

COMMANDS = [
    ["serve"],
    ["config"],
    ["doctor"],
    ["replay"],
    ["reference"],
    ["token", "session"],
    ["token", "user"],
    ["token", "service"],
    ["bench", "load"],
    ["bench", "capacity"],
    ["bench", "peers"],
    ["bench", "scale"],
    ["bench", "compare"],
    ["bench", "show"],
    ["bench", "grants"],
    ["bench", "pressure"],
    ["bench", "neighbour"],
    ["bench", "policy-cost"],
    *(
        ["policy", name]
        for name in ("show", "set", "revert", "history", "explain", "propose", "withdraw")
    ),
    ["schema"],
]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | None], list[Any]]:
    """Put a service in the place of the real one, that records its arguments and then fails."""

    def install(error: BaseException | None) -> list[Any]:
        calls: list[Any] = []

        async def run_service(*arguments: object, **options: object) -> None:
            calls.append((arguments, options))
            if error is not None:
                raise error

        module: Any = types.ModuleType("penstock.service")
        module.run_service = run_service
        monkeypatch.setitem(sys.modules, "penstock.service", module)
        return calls

    return install


def test_the_version_is_the_packages(run: Any) -> None:
    """`penstock --version` says what is installed."""
    assert run("--version").out == f"penstock {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(run: Any, command: list[str]) -> None:
    """--help exits 0 and tells what the command is for and what each option does."""
    ran = run(*command, "--help", COLUMNS="200")
    assert ran.code == 0
    assert "Usage: penstock " + " ".join(command) in ran.out
    assert ran.err == ""


def test_every_option_is_described() -> None:
    """A stranger can tell from the help what each option means."""

    def walk(command: Any) -> None:
        for parameter in command.params:
            assert parameter.help, f"{command.name} {parameter.name}"
        assert command.help, command.name
        for child in getattr(command, "commands", {}).values():
            walk(child)

    walk(typer.main.get_command(app))


def test_without_a_command_there_is_help(run: Any) -> None:
    """The first thing anybody types shows what there is."""
    ran = run()
    assert ran.code == 0
    assert "serve" in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["moon"], "No such command 'moon'; see penstock --help"),
        (["serve", "--porrt", "1"], "No such option: --porrt"),
        (["token"], "Missing command; see penstock token --help"),
        (["token", "session"], "Missing option '--session-id'; see penstock token session --help"),
        (["replay"], "Missing argument 'FILE|SESSION'"),
    ],
)
def test_a_usage_error_is_one_line(run: Any, arguments: list[str], words: str) -> None:
    """It says what is wrong and where the help is; exit code 2."""
    ran = run(*arguments)
    assert ran.code == 2
    (line,) = ran.lines
    assert line.startswith("penstock: ")
    assert words in line
    assert ran.out == ""


def test_an_unexpected_error_is_one_line(run: Any, service: Any) -> None:
    """No traceback unless --debug asks for it; exit code 1."""
    service(ZeroDivisionError("the\nmoon"))
    ran = run("serve", "--dev")
    assert ran.code == 1
    assert ran.lines == [
        "penstock: unexpected ZeroDivisionError: the moon (penstock --debug … shows where)"
    ]
    debugged = run("--debug", "serve", "--dev")
    assert debugged.code == 1
    assert "Traceback" in debugged.err
    assert debugged.lines[-1] == "penstock: unexpected ZeroDivisionError: the moon"


def test_an_interrupt_is_no_error(run: Any, service: Any) -> None:
    """Ctrl-C before the service listens for it ends quietly with the shell's code for it."""
    service(BaseExceptionGroup("", [KeyboardInterrupt()]))
    ran = run("serve", "--dev")
    assert (ran.code, ran.err) == (130, "")


def test_serve_runs_the_service_with_settings_and_sources(run: Any, service: Any) -> None:
    """The service gets the settings in force, where they came from, and whether it is --dev."""
    calls = service(None)
    assert run("serve", "--dev", "--port", "0", "--surfaces", "sessions").code == 0
    (((settings, sources), options),) = calls
    assert isinstance(settings, Settings)
    assert settings.port == 0
    assert sources["port"] == "flag --port"
    assert options == {"dev": True}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StartupError("no"), "no"),
        (RotationError("too soon"), "too soon"),
        (
            OSError(errno.EADDRINUSE, "Address already in use"),
            "cannot listen on 127.0.0.1 port 8080: Address already in use",
        ),
    ],
)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_refused_start_is_one_line(
    run: Any, service: Any, error: Exception, line: str, *, grouped: bool
) -> None:
    """What an operator can put right exits 2 with its reason, out of nurseries too."""
    service(ExceptionGroup("", [ExceptionGroup("", [error])]) if grouped else error)
    ran = run("serve", "--dev")
    assert (ran.code, ran.lines) == (2, [f"penstock: {line}"])


def test_a_refusal_beside_a_failure_hides_nothing(run: Any, service: Any) -> None:
    """When something unexpected happened too, every part is told and the exit code is 1."""
    service(ExceptionGroup("", [StartupError("no"), ZeroDivisionError("moon")]))
    ran = run("serve", "--dev")
    assert ran.code == 1
    assert len(ran.lines) == 2


def test_serve_without_secrets_names_them(run: Any, service: Any) -> None:
    """Outside --dev the start is refused, with one line for each missing secret."""
    calls = service(None)
    ran = run("serve")
    assert ran.code == 2
    assert len(ran.lines) == 3
    assert calls == []


def test_the_module_runs_as_the_command() -> None:
    """`python -m penstock` is the command."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "--version"], capture_output=True, check=True, text=True
    )
    assert done.stdout == f"penstock {__version__}\n"
