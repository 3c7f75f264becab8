"""How one object moved between two depth images: a rigid motion by which its pixels look alike and its depths agree.

Optical flow says where to start. It is smoothed over all that lies around an object, though, and so falls short of its
motion by up to a pixel; therefore the motion is found from the images themselves, coarse to fine (Baker and Matthews,
IJCV 2004), and from inverse depths. What errs alike in all of an object, in one image, is the depth: how far the two
images differ in that is found together with the motion, so that the growth of an object in the image is heard where its
depth says little.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.estimators.object_motion.scene_flow import PATCH, SceneFlow, expected, moved, read
from depth_ros.geometry import cross

STEPS = 6
"""By the flow."""
BLURS = (2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
"""px, of the images in the steps after these."""
TURN = 0.05
"""rad between two frames: standard deviation of how much things turn, before anything is seen."""
OUTLIER = 9.0
"""Squared deviation from which on a point is heard less and less."""
SINGLE = 16.0
"""px^2 of the image with errors of their own."""
INDEPENDENT = 12.0
"""Points of an object at most whose errors are independent: its depth is wrong in shape, too."""


@dataclass(frozen=True)
class Fit:
    """A rigid motion T (4, 4) of an object over ground, in the newer camera, and its centre there, (3,) m.

    measured: (4,) how far the centre moved, m, and the error of its inverse depth in the older image less that in the
    newer, 1/m; covariance: (4, 4). relative: (3,) m, the same as the camera sees it. inverse_depth_std: 1/m, of a
    point; shared: 1/m, of the error that all have in common in one image. agree: share of its points that do.
    """

    T: np.ndarray
    centre: np.ndarray
    measured: np.ndarray
    covariance: np.ndarray
    relative: np.ndarray
    inverse_depth_std: float
    shared: float
    agree: float


class Body:
    """Points (N, 3) m in the newer camera that move as one: turned by R about their centre, then by t."""

    def __init__(self, points: np.ndarray, flow: SceneFlow) -> None:
        self.points, self.centre = points, np.median(points, 0)
        self._T, self._K = flow.motion.T_old_new, flow.K
        self.R: np.ndarray = np.eye(3)
        self.t: np.ndarray = np.zeros(3)
        self.offset = 0.0

    def expected(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the points were in the older image (N, 3) px px 1/m, and its derivatives by motion and offset
        (N, 3, 7), and by their own depth (N, 3)."""
        before = (self.points - self.t - self.centre) @ self.R + self.centre
        seen, by_carried = expected(before, self._T, self._K)
        by_point = by_carried @ self._T[:3, :3]
        J = np.zeros((len(before), 3, 7))
        J[..., :3], J[..., 3:6] = -by_point, by_point @ cross(before - self.centre)
        J[:, 2, 6] = 1.0
        along = (by_point @ (self.points / self.points[:, 2:])[..., None])[..., 0]
        return seen + np.array([0.0, 0.0, self.offset]), np.nan_to_num(J), np.nan_to_num(along)

    def step(self, H: np.ndarray, g: np.ndarray, offset_std: float) -> np.ndarray:
        """Gauss and Newton's, of information H (7, 7) and gradient g (7,); returns H with what is known before."""
        turn = cv2.Rodrigues(self.R)[0][:, 0]
        H = H + np.diag([1e-9] * 3 + [TURN**-2] * 3 + [offset_std**-2])
        g = g - np.concatenate([np.zeros(3), turn / TURN**2, [self.offset / offset_std**2]])
        step = np.linalg.solve(H, g)
        self.t = self.t + step[:3]
        self.R = cv2.Rodrigues(step[3:6])[0] @ self.R
        self.offset += float(step[6])
        return H

    def motion(self) -> np.ndarray:
        """(4, 4)."""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R, self.t + self.centre - self.R @ self.centre
        return T


class Layers:
    """The two images of a flow, blurred, and the slopes of the older one."""

    def __init__(self, flow: SceneFlow) -> None:
        self._flow = flow
        self._made: dict[float, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, blur: float) -> tuple[np.ndarray, np.ndarray]:
        """Newer image (H, W), and older image with its slopes in x and y (H, W, 3), float32."""
        if blur not in self._made:
            newer, older = (np.asarray(grey, np.float32) for grey in (self._flow.grey, self._flow.older_grey))
            if blur:
                newer, older = (
                    np.asarray(cv2.GaussianBlur(grey, (0, 0), blur), np.float32) for grey in (newer, older)
                )
            slopes = (cv2.Sobel(older, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
            self._made[blur] = newer, np.stack([older, *slopes], -1)
        return self._made[blur]


def fit(
    flow: SceneFlow, layers: Layers, which: np.ndarray, area: float, image_std: float, share: float
) -> Fit:
    """The motion of the points `which` (N,), flat, of a flow.

    area: px^2 that each of them stands for. image_std: grey levels. share: of the standard deviation of depth, what all
    points have in common.
    """
    body = Body(flow.points.reshape(-1, 3)[which], flow)
    z = body.points[:, 2]
    rho_std = flow.std.ravel()[which] / z**2
    typical = float(np.median(rho_std))
    shared = share * typical
    by_flow(body, flow, which, min(area / PATCH**2, 1.0))
    pixels = np.column_stack([which % flow.known.shape[1], which // flow.known.shape[1]]) * flow.stride
    for blur in BLURS:
        seen, J, along = body.expected()
        newer, older = layers.at(blur)
        values = read(older, seen[:, None, :2].astype(np.float32), cv2.INTER_LINEAR, 0.0)[:, 0]
        error = newer[pixels[:, 1], pixels[:, 0]] - values[:, 0]
        slope = values[:, None, 1:] @ J[:, :2]
        variance = image_std**2 + ((values[:, 1:] * along[:, :2]).sum(1) * z**2 * rho_std) ** 2
        H, g, near = normal(slope[:, 0] - slope[:, 0].mean(0), error - np.median(error), variance)
        rho = read(flow.older_inverse_depth, seen[:, None, :2].astype(np.float32), cv2.INTER_NEAREST, np.nan)[
            :, 0
        ]
        deviation = np.nan_to_num(rho - seen[:, 2])
        of_depth = np.where(np.isfinite(rho), 2 * rho_std**2, np.inf)
        H_depth, g_depth, near_depth = normal(J[:, 2], deviation, of_depth)
        independent = min(area / SINGLE, INDEPENDENT / len(which), 1.0)
        H = body.step(independent * (H + H_depth), independent * (g + g_depth), 10 * np.sqrt(2) * shared)
    kept = [0, 1, 2, 6]
    R, t_old_new = flow.motion.T_old_new[:3, :3], flow.motion.T_old_new[:3, 3]
    by_motion = np.zeros((4, 6))
    by_motion[:3] = R.T @ moved(body.centre @ R.T)
    covariance = np.linalg.inv(H)[np.ix_(kept, kept)] + by_motion @ flow.motion.covariance @ by_motion.T
    return Fit(
        body.motion(), body.centre, np.append(body.t, body.offset), covariance, body.t - R.T @ t_old_new, typical,
        shared,         float((near & near_depth).mean()),
    )  # fmt: skip


def by_flow(body: Body, flow: SceneFlow, which: np.ndarray, share: float) -> None:
    """Take the body to where the flow has it. share: of the points, how many are independent."""
    measured, information = flow.measured.reshape(-1, 3)[which], np.linalg.inv(flow.noise(which))
    for _ in range(STEPS):
        seen, J, _ = body.expected()
        error = np.nan_to_num(measured - seen)
        distance = np.einsum("ni,nij,nj->n", error, information, error)
        weighted = np.swapaxes(J, 1, 2) @ (information * weights(distance)[:, None, None])
        H = np.einsum("nij,njk->ik", weighted, J)
        body.step(share * H, share * np.einsum("nij,nj->i", weighted, error), 1e-9)


def normal(
    J: np.ndarray, error: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Information (7, 7) and gradient (7,) of N errors with derivatives J (N, 7), and which of them are near."""
    distance = error**2 / variance
    weighted = J * (weights(distance) / variance)[:, None]
    return weighted.T @ J, weighted.T @ error, distance < OUTLIER


def weights(distance: np.ndarray) -> np.ndarray:
    """Of squared deviations (N,), after Geman and McClure."""
    return np.nan_to_num(1 / (1 + distance / OUTLIER) ** 2)
