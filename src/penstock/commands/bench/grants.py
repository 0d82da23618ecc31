"""`penstock bench grants`: the consents without which a service refuses the harness's sessions."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer


def grants(
    *,
    sessions: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Sessions that the load will have.")
    ] = 1000,
) -> None:
    """Print the grants file under which a service takes the frames of `penstock bench load`.

    Save it where the service's setting grants_file points to. It names principals that only the
    harness uses.
    """
    from penstock.bench.traffic import write_grants  # noqa: PLC0415  pulls in NumPy

    with tempfile.TemporaryDirectory(prefix="penstock-grants-") as folder:
        path = Path(folder) / "grants.json"
        write_grants(path, sessions)
        typer.echo(path.read_text(encoding="utf-8"))
