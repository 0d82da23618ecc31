"""`penstock sync`: send a collector's records to a service, each of them once."""

import os
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table
from penstock.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.sync.batches import Batch
    from penstock.sync.collector import SyncReport
    from penstock.sync.folder import LocalRecord
    from penstock.sync.store import SyncStore

TOKEN_VARIABLE = "STATSAI_SYNC_TOKEN"  # noqa: S105 - its name
STATE_FILE = ".penstock-sync.sqlite3"
DEFAULT_URL = "http://127.0.0.1:8080"


class Sink(StrEnum):
    """Where batches go."""

    STDOUT = "stdout"
    FILE = "file"
    HTTP = "http"


def sync(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of records.")],
    *,
    sink: Annotated[Sink, typer.Option(help="Where the batch goes.")] = Sink.HTTP,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file of --sink file.")
    ] = None,
    url: Annotated[str, typer.Option(metavar="URL", help="The service.")] = DEFAULT_URL,
    since_last: Annotated[
        bool,
        typer.Option("--since-last", help="Only events and summaries that are new or changed."),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Afterwards compare the counts here and there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be sent.")
    ] = False,
    auth_token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN", help=f"The device token. Default: {TOKEN_VARIABLE}, else the kept one."
        ),
    ] = None,
    keep_token: Annotated[
        bool, typer.Option("--keep-token", help="Keep the token for this URL once it has worked.")
    ] = False,
    device_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="This device's id. Default: the last one, else a new one."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"What was sent so far. Default: {STATE_FILE} in the folder."
        ),
    ] = None,
    batch_records: Annotated[
        int, typer.Option(min=1, max=5000, help="Records in a batch at most.")
    ] = 500,
    batch_bytes: Annotated[
        int, typer.Option(min=1024, help="Bytes in a batch at most; one record is always sent.")
    ] = 1_000_000,
    as_json: Json = False,
) -> None:
    """Send the records of a folder, without their private parts, and say what became of them.

    Exit code 1 means that something was not sent, was rejected, or does not agree.
    """
    from penstock.sync.collector import pending  # noqa: PLC0415  pulls in the models
    from penstock.sync.folder import read_folder  # noqa: PLC0415
    from penstock.sync.store import open_store  # noqa: PLC0415

    _check(folder, sink, output, verify=verify)
    found = read_folder(folder)
    for fault in found.faults:
        typer.echo(f"penstock: {fault}", err=True)
    target = _target(sink, output, url)
    with open_store(state or folder / STATE_FILE) as store:
        sent = store.sent(sink.value, target)
        going = pending(found.records, sent, since_last=since_last)
        whole = sink is not Sink.HTTP
        batches = _batches(
            going,
            store.device_id(device_id),
            most_records=len(going) if whole else batch_records,
            most_bytes=1 << 62 if whole else batch_bytes,
        )
        if dry_run:
            _show_plan(going, batches, as_json=as_json)
        elif sink is Sink.HTTP:
            token = auth_token or os.environ.get(TOKEN_VARIABLE) or store.token(target)
            if not token:
                raise StartupError(
                    f"no device token: give --auth-token, set {TOKEN_VARIABLE}, or keep one by "
                    "--keep-token (`penstock token device` mints one)"
                )
            report = _send(batches, found.records, store, target, token, verify=verify)
            if keep_token:
                store.keep_token(target, token)
            _show_report(report, as_json=as_json)
            if report.rejected or report.mismatches:
                raise typer.Exit(1)
        else:
            _write(batches, output)
            store.note_sent(sink.value, target, going)
    if found.faults:
        raise typer.Exit(1)


def _check(folder: Path, sink: Sink, output: Path | None, *, verify: bool) -> None:
    """Refuse options that do not go together."""
    from penstock.sync.folder import is_read  # noqa: PLC0415  as above

    if (sink is Sink.FILE) != (output is not None):
        raise StartupError("--output: it goes with --sink file, and that needs it")
    if output is not None and is_read(output) and output.resolve().is_relative_to(folder.resolve()):
        raise StartupError(
            f"--output: {output}: it lies in the folder of records, where it would be read as one"
        )
    if verify and sink is not Sink.HTTP:
        raise StartupError("--verify: it needs --sink http")


def _send(
    batches: "Sequence[Batch]",
    records: "list[LocalRecord]",
    store: "SyncStore",
    target: str,
    token: str,
    *,
    verify: bool,
) -> "SyncReport":
    from penstock.sync.collector import compare_counts, send_all  # noqa: PLC0415  as above
    from penstock.sync.sender import Sender, SendError  # noqa: PLC0415

    try:
        with Sender(target, token) as sender:
            report = send_all(list(batches), sender, store, Sink.HTTP.value, target)
            if verify:
                report.mismatches = compare_counts(records, sender.remote_counts())
    except SendError as error:
        typer.echo(f"penstock: {error}", err=True)
        raise typer.Exit(1) from None
    return report


def _batches(
    records: "list[LocalRecord]", device_id: str, *, most_records: int, most_bytes: int
) -> "list[Batch]":
    from penstock.http.instants import iso_instant  # noqa: PLC0415  as above
    from penstock.sync.batches import make_batches  # noqa: PLC0415

    if not records:
        return []
    now = time.time_ns() // 1_000_000
    return make_batches(
        records,
        device_id=device_id,
        unix_ms=now,
        created_at=iso_instant(now),
        most_records=most_records,
        most_bytes=most_bytes,
    )


def _write(batches: "Sequence[Batch]", output: Path | None) -> None:
    """Write the one batch there is; where nothing is pending there is none, and no output."""
    for batch in batches:
        body = batch.body()
        if output is None:
            typer.echo(body)
            continue
        try:
            output.write_bytes(body)
        except OSError as error:
            raise StartupError(f"--output: {output}: {error.strerror}") from None


def _target(sink: Sink, output: Path | None, url: str) -> str:
    from penstock.sync.sender import BATCHES_PATH  # noqa: PLC0415  as above

    match sink:
        case Sink.HTTP:
            # The same service, whether its address or that of its route is given.
            return url.rstrip("/").removesuffix(BATCHES_PATH)
        case Sink.FILE:
            return str((output or Path()).resolve())
        case Sink.STDOUT:
            return "-"


def _show_plan(
    records: "Sequence[LocalRecord]", batches: "Sequence[Batch]", *, as_json: bool
) -> None:
    from penstock.engine.sync.ack import no_counts  # noqa: PLC0415  as above

    counts = no_counts()
    for record in records:
        counts[record.kind.plural] += 1
    if as_json:
        print_json({"batches": len(batches), "records": counts})
        return
    rows = [(plural, str(count)) for plural, count in counts.items()]
    print_table(("kind", "to send"), rows, title=f"{len(batches)} batches; nothing was sent")


def _show_report(report: "SyncReport", *, as_json: bool) -> None:
    if as_json:
        plain = asdict(report)
        plain["rejected"] = [one._asdict() for one in report.rejected]
        plain["mismatches"] = [
            {"kind": kind, "local": here, "remote": there}
            for kind, here, there in report.mismatches
        ]
        print_json(plain)
        return
    if not report.batches:
        typer.echo("nothing to send")
    else:
        rows = [
            (kind, str(count), str(report.updated[kind]), str(report.duplicates[kind]))
            for kind, count in report.accepted.items()
        ]
        columns = ("kind", "accepted", "of which updated", "duplicates")
        print_table(columns, rows, title=f"{report.batches} batches sent")
    for one in report.rejected:
        typer.echo(f"rejected: {one.kind} {one.id or '(no id)'}: {one.reason}")
    for kind, here, there in report.mismatches:
        typer.echo(f"does not agree: {kind}: {here} here, {there} there")
