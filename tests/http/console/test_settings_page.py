"""`/console/settings`: what is in force and why, and never a secret."""

from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from console_rig import signed_in
from penstock.service import open_service
from penstock.setting_rows import setting_rows
from penstock.settings import DEFAULT_SOURCE, SECRET_NAMES, Settings

Serve = Callable[..., Any]
PATH = "/console/settings"
HIDDEN = "postgresql://penstock:hunter2@db.example/penstock"


async def test_every_setting_is_shown_and_no_secret_is(serve: Serve) -> None:
    """With its value, its source, and whether a change needs a restart."""
    async with serve(maxmind_license_key=SecretStr("hunter2hunter2")) as service:
        async with signed_in(service) as console:
            page = (await console.get(PATH)).text
        for name in Settings.model_fields:
            assert f"<code>{name}</code>" in page, name
        for name in SECRET_NAMES:
            value = getattr(service.settings, name)
            if value is not None:
                assert value.get_secret_value() not in page, name
        assert "set (14 characters)" in page
        assert "needs a restart" in page


async def test_settings_can_be_found(serve: Serve) -> None:
    """By a part of the name or of what it is for; those that somebody has set, alone."""
    async with serve() as service, signed_in(service) as console:
        found = (await console.get(f"{PATH}?find=Rate+burst")).text
        assert "<code>rate_burst</code>" in found
        assert "<code>host</code>" not in found
        found = (await console.get(f"{PATH}?show=set")).text
        assert "<code>data_dir</code>" in found
        assert "<code>outbox_max_attempts</code>" not in found
        assert "No setting fits." in (await console.get(f"{PATH}?find=%3Cb%3E")).text
        for query in ("show=all", f"find={'x' * 81}", "name=host"):
            assert (await console.get(f"{PATH}?{query}")).status_code == 400, query


async def test_where_a_value_comes_from_is_what_the_start_was_told(
    tmp_path: Any,
) -> None:
    """The sources that the command line found are the page's."""
    secrets: dict[str, Any] = {
        f"{name}_secret": SecretStr(f"{name} secret of the tests, and long enough")
        for name in ("session", "user_jwt", "service_jwt")
    }
    settings = Settings(port=0, data_dir=tmp_path / "data", rate_burst=7, **secrets)
    sources = {"rate_burst": "environment PENSTOCK_RATE_BURST", "port": "flag --port"}
    async with (
        open_service(settings, dev=True, sources=sources) as service,
        signed_in(service) as console,
    ):
        page = (await console.get(f"{PATH}?show=set")).text
    assert page.count('<span class="badge note">') == 2
    assert "environment PENSTOCK_RATE_BURST" in page
    assert "flag --port" in page


def test_rows_mask_what_is_secret() -> None:
    """Also where a value is a secret only in part, such as an address with a password."""
    settings = Settings(database_url=SecretStr(HIDDEN), cors_origins=())
    rows = {row.name: row for row in setting_rows(settings)}
    assert "hunter2" not in rows["database_url"].words
    assert rows["database_url"].secret
    assert rows["cors_origins"].words == "none"
    assert rows["tls_cert"].words == "not set"
    assert rows["express_lane"].words == "true"
    assert (rows["host"].source, rows["host"].changed) == (DEFAULT_SOURCE, False)
