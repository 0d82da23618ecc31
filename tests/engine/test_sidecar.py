from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.sidecar import BatchMeta, Coordinates, SidecarError

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    ["pose_confidence", "camera_resolution", "processing_time_ms", "coords", "exercise", "other"]
)


def test_every_known_key_is_read() -> None:
    """What the client says of its camera and its work arrives, each in its type."""
    meta = BatchMeta.from_plain(
        {
            "pose_confidence": 0.75,
            "camera_resolution": "1280x720",
            "processing_time_ms": 12,
            "coords": "world",
            "exercise": "squat",
        }
    )
    assert meta == BatchMeta(0.75, (1280, 720), 12.0, Coordinates.WORLD, "squat")


@pytest.mark.parametrize(
    "plain", [{}, {"coords": None, "exercise": None, "pose_confidence": None}, {"new": {"x": [1]}}]
)
def test_absent_null_and_unknown_keys_are_fine(plain: dict[str, Any]) -> None:
    """A missing key and null mean the default, and a key of another version is no fault."""
    assert BatchMeta.from_plain(plain) == BatchMeta()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pose_confidence", 0),
        ("pose_confidence", 1),
        ("processing_time_ms", 0),
        ("processing_time_ms", 1e300),
        ("camera_resolution", "1x1"),
        ("camera_resolution", "99999x99999"),
        ("exercise", "x"),
        ("exercise", "ü" * 64),
        ("coords", "image"),
    ],
)
def test_the_bounds_belong_to_what_is_allowed(key: str, value: object) -> None:
    """The least and the greatest value of each key are taken."""
    assert BatchMeta.from_plain({key: value}) is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pose_confidence", 1.01),
        ("pose_confidence", -0.01),
        ("pose_confidence", True),
        ("pose_confidence", "0.5"),
        ("pose_confidence", float("nan")),
        ("processing_time_ms", -1),
        ("processing_time_ms", float("inf")),
        ("processing_time_ms", []),
        ("camera_resolution", "0x480"),
        ("camera_resolution", "640X480"),
        ("camera_resolution", "640x480\n"),
        ("camera_resolution", "٦40x480"),
        ("camera_resolution", "100000x1"),
        ("camera_resolution", [640, 480]),
        ("coords", "World"),
        ("coords", 1),
        ("coords", ["image"]),
        ("coords", {}),
        ("exercise", ""),
        ("exercise", "x" * 65),
        ("exercise", 7),
    ],
)
def test_a_value_that_may_not_be_names_its_key(key: str, value: object) -> None:
    """A wrong value is refused with the key, in a message that does not repeat all of it."""
    with pytest.raises(SidecarError, match=key) as refused:
        BatchMeta.from_plain({key: value})
    assert refused.value.key == key
    assert len(str(refused.value)) < 200


@given(st.dictionaries(keys, anything))
def test_any_object_is_taken_or_refused(plain: dict[str, Any]) -> None:
    """Whatever JSON an object holds, it is a sidecar or a SidecarError, nothing else."""
    try:
        meta = BatchMeta.from_plain(plain)
    except SidecarError as error:
        refused = error.key
    else:
        refused = None
        assert isinstance(meta, BatchMeta)
    assert refused is None or refused in plain
