"""Calibration of predicted standard deviations on images that the network has not seen.

A network predicts the errors that it makes on its training images; on other images they are larger. One factor makes
up for it, as the temperature of a classifier does (Guo et al., ICML 2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from torch import nn

from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify, rectify_depth
from depth_ros.recordings import Sample
from depth_ros.training.crop import CropSettings
from depth_ros.training.depth_validation import predict_results

QUANTILES = {0.68: 1.0, 0.95: 1.96}
"""Fraction of the errors, and the number of standard deviations that they are to be within."""
PIXELS = 100_000
"""Pixels of a recording that are used, the same number of each of its images."""


def std_factor(model: nn.Module, samples: Mapping[str, Iterable[Sample]], crop: CropSettings) -> float:
    """The factor on the standard deviations of a depth model that makes them cover the errors best.

    That is: the larger of the two differences from 68 and 95 % of what one and 1.96 standard deviations cover is least.
    Errors have heavier tails than a normal distribution, so no factor makes both zero. Every recording counts the same.
    samples: by recording. Raises DepthRosError if none has depth.
    """
    rng, ratios = np.random.default_rng(0), []
    model.eval()
    for each in samples.values():
        found = [error for sample in each if len(error := _errors(model, sample, crop))]
        ratios += [rng.choice(error, PIXELS // len(found)) for error in found]
    if not ratios:
        raise DepthRosError(
            f"no depth in {', '.join(samples) or 'no recording'} to calibrate standard deviations with: set "
            "`calibration` of the recipe to recordings with measured depth"
        )
    ratio = np.concatenate(ratios)

    def difference(factor: float) -> float:
        return max(abs(float((ratio <= k * factor).mean()) - nominal) for nominal, k in QUANTILES.items())

    return min((float(each) for each in np.geomspace(0.1, 10, 461)), key=difference)


def _errors(model: nn.Module, sample: Sample, crop: CropSettings) -> np.ndarray:
    """Errors of the pixels with known depth, (N,), in standard deviations."""
    if sample.depth is None:
        return np.empty(0)
    frame = sample.left
    depth, std = predict_results(model, *rectify(frame.image, frame.camera), crop, frame.extra_inputs)
    error = np.abs(depth - rectify_depth(sample.depth, frame.camera)[0]) / std
    return error[np.isfinite(error)]
