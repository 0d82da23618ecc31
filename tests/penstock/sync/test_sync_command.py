"""`penstock sync` from a folder to a real service, and what it remembers."""

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from penstock.commands.sync import STATE_FILE, TOKEN_VARIABLE
from sync_rig import batch, event, example, source, summary

DEVICE = "dev_1"


def test_everything_goes_once_and_then_nothing_is_left(site: Any) -> None:
    """The counts here and there agree, a second run sends nothing, and changes go alone."""
    site.write("day.json", example("day"))
    site.write("more.jsonl", *(summary(number) for number in range(30)))
    first = site.report("--since-last", "--verify", "--batch-records", "10")
    assert (first["batches"], first["mismatches"], first["rejected"]) == (5, [], [])
    assert first["accepted"]["summaries"] == 33
    assert site.report("--since-last", "--verify")["batches"] == 0
    assert "nothing to send" in site.sync("--since-last", "--auth-token", site.token).out
    site.write("more.jsonl", summary(0, tokens=5), *(summary(n) for n in range(1, 31)))
    second = site.report("--since-last", "--verify")
    assert second["updated"]["summaries"] == 1
    assert second["accepted"]["summaries"] == 2
    assert second["duplicates"] == first["accepted"] | {"summaries": 0, "events": 0}
    whole = site.report("--verify")
    assert whole["duplicates"]["summaries"] == 34
    assert sum(whole["accepted"].values()) == 0


def test_a_rejected_record_is_told_and_stays_pending(site: Any) -> None:
    """An event that has changed is refused by the service, and the command says so by its code."""
    site.write("a.jsonl", event(1), summary(1))
    site.report("--since-last")
    site.write("a.jsonl", event(1, provider="other"), summary(1))
    for _ in range(2):
        told = site.report("--since-last", code=1)
        assert [one["id"] for one in told["rejected"]] == [event(1)["event_id"]]


def test_what_does_not_agree_is_told(site: Any) -> None:
    """What the service has and this folder has not, after records were removed here."""
    site.write("a.jsonl", source(1), source(2))
    site.report("--verify")
    site.write("a.jsonl", source(1))
    told = site.report("--verify", code=1)
    assert told["mismatches"] == [{"kind": "sources", "local": 1, "remote": 2}]


def test_the_token_s_precedence(site: Any) -> None:
    """The option before the variable, the variable before the one that is kept."""
    site.write("a.jsonl", source(1))
    assert "no device token" in site.sync(code=2).err
    assert (
        "401" in site.sync("--auth-token", "pds_wrong", code=1, **{TOKEN_VARIABLE: site.token}).err
    )
    site.sync(**{TOKEN_VARIABLE: site.token})
    site.sync("--auth-token", site.token, "--keep-token")
    site.sync()
    assert "401" in site.sync(code=1, **{TOKEN_VARIABLE: "pds_wrong"}).err
    state = site.folder / STATE_FILE
    assert state.stat().st_mode & 0o777 == 0o600


def test_a_dry_run_counts_and_changes_nothing(site: Any) -> None:
    """By kind, and in how many batches; a later run sends all of it."""
    site.write("a.jsonl", source(1), *(summary(number) for number in range(5)))
    plan = orjson.loads(site.sync("--dry-run", "--json", "--batch-records", "2").out)
    assert plan["batches"] == 3
    assert (plan["records"]["sources"], plan["records"]["summaries"]) == (1, 5)
    assert "nothing was sent" in site.sync("--dry-run").out
    assert site.report("--since-last")["accepted"]["summaries"] == 5


def test_files_and_output_get_one_whole_batch(site: Any) -> None:
    """Stripped and valid, each remembered by its own target."""
    record = summary(1, source={**summary(1)["source"], "source_record_id": "/private"})
    site.write("a.jsonl", source(1, path_label="/private"), record, event(1))
    document = orjson.loads(site.sync("--sink", "stdout", "--since-last").out)
    assert document["device_id"] == DEVICE
    arrays = {name: len(value) for name, value in document.items() if isinstance(value, list)}
    assert arrays == {"sources": 1, "events": 1, "summaries": 1}
    assert "/private" not in str(document)
    assert site.sync("--sink", "stdout", "--since-last").out == ""
    target = site.folder.parent / "batch.out"
    site.sync("--sink", "file", "--output", str(target), "--since-last")
    assert orjson.loads(target.read_bytes()).keys() == document.keys()
    assert site.report("--since-last")["batches"] == 1


def test_bad_records_are_told_and_the_rest_goes(site: Any) -> None:
    """The command ends with 1, since not everything was sent."""
    site.write("a.jsonl", summary(1), {**summary(2), "usage": None})
    ran = site.sync("--auth-token", site.token, code=1)
    assert "a.jsonl:2: summary: usage" in ran.err
    assert site.report("--since-last", code=1)["batches"] == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sink", "file"], "--output"),
        (["--output", "x"], "--output"),
        (["--sink", "stdout", "--verify"], "--verify"),
        (["--url", "nonsense", "--auth-token", "pds_x"], "--url"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_told(
    tmp_path: Path, run: Any, options: list[str], told: str
) -> None:
    """In one line, as the caller's mistake."""
    (tmp_path / "a.json").write_bytes(orjson.dumps(source(1)))
    ran = run("sync", str(tmp_path), *options)
    assert ran.code == 2
    assert told in ran.err
    assert len(ran.lines) == 1


def test_output_is_no_record(site: Any) -> None:
    """A batch among the records would be read as records of its own, older each day."""
    site.write("a.jsonl", source(1))
    inside = str(site.folder / "batch.json")
    ran = site.sync("--sink", "file", "--output", inside, code=2)
    assert "--output" in ran.err
    assert not (site.folder / "batch.json").exists()
    site.sync("--sink", "file", "--output", str(site.folder / "batch.out"))


def test_a_service_is_the_same_by_the_address_of_its_route(site: Any) -> None:
    """What was sent to the one, with its token, counts for the other."""
    site.write("a.jsonl", summary(1))
    site.sync("--auth-token", site.token, "--keep-token")
    site.url += "/api/sync/batches"
    assert "nothing to send" in site.sync("--since-last").out
    assert site.report()["duplicates"]["summaries"] == 1


def test_a_revoked_token_opens_nothing(site: Any) -> None:
    """Revoked on the command line, while the service runs, for the very next request."""
    site.write("a.jsonl", source(1))
    site.report()
    revoke = ["token", "revoke-device", "--user-id", site.user, *site.dev]
    assert site.run(*revoke, "--device-id", "dev_other").code == 2
    assert site.run(*revoke).out.strip() == "1"
    assert "revoked" in site.sync("--auth-token", site.token, code=1).err
    answer = httpx.post(f"{site.url}/api/sync/batches", json=batch(), trust_env=False)
    assert answer.status_code == 401
