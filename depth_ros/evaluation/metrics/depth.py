"""Depth figures and the protocols under which they are comparable.

With prediction d and truth g (m) on the valid pixels and e = ln d - ln g, the figures are those of Eigen et
al. (NIPS 2014, section 4.2) and the KITTI benchmarks. Shares (delta, D1, coverage) are numbers from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Figure:
    """How one figure is read. lower: whether lower is better."""

    name: str
    unit: str
    lower: bool
    text: str


FIGURES = {
    "abs_rel": Figure("AbsRel", "", True, "mean of |d - g| / g"),
    "sq_rel": Figure("SqRel", "m", True, "mean of (d - g)^2 / g"),
    "rmse": Figure("RMSE", "m", True, "root of the mean of (d - g)^2"),
    "rmse_log": Figure("RMSE log", "", True, "root of the mean of e^2, natural logarithm"),
    "log10": Figure("log10", "", True, "mean of |log10 d - log10 g|"),
    "delta1": Figure("\u03b4 < 1.25", "", False, "share of pixels with max(d/g, g/d) < 1.25"),
    "delta2": Figure("\u03b4 < 1.25\u00b2", "", False, "the same below 1.25^2"),
    "delta3": Figure("\u03b4 < 1.25\u00b3", "", False, "the same below 1.25^3"),
    "silog": Figure("SILog", "", True, "100 times the standard deviation of e: blind to scale"),
    "irmse": Figure("iRMSE", "1/km", True, "root of the mean of (1000/d - 1000/g)^2"),
    "d1_all": Figure("D1-all", "", True, "share of pixels whose disparity is off by more than 3 px and 5 %"),
    "epe": Figure("EPE", "px", True, "mean of the absolute disparity error"),
    "si_full": Figure(
        "si-RMSE", "", True, "root of the mean of (e_p - e_q)^2 over all pairs: blind to scale"
    ),
    "si_env": Figure("si-RMSE env", "", True, "the same, both of a pair outside of people"),
    "si_hum": Figure("si-RMSE hum", "", True, "the same, p of a person, q any"),
    "si_intra": Figure("si-RMSE intra", "", True, "the same, both of people"),
    "si_inter": Figure("si-RMSE inter", "", True, "the same, p of a person, q outside"),
    "coverage": Figure("Coverage", "", False, "share of the valid pixels that the prediction knows"),
}
"""Every figure, in the order of tables."""


@dataclass(frozen=True)
class Protocol:
    """What is compared with what. Everything is in metres and at the size of the truth.

    Order: resize the prediction bilinearly (`resize` names the quantity that is interpolated), take the valid
    pixels (crop, truth in (truth_min, truth_max)), scale by the median or least squares over them (or scale and
    shift inverse depth by least squares), clamp prediction and truth to [min_depth, max_depth], measure.
    Disparity figures use both before the clamp. Inverse depth is interpolated by default because it is linear in
    the image on any plane, so that resizing keeps planes; depth itself bends them.

    view: (width, height, border x, border y) px: the model gets the image resized by nearest pixel to width x
    height, without its border, and what it says is stretched over all of it. truth_size: (width, height) px
    that the truth is resized to by nearest pixel before all else. Empty = as they are.

    Pixels that the prediction does not know (NaN, infinite, not positive) are left out of all figures and
    counted in `coverage`: a low coverage makes the other figures worthless. They are left unknown, together
    with the pixels that would be interpolated from them.
    """

    name: str
    crop: str = "none"  # of CROPS
    truth_min: float = 0.0
    truth_max: float = np.inf
    min_depth: float = 1e-3
    max_depth: float = np.inf
    scaling: str = "none"  # of SCALINGS
    averaging: str = "image"  # image: mean over images of their figures | pooled: all pixels as one image
    resize: str = "inverse_depth"  # inverse_depth | depth
    view: tuple[int, ...] = ()
    truth_size: tuple[int, ...] = ()
    people: bool = False  # also the si-RMSE figures, apart for people (moving instances of the recording)

    @property
    def text(self) -> str:
        """One line that tells a reader all of it."""
        cap = "" if np.isinf(self.truth_max) else f" < {self.truth_max:g} m"
        average = "figures per image, then their mean" if self.averaging == "image" else "all pixels pooled"
        size = "resized by nearest pixel to {}x{}, ".format(*self.truth_size) if self.truth_size else ""
        view = (
            "the model sees the image resized by nearest pixel to {}x{} less {}, {} px on every side, stretched over "
            "all of it; ".format(*self.view)
            if self.view
            else ""
        )
        return view + "; ".join((
            f"{self.name}: truth g {size}with {self.truth_min:g} < g{cap}, crop {self.crop}",
            f"prediction resized bilinearly in {self.resize.replace('_', ' ')} to the truth's size, "
            f"scaling {self.scaling}, both clamped to [{self.min_depth:g}, {self.max_depth:g}] m",
            average,
            "disparity figures before the clamp",
            "unknown predictions left out and counted in coverage",
        ))  # fmt: skip


PLAIN = Protocol("plain")
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        PLAIN,
        # 200 training pairs of Menze and Geiger 2015 as Godard et al. (CVPR 2017) use them
        Protocol("kitti2015", max_depth=80.0),
        # lidar truth, Garg et al. (ECCV 2016); median scaling for networks without metric scale
        Protocol("eigen", crop="garg", truth_min=1e-3, truth_max=80.0, max_depth=80.0),
        Protocol(
            "eigen_median", crop="garg", truth_min=1e-3, truth_max=80.0, max_depth=80.0, scaling="median"
        ),
        # Casser et al. (CVPR-W 2019): without sky, bonnet and what only one eye sees
        Protocol(
            "cityscapes", crop="cityscapes", truth_min=1e-3, truth_max=80.0, max_depth=80.0, scaling="median"
        ),
        # depth cameras: what they report beyond 0.1 to 10 m is no measurement
        Protocol("indoor", truth_min=0.1, truth_max=10.0, min_depth=0.1, max_depth=10.0),
        # Laina et al. (3DV 2016), 654 images of NYU v2: full frame, nothing masked, capped or scaled; their code
        # predicts from the middle of the image and compares with all of it; nyu_whole lets the model see all
        Protocol("nyu_fcrn", averaging="pooled", resize="depth", view=(320, 240, 8, 6)),
        Protocol("nyu_whole", averaging="pooled", resize="depth"),
        # the same authors on Make3D, criterion C1: up to 70 m
        Protocol("make3d", truth_max=70.0, averaging="pooled", resize="depth", truth_size=(345, 460)),
        # Li et al. (CVPR 2019): moving people, one factor an image
        Protocol("mannequin", scaling="least_squares", people=True),
    )
}
"""The named protocols."""

SCALINGS = ("none", "median", "least_squares", "affine_inverse")
CROPS = {  # rows and columns as shares of height and width
    "none": (0.0, 1.0, 0.0, 1.0),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    "cityscapes": (0.25, 0.75, 0.09375, 0.90625),
}


def crop(name: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that a crop keeps; bounds are cut to whole pixels, as all published code does."""
    top, bottom, left, right = CROPS[name]
    return slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))


def resized(depth: np.ndarray, height: int, width: int, quantity: str = "inverse_depth") -> np.ndarray:
    """Depth (h, w) at height x width: bilinear in `quantity`; pixels that touch an unknown one are NaN."""
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    if depth.shape == (height, width):
        return depth
    if quantity == "depth":
        return cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
    return 1 / cv2.resize(1 / depth, (width, height), interpolation=cv2.INTER_LINEAR)


class Tally:
    """Figures of a set of images under one protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self._means: list[dict[str, float]] = []  # of each image, over its pixels
        self._known: list[int] = []
        self._valid: list[int] = []

    def __len__(self) -> int:
        """Images that had truth to compare with."""
        return len(self._valid)

    def add(
        self,
        depth: np.ndarray,
        truth: np.ndarray,
        fx_baseline: float = 0.0,
        people: np.ndarray | None = None,
    ) -> dict[str, float | None]:
        """Compare one image and return its figures.

        depth: (h, w) m of any size. truth: (H, W) m, NaN or 0 = unknown. fx_baseline: m px, at the size of
        the truth, turns depth into disparity; 0 = there is no second eye, and d1_all and epe are None.
        people: (H, W) bool, for protocols that measure them apart; None = nobody.
        """
        p = self.protocol
        if p.truth_size:
            truth = cv2.resize(truth, p.truth_size, interpolation=cv2.INTER_NEAREST)
        height, width = truth.shape
        window = crop(p.crop, height, width)
        g = truth[window].astype(np.float64)
        d = resized(depth.astype(np.float64), height, width, p.resize)[window]
        valid = (g > p.truth_min) & (g < p.truth_max)
        known = valid & np.isfinite(d)
        if not valid.any():
            return _finish({}, None)
        d, g = d[known], g[known]
        if len(d):
            d = alignment(d, g, p.scaling)(d)
        means = _means(*(np.clip(each, p.min_depth, p.max_depth) for each in (d, g)))
        if fx_baseline:
            means |= _disparity_means(fx_baseline / d, fx_baseline / g)
        if p.people and len(d):
            where = np.zeros_like(valid) if people is None else people[window]
            means |= _scale_invariant(np.log(d) - np.log(g), where[known])
        self._means.append(means if len(d) else {})
        self._known.append(len(d))
        self._valid.append(int(valid.sum()))
        return _finish(self._means[-1], len(d) / self._valid[-1])

    def figures(self) -> dict[str, float | None]:
        """The figures of all images so far; None where there was nothing to measure."""
        if not self._valid:
            return _finish({}, None)
        if self.protocol.averaging == "pooled":
            weights = [n for n in self._known if n]
            rows = [means for means in self._means if means]
            shared = [key for key in (rows[0] if rows else ()) if all(key in row for row in rows)]
            shared = [key for key in shared if not key.startswith("si_")]  # roots: no mean over images
            pooled = {key: float(np.average([row[key] for row in rows], weights=weights)) for key in shared}
            return _finish(pooled, sum(self._known) / sum(self._valid))
        pixels = zip(self._means, self._known, self._valid, strict=True)
        images = [_finish(means, known / valid) for means, known, valid in pixels]
        columns = {key: [v for row in images if (v := row[key]) is not None] for key in FIGURES}
        return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def figures(
    depth: np.ndarray, truth: np.ndarray, protocol: Protocol = PLAIN, fx_baseline: float = 0.0
) -> dict[str, float | None]:
    """The figures of one image, by default of every pixel with truth; all as in `Tally.add`."""
    return Tally(protocol).add(depth, truth, fx_baseline)


def alignment(d: np.ndarray, g: np.ndarray, scaling: str) -> Callable[[np.ndarray], np.ndarray]:
    """What gives a prediction, known at N pixels as d (N,), what it leaves open, from the truth g (N,), m, there, as
    `Protocol.scaling` says; of any pixels of it.

    affine_inverse: 1 / d times a factor plus a shift is nearest to 1 / g; where that is not positive, it is far.
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


def as_measured(depth: np.ndarray, truth: np.ndarray | None, protocol: Protocol) -> np.ndarray:
    """Depth (h, w) m as its figures take it: aligned with the truth (H, W) m on the pixels that they are of, if the
    protocol aligns at all."""
    if truth is None or protocol.scaling == "none":
        return depth
    height, width = truth.shape
    window = crop(protocol.crop, height, width)
    g = truth[window].astype(np.float64)
    d = resized(depth.astype(np.float64), height, width, protocol.resize)[window]
    known = (g > protocol.truth_min) & (g < protocol.truth_max) & np.isfinite(d)
    if not known.any():
        return depth
    return alignment(d[known], g[known], protocol.scaling)(depth).astype(np.float32)


def _scale_invariant(e: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """The si-RMSE family of Li et al. 2019 of e = ln d - ln g (N,); those of people only where there are any.

    The mean of (e_p - e_q)^2 over p in A and q in B is Var_A + Var_B + (mean_A - mean_B)^2.
    """

    def pairs(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(a.var() + b.var() + (a.mean() - b.mean()) ** 2))

    hum, env = e[people], e[~people]
    found = {"si_full": pairs(e, e)}
    if len(env):
        found["si_env"] = pairs(env, env)
    if len(hum):
        found |= {"si_hum": pairs(hum, e), "si_intra": pairs(hum, hum)}
    if len(env) and len(hum):
        found["si_inter"] = pairs(hum, env)
    return found


def _means(d: np.ndarray, g: np.ndarray) -> dict[str, float]:
    """The means over pixels (N,) that the figures are made of; they can be averaged over images."""
    if not len(d):
        return {}
    e = np.log(d) - np.log(g)
    ratio = np.exp(np.abs(e))
    terms = {
        "abs_rel": np.abs(d - g) / g,
        "sq_rel": (d - g) ** 2 / g,
        "square": (d - g) ** 2,
        "log": e,
        "log_square": e**2,
        "log10": np.abs(e) / np.log(10),
        "delta1": ratio < 1.25,
        "delta2": ratio < 1.25**2,
        "delta3": ratio < 1.25**3,
        "inverse_square": (1000 / d - 1000 / g) ** 2,
    }
    return {key: float(term.mean()) for key, term in terms.items()}


def _disparity_means(d: np.ndarray, g: np.ndarray) -> dict[str, float]:
    """Means over pixels (N,) of disparities, px: outliers by the rule of the KITTI 2015 devkit, and error."""
    if not len(d):
        return {}
    error = np.abs(d - g)
    return {"d1_all": float(((error > 3) & (error > 0.05 * g)).mean()), "epe": float(error.mean())}


def _finish(means: dict[str, float], coverage: float | None) -> dict[str, float | None]:
    """Figures, in the order of FIGURES, from means over pixels."""
    found: dict[str, float | None] = dict.fromkeys(FIGURES)
    found["coverage"] = coverage
    if not means:
        return found
    found |= {key: mean for key, mean in means.items() if key in FIGURES}
    variance = max(means["log_square"] - means["log"] ** 2, 0.0)  # rounding may leave it below zero
    found["rmse"] = means["square"] ** 0.5
    found["rmse_log"] = means["log_square"] ** 0.5
    found["silog"] = 100 * variance**0.5
    found["irmse"] = means["inverse_square"] ** 0.5
    return found
