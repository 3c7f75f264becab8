"""Values that cross rooms.

Metres, integer nanoseconds, radians, RGB. Optical frames: x right, y down, z forward (REP-103).
`T_a_b` is a 4x4 matrix that takes points from frame b to frame a. Pixel centres are integers.
Depth is measured along the optical axis; NaN means unknown.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import cv2
import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with optional lens distortion, as `sensor_msgs/CameraInfo` describes it.

    K: (3, 3) intrinsics of the image as it is, px. distortion: coefficients of `distortion_model`
    (`plumb_bob`, `rational_polynomial` or `equidistant`); empty or all zero = none.
    R: (3, 3) rectifying rotation. P: (3, 4) projection of the rectified image, P[0, 3] = -fx * baseline
    in the right eye of a stereo pair. `Camera.pinhole` makes a rectified one.
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
        """A camera without distortion; `baseline` (m) is its distance to the right of the left eye."""
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
        """Metres that this eye lies to the right of the left one; 0 for a left or single camera."""
        return float(-self.P[0, 3] / self.P[0, 0]) if self.P[0, 0] else 0.0

    @property
    def is_rectified(self) -> bool:
        """Whether the image needs no undistortion and no rotation: K is then the left part of P."""
        return (
            not np.any(self.distortion)
            and np.allclose(self.R, np.eye(3), atol=1e-9)
            and np.allclose(self.K, self.P[:, :3], rtol=1e-6, atol=1e-6)
        )

    def rectified(self) -> Camera:
        """The camera of the image after rectification: K from P, no distortion, no rotation."""
        return replace(self, K=self.P[:, :3].copy(), R=np.eye(3), distortion=())

    def resized(self, width: int, height: int) -> Camera:
        """The camera of this image resized to width x height (pixel centres at integers, as cv2.resize)."""
        sx, sy = width / self.width, height / self.height
        scale = np.array([[sx, 0.0, 0.5 * (sx - 1)], [0.0, sy, 0.5 * (sy - 1)], [0.0, 0.0, 1.0]])
        return replace(self, width=width, height=height, K=scale @ self.K, P=scale @ self.P)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of the window of width x height px whose first pixel is (left, top)."""
        shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
        return replace(self, width=width, height=height, K=shift @ self.K, P=shift @ self.P)


@dataclass(frozen=True)
class Frame:
    """One image. stamp: ns of exposure. image: (H, W, 3) uint8 RGB. frame_id: its optical frame."""

    stamp: int
    frame_id: str
    image: np.ndarray
    camera: Camera


@dataclass(frozen=True)
class StereoFrame:
    """A rectified pair taken at one moment. baseline: m from the left to the right optical centre."""

    left: Frame
    right: Frame
    baseline: float


@dataclass(frozen=True)
class Depth:
    """Metric depth of one frame. depth: (H, W) float32 m along the optical axis, NaN = unknown.

    camera: rectified, of exactly this size. image: (H, W, 3) uint8 RGB, the pixels the depth belongs to.
    std: (H, W) float32 m, one standard deviation, or None. baseline: m, of the pair that was matched; 0 = of no pair.
    """

    stamp: int
    frame_id: str
    depth: np.ndarray
    camera: Camera
    image: np.ndarray
    std: np.ndarray | None = None
    baseline: float = 0.0

    @functools.cached_property
    def grey(self) -> np.ndarray:
        """(H, W) uint8, the image in grey, for all who look at it."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)


@dataclass(frozen=True)
class Disparity:
    """What a rectified pair shows. disparity: (H, W) float32, x left - x right in px, NaN = unknown.

    camera: of the left eye, of exactly this size. image: (H, W, 3) uint8 RGB of the left eye. baseline: m.
    offset: px, cx left - cx right, the disparity of what is infinitely far. std: (H, W) px within which about
    68 % of the errors lie, or None.
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
        """Z = f baseline / (disparity - offset); what is infinitely far or farther is unknown."""
        near = self.disparity - np.float32(self.offset)
        fx_baseline = np.float32(self.camera.fx * self.baseline)
        z = np.full_like(near, np.nan)
        np.divide(fx_baseline, near, out=z, where=near > 0)
        std = None if self.std is None else z * z * (self.std / fx_baseline)
        return Depth(self.stamp, self.frame_id, z, self.camera, self.image, std, self.baseline)


@dataclass(frozen=True)
class Pose:
    """A pose at a time. T: (4, 4) from the child to the parent frame, m.

    covariance: (6, 6) of x y z (m) and rotation about x y z (rad), in the parent frame (REP-103 order).
    """

    stamp: int
    T: np.ndarray
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((6, 6)))


@dataclass(frozen=True)
class Motion:
    """Ego-motion between two frames. T_old_new: (4, 4), the newer camera expressed in the older."""

    stamp_old: int
    stamp_new: int
    T_old_new: np.ndarray
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((6, 6)))


@dataclass(frozen=True)
class Odometry:
    """Where the camera is, after one frame.

    state: "starting" (no motion is known yet), "tracking", or "lost".
    pose: from this camera's optical frame to that of the camera when tracking began (or to what a reset said), with
    the covariance gathered on the way. motion: from the frame before to this one, None where it is unknown.
    inliers: share of the pixels looked at that agree with the motion. milliseconds: time of each stage, by name.
    """

    stamp: int
    state: str
    pose: Pose
    motion: Motion | None
    inliers: float = 0.0
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectMotion:
    """Motion of one rigid object. mask: (H, W) bool in the newer image. T: (4, 4) moves the object's
    points from where they were to where they are, in the newer camera's frame, ego-motion removed.

    centre: (3,) m, where the object is in the newer camera's frame. velocity: (3,) m/s of its centre, in the same
    frame. covariance: (3, 3) of the velocity.
    """

    label: int
    mask: np.ndarray
    T: np.ndarray
    centre: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    velocity: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))


@dataclass(frozen=True)
class Planes:
    """Planes seen in one frame. labels: (H, W) int32, -1 = none, else a row of `equations`.

    equations: (N, 4) unit normal n towards the camera and offset d, with n . X + d = 0, d >= 0 m.
    """

    labels: np.ndarray
    equations: np.ndarray
