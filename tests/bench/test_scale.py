import os
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from penstock.bench import scale, scale_plan, scale_steps
from penstock.bench.errors import BenchError
from penstock.bench.machine import cpu_seconds as ticks
from penstock.bench.report.models import ScaleLine
from penstock.bench.scale import Progress, measure_scale
from penstock.bench.scale_lines import (
    Points,
    cpu_by_age,
    cpu_by_frames,
    cpu_by_rate,
    memory_by_age,
    memory_by_sessions,
)
from penstock.bench.scale_plan import ScalePlan
from penstock.bench.scale_steps import Cost, cpu_seconds
from penstock.bench.scale_traffic import Patients, encode_batches
from penstock.commands.bench.scale import scale as scale_command
from penstock.engine.wire import decode

_PLAN = ScalePlan(
    sessions=(10, 20, 40),
    frames=(1, 5, 9),
    minutes=(1, 2, 3),
    seconds=0.3,
    repeats=1,
    own_connections=True,
    settings={"spool_flush_seconds": 0.1},
)


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale_steps, "WARM_UP_SECONDS", 0.1)
    monkeypatch.setattr(scale_steps, "BATCHES_EACH", 1)
    monkeypatch.setattr(scale_steps, "BRING_UP_SECONDS", 0.1)
    monkeypatch.setattr(scale, "WARM_UP_SECONDS", 0.1)
    monkeypatch.setattr(scale_plan, "_REST_SECONDS", 1)
    monkeypatch.setattr(scale, "_FRAMES_SESSIONS", 50)
    monkeypatch.setattr(scale, "_AGE_SESSIONS", 4)
    monkeypatch.setattr(scale, "_AGE_WARM_BATCHES", 2)
    # Minutes of ten batches, so that little has to be sent for them.
    monkeypatch.setattr(scale, "_BATCHES_A_MINUTE", 10)
    monkeypatch.setattr(scale, "_AGE_A_SECOND", 40.0)


@pytest.mark.usefixtures("_short")
def test_all_questions_are_measured_end_to_end() -> None:
    """Every question gives its lines with a point a place, and tells how far it is."""
    told: list[str] = []
    run, _ = measure_scale(_PLAN, told.append)
    by_name = {line.name: line for line in run.lines}
    assert list(by_name) == [
        "CPU by sessions",
        "memory by sessions, live",
        "memory by sessions, resting",
        "memory by sessions, live, a connection each",
        "CPU by frames, 50 sessions",
        "CPU by bytes, 50 sessions",
        "CPU by age, 4 sessions",
        "memory by age, 4 sessions",
    ]
    for name in list(by_name)[1:4]:
        assert [point.x for point in by_name[name].points] == [10, 20, 40]
    assert [point.x for point in by_name["CPU by frames, 50 sessions"].points] == [1, 5, 9]
    ages = [point.x for point in by_name["CPU by age, 4 sessions"].points]
    assert ages == pytest.approx([1, 2, 3], abs=0.3)
    assert all(point.y > 0 for line in run.lines[:7] for point in line.points)
    assert len(told) == 5 * 3


def test_a_refused_batch_ends_the_measurement() -> None:
    """With a rate limit that refuses, there is no figure, and the error names the answer."""
    limits = {"rate_burst": 1, "rate_batches_per_second": 0.01}
    plan = ScalePlan((1, 2, 3), (1, 2, 3), (1, 2, 3), 0.2, 1, ("age",), settings=limits)
    with pytest.raises(BenchError, match="429"):
        measure_scale(plan, lambda _: None)


def test_a_rate_that_was_not_reached_is_a_fault() -> None:
    """A point that stands at a lower rate than asked for is told, and one in time is not."""
    lines: list[str] = []
    progress = Progress(lines.append)
    progress.say("run 1", "10 sessions", Cost(100, 400, 4.2, 0.04))
    assert progress.faults == []
    progress.say("run 1", "20 sessions", Cost(200, 400, 4.0, 0.04), "9 MiB")
    assert progress.faults == ["20 sessions, run 1: of 200 batches a second 100 were taken"]
    assert lines == [
        "run 1: 10 sessions, 100.0 µs a batch",
        "run 1: 20 sessions, 100.0 µs a batch, 9 MiB",
    ]


def test_too_few_files_is_a_clear_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of open files that is too low is told before anything is started."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    with pytest.raises(BenchError, match="the hard limit is 64"):
        measure_scale(_PLAN, lambda _: None)


def test_repeats_stand_at_one_place() -> None:
    """Repeats that took place within a tenth of the rate asked for have that rate in common."""
    costs = [Cost(100, 400, 4.01, 0.04), Cost(100, 400, 3.99, 0.04), Cost(100, 400, 8.0, 0.04)]
    assert [cost.point[0] for cost in costs] == [100, 100, 50]
    assert [cost.point[1] for cost in costs] == pytest.approx([10_000, 10_000, 5000])


@pytest.mark.parametrize("wrong", ["1,2", "1,2,2", "1,2,x", "0,1,2", "1,2,300000", ""])
def test_a_list_that_makes_no_line_is_refused(wrong: str) -> None:
    """Fewer than three different whole numbers within bounds are refused before anything runs."""
    app = typer.Typer()
    app.command()(scale_command)
    found = CliRunner().invoke(app, ["--sessions", wrong])
    assert found.exit_code == 2
    assert "--sessions" in found.output


def test_settings_are_told_for_each_question() -> None:
    """The report names what each server has besides the defaults, the caller's last."""
    told = ScalePlan((1, 2, 30_000), (1,), (1,), 1, 1, settings={"rate_burst": 9}).told()
    assert "max_live_sessions = 30000" in told["settings, sessions"]
    assert "session_rest_seconds" in told["settings, resting"]
    assert told["settings, frames"] == "rate_burst = 9"
    assert told["settings, age"].endswith("rate_burst = 9")
    assert "settings, own connections" not in told


def test_processor_time_is_that_of_the_whole_process() -> None:
    """The clock agrees with the kernel's ticks, with the time of ended threads in both."""
    program = (
        "import threading, time\n"
        "def burn():\n"
        "    end = time.thread_time() + 0.1\n"
        "    while time.thread_time() < end: pass\n"
        "for _ in range(2):\n"
        "    t = threading.Thread(target=burn); t.start(); t.join()\n"
        "print('done', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        fine, coarse = cpu_seconds(child.pid), ticks(child.pid)
        child.communicate(b"\n")
    assert fine > 0.2
    assert fine == pytest.approx(coarse, abs=0.05)


def test_this_process_has_the_same_clock() -> None:
    """For the own process the clock is the one that Python reads."""
    before = time.process_time()
    assert before <= cpu_seconds(os.getpid()) <= time.process_time()


def test_patients_never_send_a_batch_twice() -> None:
    """A session's batches go on from phase to phase, whichever connection or turn asks."""
    patients = Patients([b"a", b"b"], [b"0", b"1", b"2"])
    both, second = patients.over(range(2)), patients.each_on_its_own(range(1, 2))
    assert [both(7), both(7), both(7)] == [b"a0", b"b0", b"a1"]
    assert second(0) == b"b1"
    assert (patients.sent(0), patients.sent(1)) == (2, 2)
    assert patients.over(range(1))(3) == b"a2"


def test_batches_go_forward_in_time() -> None:
    """Encoded batches hold the frames asked for, a second each, one after the other."""
    times: list[int] = []
    for batch in encode_batches(3, 4):
        head, _, body = batch.partition(b"\r\n\r\n")
        assert head == b"Content-Length: %d" % len(body)
        times += decode(body).timestamps_ms
    assert times == [second * 1000 + at for second in range(4) for at in (0, 333, 666)]


def _line(points: Points, values: dict[float, float]) -> ScaleLine:
    for x, y in values.items():
        points.add(x, y)
    return points.line()


def test_lines_are_told_in_words() -> None:
    """Each line says its slope with the unit, and flat ones that nothing grows."""
    rate = _line(Points(cpu_by_rate()), {50: 12_000, 500: 30_000, 5000: 210_000})
    assert rate.told == "straight: 40 µs of CPU a batch, and 1.00% of a core whatever the load"
    memory = _line(Points(memory_by_sessions("live")), {100: 5000, 1000: 23_000, 10_000: 203_000})
    assert memory.told == "straight: 20 KiB a session"
    frames = _line(Points(cpu_by_frames(10)), {1: 22, 10: 40, 30: 80})
    assert frames.told == "straight: 2 µs of CPU a frame, and 20 µs a batch however few it holds"
    unsure = _line(Points(cpu_by_frames(10)), {1: 100, 10: 101, 30: 102})
    assert unsure.told.endswith("the rise is so small that it may be none")
    age = _line(Points(cpu_by_age(10)), {1: 40, 10: 41, 30: 40})
    assert age.told.startswith("flat: a batch costs the same")
    older = _line(Points(cpu_by_age(10)), {1: 41, 10: 50, 30: 70})
    assert older.told == "straight: 1 more µs of CPU a batch with each minute"
    flat = _line(Points(memory_by_age(50)), {1: 12, 10: 9, 30: 14})
    assert flat.told.startswith("flat: a session takes the same memory")
    grows = _line(Points(memory_by_age(50)), {1: 10, 10: 28, 30: 68})
    assert grows.told == "straight: 2 more KiB a session with each minute"


def test_a_curve_is_told_with_its_place() -> None:
    """A line that is none says at which place, in the line's own unit."""
    curve = _line(Points(cpu_by_frames(10)), {1: 10, 10: 20, 30: 400})
    assert not curve.straight
    assert "frames a batch it is" in curve.told


def test_points_are_in_order_of_x() -> None:
    """Points of all repeats are given from the least to the greatest."""
    line = _line(Points(cpu_by_age(10)), {30: 3, 1: 1, 10: 2})
    assert [point.x for point in line.points] == [1, 10, 30]
