import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.storage.lock import LOCK_NAME, DataDirLockedError, lock_data_dir

_TRY = """
import sys
from pathlib import Path
from penstock.storage.lock import DataDirLockedError, lock_data_dir
try:
    with lock_data_dir(Path(sys.argv[1])):
        print("locked")
except DataDirLockedError as error:
    print(error.pid, error)
"""


def _try_elsewhere(path: Path) -> str:
    return subprocess.check_output([sys.executable, "-c", _TRY, path], text=True).strip()


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    """Only one process has the data folder, and the other learns the holder's pid."""
    folder = tmp_path / "new" / "data"
    with lock_data_dir(folder):
        told = _try_elsewhere(folder)
        assert told.startswith(f"{os.getpid()} ")
        assert told.endswith(f"{folder} is in use by process {os.getpid()}")
    assert _try_elsewhere(folder) == "locked"


def test_the_lock_is_free_after_a_failure(tmp_path: Path) -> None:
    """An exception inside gives the folder back."""

    def fail() -> None:
        with lock_data_dir(tmp_path):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _try_elsewhere(tmp_path) == "locked"


def test_a_stale_file_is_no_lock(tmp_path: Path) -> None:
    """What a killed process left in the lock file keeps nobody out, nor does a strange content."""
    lock = tmp_path / LOCK_NAME
    lock.write_text("999999999 and more than a pid\n")
    with lock_data_dir(tmp_path):
        assert lock.read_text() == f"{os.getpid()}\n"
        lock.write_text("")
        with (
            pytest.raises(DataDirLockedError, match="in use by another process"),
            lock_data_dir(tmp_path),
        ):
            pass
