"""`penstock doctor`: look at the machine and the data folder before users find out."""

from collections.abc import Mapping

import typer
from rich.text import Text

from penstock.commands.options import Config, DatabaseUrl, DataDir, Dev, Json, settings_in_force
from penstock.commands.output import print_json, print_table
from penstock.dev import read_dev_secrets
from penstock.doctor import Finding, Machine, State, examine
from penstock.errors import StartupError

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "bold red"}


def doctor(
    *,
    as_json: Json = False,
    dev: Dev = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Check whether the service can run well here, and say what to do where it cannot.

    Exit code 1 when a problem is found; warnings alone do not count. Changes nothing, and may run
    beside the service.
    """
    flags = {"data_dir": data_dir, "database_url": database_url, "config": config}
    findings = _findings(flags, dev=dev)
    if as_json:
        print_json(
            [
                {"check": f.check, "state": f.state, "seen": f.seen, "advice": f.advice}
                for f in findings
            ]
        )
    else:
        print_table(
            ("", "Check", "Seen", "What to do"),
            ((Text(f.state, _STYLES[f.state]), f.check, f.seen, f.advice) for f in findings),
        )
    if any(finding.state is State.PROBLEM for finding in findings):
        raise typer.Exit(1)


def _findings(flags: Mapping[str, object], *, dev: bool) -> list[Finding]:
    try:
        settings, _ = settings_in_force(flags, dev=dev, required=(), dev_secrets=read_dev_secrets)
    except StartupError as error:
        # Without settings there is nothing else to look at.
        return [
            Finding("settings", State.PROBLEM, line, "mend it, then run penstock doctor again")
            for line in error.lines
        ]
    return list(examine(settings, Machine(), dev=dev))
