"""Losses of the families that learn from video, term by term, against the formulas written in NumPy.

The networks are replaced by given disparities, motions and masks.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from depth_ros.networks import sfmlearner, struct2depth, vid2depth

H, W, SCALES = 32, 64, 4
K = np.array([[40.0, 0, 30.0], [0, 42.0, 17.0], [0, 0, 1]])


def rotation(rx: float, ry: float, rz: float) -> np.ndarray:
    """Rx Ry Rz, right-handed."""
    c, s = np.cos, np.sin
    Rx = [[1, 0, 0], [0, c(rx), -s(rx)], [0, s(rx), c(rx)]]
    Ry = [[c(ry), 0, s(ry)], [0, 1, 0], [-s(ry), 0, c(ry)]]
    Rz = [[c(rz), -s(rz), 0], [s(rz), c(rz), 0], [0, 0, 1]]
    return np.array(Rx) @ np.array(Ry) @ np.array(Rz)


def matrix(vector: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation(*vector[3:]), vector[:3]
    return T


def at_scale(s: int) -> np.ndarray:
    """Intrinsics of the image at 1 / 2^s, pixel centres at integers."""
    f = 0.5**s
    return np.array(
        [[f * K[0, 0], 0, (K[0, 2] + 0.5) * f - 0.5], [0, f * K[1, 1], (K[1, 2] + 0.5) * f - 0.5], [0, 0, 1]]
    )


def warped(
    source: np.ndarray, depth: np.ndarray, T: np.ndarray, K: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """source (h, w, 3) in the view with the given depth (h, w), 0 outside; and where it is inside."""
    h, w = depth.shape
    v, u = np.mgrid[:h, :w].astype(float)
    X = np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1) * depth.reshape(-1)
    x, y, z = K @ (T[:3, :3] @ X + T[:3, 3:])
    x, y = x / z, y / z
    border = 0.01  # px, for points on the border itself
    inside = (x >= -border) & (x <= w - 1 + border) & (y >= -border) & (y <= h - 1 + border)
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    x0, y0 = np.clip(np.floor(x), 0, w - 2).astype(int), np.clip(np.floor(y), 0, h - 2).astype(int)
    a, b = (x - x0)[:, None], (y - y0)[:, None]
    value = (1 - b) * ((1 - a) * source[y0, x0] + a * source[y0, x0 + 1]) + b * (
        (1 - a) * source[y0 + 1, x0] + a * source[y0 + 1, x0 + 1]
    )
    return (value * inside[:, None]).reshape(h, w, 3), inside.reshape(h, w)


def halved(image: np.ndarray) -> np.ndarray:
    h, w = image.shape[:2]
    return image.reshape(h // 2, 2, w // 2, 2, -1).mean((1, 3)).reshape(h // 2, w // 2, *image.shape[2:])


def pyramid(image: np.ndarray) -> list[np.ndarray]:
    levels = [image]
    for _ in range(SCALES - 1):
        levels.append(halved(levels[-1]))
    return levels


def box3(x: np.ndarray) -> np.ndarray:
    h, w = x.shape[:2]
    return sum(x[i : h - 2 + i, j : w - 2 + j] for i in range(3) for j in range(3)) / 9


def ssim_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    ma, mb = box3(a), box3(b)
    va, vb, cov = box3(a * a) - ma**2, box3(b * b) - mb**2, box3(a * b) - ma * mb
    value = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    return np.clip((1 - value) / 2, 0, 1)


def edge_aware(d: np.ndarray, image: np.ndarray) -> float:
    total = 0.0
    for axis in (0, 1):
        weight = np.exp(-np.abs(np.diff(image, axis=axis)).mean(2))
        total += (np.abs(np.diff(d, axis=axis)) * weight).mean()
    return total


def second_order(d: np.ndarray) -> float:
    dx, dy = np.diff(d, axis=1), np.diff(d, axis=0)
    parts = (np.diff(dx, axis=1), np.diff(dx, axis=0), np.diff(dy, axis=1), np.diff(dy, axis=0))
    return sum(np.abs(part).mean() for part in parts)


@pytest.fixture
def clip():
    """Images (3, H, W, 3) uint8, disparities by frame and scale, vectors of two motions out of parts of the image."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, H, W, 3), dtype=np.uint8)
    disparities = [[rng.uniform(0.1, 0.3, (H >> s, W >> s)) for s in range(SCALES)] for _ in range(3)]
    vectors = np.array([[1.2, 0.1, 0.4, 0.02, -0.05, 0.03], [-0.9, 0.05, 0.5, -0.01, 0.04, 0.02]])
    return images, disparities, vectors


def batch_of(images: np.ndarray) -> dict[str, torch.Tensor]:
    return {"images": torch.from_numpy(images)[None], "intrinsics": torch.from_numpy(K).float()[None]}


def tensors(disparities: list[list[np.ndarray]]) -> list[torch.Tensor]:
    """Of several frames by scale: (N, 1, h, w)."""
    return [torch.from_numpy(np.stack(level)).float()[:, None] for level in zip(*disparities)]


@pytest.mark.parametrize("outside", ["grey", "ignored"])
@pytest.mark.parametrize("explain", [False, True])
def test_terms_of_sfmlearner(clip, outside, explain):
    images, disparities, vectors = clip
    rng = np.random.default_rng(1)
    masks = [rng.uniform(0.2, 0.9, (2, H >> s, W >> s)) for s in range(SCALES)]
    models = sfmlearner.build_training_model(sfmlearner.Settings(explain=explain, width_divisor=16))
    models["depth"].disparities = lambda image: tensors([disparities[1]])
    network = models["ego_motion"].network
    network.motion = lambda features: torch.from_numpy(vectors).float()[None]
    if explain:
        network.explainability = lambda features, image: [torch.from_numpy(m).float()[None] for m in masks]
    settings = sfmlearner.LossSettings(outside=outside)
    with torch.no_grad():
        found = sfmlearner.loss(models, batch_of(images), settings)

    frames = [pyramid(image / 127.5 - 1) for image in images]
    expected = {"photometric": 0.0, "smoothness": 0.0, "explained": 0.0}
    counted = 0.0
    for s in range(SCALES):
        for n, source in enumerate((0, 2)):
            synthesis, inside = warped(
                frames[source][s], 1 / disparities[1][s], matrix(vectors[n]), at_scale(s)
            )
            error = np.abs(synthesis - frames[1][s])
            counted += (~inside).mean()
            if outside == "ignored":
                error = error * inside[..., None]
            if explain:
                error = error * masks[s][n][..., None]
                expected["explained"] += -np.log(masks[s][n]).mean()
            expected["photometric"] += error.mean()
        expected["smoothness"] += second_order(disparities[1][s]) / 2**s
    assert 0.5 < counted < 6  # of 8 images: a part of each is outside
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=2e-4), name
    total = expected["photometric"] + 0.5 * expected["smoothness"] + 0.2 * expected["explained"]
    assert found["loss"].item() == pytest.approx(total, rel=2e-4)


@pytest.mark.parametrize("reverse", ["inverse", "negated"])
def test_terms_of_vid2depth(clip, reverse):
    images, disparities, vectors = clip
    models = {
        "depth": SimpleNamespace(disparities=lambda image: tensors(disparities)),
        "ego_motion": SimpleNamespace(vectors=lambda image: torch.from_numpy(vectors).float()[None]),
    }
    settings = vid2depth.LossSettings(reverse_motion=reverse, alignment_weight=0.0)
    found = vid2depth.loss(models, batch_of(images), settings)

    frames = [pyramid(image / 255) for image in images]
    expected = {"l1": 0.0, "ssim": 0.0, "smoothness": 0.0}
    for s in range(SCALES):
        for older in (0, 1):
            forward = matrix(vectors[older])
            back = matrix(-vectors[older]) if reverse == "negated" else np.linalg.inv(forward)
            for source, target, T in ((older, older + 1, forward), (older + 1, older, back)):
                depth = 1 / disparities[target][s]
                synthesis, inside = warped(frames[source][s], depth, T, at_scale(s))
                mask = inside[..., None].astype(float)
                expected["l1"] += (np.abs(synthesis - frames[target][s]) * mask).mean()
                expected["ssim"] += (ssim_distance(synthesis, frames[target][s]) * box3(mask)).mean()
        for n in range(3):
            expected["smoothness"] += edge_aware(disparities[n][s], frames[n][s]) / 2**s
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=2e-4), name
    total = 0.85 * expected["l1"] + 0.15 * expected["ssim"] + 0.05 * expected["smoothness"]
    assert found["loss"].item() == pytest.approx(total, rel=2e-4)


def enlarged(values: np.ndarray) -> np.ndarray:
    """(h, w) -> (H, W), bilinear with aligned corners."""
    h, w = values.shape
    y, x = np.linspace(0, h - 1, H), np.linspace(0, w - 1, W)
    rows = np.stack([np.interp(x, np.arange(w), row) for row in values])
    return np.stack([np.interp(y, np.arange(h), column) for column in rows.T], 1)


def test_terms_of_struct2depth_without_objects(clip):
    images, disparities, vectors = clip
    T = np.stack([matrix(vector) for vector in vectors])
    model = SimpleNamespace(
        depth=SimpleNamespace(disparities=lambda image: tensors([disparities[1]])),
        ego_motion=lambda images, K, static: torch.from_numpy(T).float()[None],
    )
    found = struct2depth.loss({"object_motion": model}, batch_of(images))
    frames = [image / 255 for image in images]
    levels = pyramid(frames[1])
    expected = {"l1": 0.0, "ssim": 0.0, "smoothness": 0.0}
    for s in range(SCALES):
        depth = enlarged(1 / disparities[1][s])
        sources = ((0, T[0]), (2, np.linalg.inv(T[1])))
        views = [warped(frames[source], depth, motion, K)[0] for source, motion in sources]
        expected["l1"] += np.minimum(*(np.abs(view - frames[1]) for view in views)).mean()
        expected["ssim"] += np.minimum(*(ssim_distance(view, frames[1]) for view in views)).mean()
        relative = disparities[1][s] / disparities[1][s].mean()
        expected["smoothness"] += edge_aware(relative, levels[s]) / 2**s
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=2e-4), name
    total = 0.85 * expected["l1"] + 0.15 * expected["ssim"] + 0.04 * expected["smoothness"]
    assert found["loss"].item() == pytest.approx(total, rel=2e-4)
