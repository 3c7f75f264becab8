"""Evaluation protocols of depth: the crop, limits, alignment and averaging under which metrics are comparable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class DepthProtocol:
    """How a predicted depth image is compared with the ground truth, in metres and at the size of the ground truth.

    Order: resize the prediction bilinearly (`resize` names the interpolated quantity), select the valid pixels (crop,
    ground truth in (min_ground_truth, max_ground_truth)), scale by the median or least squares over them (or fit scale
    and shift of inverse depth by least squares), clamp both to [min_depth, max_depth], measure. Disparity metrics are
    taken before the clamp. Inverse depth is interpolated by default: it is linear in the image on any plane, so that
    planes stay planes; depth is not.

    model_input: (width, height, border x, border y) px. The model gets the image resized by nearest neighbour to
    width x height, without its border, and its output is stretched over the whole image. model_rows: (top, bottom) as
    fractions of the height. The model gets these rows only, and its output is stretched over the crop.
    ground_truth_size: (width, height) px to which the ground truth is first resized by nearest neighbour. Empty =
    unchanged.

    Invalid pixels of the prediction (NaN, infinite, not positive), and those that would be interpolated from them, are
    excluded from all metrics and counted in `coverage`: at a low coverage the other metrics mean little.
    """

    name: str
    crop: str = "none"  # of CROPS
    min_ground_truth: float = 0.0
    max_ground_truth: float = np.inf
    min_depth: float = 1e-3
    max_depth: float = np.inf
    scaling: str = "none"  # of SCALINGS
    averaging: str = "image"  # image: mean over images of their metrics | pooled: all pixels as one image
    resize: str = "inverse_depth"  # inverse_depth | depth
    model_input: tuple[int, ...] = ()
    model_rows: tuple[float, ...] = ()
    ground_truth_size: tuple[int, ...] = ()
    people: bool = False  # also si-RMSE, separately for people (moving instances of the recording)

    @property
    def text(self) -> str:
        """One-line description of the whole protocol."""
        cap = "" if np.isinf(self.max_ground_truth) else f" < {self.max_ground_truth:g} m"
        average = "metrics per image, then averaged" if self.averaging == "image" else "all pixels pooled"
        size, model_input = "", ""
        if self.ground_truth_size:
            size = "resized to {}x{} by nearest neighbour, ".format(*self.ground_truth_size)
        if self.model_input:
            model_input = (
                "the model gets the image resized to {}x{} by nearest neighbour without {}, {} px on each side, and "
                "its output is stretched over the whole image; ".format(*self.model_input)
            )
        if self.model_rows:
            top, bottom = self.model_rows
            model_input = f"the model gets the rows from {top:g} to {bottom:g} of the height only; "
        return model_input + "; ".join((
            f"{self.name}: ground truth g {size}with {self.min_ground_truth:g} < g{cap}, crop {self.crop}",
            f"prediction resized bilinearly in {self.resize.replace('_', ' ')} to the size of the ground truth, "
            f"scaling {self.scaling}, both clamped to [{self.min_depth:g}, {self.max_depth:g}] m",
            average,
            "disparity metrics before the clamp",
            "invalid predictions excluded and counted in coverage",
        ))  # fmt: skip


PLAIN = DepthProtocol("plain")
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        PLAIN,
        # 200 training pairs of Menze and Geiger 2015 as used by Godard et al. (CVPR 2017)
        DepthProtocol("kitti2015", max_depth=80.0),
        # lidar ground truth, Garg et al. (ECCV 2016); median scaling for networks without metric scale
        DepthProtocol("eigen", crop="garg", min_ground_truth=1e-3, max_ground_truth=80.0, max_depth=80.0),
        DepthProtocol(
            "eigen_median", crop="garg", min_ground_truth=1e-3, max_ground_truth=80.0, max_depth=80.0,
            scaling="median",
        ),
        # Casser et al. (CVPR-W 2019): without sky, bonnet and the strip that only one camera sees
        DepthProtocol(
            "cityscapes", crop="cityscapes", min_ground_truth=1e-3, max_ground_truth=80.0, max_depth=80.0,
            scaling="median",
        ),
        # depth cameras measure nothing outside 0.1 to 10 m
        DepthProtocol("indoor", min_ground_truth=0.1, max_ground_truth=10.0, min_depth=0.1, max_depth=10.0),
        # Laina et al. (3DV 2016), 654 images of NYU v2: full frame, no mask, cap or scaling; their code predicts from
        # the centre of the image and compares with all of it; in nyu_whole the model gets the whole image
        DepthProtocol("nyu_fcrn", averaging="pooled", resize="depth", model_input=(320, 240, 8, 6)),
        DepthProtocol("nyu_whole", averaging="pooled", resize="depth"),
        # the authors of FCRN on Make3D, criterion C1: up to 70 m
        DepthProtocol(
            "make3d", max_ground_truth=70.0, averaging="pooled", resize="depth", ground_truth_size=(345, 460)
        ),
        # criterion C2: the whole image; the laser measures up to 80 m, and farther pixels have that value
        DepthProtocol(
            "make3d_c2", max_depth=80.0, averaging="pooled", resize="depth", ground_truth_size=(345, 460)
        ),
        # Zhou et al. (CVPR 2017), as Godard et al. (CVPR 2017): a strip of aspect ratio 2:1, 852 of 2272 rows of the
        # image and 21 of the 55 of the laser scanner
        DepthProtocol(
            "make3d_strip", crop="make3d_strip", max_ground_truth=70.0, max_depth=70.0, scaling="median",
            resize="depth", model_rows=(710 / 2272, 1562 / 2272),
        ),
        # the released evaluation of Liu et al. (CVPR 2018): all pixels with ground truth, pooled
        DepthProtocol("planenet", min_ground_truth=1e-4, averaging="pooled", resize="depth"),
        # Li et al. (CVPR 2019): moving people, one scale factor per image
        DepthProtocol("mannequin", scaling="least_squares", people=True),
    )
}  # fmt: skip
"""The named protocols."""

SCALINGS = ("none", "median", "least_squares", "affine_inverse")
CROPS = {  # top, bottom, left and right as fractions of height and width
    "none": (0.0, 1.0, 0.0, 1.0),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    "cityscapes": (0.25, 0.75, 0.09375, 0.90625),
    "make3d_strip": (17 / 55, 38 / 55, 0.0, 1.0),
}


def crop_window(name: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns inside a crop; bounds are truncated to whole pixels, as in all published code."""
    top, bottom, left, right = CROPS[name]
    return slice(_whole(top * height), _whole(bottom * height)), slice(
        _whole(left * width), _whole(right * width)
    )


def _whole(position: float) -> int:
    """Truncated to a whole number of pixels, but not where only rounding errors are below one."""
    return int(position + 1e-9)


def in_crop(
    depth: np.ndarray, height: int, width: int, protocol: DepthProtocol, resize: str = ""
) -> np.ndarray:
    """Predicted depth (h, w) in the crop of the ground truth (height, width), at its resolution.

    resize: the interpolated quantity, if it is not that of the protocol.
    """
    resize = resize or protocol.resize
    window = crop_window(protocol.crop, height, width)
    if protocol.model_rows:
        rows, columns = (side.stop - side.start for side in window)
        return resize_depth(depth, rows, columns, resize)
    return resize_depth(depth, height, width, resize)[window]


def resize_depth(depth: np.ndarray, height: int, width: int, quantity: str = "inverse_depth") -> np.ndarray:
    """Depth (h, w) at height x width, bilinear in `quantity`; NaN where an invalid pixel takes part."""
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    if depth.shape == (height, width):
        return depth
    if quantity == "depth":
        return cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
    return 1 / cv2.resize(1 / depth, (width, height), interpolation=cv2.INTER_LINEAR)


def fit_alignment(d: np.ndarray, g: np.ndarray, scaling: str) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the alignment of a prediction d (N,) to the ground truth g (N,) m, and return it as a function of depth.

    scaling: of SCALINGS. affine_inverse: least squares of (scale / d + shift) against 1 / g; inverse depths that
    become zero or negative are set to 1e-6 1/m.
    """
    if scaling == "affine_inverse":
        A = np.stack([1 / d, np.ones_like(d)], 1)
        factor, shift = np.linalg.lstsq(A, 1 / g, rcond=None)[0]
        return lambda x: 1 / np.maximum(factor / x + shift, 1e-6)
    factor = 1.0
    if scaling == "median":
        factor = np.median(g) / np.median(d)
    elif scaling == "least_squares":
        factor = np.sum(d * g) / np.sum(d * d)
    return lambda x: x * factor


def align_depth(depth: np.ndarray, ground_truth: np.ndarray | None, protocol: DepthProtocol) -> np.ndarray:
    """Depth (h, w) m as the metrics of `protocol` compare it with the ground truth (H, W) m, at its own size.

    Unchanged without ground truth or where the protocol does not scale.
    """
    if ground_truth is None or protocol.scaling == "none":
        return depth
    height, width = ground_truth.shape
    window = crop_window(protocol.crop, height, width)
    g = ground_truth[window].astype(np.float64)
    d = in_crop(depth.astype(np.float64), height, width, protocol)
    valid = (g > protocol.min_ground_truth) & (g < protocol.max_ground_truth) & np.isfinite(d)
    if not valid.any():
        return depth
    return fit_alignment(d[valid], g[valid], protocol.scaling)(depth).astype(np.float32)
