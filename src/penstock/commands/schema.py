"""`penstock schema`: the JSON Schemas of what this program writes for other programs."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from penstock.commands.output import print_json


def _bench_report() -> dict[str, Any]:
    from penstock.bench.report.models import Report  # noqa: PLC0415  only for who asks for it

    return Report.model_json_schema(by_alias=True, mode="serialization")


SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {"bench-report": _bench_report}
_KNOWN = ", ".join(SCHEMAS)


def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Which one: {_KNOWN}.")],
) -> None:
    """Print the JSON Schema (2020-12) of a document that Penstock writes."""
    make = SCHEMAS.get(name)
    if make is None:
        raise typer.BadParameter(f"there is no schema {name!r}; there are: {_KNOWN}")
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **make()})
