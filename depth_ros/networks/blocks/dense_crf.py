"""Fully connected conditional random field (CRF) by mean-field iterations, as a layer that can be trained and compiled.

Kraehenbuehl and Koltun, NIPS 2011, unrolled as in CRF-as-RNN (Zheng et al., ICCV 2015). One iteration, with the
logits U, Q = softmax(q), and q = U at the start:

    m = W_s filter_s(Q) + W_b filter_b(Q),   q = U - C m

filter_s: Gaussian of the pixel distance (theta_gamma px). filter_b: Gaussian of pixel distance (theta_alpha px) and
colour difference (theta_beta grey levels). Both are normalised by the sum of their kernel. A normalised Gaussian kernel
is softmax attention: exp(-|f_i - f_j|^2 / 2) / sum_j is the softmax over j of f_i . f_j - |f_j|^2 / 2. Hence filter_b
needs no permutohedral lattice: it is a matrix product, the same in every backend.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DenseCrf(nn.Module):
    """(logits (B, L, H, W), image (B, H, W, 3) in 0..255) -> sharpened logits (B, L, H, W) float32.

    stride: filter_b gets its messages from the means of cells of stride x stride px; 1 = from every pixel, which is
    exact and costs (H W)^2. H and W must be multiples of it.
    """

    keep_float32 = True

    def __init__(
        self,
        labels: int,
        iterations: int = 5,
        stride: int = 1,
        theta_alpha: float = 30.0,
        theta_beta: float = 10.0,
        theta_gamma: float = 1.0,
    ) -> None:
        super().__init__()
        self.iterations, self.stride = iterations, stride
        self.theta_alpha, self.theta_beta, self.theta_gamma = theta_alpha, theta_beta, theta_gamma
        self.spatial_ker_weights = nn.Parameter(torch.eye(labels))
        self.bilateral_ker_weights = nn.Parameter(torch.eye(labels))
        self.compatibility_matrix = nn.Parameter(-torch.eye(labels))

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        logits = logits.float()
        batch, labels, height, width = logits.shape
        weights = self._bilateral_weights(image)
        norm = self._blurred(torch.ones_like(logits[:1, :1]))
        q = logits
        for _ in range(self.iterations):
            Q = q.softmax(1)
            spatial = (self._blurred(Q) / norm).flatten(2)
            bilateral = F.avg_pool2d(Q, self.stride).flatten(2) @ weights.transpose(1, 2)
            message = self.spatial_ker_weights @ spatial + self.bilateral_ker_weights @ bilateral
            q = logits - (self.compatibility_matrix @ message).reshape(batch, labels, height, width)
        return q

    def _bilateral_weights(self, image: Tensor) -> Tensor:
        """(B, H W, cells): weight of each cell in filter_b at each pixel; rows sum to 1."""
        batch, height, width, _ = image.shape
        colour = image.float().permute(0, 3, 1, 2) / self.theta_beta
        x = torch.arange(width, device=image.device, dtype=torch.float32) / self.theta_alpha
        y = torch.arange(height, device=image.device, dtype=torch.float32) / self.theta_alpha
        position = torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)])
        pixels = torch.cat([position.expand(batch, 2, height, width), colour], 1)
        pixels = pixels - pixels.mean((2, 3), keepdim=True)  # smaller numbers have smaller rounding errors
        cells = F.avg_pool2d(pixels, self.stride).flatten(2)
        affinity = pixels.flatten(2).transpose(1, 2) @ cells - 0.5 * cells.square().sum(1, keepdim=True)
        return affinity.softmax(2)

    def _blurred(self, x: Tensor) -> Tensor:
        """filter_s before normalisation, separable; its radius is where the kernel is below float32's rounding."""
        radius, channels = math.ceil(6 * self.theta_gamma), x.shape[1]
        steps = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (steps / self.theta_gamma).square()).expand(channels, 1, 1, -1)
        x = F.conv2d(x, kernel, padding=(0, radius), groups=channels)
        return F.conv2d(x, kernel.transpose(2, 3), padding=(radius, 0), groups=channels)
