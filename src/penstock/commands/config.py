"""`penstock config`: what is in force, and why."""

from penstock.commands.options import Config, DataDir, Dev, Json, settings_in_force
from penstock.commands.output import print_json, print_table
from penstock.dev import read_dev_secrets
from penstock.settings import Settings, is_live, shown


def config(
    *,
    as_json: Json = False,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show every setting: the value in force, where it came from, and whether a change is live.

    Secrets are never shown, only whether they are set. Changes nothing.
    """
    settings, sources = settings_in_force(
        {"data_dir": data_dir, "config": config},
        dev=dev,
        required=(),
        dev_secrets=read_dev_secrets,
    )
    if as_json:
        print_json(
            {
                name: {
                    "value": shown(settings, name),
                    "source": sources[name],
                    "live": is_live(name),
                }
                for name in Settings.model_fields
            }
        )
        return
    print_table(
        ("Setting", "Value", "From", "A change"),
        (
            (
                name,
                _cell(shown(settings, name)),
                sources[name],
                "is live" if is_live(name) else "needs a restart",
            )
            for name in Settings.model_fields
        ),
    )


def _cell(value: str | float | list[str] | None) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
