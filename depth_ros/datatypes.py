"""Data types shared by estimators, nodes, training and evaluation.

Units: metres, integer nanoseconds, radians; images are RGB. Optical frames: x right, y down, z forward (REP-103).
`T_a_b` is a 4x4 matrix that transforms points from frame b to frame a. Pixel centres have integer coordinates.
Depth is measured along the optical axis; NaN = invalid.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with optional lens distortion, as described by `sensor_msgs/CameraInfo`.

    K: (3, 3) intrinsics of the raw image, px. distortion: coefficients of `distortion_model` (`plumb_bob`,
    `rational_polynomial` or `equidistant`); empty or all zero = none. R: (3, 3) rectification rotation. P: (3, 4)
    projection matrix of the rectified image, P[0, 3] = -fx * baseline in the right camera of a stereo pair.
    `Camera.pinhole` creates a rectified camera.
    """

    width: int
    height: int
    K: np.ndarray
    P: np.ndarray
    R: np.ndarray = field(default_factory=lambda: np.eye(3))
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"

    @staticmethod
    def pinhole(
        width: int, height: int, fx: float, fy: float, cx: float, cy: float, baseline: float = 0.0
    ) -> Camera:
        """A camera without distortion. baseline: m, its distance to the right of the left camera of a stereo pair."""
        K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        P = np.hstack([K, [[-fx * baseline], [0.0], [0.0]]])
        return Camera(width, height, K, P)

    @property
    def fx(self) -> float:
        return float(self.K[0, 0])

    @property
    def fy(self) -> float:
        return float(self.K[1, 1])

    @property
    def cx(self) -> float:
        return float(self.K[0, 2])

    @property
    def cy(self) -> float:
        return float(self.K[1, 2])

    @property
    def baseline(self) -> float:
        """Distance to the right of the left camera of a stereo pair, m; 0 for a left or single camera."""
        return float(-self.P[0, 3] / self.P[0, 0]) if self.P[0, 0] else 0.0

    @functools.cached_property
    def is_rectified(self) -> bool:
        """Whether the image needs neither undistortion nor rotation; K then equals P[:, :3]."""
        return (
            not np.any(self.distortion)
            and np.allclose(self.R, np.eye(3), atol=1e-9)
            and np.allclose(self.K, self.P[:, :3], rtol=1e-6, atol=1e-6)
        )

    def rectified(self) -> Camera:
        """Camera of the rectified image: K from P, no distortion, no rotation; this one if it is rectified already."""
        if self.is_rectified:
            return self
        return replace(self, K=self.P[:, :3].copy(), R=np.eye(3), distortion=())

    def resized(self, width: int, height: int) -> Camera:
        """Camera of the image resized to width x height px, with pixel centres as in cv2.resize."""
        sx, sy = width / self.width, height / self.height
        scale = np.array([[sx, 0.0, 0.5 * (sx - 1)], [0.0, sy, 0.5 * (sy - 1)], [0.0, 0.0, 1.0]])
        return replace(self, width=width, height=height, K=scale @ self.K, P=scale @ self.P)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """Camera of the image cropped to width x height px from the pixel (left, top)."""
        shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
        return replace(self, width=width, height=height, K=shift @ self.K, P=shift @ self.P)


@dataclass(frozen=True)
class Frame:
    """One image. stamp: time of exposure, ns. frame_id: optical frame of the camera. image: (H, W, 3) uint8 RGB.

    extra_inputs: {name: (H, W) float32} of the rectified image, what a network takes beside it (see `card.Card`).
    """

    stamp: int
    frame_id: str
    image: np.ndarray
    camera: Camera
    extra_inputs: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class StereoFrame:
    """A synchronised stereo pair, rectified or with cameras that rectify it. baseline: m, from the left to the right
    optical centre."""

    left: Frame
    right: Frame
    baseline: float


@dataclass(frozen=True)
class Depth:
    """Metric depth of one frame. depth: (H, W) float32 m along the optical axis, NaN = invalid.

    camera: rectified, of the size of `depth`. image: (H, W, 3) uint8 RGB, registered with `depth`. std: (H, W) float32
    m, standard deviation, or None. baseline: m, of the matched stereo pair; 0 if the depth is not from stereo. far:
    (H, W) bool, invalid pixels that are known to be farther than can be measured, as the sky; None: none is known.
    """

    stamp: int
    frame_id: str
    depth: np.ndarray
    camera: Camera
    image: np.ndarray
    std: np.ndarray | None = None
    baseline: float = 0.0
    far: np.ndarray | None = None

    @functools.cached_property
    def grey(self) -> np.ndarray:
        """The image in grey, (H, W) uint8; computed once."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)


@dataclass(frozen=True)
class Disparity:
    """Disparity of a rectified stereo pair. disparity: (H, W) float32 px, x left - x right, NaN = invalid.

    camera: left camera, of the size of `disparity`. image: (H, W, 3) uint8 RGB of the left camera. baseline: m.
    offset: px, cx left - cx right, the disparity of a point at infinity. std: (H, W) px, about 68 % of the errors are
    smaller, or None.
    """

    stamp: int
    frame_id: str
    disparity: np.ndarray
    camera: Camera
    image: np.ndarray
    baseline: float
    offset: float = 0.0
    std: np.ndarray | None = None

    def depth(self) -> Depth:
        """Z = fx * baseline / (disparity - offset); invalid where the disparity is not above the offset, and infinitely
        far where it is less than 1 px below it."""
        near = self.disparity - np.float32(self.offset)
        fx_baseline = np.float32(self.camera.fx * self.baseline)
        z = np.full_like(near, np.nan)
        np.divide(fx_baseline, near, out=z, where=near > 0)
        std = None if self.std is None else z * z * (self.std / fx_baseline)
        far = (near <= 0) & (near > -1)
        return Depth(self.stamp, self.frame_id, z, self.camera, self.image, std, self.baseline, far)


@dataclass(frozen=True)
class Pose:
    """A pose with covariance. T: (4, 4), transforms points from the child to the parent frame, m.

    covariance: (6, 6) of x y z (m) and rotation about x y z (rad), in the parent frame, in the order of
    geometry_msgs/PoseWithCovariance.
    """

    stamp: int
    T: np.ndarray
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((6, 6)))


@dataclass(frozen=True)
class Motion:
    """Ego-motion between two frames. T_old_new: (4, 4), pose of the newer camera in the older. covariance: see Pose."""

    stamp_old: int
    stamp_new: int
    T_old_new: np.ndarray
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((6, 6)))


@dataclass(frozen=True)
class Odometry:
    """Pose of the camera after one frame.

    state: "starting" (no motion yet), "tracking" or "lost". pose: of this camera's optical frame in that of the first
    tracked frame (or in the frame of the last reset), with accumulated covariance. motion: since the previous frame,
    None if unknown. inlier_ratio: fraction of the evaluated pixels that agree with the motion. milliseconds: run time
    of each stage, by name.
    """

    stamp: int
    state: str
    pose: Pose
    motion: Motion | None
    inlier_ratio: float = 0.0
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectMotion:
    """Motion of one rigid object between two images, in the frame of the newer camera with the ego-motion removed.

    label: id of the object. mask: (H, W) bool in the newer image. T: (4, 4), moves the object's points from their
    earlier to their current position. centre: (3,) m, current position. velocity: (3,) m/s of the centre; covariance:
    (3, 3).
    """

    label: int
    mask: np.ndarray
    T: np.ndarray
    centre: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    velocity: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))


@dataclass(frozen=True)
class Planes:
    """Planes of one frame. labels: (H, W) int32, row in `equations`, -1 = no plane.

    equations: (N, 4), unit normal n towards the camera and offset d >= 0 m, with n . X + d = 0.
    """

    labels: np.ndarray
    equations: np.ndarray


@dataclass(frozen=True)
class Points:
    """An unorganised point cloud in the optical frame. xyz: (N, 3) float32 m. rgb: (N, 3) uint8.

    std: (N,) float32 m, standard deviation of z, or None.
    """

    xyz: np.ndarray
    rgb: np.ndarray
    std: np.ndarray | None = None


@dataclass(frozen=True)
class Scan:
    """Distances (N,) float32 m in the x-y plane of a frame, from its origin; inf = none up to range_max, NaN = unknown.

    angle_min: rad, of the first one, counter-clockwise from x. angle_increment: rad between two.
    """

    stamp: int
    angle_min: float
    angle_increment: float
    ranges: np.ndarray
    range_max: float
