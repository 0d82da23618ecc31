"""`--dev`: generated secrets, kept for the next run, on this machine only."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.dev import (
    DEV_SECRET_NAMES,
    DEV_SECRETS_FILE,
    DevSecretsError,
    ensure_dev_secrets,
    is_loopback,
    read_dev_secrets,
)
from penstock.settings import SettingsError, load_settings


def test_secrets_are_made_once_and_reused(tmp_path: Path) -> None:
    """A second run signs with what the first one made; the file is the user's alone."""
    first = ensure_dev_secrets(tmp_path / "data")
    assert first == ensure_dev_secrets(tmp_path / "data") == read_dev_secrets(tmp_path / "data")
    assert first.keys() == set(DEV_SECRET_NAMES)
    assert len(set(first.values())) == 3
    assert all(len(secret) >= 32 for secret in first.values())
    path = tmp_path / "data" / DEV_SECRETS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_racing_starts_agree(tmp_path: Path) -> None:
    """However many processes start at once, all get the same secrets."""
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(ensure_dev_secrets, [tmp_path] * 64))
    assert len({json.dumps(dict(secrets)) for secrets in made}) == 1
    assert [path.name for path in tmp_path.iterdir()] == [DEV_SECRETS_FILE]


@pytest.mark.parametrize("content", ["", "[]", '{"session_secret": "x"}', "{"])
def test_a_damaged_file_is_told_and_kept(tmp_path: Path, content: str) -> None:
    """The line names the file and the way out; nothing is overwritten."""
    path = tmp_path / DEV_SECRETS_FILE
    path.write_text(content)
    with pytest.raises(DevSecretsError, match="is damaged; remove it"):
        ensure_dev_secrets(tmp_path)
    assert path.read_text() == content


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """An operating system's refusal is one line."""
    (tmp_path / "file").touch()
    with pytest.raises(DevSecretsError, match="dev secrets"):
        ensure_dev_secrets(tmp_path / "file")


def test_looking_makes_nothing(tmp_path: Path) -> None:
    """A command that only looks leaves no secrets behind."""
    assert read_dev_secrets(tmp_path / "data") == {}
    assert not (tmp_path / "data").exists()


def test_explicit_secrets_win(tmp_path: Path) -> None:
    """Only what is not set is generated, and the source says so."""
    settings, sources = load_settings(
        {}, environ={"PENSTOCK_SESSION_SECRET": "x" * 32}, cwd=tmp_path, dev=True
    )
    assert settings.session_secret is not None
    assert settings.session_secret.get_secret_value() == "x" * 32
    assert sources["session_secret"] == "environment PENSTOCK_SESSION_SECRET"
    assert sources["user_jwt_secret"] == "generated (dev)"
    made = read_dev_secrets(tmp_path / "penstock-data")
    assert settings.user_jwt_secret is not None
    assert settings.user_jwt_secret.get_secret_value() == made["user_jwt_secret"]


def test_no_secret_is_made_for_settings_that_are_refused(tmp_path: Path) -> None:
    """A start that fails leaves nothing behind."""
    with pytest.raises(SettingsError):
        load_settings({"port": "x"}, environ={}, cwd=tmp_path, dev=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_a_host_that_others_reach_is_refused(tmp_path: Path, host: str) -> None:
    """--dev never opens a service to a network."""
    with pytest.raises(SettingsError) as caught:
        load_settings({"host": host}, environ={}, cwd=tmp_path, dev=True)
    (line,) = caught.value.lines
    assert line.startswith(f"host: '{host}'; with --dev it must be a loopback address")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_hosts_are_known(host: str) -> None:
    """The names of the machine itself are no network."""
    assert is_loopback(host)
