"""`penstock config` shows what is in force and nothing that is secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.setting_types import KNOWN_SURFACES
from penstock.settings import SECRET_NAMES, Settings


def test_json_has_every_setting_with_value_source_and_liveness(
    run: Any, secrets: dict[str, str]
) -> None:
    """A program can read what a person sees."""
    ran = run("config", "--json", PENSTOCK_PORT="81", **secrets)
    shown = json.loads(ran.out)
    assert ran.code == 0
    assert list(shown) == list(Settings.model_fields)
    assert shown["port"] == {
        "value": 81,
        "source": "environment PENSTOCK_PORT",
        "live": False,
    }
    assert shown["session_secret"]["value"] == "set (43 characters)"
    assert shown["session_secret_previous"]["value"] == "not set"
    assert shown["surfaces"]["value"] == list(KNOWN_SURFACES)


def test_the_table_has_every_setting(run: Any) -> None:
    """A person sees each setting, unset ones too."""
    ran = run("config")
    assert ran.code == 0
    assert all(f" {name} " in ran.out for name in Settings.model_fields)
    assert "needs a restart" in ran.out


def test_looking_with_dev_makes_nothing(run: Any, tmp_path: Path) -> None:
    """`config --dev` shows the generated secrets as set once there are some, and makes none."""
    assert run("config", "--dev").code == 0
    assert list(tmp_path.iterdir()) == []
    run("token", "service", "--dev")
    shown = json.loads(run("config", "--dev", "--json").out)
    assert shown["session_secret"] == {
        "value": "set (64 characters)",
        "source": "generated (dev)",
        "live": False,
    }


def test_markup_in_a_value_is_shown_as_it_is(run: Any) -> None:
    """A value with brackets is text, not a style."""
    assert "[red]x[/red]" in run("config", PENSTOCK_JWT_ISSUER="[red]x[/red]").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["config"],
        ["config", "--json"],
        ["doctor"],
        ["doctor", "--json"],
        ["--debug", "serve", "--port", "x"],
        ["--debug", "token", "service", "--ttl", "0"],
        ["config", "--config", "planted.toml"],
    ],
    ids=" ".join,
)
def test_a_planted_secret_is_in_no_output(run: Any, tmp_path: Path, arguments: list[str]) -> None:
    """No command prints a secret, whether the settings are right or wrong."""
    planted = {f"PENSTOCK_{name.upper()}": f"hunter2-{name}-{'x' * 32}" for name in SECRET_NAMES}
    (tmp_path / "planted.toml").write_text(
        "session_secret = 'hunter2'\nuser_jwt_secrt = 'hunter2'\nservice_jwt_secret = ['hunter2']"
    )
    right = run(*arguments, **planted)
    assert "hunter2" not in right.out + right.err
    for change in (
        {"PENSTOCK_SESSION_SECRET": "hunter2"},
        {"PENSTOCK_SESSION_SECRT": "hunter2"},
        {"PENSTOCK_SESSION_SECRET": planted["PENSTOCK_SESSION_SECRET_PREVIOUS"]},
    ):
        wrong = run(*arguments, **planted | change)
        assert wrong.code != 0
        assert "hunter2" not in wrong.out + wrong.err
