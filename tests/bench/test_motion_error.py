"""The curves of error compare with the truth, and are drawn for the documentation."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np

from penstock.bench.motion_error import Condition, Errors, lost, measured, pictures


def test_without_noise_there_is_hardly_an_error() -> None:
    """Patients without jitter are counted exactly, and their bounds are found."""
    found = measured(Condition(0, lambda usual: replace(usual, jitter=0.0)), seeds=1)
    assert found.exact_share == 1
    assert found.bounds_seconds is not None
    assert found.bounds_seconds < 0.2


def test_so_many_frames_are_lost() -> None:
    """The share that was asked for is lost, in pieces of the length that was asked for."""
    for share in (0.0, 0.05, 0.5):
        kept = lost(share, 10)(600, np.random.default_rng(1))
        assert (~kept).sum() == round(600 * share)


def test_a_curve_has_a_picture_for_each_error() -> None:
    """Each is a whole SVG with its own colours, and a gap where there is no figure."""
    points = [(0.0, Errors(1, 1, 2.0, 0.1)), (50.0, Errors(0, 0.5, None, None))]
    drawn = pictures("loss", {"single frames": points, "whole batches": points})
    assert set(drawn) == {"loss-count.svg", "loss-range.svg", "loss-bounds.svg"}
    for picture in drawn.values():
        root = ET.fromstring(picture)  # noqa: S314 - we drew it
        assert "whole batches" in "".join(root.itertext())
