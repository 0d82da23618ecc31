"""Runs out of the ledger, newest first, as lines of JSON or as CSV."""

import csv
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, TextIO

import orjson

from penstock.engine.ledger_port import Ledger
from penstock.engine.runs.records import Place, RunPage
from penstock.http.runs.documents import run_document

_PAGE = 500


class ExportFormat(StrEnum):
    """How runs are written."""

    NDJSON = "ndjson"
    CSV = "csv"


async def export_runs(ledger: Ledger, form: ExportFormat, output: TextIO) -> int:
    """Write every run that is there at the beginning; give how many."""
    count = 0
    table: Any = None
    async for document in _documents(ledger):
        count += 1
        if form is ExportFormat.NDJSON:
            output.write(orjson.dumps(document).decode() + "\n")
            continue
        if table is None:
            table = csv.writer(output, lineterminator="\n")
            table.writerow(_columns(document))
        table.writerow([_cell(document[name]) for name in _columns(document)])
    return count


def _columns(document: dict[str, Any]) -> list[str]:
    # That a text is no JSON shows in the text itself.
    return [name for name in document if not name.endswith("_parse_error")]


def _cell(value: object) -> object:
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return str(value).lower()
    return value


async def _documents(ledger: Ledger) -> AsyncIterator[dict[str, Any]]:
    # What is reported meanwhile is newer than the first page, and not in the ones behind it.
    after: Place | None = None
    while page := await ledger.read(RunPage(_PAGE, after=after)):
        for stored in page:
            yield run_document(stored)
        after = Place(page[-1].run.created_unix_us, page[-1].number)
