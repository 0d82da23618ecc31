"""An export holds what the list finds, all of it, and runs nothing in a spreadsheet."""

import csv
import io
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console_rig import ADMIN, Console, signed_in
from dashboard_rows import AROUND, audit, event, keep, media, report
from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError
from penstock.engine.platform.viewing import LookAtAudit
from penstock.http.console import dashboard, dashboard_export
from penstock.http.console.dashboard_export import Format
from penstock.http.console.dashboard_lists import LISTINGS
from penstock.ledgers import open_ledger
from penstock.service import Service

Serve = Callable[..., Any]


async def rows_of(console: Console, address: str) -> list[dict[str, str]]:
    """Read a CSV export."""
    answer = await console.get(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def lines_of(console: Console, address: str) -> list[dict[str, Any]]:
    """Read an export in JSON lines."""
    answer = await console.get(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def test_an_export_holds_all_that_the_filter_finds(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every page, in order, in both formats; nothing else is in it."""
    monkeypatch.setattr(dashboard, "_EXPORT_STEP", 7)
    wanted = [event(number, name="goal.met") for number in range(30)]
    async with serve() as service, signed_in(service) as console:
        await keep(service, *wanted, *(event(number) for number in range(30)))
        address = "/dashboard/analytics.{}?event=goal.met&from=2026-02-17T10:00:02"
        found = await rows_of(console, address.format("csv"))
        ids = [one.event_id for one in reversed(wanted[2:])]
        assert [row["event_id"] for row in found] == ids
        assert found[0]["received_at"] == "2026-02-17T10:00:29.000Z"
        assert orjson.loads(found[0]["properties"]) == {"n": 29}
        told = await lines_of(console, address.format("jsonl"))
        assert [row["event_id"] for row in told] == ids
        assert told[0]["properties"] == {"n": 29}
        assert told[0]["numeric_value"] is None


async def test_every_list_has_its_export(serve: Serve) -> None:
    """With the same fields in both formats; an empty one has its heads."""
    async with serve() as service, signed_in(service) as console:
        await keep(service, audit(1), audit(2, "policy.edited"), event(1), report(1), media(1))
        for listing in LISTINGS:
            lines = await lines_of(console, f"{listing.path}.jsonl")
            assert lines
            assert all(tuple(line) == listing.fields for line in lines)
            found = await rows_of(console, f"{listing.path}.csv")
            assert len(found) >= len(lines)  # the first export is itself in the audit
            empty = await console.get(f"{listing.path}.csv?to=2000-01-01")
            assert empty.text == ",".join(listing.fields) + "\r\n"
            disposition = empty.headers["content-disposition"]
            assert disposition.startswith(f'attachment; filename="penstock-{listing.name}-')


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n@x", "\uff1d1", "\uff20A1")


async def test_no_cell_is_a_formula(serve: Serve) -> None:
    """What a client has written stays a text; numbers stay numbers."""
    evil = [
        event(
            number, resource_id=bad, page_url=bad, numeric_value=-1.5,
            circumstances=AROUND._replace(device_type=bad),
        )
        for number, bad in enumerate(FORMULAS)
    ]  # fmt: skip
    async with serve() as service, signed_in(service) as console:
        await keep(service, *evil)
        found = await rows_of(console, "/dashboard/analytics.csv")
        for bad, row in zip(reversed(FORMULAS), found, strict=True):
            assert row["resource_id"] == row["page_url"] == row["device_type"] == f"'{bad}"
            assert row["numeric_value"] == "-1.5"
        told = await lines_of(console, "/dashboard/analytics.jsonl")
        assert [line["resource_id"] for line in told] == [*reversed(FORMULAS)]


_CELLS = st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())


@given(st.lists(st.lists(_CELLS, min_size=3, max_size=3), max_size=5))
def test_a_csv_can_be_read_back(table: list[list[Any]]) -> None:
    """Whatever is in the cells, there are as many, and none that is text begins as a formula."""
    fields = ("a", "b", "c")
    text = dashboard_export.rows(fields, table, Format.CSV).decode()
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert len(read) == len(table)
    for row, cells in zip(table, read, strict=True):
        assert len(cells) == 3
        for value, cell in zip(row, cells, strict=True):
            if isinstance(value, str):
                assert cell.removeprefix("'") == value.removeprefix("'")
                assert not cell.lstrip().startswith(("=", "+", "-", "@"))


async def test_an_export_is_in_the_audit(serve: Serve) -> None:
    """Who took what out, by which filters, before a row of it was given."""
    async with serve() as service, signed_in(service) as console:
        await keep(service, event(1))
        await rows_of(console, "/dashboard/analytics.csv?event=page.view&from=2026-01-01")
        (entry,) = await _exports(service)
        assert (entry.actor, entry.subject) == (f"user:{ADMIN}", "/dashboard/analytics")
        assert entry.detail["filters"] == {"event": "page.view", "from": "2026-01-01"}
        assert entry.detail["format"] == "csv"
        page = await console.get("/dashboard/security?kind=admin")
        assert "console.exported" in page.text
        assert (await console.get("/dashboard/analytics.csv?from=never")).status_code == 400
        assert len(await _exports(service)) == 1


async def _exports(service: Service) -> list[Any]:
    async with open_ledger(service.settings) as ledger:
        found = await ledger.read(LookAtAudit(9, action="console.exported"))
    return [stored.entry for stored in found.rows]


@pytest.mark.parametrize("form", list(Format))
async def test_an_export_that_is_cut_short_says_where_the_rest_is(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, form: Format
) -> None:
    """In its last line, as an address that gives it: followed to the end, nothing is missing."""
    monkeypatch.setattr(dashboard, "EXPORT_ROWS", 10)
    monkeypatch.setattr(dashboard, "_EXPORT_STEP", 4)
    there = [event(number) for number in range(25)]
    async with serve() as service, signed_in(service) as console:
        await keep(service, *there)
        address, seen = f"/dashboard/analytics.{form}?event=page.view", list[str]()
        lines: list[dict[str, Any]]
        for _ in range(10):
            if form is Format.CSV:
                lines = [*await rows_of(console, address)]
                last = lines[-1]["received_at"]
                rest = last.partition(": ")[2] if last.startswith("# cut short") else ""
            else:
                lines = await lines_of(console, address)
                rest = lines[-1].get("rest", "")
            seen += [line["event_id"] for line in (lines[:-1] if rest else lines)]
            if not rest:
                break
            address = rest
        assert seen == [one.event_id for one in reversed(there)]


async def test_an_export_looks_no_further_than_it_may(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that finds little ends as well, and says that it has not seen all."""
    monkeypatch.setattr(dashboard, "EXPORT_LOOKS", 2)
    monkeypatch.setattr(dashboard, "LOOKED_ROWS", 5)
    async with serve() as service, signed_in(service) as console:
        await keep(service, *(event(number) for number in range(20)))
        (line,) = await lines_of(console, "/dashboard/analytics.jsonl?event=missing")
        assert line["cut_short"] == "cut short at 100000 rows, or 10 looked at"
        assert "cursor=" in line["rest"]


async def test_an_export_that_fails_on_the_way_does_not_look_whole(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer is broken off, so that no program takes the file for all there is."""
    monkeypatch.setattr(dashboard, "_EXPORT_STEP", 5)
    written = dashboard_export.rows
    begun: list[int] = []

    def rows(fields: Any, found: Any, form: Format) -> bytes:
        begun.append(1)
        if len(begun) == 2:
            raise LedgerUnavailableError(LedgerReason.IO_ERROR, "the disk went away")
        return written(fields, found, form)

    monkeypatch.setattr(dashboard_export, "rows", rows)
    async with serve(errors=1) as service, signed_in(service) as console:
        await keep(service, *(event(number) for number in range(20)))
        with pytest.raises(httpx.RemoteProtocolError):
            await console.get("/dashboard/analytics.csv")
