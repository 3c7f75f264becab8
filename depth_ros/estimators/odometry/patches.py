"""Small patches of a key frame found in a new image, each seen as the new camera would see it.

Every pixel of a patch is carried over by its own inverse depth and the motion guessed, so a patch shrinks, turns and
shears as it should; what is left is a small shift (Lucas and Kanade, IJCAI 1981), which brings its covariance along.
Brightness may change by a factor and an offset, each patch its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

RADIUS = 3
ITERATIONS = 3
LONGEST = 2.0
"""px, of a step of the shift."""
NEAR = 0.2
"""Inverse depths within a patch that differ more than this share from the centre's belong to another surface."""


@dataclass(frozen=True)
class Patches:
    """N patches of P pixels. rays: (N, P, 3) with z = 1. inverse_depth: (N, P) 1/m.

    unit: (N, P) grey values less their mean, of length 1. contrast: (N,) grey values, their length before.
    """

    rays: np.ndarray
    inverse_depth: np.ndarray
    unit: np.ndarray
    contrast: np.ndarray

    def __len__(self) -> int:
        return len(self.unit)

    def part(self, which: np.ndarray) -> Patches:
        """Some of them, by index or mask."""
        return Patches(self.rays[which], self.inverse_depth[which], self.unit[which], self.contrast[which])


@dataclass(frozen=True)
class Found:
    """Where N patches are. pixels: (N, 2). covariance: (N, 2, 2) px^2. likeness: (N,) correlation, up to 1."""

    pixels: np.ndarray
    covariance: np.ndarray
    likeness: np.ndarray


def cut(grey: np.ndarray, inverse_depth: np.ndarray, K: np.ndarray, pixels: np.ndarray) -> Patches:
    """Patches of a grey image (H, W) float32 around `pixels` (N, 2), whose inverse depths are known."""
    side = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
    at = pixels[:, None].astype(np.float32) + np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    rho = _sample(inverse_depth, at, cv2.INTER_NEAREST)
    centre = rho[:, rho.shape[1] // 2, None]
    rho = np.where(np.abs(rho - centre) < NEAR * centre, rho, centre)  # NaN also takes the centre's
    values = _sample(grey, at)
    values -= values.mean(1, keepdims=True)
    contrast = np.linalg.norm(values, axis=1)
    rays = np.concatenate([(at - K[:2, 2]) / [K[0, 0], K[1, 1]], np.ones_like(at[..., :1])], -1)
    return Patches(rays.astype(np.float32), rho, values / np.maximum(contrast, 1)[:, None], contrast)


def find(
    patches: Patches,
    grey: np.ndarray,
    K: np.ndarray,
    T: np.ndarray,
    start: np.ndarray,
    iterations: int = ITERATIONS,
) -> Found:
    """The patches in a new image (H, W) float32, from where T (4, 4), old to new camera, puts them, and start
    (N, 2) px from there."""
    at = _carried(patches, K, T) + start[:, None].astype(np.float32)
    slopes = [cv2.Scharr(grey, cv2.CV_32F, dx, 1 - dx, scale=1 / 32) for dx in (1, 0)]
    J = np.stack([_centred(_sample(slope, at)) for slope in slopes], 1)  # (N, 2, P)
    H = np.matmul(J, J.transpose(0, 2, 1)) + np.eye(2, dtype=np.float32)
    shift = np.zeros((len(at), 2), np.float32)
    G = np.linalg.inv(H)
    for _ in range(iterations):
        values = _centred(_sample(grey, at + shift[:, None]))
        gain = (values * patches.unit).sum(1)
        residual = values - np.maximum(gain, 0)[:, None] * patches.unit
        step = np.matmul(G, np.matmul(J, residual[..., None]))[..., 0]
        shift -= np.clip(step, -LONGEST, LONGEST)
    noise = (residual**2).mean(1) + 1
    likeness = gain / np.maximum(np.linalg.norm(values, axis=1), 1)
    return Found(at[:, at.shape[1] // 2] + shift, G * noise[:, None, None], likeness)


def _carried(patches: Patches, K: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(N, P, 2) float32 px where T puts the pixels of the patches."""
    A = (K @ T[:3]).astype(np.float32)
    ahead = patches.rays @ A[:, :3].T + patches.inverse_depth[..., None] * A[:, 3]
    return ahead[..., :2] / np.maximum(ahead[..., 2:], 1e-3)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(1, keepdims=True)


def _sample(image: np.ndarray, at: np.ndarray, method: int = cv2.INTER_LINEAR) -> np.ndarray:
    """(N, P) float32 values of an image at (N, P, 2) px; outside, its border goes on."""
    if not len(at):
        return np.zeros(at.shape[:2], np.float32)
    maps = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    return cv2.remap(image, *maps, method, borderMode=cv2.BORDER_REPLICATE)
