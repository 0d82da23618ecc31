"""`penstock replay` shows a stored session and says whether it is undamaged."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from penstock.bench.library import make_track
from penstock.bench.patients import Traits
from penstock.engine.wire import encode

SESSION = "0d5d1c3e-3f64-4f35-a8b3-6b0c0a0f9d11"


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """Two batches with two seconds of silence between them, as a plain blob."""
    path = tmp_path / "blob.bin.gz"
    landmarks = np.zeros((5, 33, 4), np.float32)
    path.write_bytes(
        encode(landmarks, np.arange(5) * 100) + encode(landmarks, 2400 + np.arange(5) * 100)
    )
    return path


def test_a_file_is_shown_and_verified(run: Any, blob: Path) -> None:
    """Frames, batches, times and gaps, for people and for programs; exit code 0."""
    shown = run("replay", str(blob))
    assert shown.code == 0
    assert "10, 0 of them repeated" in shown.out
    assert "0.000 s to 2.800 s" in shown.out
    assert "2.000 s" in shown.out
    plain = run("replay", blob.name, "--json")
    report = json.loads(plain.out)
    assert plain.code == 0
    assert (report["frames"], report["batches"], report["verified"]) == (10, 2, True)
    assert report["gaps"] == [{"start_ms": 400, "end_ms": 2400, "length_ms": 2000}]


def test_the_reach_of_the_joints_is_shown(run: Any, tmp_path: Path) -> None:
    """The least and greatest angle of each joint that was tracked, and of no other."""
    path = tmp_path / "bend.bin.gz"
    landmarks = np.zeros((2, 33, 4), np.float32)
    landmarks[:, (23, 25, 27), 3] = 1
    landmarks[:, (23, 25), :2] = (0.5, 0.2), (0.5, 0.4)
    landmarks[:, 27, :2] = (0.5, 0.6), (0.65, 0.4)
    path.write_bytes(encode(landmarks, [0, 100]))
    assert json.loads(run("replay", str(path), "--json").out)["reach_degrees"] == {
        "knee_flexion_left": [0.0, 90.0]
    }
    shown = run("replay", str(path)).out
    assert "knee flexion left" in shown
    assert "90.0°" in shown
    assert "knee flexion right" not in shown


def test_a_damaged_file_exits_1(run: Any, blob: Path) -> None:
    """What is wrong is listed with its place."""
    blob.write_bytes(blob.read_bytes()[:-3])
    ran = run("replay", str(blob))
    assert ran.code == 1
    assert "no: 1 damages" in ran.out
    assert json.loads(run("replay", str(blob), "--json").out)["verified"] is False


def test_a_session_is_found_in_the_data_folder(run: Any, blob: Path, tmp_path: Path) -> None:
    """Its id is enough, in any spelling."""
    spool = tmp_path / "data" / "spool"
    spool.mkdir(parents=True)
    (spool / f"{SESSION}.bin.gz").write_bytes(blob.read_bytes())
    assert run("replay", SESSION.upper(), "--data-dir", "data").code == 0
    assert run("replay", SESSION, PENSTOCK_DATA_DIR="data").code == 0


@pytest.mark.parametrize("source", ["none.bin.gz", SESSION, "."])
def test_what_cannot_be_read_exits_2(run: Any, source: str) -> None:
    """One line, and no report."""
    ran = run("replay", source)
    assert (ran.code, ran.out, len(ran.lines)) == (2, "", 1)


def test_long_lists_are_cut_and_say_so(run: Any, tmp_path: Path) -> None:
    """A table stays readable; --json has all."""
    path = tmp_path / "gappy.bin.gz"
    path.write_bytes(encode(np.zeros((30, 33, 4), np.float32), np.arange(30) * 1000))
    assert "the first 20 of 29; all: --json" in run("replay", str(path)).out
    assert len(json.loads(run("replay", str(path), "--json").out)["gaps"]) == 29


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Forty seconds of squats as a plain blob, two seconds of them lost."""
    path = tmp_path / "squats.bin.gz"
    batches = make_track(Traits(), batches=40, frames_a_batch=10, seed=1)
    path.write_bytes(b"".join(batches[:12] + batches[14:]))
    return path


def test_the_figures_are_those_of_the_session(run: Any, session: Path) -> None:
    """As JSON they have the shape of the aggregation event; for people they are tables."""
    ran = run("replay", str(session), "--metrics", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert set(found) == {"session_metrics", "rep_metrics"}
    assert found["session_metrics"]["rep_count"] == len(found["rep_metrics"])
    assert found["session_metrics"]["rep_count"] in range(9, 12)
    assert found["session_metrics"]["frames_used"] == 380
    (gap,) = found["session_metrics"]["gaps"]
    assert gap["reason"] == "unknown"
    assert 2000 < gap["length_ms"] < 2300
    shown = run("replay", str(session), "--metrics").out
    assert "rep count" in shown
    assert "nothing was seen" in shown


def test_a_picture_tells_why(run: Any, session: Path, tmp_path: Path) -> None:
    """It is one SVG without a script, with a band for each repetition and for the gap."""
    picture = tmp_path / "why.svg"
    found = json.loads(
        run("replay", str(session), "--metrics", "--json", "--plot", str(picture)).out
    )
    drawn = ET.fromstring(picture.read_text())  # noqa: S314 - we drew it
    bands = [one.get("class", "") for one in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert sum(band.startswith(("rep", "hidden")) for band in bands) == len(found["rep_metrics"])
    assert bands.count("gap") == 1
    assert "script" not in picture.read_text()


@pytest.mark.parametrize("name", ["why.png", "no/such/folder/why.svg"])
def test_a_picture_that_cannot_be_drawn_is_one_line(
    run: Any, session: Path, tmp_path: Path, name: str
) -> None:
    """Another kind of file, or a folder that is not there, is told in one line; exit code 2."""
    ran = run("replay", str(session), "--plot", str(tmp_path / name))
    assert ran.code == 2
    assert name in ran.err.replace("\n", "")
