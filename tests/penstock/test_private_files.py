"""Private files are whole or absent, and nobody else's."""

import os
import stat
from pathlib import Path

import pytest

from penstock.private_files import create_private, replace_private


def test_a_created_file_is_never_replaced(tmp_path: Path) -> None:
    """The second creator is told that the first won."""
    path = tmp_path / "made" / "file"
    assert create_private(path, b"first")
    assert not create_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_replaced_file_leaves_no_draft(tmp_path: Path) -> None:
    """Only the file itself is there afterwards."""
    path = tmp_path / "file"
    replace_private(path, b"first")
    replace_private(path, b"second")
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the new content, not the old."""
    path = tmp_path / "file"
    replace_private(path, b"first")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_name_that_cannot_be_taken_leaves_no_draft(tmp_path: Path) -> None:
    """A folder of that name is an error, and nothing is left beside it."""
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_private(tmp_path / "file", b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
