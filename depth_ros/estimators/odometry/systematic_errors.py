"""Errors that all points of a frame share: bias of the inverse depth and readout time of a rolling shutter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

EXACT_INFORMATION = 1e12
"""Information (inverse variance) of a parameter that is held fixed."""


@dataclass(frozen=True)
class Gaussian:
    """A scalar with mean and variance; a variance of 0 means that the mean is exact."""

    mean: float = 0.0
    variance: float = 0.0

    @property
    def information(self) -> float:
        return 1 / self.variance if self.variance > 0 else EXACT_INFORMATION

    def fused(self, posterior: Gaussian, min_std: float) -> Gaussian:
        """Fuse again the measurement that led from this prior to `posterior`, now with at least `min_std`.

        The standard deviation of the measurement is too small where it ignores errors that its residuals share.
        """
        measured = posterior.information - self.information
        if self.variance == 0 or measured <= 0:
            return self
        mean = (posterior.information * posterior.mean - self.information * self.mean) / measured
        limited = 1 / (1 / measured + min_std**2)
        information = self.information + limited
        return Gaussian((self.information * self.mean + limited * mean) / information, 1 / information)

    def exact(self) -> Gaussian:
        """The mean without uncertainty."""
        return Gaussian(self.mean)


@dataclass(frozen=True)
class SystematicErrors:
    """Errors that all points of a frame share.

    bias: correction that is added to inverse depths, 1/m. readout_time: from the first row to the last, s.
    velocity: (3, 4) of points in the new frame at its stamp, see `ray_velocity`; it scales the readout error.
    """

    bias: Gaussian = Gaussian()
    readout_time: Gaussian = Gaussian()
    velocity: np.ndarray = field(default_factory=lambda: np.zeros((3, 4)))

    @property
    def means(self) -> np.ndarray:
        """(2,) means of bias and readout time."""
        return np.array([self.bias.mean, self.readout_time.mean])

    @property
    def information(self) -> np.ndarray:
        """(2,) information of bias and readout time."""
        return np.array([self.bias.information, self.readout_time.information])


NO_ERRORS = SystematicErrors()
"""Zero bias and readout time, both exact."""
