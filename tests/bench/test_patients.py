import itertools
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.bench.exercises import KINDS
from penstock.bench.patients import (
    Coords,
    Exercise,
    Recording,
    Repetition,
    Traits,
    draw_traits,
    record,
)
from penstock.engine.motion.joints import joint_angles
from penstock.engine.wire import encode

LEFT_TRIPLETS = {
    "knee_flexion": (23, 25, 27),
    "elbow_flexion": (11, 13, 15),
    "hip_flexion": (11, 23, 25),
    "shoulder_elevation": (23, 11, 13),
    "ankle_dorsiflexion": (25, 27, 31),
}
LIMBS = [(11, 12), (23, 24), (11, 13), (13, 15), (15, 19), (23, 25), (25, 27), (27, 31), (29, 31)]
LIMBS += [(12, 14), (14, 16), (16, 22), (24, 26), (26, 28), (28, 32), (0, 7), (11, 0), (11, 23)]
QUIET = {"jitter": 0.0, "drift": 0.0}
EXERCISES = pytest.mark.parametrize("exercise", list(Exercise))


def quiet(exercise: Exercise, **knobs: object) -> Traits:
    """Give a patient without any error of the tracker, and without variation."""
    steady = {"range_variation": 0.0, "tempo_variation": 0.0, "sway_degrees": 0.0}
    return replace(Traits(exercise=exercise), **(QUIET | steady | knobs))


def xyz(recording: Recording) -> npt.NDArray[np.float64]:
    return recording.landmarks[..., :3].astype(np.float64)


def whole(recording: Recording) -> list[Repetition]:
    return [r for r in recording.truth.repetitions if not r.partial]


def primary(recording: Recording, side: str) -> npt.NDArray[np.float64]:
    return recording.truth.angles[f"{recording.truth.primary_joint}_{side}"]


def at(recording: Recording, ms: float) -> int:
    return int(np.abs(recording.timestamps_ms - ms).argmin())


@EXERCISES
@pytest.mark.parametrize("seed", [1, 2])
def test_the_truth_is_what_the_landmarks_show(exercise: Exercise, seed: int) -> None:
    """Without noise the angles between world landmarks are the true ones within half a degree."""
    traits = replace(draw_traits(seed, exercise), **QUIET, lost_share=0.0, garbage_seconds=0.0)
    recording = record(traits, seconds=40, seed=seed, coords="world")
    points = xyz(recording)
    for name, triplet in LEFT_TRIPLETS.items():
        for side, higher in (("left", 0), ("right", 1)):
            a, b, c = (points[:, landmark + higher] for landmark in triplet)
            u, v = a - b, c - b
            along = (u * v).sum(axis=1)
            across = np.linalg.norm(np.cross(u, v), axis=1)
            seen = np.degrees(np.arctan2(across, along))
            if name == "ankle_dorsiflexion":
                seen = 90 - seen
            elif name != "shoulder_elevation":
                seen = 180 - seen
            assert np.abs(seen - recording.truth.angles[f"{name}_{side}"]).max() < 0.5
    spine = points[:, 11:13].mean(axis=1) - points[:, 23:25].mean(axis=1)
    lean = np.degrees(np.arccos(-spine[:, 1] / np.linalg.norm(spine, axis=1)))
    assert np.abs(lean - recording.truth.angles["trunk_lean"]).max() < 0.5


def test_a_squat_from_the_side_reads_the_same_in_the_picture() -> None:
    """Side-on and far away, the angles of the picture are those of the body."""
    traits = quiet(Exercise.SQUAT, yaw_degrees=90.0, distance_metres=50.0, pitch_degrees=0.0)
    recording = record(traits, seconds=20, seed=0)
    seen = joint_angles(recording.landmarks, recording.aspect)
    knee = recording.truth.angles["knee_flexion_right"]
    assert np.abs(seen[:, 1] - knee)[knee > 20].max() < 3


@EXERCISES
def test_limbs_keep_their_length(exercise: Exercise) -> None:
    """From walking in to walking out, no bone grows."""
    recording = record(quiet(exercise), seconds=60, seed=0, coords="world")
    points = xyz(recording)
    for a, b in LIMBS:
        lengths = np.linalg.norm(points[:, a] - points[:, b], axis=1)
        assert lengths.min() > 0.02
        assert np.ptp(lengths) < 1e-4


@EXERCISES
@pytest.mark.parametrize("seed", [5, 6])
def test_repetitions_lie_where_the_joint_turns(exercise: Exercise, seed: int) -> None:
    """At start and end the primary joint is at its starting angle, and at the turn farthest."""
    knobs = {"sway_degrees": 0.3, "tempo_variation": 0.1, "range_variation": 0.05}
    recording = record(quiet(exercise, **knobs), seconds=90, fps=25, seed=seed)
    kind = KINDS[exercise]
    repetitions = whole(recording)
    assert len(repetitions) >= 10
    for r in repetitions:
        angle = primary(recording, "right" if r.side == "both" else r.side)
        first, turn, last = (at(recording, ms) for ms in (r.start_ms, r.turn_ms, r.end_ms))
        away = np.abs(angle[first : last + 1] - angle[first])
        assert away[-1] < 5
        assert away[turn - first] > away.max() - 2
        assert r.range_degrees == pytest.approx(away.max(), abs=3)
        assert r.range_degrees == pytest.approx(kind.degrees, rel=0.25)


def test_fatigue_makes_repetitions_smaller_and_slower() -> None:
    """By the end of a set the range and the tempo have changed by the shares that were asked."""
    traits = quiet(Exercise.SQUAT, fatigue_range=0.4, fatigue_tempo=0.5, hold_seconds=0.0)
    first, *_, last = whole(record(traits, seconds=50, seed=0))[:10]
    assert last.range_degrees == pytest.approx(first.range_degrees * 0.6, rel=0.02)
    took = last.end_ms - last.start_ms
    assert took == pytest.approx((first.end_ms - first.start_ms) * 1.5, rel=0.02)


def test_the_next_set_begins_rested() -> None:
    """Between two sets there is a rest, and after it the range is back."""
    traits = quiet(Exercise.SQUAT, fatigue_range=0.4, repetitions_a_set=4, rest_seconds=20.0)
    r = whole(record(traits, seconds=70, seed=0))
    assert r[3].range_degrees < 0.7 * r[0].range_degrees
    assert r[4].range_degrees == pytest.approx(r[0].range_degrees, rel=0.01)
    assert r[4].start_ms - r[3].end_ms > 10_000


def test_asymmetry_is_the_symmetry_index() -> None:
    """The right side goes beyond the left by the share of their mean that was asked."""
    recording = record(quiet(Exercise.SQUAT, asymmetry=0.2), seconds=30, fps=30, seed=0)
    r = whole(recording)[0]
    frames = slice(at(recording, r.start_ms), at(recording, r.end_ms))
    left, right = (np.ptp(primary(recording, side)[frames]) for side in ("left", "right"))
    assert (right - left) / (0.5 * (right + left)) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("exercise", [Exercise.LUNGE, Exercise.STRAIGHT_LEG_RAISE])
def test_one_side_works_or_both_in_turn(exercise: Exercise) -> None:
    """Unilateral work names its side, and the hip of that side is the one that bends."""
    for working, sides in (("left", {"left"}), ("alternating", {"left", "right"})):
        recording = record(quiet(exercise, working=working), seconds=40, seed=0)
        assert {r.side for r in recording.truth.repetitions} == sides
        for r in whole(recording):
            turn = at(recording, r.turn_ms)
            other = "left" if r.side == "right" else "right"
            hips = recording.truth.angles
            assert hips[f"hip_flexion_{r.side}"][turn] > hips[f"hip_flexion_{other}"][turn] + 30


def test_pauses_part_the_repetitions_of_a_set() -> None:
    """A pause lengthens the time between two repetitions, and no repetition."""
    traits = quiet(Exercise.SQUAT, pause_chance=1.0, pause_seconds=5.0)
    r = whole(record(traits, seconds=60, seed=0))
    gaps = [b.start_ms - a.end_ms for a, b in itertools.pairwise(r)]
    assert min(gaps) > 3500
    assert max(one.end_ms - one.start_ms for one in r) < 3200


def test_a_recording_can_begin_and_end_inside_a_repetition() -> None:
    """A repetition that the edges cut is partial, and lies within the recording."""
    traits = quiet(
        Exercise.SQUAT, begins_inside=0.4, ends_inside=True, between_seconds=0.0, rest_seconds=0.0
    )
    first, *inner, last = record(traits, seconds=20, seed=0).truth.repetitions
    assert (first.partial, last.partial) == (True, True)
    assert not any(r.partial for r in inner)
    assert (first.start_ms, last.end_ms) == (0.0, 20_000.0)


def test_setting_up_and_putting_down_move_the_joint_too() -> None:
    """What is no repetition still bends the knees, as it does in real recordings."""
    recording = record(quiet(Exercise.SQUAT), seconds=40, seed=0)
    r = recording.truth.repetitions
    knee = primary(recording, "left")
    assert np.ptp(knee[: at(recording, r[0].start_ms)]) > 20
    assert np.ptp(knee[at(recording, r[-1].end_ms) :]) > 20
    bare = quiet(Exercise.SQUAT, setup_seconds=0.0, put_down_seconds=0.0)
    assert record(bare, seconds=40, seed=0).truth.repetitions[0].start_ms == 0


def test_lost_tracking_is_not_a_number_and_not_visible() -> None:
    """About the asked share of frames is lost, each of them as a whole."""
    traits = replace(Traits(), lost_share=0.3, lost_seconds=1.0)
    found = record(traits, seconds=600, seed=0).landmarks
    lost = ~np.isfinite(found[..., :3]).any(axis=(1, 2))
    assert lost.mean() == pytest.approx(0.3, abs=0.05)
    assert (found[lost, :, 3] == 0).all()
    assert np.isfinite(found[~lost]).all()


def test_garbage_comes_before_the_patient() -> None:
    """For the asked time what is found is far from the body, and then it is the body."""
    traits = replace(Traits(), garbage_seconds=2.0)
    clean, found = (
        record(t, seconds=10, seed=0).landmarks
        for t in (replace(traits, garbage_seconds=0), traits)
    )
    off = np.abs(found - clean)[..., :2].mean(axis=(1, 2))
    assert off[:19].min() > 0.03
    assert (found[21:] == clean[21:]).all()


@pytest.mark.parametrize(("yaw", "far"), [(80.0, 25), (-80.0, 26)])
def test_the_far_side_is_hidden(yaw: float, far: int) -> None:
    """Seen from one side, the other side's knee loses its visibility."""
    traits = replace(Traits(), yaw_degrees=yaw, occlusion=1.0)
    found = record(traits, seconds=10, seed=0).landmarks
    near = 51 - far
    assert np.median(found[:, far, 3]) < 0.3
    assert np.median(found[:, near, 3]) > 0.9
    # Positive yaw has the right side near, so its depth is less.
    assert np.median(found[:, near, 2]) < np.median(found[:, far, 2])


def test_jitter_is_as_large_as_asked_and_isotropic_in_pixels() -> None:
    """Twice the jitter is twice the error, and x and y err alike in pixels."""
    body = quiet(Exercise.SHOULDER_ABDUCTION, yaw_degrees=0.0, occlusion=0.0)
    clean, one, two = (
        xyz(record(replace(body, jitter=jitter), seconds=60, seed=0))
        for jitter in (0, 0.002, 0.004)
    )
    small, large = (
        (one - clean)[:, 11:17].std(axis=(0, 1)),
        (two - clean)[:, 11:17].std(axis=(0, 1)),
    )
    assert large == pytest.approx(2 * small, rel=0.02)
    assert small[1] == pytest.approx(small[0] * body.aspect, rel=0.1)
    assert small[0] == pytest.approx(0.002, rel=0.3)


def test_a_batch_has_the_size_of_a_real_one() -> None:
    """Ten frames compress as those of a phone do: to about nine tenths."""
    recording = record(Traits(), seconds=60, seed=0)
    sizes = [
        len(encode(recording.landmarks[i : i + 10], recording.timestamps_ms[i : i + 10]))
        for i in range(0, 600, 10)
    ]
    assert 4600 < np.mean(sizes) < 4900


@pytest.mark.parametrize("coords", ["image", "world"])
def test_equal_arguments_give_equal_bytes(coords: Coords) -> None:
    """A recording can be made again, and another seed makes another one."""
    a, b, other = (record(draw_traits(4), seconds=20, seed=s, coords=coords) for s in (7, 7, 8))
    assert a.landmarks.tobytes() == b.landmarks.tobytes()
    assert a.timestamps_ms.tobytes() == b.timestamps_ms.tobytes()
    assert a.truth.repetitions == b.truth.repetitions
    assert a.landmarks.tobytes() != other.landmarks.tobytes()
    assert draw_traits(4) == draw_traits(4) != draw_traits(5)


def test_a_knob_of_the_tracker_leaves_the_motion_alone() -> None:
    """Noise and losses can be turned without moving the truth."""
    calm = record(Traits(), seconds=30, seed=0).truth
    rough = record(
        replace(Traits(), jitter=0.02, lost_share=0.2, garbage_seconds=3), seconds=30, seed=0
    ).truth
    assert calm.repetitions == rough.repetitions
    assert all((calm.angles[name] == rough.angles[name]).all() for name in calm.angles)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    seconds=st.floats(0.2, 90),
    fps=st.sampled_from([5.0, 10.0, 15.0, 30.0]),
    world=st.booleans(),
)
def test_any_patient_is_sane(seed: int, seconds: float, fps: float, world: bool) -> None:  # noqa: FBT001
    """Values are finite or invisible, time goes forward, repetitions come one after the other."""
    traits = draw_traits(seed)
    recording = record(
        traits, seconds=seconds, fps=fps, seed=seed, coords="world" if world else "image"
    )
    found, times = recording.landmarks, recording.timestamps_ms
    frames = round(seconds * fps)
    assert (found.shape, found.dtype) == ((frames, 33, 4), np.float32)
    assert (times.shape, times.dtype, times[0]) == ((frames,), np.uint32, 0)
    assert (np.diff(times.astype(np.int64)) > 0).all()
    visibility = found[..., 3]
    assert ((visibility >= 0) & (visibility <= 1)).all()
    finite = np.isfinite(found[..., :3]).all(axis=2)
    assert (finite | (visibility == 0)).all()
    assert np.abs(found[..., :3][finite]).max(initial=0) < 8
    truth = recording.truth
    assert len(truth.angles) == 11
    for angles in truth.angles.values():
        assert angles.shape == (frames,)
        assert (np.abs(angles) <= 180).all()
    reached = 0.0
    for r in truth.repetitions:
        assert reached <= r.start_ms <= r.turn_ms <= r.end_ms <= frames / fps * 1000 + 1
        assert 0 <= r.range_degrees < 170
        reached = r.end_ms


@EXERCISES
def test_a_patient_is_someone_of_any_exercise(exercise: Exercise) -> None:
    """Draws cover what an exercise allows: both sides, fatigue and none, losses and none."""
    drawn = [draw_traits(seed, exercise) for seed in range(60)]
    assert {t.exercise for t in drawn} == {exercise}
    assert {t.way_of_working for t in drawn} == {*KINDS[exercise].working}
    for name in ("fatigue_range", "pause_chance", "lost_share", "garbage_seconds", "begins_inside"):
        assert {getattr(t, name) > 0 for t in drawn} == {True, False}
    assert len({getattr(t.body, f.name) for t in drawn for f in fields(t.body)}) == 600


@pytest.mark.parametrize(
    "knobs",
    [
        {"working": "left"},
        {"range_degrees": 400.0},
        {"repetition_seconds": 0.0},
        {"outward_share": 1.0},
        {"lost_share": 1.5},
        {"jitter": -1.0},
        {"asymmetry": 1.5},
        {"distance_metres": float("nan")},
    ],
)
def test_an_impossible_patient_is_refused(knobs: dict[str, object]) -> None:
    """A knob that no squatting patient can have is named at once, not seen later in the data."""
    with pytest.raises(ValueError, match=r"."):
        replace(Traits(), **knobs)


@pytest.mark.parametrize(("seconds", "fps"), [(0.0, 10.0), (1.0, 0.0), (1.0, 1000.0)])
def test_a_recording_has_frames_at_a_camera_s_rate(seconds: float, fps: float) -> None:
    """No frame at all, or more than a millisecond clock can tell apart, is refused."""
    with pytest.raises(ValueError, match="fps"):
        record(Traits(), seconds=seconds, fps=fps, seed=0)
