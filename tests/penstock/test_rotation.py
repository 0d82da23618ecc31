"""No start drops a session secret whose tokens may still be valid."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.rotation import (
    RECORD_FILE,
    RotationError,
    RotationRecord,
    check_rotation,
    fingerprint,
    next_record,
    read_record,
)

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
OVERLAP = 7200.0
DAY = 86400.0


def start(folder: Path, current: bytes, previous: bytes | None = None, *, at: float) -> None:
    check_rotation(folder, current=current, previous=previous, overlap_seconds=OVERLAP, now_unix=at)


def refused(folder: Path, current: bytes, previous: bytes | None = None, *, at: float) -> str:
    before = (folder / RECORD_FILE).read_bytes()
    with pytest.raises(RotationError) as caught:
        start(folder, current, previous, at=at)
    (line,) = caught.value.lines
    assert (folder / RECORD_FILE).read_bytes() == before
    assert str(folder / RECORD_FILE) in line
    return line


def test_the_first_start_records_fingerprints_only(tmp_path: Path) -> None:
    """The record tells secrets apart, and neither it nor its rights give one away."""
    start(tmp_path / "data", A, at=DAY)
    path = tmp_path / "data" / RECORD_FILE
    assert json.loads(path.read_bytes()) == {
        "v": 1,
        "current": fingerprint(A),
        "previous": None,
        "current_since_unix": DAY,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(fingerprint(A)) == 16
    assert fingerprint(A) != fingerprint(B)


def test_a_restart_with_the_same_secrets_changes_nothing(tmp_path: Path) -> None:
    """When the current secret was first seen stays as it was."""
    start(tmp_path, A, at=DAY)
    start(tmp_path, A, at=2 * DAY)
    assert read_record(tmp_path) == RotationRecord(fingerprint(A), None, DAY)


def test_a_rotation_keeps_the_old_secret_as_previous(tmp_path: Path) -> None:
    """The first rotation may come at any time, with the old secret as the previous one."""
    start(tmp_path, A, at=DAY)
    start(tmp_path, B, A, at=DAY + 1)
    assert read_record(tmp_path) == RotationRecord(fingerprint(B), fingerprint(A), DAY + 1)


@pytest.mark.parametrize("previous", [None, C])
def test_a_rotation_that_drops_the_old_secret_is_refused(
    tmp_path: Path, previous: bytes | None
) -> None:
    """Tokens signed a moment ago never stop working by a restart."""
    start(tmp_path, A, at=DAY)
    line = refused(tmp_path, B, previous, at=9 * DAY)
    assert "session_secret_previous is not the secret" in line
    assert fingerprint(A) in line


def test_a_second_rotation_inside_the_overlap_is_refused(tmp_path: Path) -> None:
    """It waits until the tokens of the first are gone, and says until when and how to force it."""
    start(tmp_path, A, at=DAY)
    start(tmp_path, B, A, at=2 * DAY)
    line = refused(tmp_path, C, B, at=2 * DAY + OVERLAP - 1)
    assert "until 1970-01-03 02:00:00 UTC" in line
    assert "in an emergency remove" in line
    start(tmp_path, C, B, at=2 * DAY + OVERLAP)


def test_the_previous_secret_goes_only_after_the_overlap(tmp_path: Path) -> None:
    """Leaving the previous secret out too early is the same loss as a second rotation."""
    start(tmp_path, A, at=DAY)
    start(tmp_path, B, A, at=2 * DAY)
    refused(tmp_path, B, at=2 * DAY + 1)
    start(tmp_path, B, at=2 * DAY + OVERLAP)
    assert read_record(tmp_path) == RotationRecord(fingerprint(B), None, 2 * DAY)


def test_going_back_is_allowed(tmp_path: Path) -> None:
    """A rotation taken back keeps both secrets, so nobody loses a token."""
    start(tmp_path, A, at=DAY)
    start(tmp_path, B, A, at=2 * DAY)
    start(tmp_path, A, B, at=2 * DAY + 1)
    refused(tmp_path, C, A, at=2 * DAY + OVERLAP)


def test_removing_the_record_forces_it(tmp_path: Path) -> None:
    """In an emergency the operator has the last word."""
    start(tmp_path, A, at=DAY)
    refused(tmp_path, C, at=DAY)
    (tmp_path / RECORD_FILE).unlink()
    start(tmp_path, C, at=DAY)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"v": 2}', '{"v": 1, "current": "x", "previous": null}']
    + [
        f'{{"v":1,"current":"x","previous":null,"current_since_unix":{n}}}' for n in ("1e300", "[]")
    ],
)
def test_a_damaged_record_is_told(tmp_path: Path, content: str) -> None:
    """What cannot be judged is not guessed."""
    (tmp_path / RECORD_FILE).write_text(content)
    assert "damaged" in refused(tmp_path, A, at=DAY)


SECRET = st.sampled_from([A, B, C])


@given(
    st.lists(st.tuples(SECRET, st.none() | SECRET, st.floats(0, 2 * OVERLAP)), max_size=12),
)
def test_whatever_the_history_no_live_token_is_cut_off(
    starts: list[tuple[bytes, bytes | None, float]],
) -> None:
    """After every start that is allowed, a secret current within the overlap is still accepted."""
    recorded: RotationRecord | None = None
    now = DAY
    signed: dict[bytes, float] = {}
    for current, previous, pause in starts:
        now += pause
        # The service that was running signed, until this moment, with its current secret.
        for secret in (A, B, C):
            if recorded is not None and fingerprint(secret) == recorded.current:
                signed[secret] = now
        try:
            recorded = next_record(
                recorded,
                current=current,
                previous=previous,
                overlap_seconds=OVERLAP,
                now_unix=now,
                path=Path("record"),
            )
        except RotationError:
            continue
        live = {secret for secret, at in signed.items() if now < at + OVERLAP}
        assert live <= {current, previous}
