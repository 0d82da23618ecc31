"""`penstock config`: what is in force, and why."""

from penstock.commands.options import Config, DataDir, Dev, Json, settings_in_force
from penstock.commands.output import print_json, print_table
from penstock.dev import read_dev_secrets
from penstock.setting_rows import setting_rows


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
    rows = setting_rows(settings, sources)
    if as_json:
        print_json(
            {row.name: {"value": row.value, "source": row.source, "live": row.live} for row in rows}
        )
        return
    print_table(
        ("Setting", "Value", "From", "A change"),
        ((row.name, row.words, row.source, row.change) for row in rows),
    )
