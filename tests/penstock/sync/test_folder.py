"""What is read from a folder, and what is left out and told."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.errors import StartupError
from penstock.sync.folder import read_folder
from sync_rig import event, example, source, summary


def write(folder: Path, name: str, *documents: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(orjson.dumps(document) for document in documents))


def test_records_come_from_documents_lists_batches_and_lines(tmp_path: Path) -> None:
    """Metadata first; of a record that comes twice the last one holds."""
    write(tmp_path, "a/one.json", event(1))
    write(tmp_path, "b.json", [summary(1), source(1)])
    write(tmp_path, "c.jsonl", summary(2), summary(1, tokens=7))
    write(tmp_path, "day.json", example("day"))
    write(tmp_path, "notes.txt", "no record")
    (tmp_path / "folder.json").mkdir()
    found = read_folder(tmp_path)
    assert found.faults == []
    kinds = [record.kind.value for record in found.records]
    assert kinds == [
        *["source"] * 3,
        "account",
        "source_account_assignment",
        "subscription",
        *["event"] * 4,
        *["summary"] * 5,
    ]
    (twice,) = [one for one in found.records if one.record_id == summary(1)["summary_id"]]
    assert orjson.loads(twice.body)["usage"]["total_tokens"] == 7


def test_what_is_no_record_is_told_by_its_place_and_left_out(tmp_path: Path) -> None:
    """And never by its content."""
    secret = "planted-7f3a"
    broken = {**summary(1), "usage": {"total_tokens": secret}}
    write(tmp_path, "a.jsonl", summary(2), broken, {"schema_version": secret}, secret, event(1))
    (tmp_path / "b.json").write_bytes(b"{")
    found = read_folder(tmp_path)
    assert [record.kind.value for record in found.records] == ["event", "summary"]
    told = [fault.removeprefix(str(tmp_path)) for fault in found.faults]
    assert [fault.split(": ")[0] for fault in told] == [
        *("/a.jsonl:2", "/a.jsonl:3", "/a.jsonl:4"),
        "/b.json",
    ]
    assert "usage.total_tokens" in told[0]
    assert not any(secret in fault for fault in told)


@pytest.mark.parametrize(
    "record",
    [
        summary(1, provider="p" * 257),
        {**summary(1), "summary_id": "s" * 257},
        {**summary(1), "summary_id": "s\0"},
        summary(1, tokens=2**60),
    ],
    ids=["provider", "long id", "NUL", "tokens"],
)
def test_what_the_service_would_refuse_is_told_here(tmp_path: Path, record: Any) -> None:
    """By the rules that are in no schema, too: nothing is sent only to come back."""
    write(tmp_path, "a.json", record)
    found = read_folder(tmp_path)
    assert (found.records, len(found.faults)) == ([], 1)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    """In one line, by its name."""
    with pytest.raises(StartupError, match="nowhere"):
        read_folder(tmp_path / "nowhere")
