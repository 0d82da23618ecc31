"""`penstock schema`: the JSON Schemas of what this program and others write for each other."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from penstock.commands.output import print_json
from penstock.engine.sync.kinds import ACK_VERSION, BATCH_VERSION


def _bench_report() -> dict[str, Any]:
    from penstock.bench.report.models import Report  # noqa: PLC0415  only for who asks for it

    return Report.model_json_schema(by_alias=True, mode="serialization")


def _sync_batch() -> dict[str, Any]:
    from penstock.http.sync.records import SyncBatch  # noqa: PLC0415  as above

    return {**SyncBatch.model_json_schema(), "title": BATCH_VERSION}


def _sync_ack() -> dict[str, Any]:
    from penstock.http.sync.ack_model import Ack  # noqa: PLC0415  as above

    return {**Ack.model_json_schema(), "title": ACK_VERSION}


SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "bench-report": _bench_report,
    "sync-batch": _sync_batch,
    "sync-ack": _sync_ack,
}
_KNOWN = ", ".join(SCHEMAS)


def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Which one: {_KNOWN}.")],
) -> None:
    """Print the JSON Schema (2020-12) of a document that Penstock writes or reads."""
    make = SCHEMAS.get(name)
    if make is None:
        raise typer.BadParameter(f"there is no schema {name!r}; there are: {_KNOWN}")
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **make()})
