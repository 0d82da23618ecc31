"""How a camera sees the patient: the body turned to it, and the picture on its sensor.

A point of the picture is what MediaPipe calls one: x over the width, y over the height from the
top, and z, the depth behind the middle of the hips, on the scale of x.
"""

from dataclasses import dataclass

import numpy as np

from penstock.bench.skeleton import HIP, Floats
from penstock.bench.traits import FOCAL_SHARE, Traits

# Nothing comes nearer to the lens than this.
_NEAREST_METRES = 0.3


@dataclass(frozen=True, slots=True)
class Camera:
    """Where it stands, as seen from the patient, and its picture."""

    yaw_degrees: float
    pitch_degrees: float
    tilt_degrees: float
    distance_metres: float
    resolution: tuple[int, int]

    @property
    def metres_across(self) -> float:
        """Give what the width of the picture spans at the patient's distance."""
        return self.distance_metres / self._focal_widths

    @property
    def _focal_widths(self) -> float:
        return FOCAL_SHARE * max(self.resolution) / self.resolution[0]

    def turned(self, points: Floats) -> Floats:
        """Give the body as seen from the camera's side: right, down and away, in metres.

        It stays level: what is vertical in the room is vertical here.
        """
        forward, left, up = points[..., 0], points[..., 1], points[..., 2]
        yaw = np.radians(self.yaw_degrees)
        right = forward * np.sin(yaw) + left * np.cos(yaw)
        away = left * np.sin(yaw) - forward * np.cos(yaw)
        return np.stack([right, -up, away], axis=-1)

    def picture(self, turned: Floats) -> Floats:
        """Give x, y and z of a turned body. The camera is aimed at where it usually is."""
        right, down, away = np.moveaxis(turned - np.median(turned.mean(axis=1), axis=0), -1, 0)
        pitch, tilt = np.radians(self.pitch_degrees), np.radians(self.tilt_degrees)
        down, away = (
            down * np.cos(pitch) - away * np.sin(pitch),
            away * np.cos(pitch) + down * np.sin(pitch),
        )
        right, down = (
            right * np.cos(tilt) - down * np.sin(tilt),
            down * np.cos(tilt) + right * np.sin(tilt),
        )
        depth = np.maximum(away + self.distance_metres, _NEAREST_METRES)
        hips = depth[:, HIP : HIP + 2].mean(axis=1, keepdims=True)
        focal, aspect = self._focal_widths, self.resolution[0] / self.resolution[1]
        x = 0.5 + focal * right / depth
        y = 0.5 + focal * aspect * down / depth
        return np.stack([x, y, focal * (depth - hips) / hips], axis=-1)


def camera_of(traits: Traits) -> Camera:
    """Give the camera of a patient."""
    return Camera(
        traits.yaw_degrees,
        traits.pitch_degrees,
        traits.tilt_degrees,
        traits.distance_metres,
        traits.resolution,
    )


def centred(turned: Floats) -> Floats:
    """Give world coordinates: the middle of the hips is at 0 in every frame."""
    middle: Floats = turned[:, HIP : HIP + 2].mean(axis=1, keepdims=True)
    return turned - middle
