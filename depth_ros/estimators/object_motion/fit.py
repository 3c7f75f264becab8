"""Rigid motion of one object between two depth images, fitted to image intensities and inverse depths.

Optical flow initialises the fit. It is smoothed across object boundaries and therefore underestimates the motion by up
to a pixel, so the motion is refined by direct image alignment, coarse to fine (Baker and Matthews, IJCV 2004), together
with inverse depths. The depth errors of an object's pixels in one image have a common part; the difference of this part
between the two images is estimated along with the motion, so that the change of the object's apparent size counts where
its depth is uncertain.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.estimators.object_motion.scene_flow import (
    PATCH_SIZE,
    SceneFlow,
    motion_jacobian,
    predict_measurement,
    sample_image,
)
from depth_ros.geometry import skew

FLOW_ITERATIONS = 6
"""Gauss-Newton iterations on the optical flow."""
BLUR_SIGMAS = (2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
"""px, Gaussian blur of the images in each iteration of the alignment that follows."""
ROTATION_PRIOR_STD = 0.05
"""rad, prior standard deviation of an object's rotation between two frames."""
FLOW_OFFSET_STD = 1e-9
"""1/m, prior of the inverse depth offset during the flow iterations: it stays 0."""
INLIER_SQUARED_RESIDUAL = 9.0
"""Squared normalised residual up to which a measurement is an inlier; scale of the Geman-McClure weights."""
PIXELS_PER_MEASUREMENT = 16.0
"""px^2, image area whose intensity errors are correlated."""
MAX_INDEPENDENT_POINTS = 12.0
"""Effective number of points of an object with independent errors, at most: the shape of its depth is wrong, too."""


@dataclass(frozen=True)
class MotionFit:
    """Rigid motion T (4, 4) of an object over ground in the newer camera, and its centre there, (3,) m.

    measurement: (4,) displacement of the centre, m, and common inverse depth error of the older image minus that of the
    newer, 1/m; covariance: (4, 4). relative_displacement: (3,) m, of the centre relative to the camera.
    inverse_depth_std: 1/m, of one point. common_error_std: 1/m, of the error that all points of an image share.
    inlier_ratio: fraction of the points that agree with the motion.
    """

    T: np.ndarray
    centre: np.ndarray
    measurement: np.ndarray
    covariance: np.ndarray
    relative_displacement: np.ndarray
    inverse_depth_std: float
    common_error_std: float
    inlier_ratio: float


class RigidBody:
    """Points (N, 3) m in the newer camera with one rigid motion: rotation R about their centre, then translation t."""

    def __init__(self, points: np.ndarray, flow: SceneFlow) -> None:
        self.points, self.centre = points, np.median(points, 0)
        self._T, self._K = flow.motion.T_old_new, flow.K
        self.R: np.ndarray = np.eye(3)
        self.t: np.ndarray = np.zeros(3)
        self.inverse_depth_offset = 0.0

    def predict(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measurements (N, 3) px px 1/m in the older image, and their Jacobians with respect to motion and inverse
        depth offset (N, 3, 7) and to each point's own depth (N, 3)."""
        before = (self.points - self.t - self.centre) @ self.R + self.centre
        predicted, J_transformed = predict_measurement(before, self._T, self._K)
        J_point = J_transformed @ self._T[:3, :3]
        J = np.zeros((len(before), 3, 7))
        J[..., :3], J[..., 3:6] = -J_point, J_point @ skew(before - self.centre)
        J[:, 2, 6] = 1.0
        J_depth = (J_point @ (self.points / self.points[:, 2:])[..., None])[..., 0]
        predicted = predicted + np.array([0.0, 0.0, self.inverse_depth_offset])
        return predicted, np.nan_to_num(J), np.nan_to_num(J_depth)

    def gauss_newton_step(self, H: np.ndarray, g: np.ndarray, offset_std: float) -> np.ndarray:
        """Apply one step, given information H (7, 7) and gradient g (7,); returns H with the prior added.

        offset_std: 1/m, prior standard deviation of the inverse depth offset.
        """
        rotation = cv2.Rodrigues(self.R)[0][:, 0]
        H = H + np.diag([1e-9] * 3 + [ROTATION_PRIOR_STD**-2] * 3 + [offset_std**-2])
        offset = self.inverse_depth_offset / offset_std**2
        prior = np.concatenate([np.zeros(3), rotation / ROTATION_PRIOR_STD**2, [offset]])
        step = np.linalg.solve(H, g - prior)
        self.t = self.t + step[:3]
        self.R = cv2.Rodrigues(step[3:6])[0] @ self.R
        self.inverse_depth_offset += float(step[6])
        return H

    def transform(self) -> np.ndarray:
        """The motion as a (4, 4) matrix in the newer camera."""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R, self.t + self.centre - self.R @ self.centre
        return T


class BlurredImages:
    """The two images of a scene flow at several blur levels, with gradients of the older one; cached."""

    def __init__(self, flow: SceneFlow) -> None:
        self._flow = flow
        self._levels: dict[float, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """Newer image (H, W), and older image with its x and y gradients (H, W, 3), float32, blurred by `sigma` px."""
        if sigma not in self._levels:
            newer, older = (np.asarray(grey, np.float32) for grey in (self._flow.grey, self._flow.older_grey))
            if sigma:
                newer, older = (
                    np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.float32) for grey in (newer, older)
                )
            gradients = (cv2.Sobel(older, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
            self._levels[sigma] = newer, np.stack([older, *gradients], -1)
        return self._levels[sigma]


def fit_motion(
    flow: SceneFlow, images: BlurredImages, indices: np.ndarray, area: float, common_error_ratio: float
) -> MotionFit:
    """Motion of the points `indices` (N,) into the flat grid of a scene flow.

    area: px^2 of the image that each point represents. common_error_ratio: fraction of the depth standard deviation
    that is common to all points of an image.
    """
    body = RigidBody(flow.points.reshape(-1, 3)[indices], flow)
    rho_std = flow.depth_std.ravel()[indices] / body.points[:, 2] ** 2
    inverse_depth_std = float(np.median(rho_std))
    common_error_std = common_error_ratio * inverse_depth_std
    align_to_flow(body, flow, indices, min(area / PATCH_SIZE**2, 1.0))
    width = flow.valid.shape[1]
    pixels = np.column_stack([indices % width, indices // width]) * flow.settings.stride
    independent = min(area / PIXELS_PER_MEASUREMENT, MAX_INDEPENDENT_POINTS / len(indices), 1.0)
    for sigma in BLUR_SIGMAS:
        H, g, inliers = _alignment_equations(body, flow, images.at(sigma), pixels, rho_std)
        H = body.gauss_newton_step(independent * H, independent * g, 10 * np.sqrt(2) * common_error_std)
    estimated = [0, 1, 2, 6]  # translation and inverse depth offset
    R, t_old_new = flow.motion.T_old_new[:3, :3], flow.motion.T_old_new[:3, 3]
    J_motion = np.zeros((4, 6))
    J_motion[:3] = R.T @ motion_jacobian(body.centre @ R.T)
    covariance = np.linalg.inv(H)[np.ix_(estimated, estimated)]
    return MotionFit(
        T=body.transform(),
        centre=body.centre,
        measurement=np.append(body.t, body.inverse_depth_offset),
        covariance=covariance + J_motion @ flow.motion.covariance @ J_motion.T,
        relative_displacement=body.t - R.T @ t_old_new,
        inverse_depth_std=inverse_depth_std,
        common_error_std=common_error_std,
        inlier_ratio=float(inliers.mean()),
    )


def _alignment_equations(
    body: RigidBody, flow: SceneFlow, images: tuple[np.ndarray, np.ndarray], pixels: np.ndarray, rho_std: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Information (7, 7), gradient (7,) and inliers (N,) of intensities and inverse depths at the current motion.

    images: a level of `BlurredImages`. pixels: (N, 2) of the points in the newer image. rho_std: (N,) 1/m.
    """
    predicted, J, J_depth = body.predict()
    newer, older = images
    position = predicted[:, None, :2].astype(np.float32)
    values = sample_image(older, position, cv2.INTER_LINEAR, 0.0)[:, 0]
    error = newer[pixels[:, 1], pixels[:, 0]] - values[:, 0]
    gradient = values[:, None, 1:] @ J[:, :2]
    depth_error = (values[:, 1:] * J_depth[:, :2]).sum(1) * body.points[:, 2] ** 2 * rho_std
    variance = flow.settings.intensity_std**2 + depth_error**2
    # brightness may change between the images: mean gradient and median error are removed
    H, g, inliers = normal_equations(
        gradient[:, 0] - gradient[:, 0].mean(0), error - np.median(error), variance
    )
    rho = sample_image(flow.older_inverse_depth, position, cv2.INTER_NEAREST, np.nan)[:, 0]
    rho_variance = np.where(np.isfinite(rho), 2 * rho_std**2, np.inf)
    H_depth, g_depth, depth_inliers = normal_equations(
        J[:, 2], np.nan_to_num(rho - predicted[:, 2]), rho_variance
    )
    return H + H_depth, g + g_depth, inliers & depth_inliers


def align_to_flow(body: RigidBody, flow: SceneFlow, indices: np.ndarray, independent: float) -> None:
    """Move `body` to where the scene flow measures it. independent: fraction of the points with independent errors."""
    measured = flow.measured.reshape(-1, 3)[indices]
    information = np.linalg.inv(flow.residual_covariance(indices))
    for _ in range(FLOW_ITERATIONS):
        predicted, J, _ = body.predict()
        error = np.nan_to_num(measured - predicted)
        squared = np.einsum("ni,nij,nj->n", error, information, error)
        weighted = np.swapaxes(J, 1, 2) @ (information * geman_mcclure_weights(squared)[:, None, None])
        H = np.einsum("nij,njk->ik", weighted, J)
        g = np.einsum("nij,nj->i", weighted, error)
        body.gauss_newton_step(independent * H, independent * g, FLOW_OFFSET_STD)


def normal_equations(
    J: np.ndarray, error: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Robust information (7, 7), gradient (7,) and inlier mask (N,) of N errors with Jacobian J (N, 7)."""
    squared = error**2 / variance
    weighted = J * (geman_mcclure_weights(squared) / variance)[:, None]
    return weighted.T @ J, weighted.T @ error, squared < INLIER_SQUARED_RESIDUAL


def geman_mcclure_weights(squared_residuals: np.ndarray) -> np.ndarray:
    """(N,) weights of squared normalised residuals (N,); NaN gets 0."""
    return np.nan_to_num(1 / (1 + squared_residuals / INLIER_SQUARED_RESIDUAL) ** 2)
