"""The dense CRF equals a brute-force implementation, and it can be trained."""

from __future__ import annotations

import numpy as np
import torch

from depth_ros.networks.blocks.dense_crf import DenseCrf


def brute_force(crf: DenseCrf, logits: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The mean-field iterations over all pairs of pixels of one image, in float64."""
    labels, height, width = logits.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(float)
    colour = image.reshape(-1, 3).astype(float)
    squared_distance = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    squared_difference = ((colour[:, None] - colour) ** 2).sum(2)
    spatial = np.exp(-squared_distance / (2 * crf.theta_gamma**2))
    bilateral = np.exp(
        -squared_distance / (2 * crf.theta_alpha**2) - squared_difference / (2 * crf.theta_beta**2)
    )
    spatial, bilateral = (k / k.sum(1, keepdims=True) for k in (spatial, bilateral))
    ws, wb, c = (p.detach().double().numpy() for p in crf.parameters())
    u = logits.reshape(labels, -1).astype(float)
    q = u
    for _ in range(crf.iterations):
        Q = np.exp(q - q.max(0))
        Q /= Q.sum(0)
        q = u - c @ (ws @ Q @ spatial.T + wb @ Q @ bilateral.T)
    return q.reshape(logits.shape)


def random_logits_and_image(height: int = 24, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Logits of two images whose right half is brighter than the left one."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (2, height, width, 3)).astype(np.uint8)
    image[:, :, width // 2 :] += 100
    return rng.normal(size=(2, 11, height, width)).astype(np.float32), image


def test_equals_brute_force():
    torch.manual_seed(0)
    crf = DenseCrf(11)
    for p in crf.parameters():
        torch.nn.init.normal_(p)
    logits, image = random_logits_and_image()
    with torch.no_grad():
        sharpened = crf(torch.from_numpy(logits), torch.from_numpy(image)).numpy()
    for b in range(2):
        np.testing.assert_allclose(sharpened[b], brute_force(crf, logits[b], image[b]), atol=1e-4)


def test_removes_noise_and_returns_the_logits_with_zero_kernel_weights():
    logits, image = random_logits_and_image()
    logits *= 0.6
    left = np.where(np.arange(32) < 16, 1.5, 0.0).astype(np.float32)
    logits[:, 0] += left
    logits[:, 1] += 1.5 - left
    logits, image = torch.from_numpy(logits), torch.from_numpy(image)
    crf = DenseCrf(11)
    ground_truth = torch.tensor(np.where(np.arange(32) < 16, 0, 1)).expand(2, 24, 32)
    before, after = ((x.argmax(1) == ground_truth).float().mean() for x in (logits, crf(logits, image)))
    assert before < 0.85 and after > 0.95
    torch.nn.init.zeros_(crf.spatial_ker_weights)
    torch.nn.init.zeros_(crf.bilateral_ker_weights)
    assert torch.equal(crf(logits, image), logits)


def test_cells_approximate_the_exact_filter_and_all_weights_get_gradients():
    logits, image = random_logits_and_image()
    image = torch.from_numpy(image)
    image[:, :, :16], image[:, :, 16:] = 0, 100  # uniform halves: no cell has two colours
    logits = torch.from_numpy(logits).requires_grad_()
    crf, cells = DenseCrf(11, iterations=2), DenseCrf(11, iterations=2, stride=4)
    exact, approximate = crf(logits, image), cells(logits, image)
    assert (exact - approximate).abs().max() < 0.02
    exact.softmax(1)[:, 0].mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in crf.parameters()) and logits.grad.abs().sum() > 0
