"""Where settings come from, and how each mistake in them is told."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.settings import (
    SECRET_NAMES,
    Settings,
    SettingsError,
    allowed,
    is_live,
    load_settings,
    shown,
)

LONG = "x" * 32


def load(
    cwd: Path, flags: Mapping[str, object] | None = None, /, **environ: str
) -> tuple[Settings, Mapping[str, str]]:
    variables = {f"PENSTOCK_{name.upper()}": value for name, value in environ.items()}
    return load_settings(flags or {}, environ=variables, cwd=cwd, dev=False, required=())


def problems(cwd: Path, flags: Mapping[str, object] | None = None, /, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(cwd, flags, **environ)
    return list(caught.value.lines)


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each source wins over the next, and the winner is named."""
    (tmp_path / "penstock.toml").write_text("port = 1\nrate_burst = 2\nlog_level = 'debug'\n")
    settings, sources = load(tmp_path, {"port": "3", "host": None}, port="2", rate_burst="4")
    assert (settings.port, settings.rate_burst) == (3, 4)
    assert (settings.log_level, settings.host) == ("debug", "127.0.0.1")
    assert sources["port"] == "flag --port"
    assert sources["rate_burst"] == "environment PENSTOCK_RATE_BURST"
    assert sources["log_level"] == "file penstock.toml"
    assert sources["host"] == "default"
    assert sources.keys() == Settings.model_fields.keys()


def test_the_process_environment_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the environment that is passed in counts, also for a bare Settings()."""
    monkeypatch.setenv("PENSTOCK_PORT", "1234")
    assert load(tmp_path)[0].port == 8080
    assert Settings().port == 8080


def test_every_setting_is_described_and_says_what_it_allows() -> None:
    """No setting reaches an operator without words for its meaning, bounds and liveness."""
    for name, field in Settings.model_fields.items():
        assert field.description
        assert field.description.endswith(".")
        assert allowed(name)
        assert isinstance(is_live(name), bool)


def test_settings_are_frozen() -> None:
    """Nothing changes under a running service."""
    with pytest.raises(ValidationError):
        Settings().port = 1


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_another_settings_file_can_be_named(tmp_path: Path, how: str) -> None:
    """--config and PENSTOCK_CONFIG replace the file of the working folder."""
    (tmp_path / "penstock.toml").write_text("port = 1\n")
    (tmp_path / "other.toml").write_text("port = 2\n")
    settings, sources = (
        load(tmp_path, {"config": "other.toml"})
        if how == "flag"
        else load(tmp_path, config="other.toml")
    )
    assert settings.port == 2
    assert sources["port"] == "file other.toml"


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    """What a compose file cannot unset, it can empty."""
    assert load(tmp_path, port="", tls_cert="")[0] == Settings()


def test_lists_come_with_commas_or_as_arrays(tmp_path: Path) -> None:
    """The two spellings of a list mean the same."""
    (tmp_path / "penstock.toml").write_text('cors_origins = ["https://a.example"]\n')
    assert load(tmp_path)[0].cors_origins == ("https://a.example",)
    settings, _ = load(tmp_path, cors_origins="https://A.example, http://b.example:81,")
    assert settings.cors_origins == ("https://a.example", "http://b.example:81")
    assert load(tmp_path, cors_origins="*")[0].cors_origins == ("*",)


def test_the_variables_of_the_service_before_are_honoured(tmp_path: Path) -> None:
    """TELEMETRY_ variables set what is about runs; a PENSTOCK_ one wins over them."""
    environ = {
        "TELEMETRY_API_AUTH_ENABLED": "true",
        "TELEMETRY_API_AUTH_TOKEN": "short",
        "TELEMETRY_RATE_LIMIT_ENABLED": "true",
        "TELEMETRY_RATE_LIMIT_RPM": "7",
        "TELEMETRY_API_WORKERS": "1",
        "PENSTOCK_RUNS_RATE_LIMIT_RPM": "9",
    }

    def given(variables: Mapping[str, str]) -> tuple[Settings, Mapping[str, str]]:
        return load_settings({}, environ=variables, cwd=tmp_path, dev=False, required=())

    settings, sources = given(environ)
    assert settings.runs_auth_enabled
    assert settings.runs_auth_token is not None
    assert settings.runs_auth_token.get_secret_value() == "short"
    assert (settings.runs_rate_limit_enabled, settings.runs_rate_limit_rpm) == (True, 9)
    assert sources["runs_auth_token"] == "environment TELEMETRY_API_AUTH_TOKEN"
    assert sources["runs_rate_limit_rpm"] == "environment PENSTOCK_RUNS_RATE_LIMIT_RPM"
    with pytest.raises(SettingsError) as caught:
        given({"TELEMETRY_API_AUTH_ENABLED": "yes"})
    (line,) = caught.value.lines
    assert line.startswith("runs_auth_token: not set")
    with pytest.raises(SettingsError, match="TELEMETRY_RATE_LIMIT_RPM"):
        given({"TELEMETRY_RATE_LIMIT_RPM": "many"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("port", "65536", "'65536'; it must be a whole number from 0 to 65535"),
        ("port", "-1", "'-1'; it must be a whole number from 0 to 65535"),
        ("port", "http", "'http'; it must be a whole number"),
        ("linger_seconds", "nan", "'nan'; it must be a number from 0 to 60"),
        ("linger_seconds", "inf", "'inf'; it must be a number from 0 to 60"),
        ("express_lane", "perhaps", "'perhaps'; it must be true or false"),
        ("log_level", "loud", "'loud'; it must be one of debug, info"),
        ("surfaces", "sessions,moon", "names 'moon'; it must be one or more of sessions"),
        ("surfaces", ",", "names none"),
        ("cors_origins", "portal.example", "names 'portal.example'; it must be exact origins"),
        ("cors_origins", "https://a.example/", "names 'https://a.example/'"),
        ("cors_origins", "https://u@a.example", "names 'https://u@a.example'"),
        ("cors_origins", "https://a.example:x", "names 'https://a.example:x'"),
        ("cors_origins", "*,https://a.example", "'*' beside other origins"),
        ("core_api_url", "core.example", "is no such URL; it must be a URL such as"),
        ("core_api_url", "https://u:p@core.example", "is no such URL"),
        ("core_api_url", "https://core.example/?a=b", "is no such URL"),
        ("public_url", "https://a.example:x", "is no such URL"),
        ("public_url", "ftp://a.example", "is no such URL"),
        ("data_dir", "~/data", "begins with '~', which only a shell expands"),
        ("port", "9\n" * 99, "…; it must"),
    ],
)
def test_a_value_out_of_bounds_is_told_in_one_line(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    """The line has the name, the value seen, the limit, and where it came from."""
    (line,) = problems(tmp_path, **{name: value})
    assert line.startswith(f"{name}: ")
    assert words in line
    assert line.endswith(f"(from environment PENSTOCK_{name.upper()})")
    assert "\n" not in line


@pytest.mark.parametrize("toml", ["port = true", "port = [1]", "data_dir = ''", "host = 5"])
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, toml: str) -> None:
    """A file's typed values are not bent into others."""
    (tmp_path / "penstock.toml").write_text(toml)
    (line,) = problems(tmp_path)
    assert line.startswith(toml.split(maxsplit=1)[0])
    assert line.endswith("(from file penstock.toml)")


def test_a_short_secret_is_told_by_its_length_only(tmp_path: Path) -> None:
    """The line names length and limit, never the value."""
    (line,) = problems(tmp_path, session_secret="tooshort-hunter2")
    assert line.startswith("session_secret: has 16 bytes")
    assert "at least 32 bytes" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("url", ["mysql://u:hunter2@host/name", "hunter2", "host/hunter2"])
def test_a_database_of_another_kind_is_refused_without_being_shown(
    tmp_path: Path, url: str
) -> None:
    """Only PostgreSQL's URLs are taken, and what was given instead may hold a password."""
    (line,) = problems(tmp_path, database_url=url)
    assert line.startswith("database_url: does not begin with postgresql://")
    assert "hunter2" not in line
    assert "environment PENSTOCK_DATABASE_URL" in line


def test_an_empty_database_url_is_the_embedded_ledger(tmp_path: Path) -> None:
    """A variable that a template leaves empty is as good as none; a URL is never shown."""
    settings, _ = load(tmp_path, database_url="")
    assert settings.database_url is None
    settings, _ = load(tmp_path, database_url="postgres://u:hunter2@host/name")
    assert shown(settings, "database_url") == "set (30 characters)"


def test_a_secret_that_is_no_text_is_not_shown(tmp_path: Path) -> None:
    """A number in the place of a secret is a secret too."""
    (tmp_path / "penstock.toml").write_text("session_secret = 123456789012")
    (line,) = problems(tmp_path)
    assert line.startswith("session_secret: is no text")
    assert "1234567" not in line


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PENSTOCK_PROT", "did you mean PENSTOCK_PORT"),
        ("PENSTOCK_port", "did you mean PENSTOCK_PORT"),
        ("PENSTOCK_SESION_SECRET", "did you mean PENSTOCK_SESSION_SECRET"),
        ("PENSTOCK_CONFIGS", "PENSTOCK_CONFIG"),
        ("PENSTOCK_SERVICE_HOST", "enableServiceLinks: false"),
        ("PENSTOCK_PORT_8080_TCP_ADDR", "enableServiceLinks: false"),
    ],
)
def test_an_unknown_variable_is_an_error_with_its_nearest_names(
    tmp_path: Path, variable: str, hint: str
) -> None:
    """A misspelt variable is not silently a default, and its value, perhaps a secret, not shown."""
    with pytest.raises(SettingsError) as caught:
        load_settings({}, environ={variable: "hunter2"}, cwd=tmp_path, dev=False, required=())
    (line,) = caught.value.lines
    assert line.startswith(f"{variable}: there is no such setting")
    assert hint in line
    assert "hunter2" not in line


def test_an_unknown_key_is_an_error_with_its_nearest_names(tmp_path: Path) -> None:
    """The settings file is held to the same names."""
    (tmp_path / "penstock.toml").write_text("rate-burst = 1\n[server]\nport = 1\n")
    first, second = problems(tmp_path)
    assert first.startswith("'rate-burst': there is no such setting (from file penstock.toml)")
    assert "did you mean rate_burst" in first
    assert second.startswith("'server': there is no such setting")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"port = ", "is not TOML: "),
        (b"port = 1\nport = 2\n", "is not TOML: "),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    """The line says which file and where in it."""
    (tmp_path / "penstock.toml").write_bytes(content)
    (line,) = problems(tmp_path)
    assert line.startswith("config: 'penstock.toml' ")
    assert words in line


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """Only the default file may be missing."""
    assert problems(tmp_path, {"config": "no.toml"}) == [
        "config: 'no.toml' does not exist (from flag --config)"
    ]
    assert problems(tmp_path, config="no.toml") == [
        "config: 'no.toml' does not exist (from environment PENSTOCK_CONFIG)"
    ]
    (tmp_path / "folder").mkdir()
    (line,) = problems(tmp_path, config="folder")
    assert "cannot be read" in line


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_every_secret_can_come_from_a_file(tmp_path: Path, name: str) -> None:
    """PENSTOCK_<NAME>_FILE, and the key in the settings file, name a file that holds the secret."""
    secret = "postgresql://u:p@host/name" if name == "database_url" else LONG
    (tmp_path / "secret").write_text(secret + "\n")
    settings, sources = load(tmp_path, **{f"{name}_file": "secret"})
    assert getattr(settings, name).get_secret_value() == secret
    assert sources[name] == f"file secret (environment PENSTOCK_{name.upper()}_FILE)"
    (tmp_path / "penstock.toml").write_text(f"{name}_file = 'secret'\n")
    settings, sources = load(tmp_path)
    assert getattr(settings, name).get_secret_value() == secret
    settings, sources = load(tmp_path, **{name: secret + "y"})
    assert sources[name] == f"environment PENSTOCK_{name.upper()}"


def test_a_secret_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """Missing, binary, short, or beside the secret itself: each has its line."""
    (tmp_path / "binary").write_bytes(b"\xff" * 40)
    (tmp_path / "short").write_text("hunter2")
    (missing,) = problems(tmp_path, session_secret_file="none")
    assert "No such file" in missing
    (binary,) = problems(tmp_path, session_secret_file="binary")
    assert "is not text" in binary
    (short,) = problems(tmp_path, session_secret_file="short")
    assert "has 7 bytes" in short
    assert "file short (environment PENSTOCK_SESSION_SECRET_FILE)" in short
    (twice,) = problems(tmp_path, session_secret_file="short", session_secret=LONG)
    assert twice.startswith("session_secret: set twice")
    (tmp_path / "penstock.toml").write_text("session_secret_file = 5\n")
    (kind,) = problems(tmp_path)
    assert "must be a path" in kind


def test_missing_secrets_are_told_with_how_to_make_one(tmp_path: Path) -> None:
    """Each required secret that is not set has a line that says what to do."""
    with pytest.raises(SettingsError) as caught:
        load_settings({}, environ={}, cwd=tmp_path, dev=False)
    lines = caught.value.lines
    assert [line.partition(":")[0] for line in lines] == [
        "session_secret",
        "user_jwt_secret",
        "service_jwt_secret",
    ]
    assert all("openssl rand -hex 32" in line and "PENSTOCK_" in line for line in lines)


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({}, ["user_jwt_secret"]),
        ({"user_jwt_secret": LONG}, []),
        ({"jwks_url": "https://id.example/keys"}, ["actor_hash_secret"]),
        ({"jwks_url": "https://id.example/keys", "actor_hash_secret": LONG}, []),
        ({"jwks_url": "https://id.example/keys", "user_jwt_secret": LONG}, []),
        ({"actor_hash_secret": LONG}, ["user_jwt_secret"]),
        # What is given and wrong is told as wrong, and nothing else is asked for in its place.
        ({"jwks_url": "http://id.example/keys"}, ["jwks_url", "actor_hash_secret"]),
        ({"jwks_url": "https://id.example/keys", "user_jwt_secret": "x"}, ["user_jwt_secret"]),
    ],
    ids=str,
)
def test_people_s_tokens_need_a_secret_or_a_provider(
    tmp_path: Path, given: dict[str, str], lacking: list[str]
) -> None:
    """With a provider's keys no user secret is asked for, but the one that would follow from it."""
    given |= {"session_secret": LONG, "service_jwt_secret": LONG}
    environ = {f"PENSTOCK_{name.upper()}": value for name, value in given.items()}
    lines: tuple[str, ...] = ()
    try:
        load_settings({}, environ=environ, cwd=tmp_path, dev=False)
    except SettingsError as error:
        lines = error.lines
    assert [line.partition(":")[0] for line in lines] == lacking


def test_a_command_can_ask_for_one_secret_only(tmp_path: Path) -> None:
    """What a command does not use, it does not miss."""
    environ = {"PENSTOCK_USER_JWT_SECRET": LONG}
    load_settings({}, environ=environ, cwd=tmp_path, dev=False, required=("user_jwt_secret",))


def test_contradictions_between_settings_are_told(tmp_path: Path) -> None:
    """Values that are right one by one can be wrong together."""
    (tmp_path / "cert.pem").touch()
    (half,) = problems(tmp_path, tls_cert="cert.pem")
    assert half.startswith("tls_key: not set, while tls_cert is")
    (absent,) = problems(tmp_path, tls_cert="cert.pem", tls_key="key.pem")
    assert absent.startswith("tls_key: 'key.pem' is not a file")
    (same,) = problems(tmp_path, session_secret=LONG, session_secret_previous=LONG)
    assert same.startswith("session_secret_previous: is the same as session_secret")
    assert LONG not in same
    (late,) = problems(tmp_path, shutdown_notice_seconds="9", shutdown_seconds="9")
    assert late.startswith("shutdown_notice_seconds: 9; it must be less than shutdown_seconds, 9")
    (long,) = problems(tmp_path, session_token_ttl_seconds="9000")
    assert long.startswith(
        "session_token_ttl_seconds: 9000; it must be at most session_secret_overlap_seconds, 7200"
    )
    (fresh,) = problems(tmp_path, consent_stale_seconds="30")
    assert fresh.startswith("consent_ttl_seconds: 60; it must be at most consent_stale_seconds, 30")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """A start does not fail on the second mistake only once the first is mended."""
    (tmp_path / "penstock.toml").write_text("rate_burst = 0\nmoon = 1\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(
            {"port": "x"},
            environ={"PENSTOCK_TLS_KEY": "none", "PENSTOCK_SESSION_SECRET": "short"},
            cwd=tmp_path,
            dev=False,
        )
    names = [line.partition(":")[0] for line in caught.value.lines]
    assert names == [
        "'moon'",
        "port",
        "session_secret",
        "rate_burst",
        "tls_cert",
        "tls_key",
        "user_jwt_secret",
        "service_jwt_secret",
    ]


VARIABLE = st.sampled_from(
    [f"PENSTOCK_{name.upper()}" for name in Settings.model_fields if name != "data_dir"]
)
VALUE = st.text(st.characters(exclude_characters="\x00"), max_size=60)


@given(st.dictionaries(VARIABLE, VALUE, max_size=5))
def test_any_environment_is_settings_or_told_lines(environ: dict[str, str]) -> None:
    """Whatever the values, nothing but Settings or SettingsError comes out, one line a problem."""
    with tempfile.TemporaryDirectory() as cwd:
        outcome = loaded_or_told(environ, Path(cwd))
    if isinstance(outcome, Settings):
        for name in Settings.model_fields:
            value: Any = shown(outcome, name)
            assert value is None or isinstance(value, str | int | float | list)
    else:
        assert outcome
        assert not any(re.search(r"[\r\n]", line) for line in outcome)


def loaded_or_told(environ: dict[str, str], cwd: Path) -> Settings | tuple[str, ...]:
    try:
        return load_settings({}, environ=environ, cwd=cwd, dev=False, required=())[0]
    except SettingsError as error:
        return error.lines


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"FINALS_MAX_AGE_SECONDS": "90000"}, "finals_max_age_seconds: it is set while"),
        (
            {"FINALS_MAX_AGE_SECONDS": "90000", "BLOB_MAX_AGE_SECONDS": "90001"},
            "blob_max_age_seconds: 90001; it must be at most finals_max_age_seconds",
        ),
        (
            {
                "FINALS_MAX_AGE_SECONDS": "90000",
                "BLOB_MAX_AGE_SECONDS": "3600",
                "PROVISIONAL_KEEP_SECONDS": "90001",
            },
            "provisional_keep_seconds: 90001; it must be at most finals_max_age_seconds",
        ),
        ({"AUDIT_MAX_AGE_SECONDS": "60"}, "audit_max_age_seconds: '60'"),
    ],
)
def test_limits_of_age_that_would_let_go_of_too_much_are_refused(
    run: Any, secrets: dict[str, str], limits: dict[str, str], said: str
) -> None:
    """A final outlives its replay and every token of its session."""
    environ = {f"PENSTOCK_{name}": value for name, value in limits.items()}
    ran = run("config", **environ, **secrets)
    assert ran.code == 2
    assert any(line.startswith(f"penstock: {said}") for line in ran.lines), ran.err


def test_limits_of_age_are_none_unless_they_are_set(run: Any, secrets: dict[str, str]) -> None:
    """Nothing is removed by default, and what fits together is taken."""
    shown = json.loads(run("config", "--json", **secrets).out)
    names = ("blob_max_age_seconds", "blob_max_bytes", "finals_max_age_seconds")
    assert all(shown[name]["value"] is None for name in (*names, "audit_max_age_seconds"))
    environ = {"PENSTOCK_FINALS_MAX_AGE_SECONDS": "90000", "PENSTOCK_BLOB_MAX_AGE_SECONDS": "90000"}
    assert run("config", **environ, **secrets).code == 0
