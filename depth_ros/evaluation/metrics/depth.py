"""Depth metrics.

With prediction d and ground truth g (m) at the valid pixels and e = ln d - ln g, the metrics are those of Eigen et
al. (NIPS 2014, section 4.2) and the KITTI benchmarks. Ratios (delta, D1, coverage) are numbers from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.evaluation.metrics.protocols import (
    PLAIN,
    DepthProtocol,
    crop_window,
    fit_alignment,
    in_crop,
)


@dataclass(frozen=True)
class Metric:
    """Name, unit and meaning of a metric in tables."""

    name: str
    unit: str
    lower_is_better: bool
    description: str


METRICS = {
    "abs_rel": Metric("AbsRel", "", True, "mean of |d - g| / g"),
    "sq_rel": Metric("SqRel", "m", True, "mean of (d - g)^2 / g"),
    "rmse": Metric("RMSE", "m", True, "root of the mean of (d - g)^2"),
    "rmse_log": Metric("RMSE log", "", True, "root of the mean of e^2, natural logarithm"),
    "log10": Metric("log10", "", True, "mean of |log10 d - log10 g|"),
    "delta1": Metric("\u03b4 < 1.25", "", False, "fraction of pixels with max(d/g, g/d) < 1.25"),
    "delta2": Metric("\u03b4 < 1.25\u00b2", "", False, "the same below 1.25^2"),
    "delta3": Metric("\u03b4 < 1.25\u00b3", "", False, "the same below 1.25^3"),
    "silog": Metric("SILog", "", True, "100 times the standard deviation of e; invariant to scale"),
    "irmse": Metric("iRMSE", "1/km", True, "root of the mean of (1000/d - 1000/g)^2"),
    "d1_all": Metric("D1-all", "", True, "fraction of pixels with a disparity error above 3 px and 5 %"),
    "epe": Metric("EPE", "px", True, "mean of the absolute disparity error"),
    "si_full": Metric(
        "si-RMSE", "", True, "root of the mean of (e_p - e_q)^2 over all pixel pairs p, q; invariant to scale"
    ),
    "si_env": Metric("si-RMSE env", "", True, "the same, p and q outside people"),
    "si_hum": Metric("si-RMSE hum", "", True, "the same, p on people, q anywhere"),
    "si_intra": Metric("si-RMSE intra", "", True, "the same, p and q on people"),
    "si_inter": Metric("si-RMSE inter", "", True, "the same, p on people, q outside"),
    "coverage": Metric("Coverage", "", False, "fraction of the valid pixels with a valid prediction"),
    "within_std": Metric(
        "within std", "", False, "fraction of errors within the predicted standard deviation: 0.68"
    ),
    "within_2_std": Metric("within 1.96 std", "", False, "the same within 1.96 standard deviations: 0.95"),
    "surest_80": Metric(
        "surest 80 %",
        "",
        True,
        "AbsRel of the 80 % of pixels with the least std / d, relative to that of all",
    ),
    "ause": Metric(
        "AUSE",
        "",
        True,
        "area between the sparsification curves of AbsRel by std / d and by error, relative to AbsRel",
    ),
}
"""All depth metrics, in the order of tables."""
NOT_POOLED = ("si_", "surest_80", "ause")
"""Metrics, by the start of their names, that are no means over pixels."""


class DepthMetrics:
    """Accumulates the metrics of a set of images under one protocol."""

    def __init__(self, protocol: DepthProtocol) -> None:
        self.protocol = protocol
        self._pixel_means: list[dict[str, float]] = []  # per image
        self._predicted: list[int] = []  # valid pixels with a valid prediction, per image
        self._valid: list[int] = []  # valid pixels, per image

    def __len__(self) -> int:
        """Number of images with valid ground truth."""
        return len(self._valid)

    def add(
        self,
        depth: np.ndarray,
        ground_truth: np.ndarray,
        fx_baseline: float = 0.0,
        people: np.ndarray | None = None,
        std: np.ndarray | None = None,
    ) -> dict[str, float | None]:
        """Add one image and return its metrics.

        depth: (h, w) m of any size. ground_truth: (H, W) m, NaN or 0 = invalid. fx_baseline: m px at the size of the
        ground truth, converts depth to disparity; 0 = no stereo pair: d1_all and epe are None. std: (h, w) m, standard
        deviation of `depth`; None: its metrics are None.
        people: (H, W) bool, for protocols that measure people separately; None = no people.
        """
        p = self.protocol
        if p.ground_truth_size:
            ground_truth = cv2.resize(ground_truth, p.ground_truth_size, interpolation=cv2.INTER_NEAREST)
        height, width = ground_truth.shape
        window = crop_window(p.crop, height, width)
        g = ground_truth[window].astype(np.float64)
        d = in_crop(depth.astype(np.float64), height, width, p)
        valid = (g > p.min_ground_truth) & (g < p.max_ground_truth)
        predicted = valid & np.isfinite(d)
        if not valid.any():
            return _metrics_from_means({}, None)
        if std is not None:
            relative_std = in_crop((std / depth).astype(np.float64), height, width, p, "depth")[predicted]
        d, g = d[predicted], g[predicted]
        if len(d):
            d = fit_alignment(d, g, p.scaling)(d)
        means = _pixel_means(*(np.clip(each, p.min_depth, p.max_depth) for each in (d, g)))
        if fx_baseline:
            means |= _disparity_means(fx_baseline / d, fx_baseline / g)
        if std is not None and len(d):
            means |= std_metrics(d, g, relative_std)
        if p.people and len(d):
            is_person = np.zeros_like(valid) if people is None else people[window]
            means |= _scale_invariant(np.log(d) - np.log(g), is_person[predicted])
        self._pixel_means.append(means if len(d) else {})
        self._predicted.append(len(d))
        self._valid.append(int(valid.sum()))
        return _metrics_from_means(self._pixel_means[-1], len(d) / self._valid[-1])

    def compute(self) -> dict[str, float | None]:
        """Metrics of all images added so far; None where nothing could be measured."""
        if not self._valid:
            return _metrics_from_means({}, None)
        if self.protocol.averaging == "pooled":
            weights = [n for n in self._predicted if n]
            rows = [means for means in self._pixel_means if means]
            shared = [key for key in (rows[0] if rows else ()) if all(key in row for row in rows)]
            shared = [key for key in shared if not key.startswith(NOT_POOLED)]
            pooled = {key: float(np.average([row[key] for row in rows], weights=weights)) for key in shared}
            return _metrics_from_means(pooled, sum(self._predicted) / sum(self._valid))
        counts = zip(self._pixel_means, self._predicted, self._valid, strict=True)
        images = [_metrics_from_means(means, predicted / valid) for means, predicted, valid in counts]
        columns = {key: [v for row in images if (v := row[key]) is not None] for key in METRICS}
        return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def depth_metrics(
    depth: np.ndarray, ground_truth: np.ndarray, protocol: DepthProtocol = PLAIN, fx_baseline: float = 0.0
) -> dict[str, float | None]:
    """Metrics of one image, by default over all pixels with ground truth; arguments as in `DepthMetrics.add`."""
    return DepthMetrics(protocol).add(depth, ground_truth, fx_baseline)


def _scale_invariant(e: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """The si-RMSE family of Li et al. 2019 of e = ln d - ln g (N,); those of people only where there are any.

    The mean of (e_p - e_q)^2 over p in A and q in B is Var_A + Var_B + (mean_A - mean_B)^2.
    """

    def pair_rmse(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(a.var() + b.var() + (a.mean() - b.mean()) ** 2))

    hum, env = e[people], e[~people]
    metrics = {"si_full": pair_rmse(e, e)}
    if len(env):
        metrics["si_env"] = pair_rmse(env, env)
    if len(hum):
        metrics |= {"si_hum": pair_rmse(hum, e), "si_intra": pair_rmse(hum, hum)}
    if len(env) and len(hum):
        metrics["si_inter"] = pair_rmse(hum, env)
    return metrics


def _pixel_means(d: np.ndarray, g: np.ndarray) -> dict[str, float]:
    """Means over pixels (N,) from which the metrics are computed; they can be averaged over images."""
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
    """Outlier ratio by the rule of the KITTI 2015 devkit and mean error of disparities (N,) px."""
    if not len(d):
        return {}
    error = np.abs(d - g)
    return {"d1_all": float(((error > 3) & (error > 0.05 * g)).mean()), "epe": float(error.mean())}


def std_metrics(d: np.ndarray, g: np.ndarray, relative_std: np.ndarray) -> dict[str, float]:
    """Coverage and sparsification of depths d (N,) m with the standard deviation d * relative_std.

    Sparsification (Ilg et al., ECCV 2018): AbsRel of the pixels that remain without the least certain 0, 5, ... 95 %.
    """
    error = np.abs(d - g)
    within = {"within_std": 1.0, "within_2_std": 1.96}
    metrics = {key: float((error <= k * relative_std * d).mean()) for key, k in within.items()}
    relative = error / g
    mean = max(float(relative.mean()), 1e-12)
    kept = np.ceil(len(d) * np.linspace(1.0, 0.05, 20)).astype(int)  # pixels

    def curve(order: np.ndarray) -> np.ndarray:
        return relative[order].cumsum()[kept - 1] / kept / mean

    by_std, by_error = curve(np.argsort(relative_std, kind="stable")), curve(np.argsort(relative))
    return {**metrics, "surest_80": float(by_std[4]), "ause": float((by_std - by_error).mean())}


def _metrics_from_means(means: dict[str, float], coverage: float | None) -> dict[str, float | None]:
    """The metrics, in the order of METRICS, from means over pixels."""
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    metrics["coverage"] = coverage
    if not means:
        return metrics
    metrics |= {key: mean for key, mean in means.items() if key in METRICS}
    variance = max(means["log_square"] - means["log"] ** 2, 0.0)  # rounding may make it negative
    metrics["rmse"] = means["square"] ** 0.5
    metrics["rmse_log"] = means["log_square"] ** 0.5
    metrics["silog"] = 100 * variance**0.5
    metrics["irmse"] = means["inverse_square"] ** 0.5
    return metrics
