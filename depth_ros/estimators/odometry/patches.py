"""Patch tracking: patches of a key frame are warped into a new image and aligned with it.

Every pixel of a patch is warped by its own inverse depth and the predicted motion, which scales, rotates and shears the
patch as the new camera sees it. The remaining shift is found by the method of Lucas and Kanade (IJCAI 1981), which also
gives its covariance. Each patch has its own gain and offset of brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

PATCH_RADIUS = 3
"""px; a patch has 2 PATCH_RADIUS + 1 pixels a side."""
MAX_STEP = 2.0
"""Maximum change of the shift in one iteration, px."""
MAX_RELATIVE_DIFFERENCE = 0.2
"""Maximum difference of an inverse depth from the patch centre's, as a fraction of it; larger: another surface."""


@dataclass(frozen=True)
class Patches:
    """N patches of P pixels. rays: (N, P, 3) with z = 1. inverse_depth: (N, P) 1/m.

    normalised: (N, P) grey values minus their mean, divided by their norm.
    """

    rays: np.ndarray
    inverse_depth: np.ndarray
    normalised: np.ndarray

    def __len__(self) -> int:
        return len(self.normalised)

    @property
    def centre_rays(self) -> np.ndarray:
        """(N, 3) float64 rays of the patch centres."""
        return self.rays[:, self.rays.shape[1] // 2].astype(float)


@dataclass(frozen=True)
class PatchMatches:
    """N patches in a new image. pixels: (N, 2). covariance: (N, 2, 2) px^2. correlation: (N,), at most 1."""

    pixels: np.ndarray
    covariance: np.ndarray
    correlation: np.ndarray


def extract_patches(
    grey: np.ndarray, inverse_depth: np.ndarray, K: np.ndarray, pixels: np.ndarray
) -> Patches:
    """Patches of a grey image (H, W) float32 around `pixels` (N, 2), at which the inverse depth must be valid."""
    side = np.arange(-PATCH_RADIUS, PATCH_RADIUS + 1, dtype=np.float32)
    at = pixels[:, None].astype(np.float32) + np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    rho = _sample(inverse_depth, at, cv2.INTER_NEAREST)
    centre = rho[:, rho.shape[1] // 2, None]
    # also replaces NaN
    rho = np.where(np.abs(rho - centre) < MAX_RELATIVE_DIFFERENCE * centre, rho, centre)
    values = _centred(_sample(grey, at))
    norm = np.linalg.norm(values, axis=1)
    rays = np.concatenate([(at - K[:2, 2]) / [K[0, 0], K[1, 1]], np.ones_like(at[..., :1])], -1)
    return Patches(rays.astype(np.float32), rho, values / np.maximum(norm, 1)[:, None])


def match_patches(
    patches: Patches,
    grey: np.ndarray,
    K: np.ndarray,
    T_new_old: np.ndarray,
    initial_shift: np.ndarray,
    iterations: int = 3,
) -> PatchMatches:
    """Align patches with a new image (H, W) float32.

    T_new_old: (4, 4) predicted motion. initial_shift: (N, 2) px, added to the warped positions.
    """
    at = _warp(patches, K, T_new_old) + initial_shift[:, None].astype(np.float32)
    gradients = [cv2.Scharr(grey, cv2.CV_32F, dx, 1 - dx, scale=1 / 32) for dx in (1, 0)]
    J = np.stack([_centred(_sample(gradient, at)) for gradient in gradients], 1)  # (N, 2, P)
    H = np.matmul(J, J.transpose(0, 2, 1)) + np.eye(2, dtype=np.float32)
    shift = np.zeros((len(at), 2), np.float32)
    H_inverse = np.linalg.inv(H)
    for _ in range(iterations):
        values = _centred(_sample(grey, at + shift[:, None]))
        gain = (values * patches.normalised).sum(1)
        residual = values - np.maximum(gain, 0)[:, None] * patches.normalised
        step = np.matmul(H_inverse, np.matmul(J, residual[..., None]))[..., 0]
        shift -= np.clip(step, -MAX_STEP, MAX_STEP)
    noise = (residual**2).mean(1) + 1
    correlation = gain / np.maximum(np.linalg.norm(values, axis=1), 1)
    pixels = at[:, at.shape[1] // 2] + shift
    return PatchMatches(pixels, H_inverse * noise[:, None, None], correlation)


def _warp(patches: Patches, K: np.ndarray, T_new_old: np.ndarray) -> np.ndarray:
    """(N, P, 2) float32 px of the patches' pixels in the new image."""
    A = (K @ T_new_old[:3]).astype(np.float32)
    points = patches.rays @ A[:, :3].T + patches.inverse_depth[..., None] * A[:, 3]
    return points[..., :2] / np.maximum(points[..., 2:], 1e-3)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(1, keepdims=True)


def _sample(image: np.ndarray, at: np.ndarray, method: int = cv2.INTER_LINEAR) -> np.ndarray:
    """(N, P) float32 values of an image at (N, P, 2) px; outside the image the value of its border."""
    if not len(at):
        return np.zeros(at.shape[:2], np.float32)
    maps = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    return cv2.remap(image, *maps, method, borderMode=cv2.BORDER_REPLICATE)
