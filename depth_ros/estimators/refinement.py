"""Depth that is refined online: at every frame the networks go on learning from the last three frames alone.

Casser et al., AAAI 2019, section "Online refinement": some steps of the training loss on the clip at hand, then
back to the trained weights. Any family that learns from video can be refined. In the paper the middle frame of the
clip is asked for its depth; here it is the newest, so that nothing waits for the future.

What is published is guarded. A clip that can teach nothing, because the camera stands or there is no texture, and a
result that explains the images no better than the trained networks, are left unrefined; and no pixel moves by more
than `max_change`, so that with truth g the AbsRel of the published depth exceeds that of the trained networks by at
most max_change * (1 + AbsRel), whatever happens.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.card import Card, find_card, load_model
from depth_ros.config import setting, settings_from
from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import engine_size, pick_device
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.networks import family
from depth_ros.networks.blocks.synthesis import back_project, move, project, warp

FRAMES = 3


@dataclass(frozen=True)
class RefinementSettings:
    """How far the networks may follow a clip; steps and learning rate are the paper's.

    So is not the weight of smoothness, 0.01 there, which is for fast cameras: of a rendered street it takes AbsRel from
    0.227 to 0.189, but of a slow drive (kitti_raw_jam) from 0.286 to 0.377. With 0.2, chosen on the first third of that
    drive, these become 0.232 and 0.273, and its other two thirds 0.274 instead of 0.322.
    """

    steps: int = setting(20, "steps of the optimiser for every frame", minimum=1)
    learning_rate: float = setting(1e-4, "learning rate of Adam", minimum=0)
    smoothness_weight: float = setting(0.2, "weight of smoothness; 0.01 for fast cameras", minimum=0)
    max_change: float = setting(0.3, "largest change of a pixel's depth, relative", minimum=0, maximum=10)
    least_parallax: float = setting(
        0.3, "median shift by the camera's translation to learn from", "px", minimum=0
    )
    least_contrast: float = setting(0.005, "mean difference of neighbouring frames to learn from", minimum=0)


class RefiningEstimator:
    """Frame -> Depth like `DepthEstimator`, refined on the frames before; eager PyTorch, hence for recordings.

    model: a depth model of a family that learns from video; beside it, under the names MODEL_TASK, those of its
    family's other tasks. verdicts: how often which outcome came. errors: mean L1 of the newest image and its
    synthesis from the one before, as trained and as published, of every frame that was refined.
    Raises DepthRosError if a model is missing.
    """

    def __init__(self, model: str, settings: RefinementSettings = RefinementSettings()) -> None:
        self.card: Card = find_card(model)
        self._module = family(self.card.family)
        if self.card.task != "depth" or not hasattr(self._module, "learner"):
            raise DepthRosError(
                f"model '{model}' does '{self.card.task}' with family '{self.card.family}'; only depth models of "
                "families that learn from video can be refined"
            )
        self._settings = settings
        self._device = pick_device("auto")
        self._models = load_learner(self.card).to(self._device).eval()
        self._trained = {key: value.clone() for key, value in self._models.state_dict().items()}
        self._frames: list[tuple[int, np.ndarray]] = []
        self._size = (0, 0)
        self.verdicts: Counter[str] = Counter()
        self.errors: list[tuple[float, float]] = []

    @property
    def engine_name(self) -> str:
        """What served the last frame."""
        return f"eager float32 {self._size[0]}x{self._size[1]}, {self._settings.steps} steps a frame"

    @property
    def reason(self) -> str:
        """What came of the frames so far, and the mean photometric error before and after."""
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.items())
        if not self.errors:
            return counts or "no image has come yet"
        before, after = np.mean(self.errors, axis=0)
        return f"{counts}; photometric error of these {before:.4f} -> {after:.4f}"

    def estimate(self, frame: Frame) -> Depth:
        """Depth of the rectified image at the model's size for it, with the camera scaled to it."""
        image, camera = rectify(frame.image, frame.camera)
        size = engine_size(self.card, camera.width, camera.height)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        camera = camera.resized(*size)
        if size != self._size or (self._frames and frame.stamp <= self._frames[-1][0]):
            self._frames, self._size = [], size
        self._frames = [*self._frames[1 - FRAMES :], (frame.stamp, small)]
        images = torch.from_numpy(np.stack([pixels for _, pixels in self._frames]))[None].to(self._device)
        K = torch.from_numpy(camera.K.astype(np.float32))[None].to(self._device)
        depth, verdict = self._depth(images, K)
        self.verdicts[verdict] += 1
        return Depth(frame.stamp, frame.frame_id, depth[0].cpu().numpy(), camera, small)

    def _depth(self, images: Tensor, K: Tensor) -> tuple[Tensor, str]:
        """Depth (1, H, W) of the newest of the images (1, N, H, W, 3), and what came of refining it."""
        settings = self._settings
        static, T_static = answers(self._models, images, K)
        if images.shape[1] < FRAMES:
            return static, "as trained: too few frames"
        problem = uninformative(images, static, T_static, K, settings)
        if problem:
            return static, f"as trained: {problem}"
        try:
            finite = refine(self._models, self._module, {"images": images, "intrinsics": K}, settings)
            refined, T = answers(self._models, images, K)
        finally:
            self._models.load_state_dict(self._trained)
        if not finite:
            return static, "as trained: the loss became infinite"
        refined, T = guarded(refined, static, T, settings.max_change)
        before = photometric_error(images, static, T_static, K)
        after = photometric_error(images, refined, T, K)
        if after > before:
            return static, "as trained: refined was no better"
        self.errors.append((before, after))
        return refined, "refined"


def load_learner(card: Card) -> nn.ModuleDict:
    """All models of a family, by task, with the weights of the depth model `card` and of those beside it."""
    module = family(card.family)
    models = module.learner(settings_from(module.Settings, card.settings, f"{card.path}/card.yaml, settings"))
    for task in module.MODELS:
        beside = card.path if task == "depth" else card.path.with_name(f"{card.path.name}_{task}")
        models[task].load_state_dict(load_model(find_card(str(beside))).state_dict())
    return models


@torch.no_grad()
def answers(models: Any, images: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (1, H, W) of the newest image, and T_older_newer (1, 4, 4) of the last two, of (1, N, H, W, 3)."""
    depth = models["depth"](images[:, -1], K)
    if images.shape[1] < FRAMES:
        return depth, torch.eye(4, device=images.device)[None]
    return depth, models["ego_motion"](images, K)[:, -1]


def uninformative(images: Tensor, depth: Tensor, T: Tensor, K: Tensor, settings: RefinementSettings) -> str:
    """Why nothing can be learned from a clip; empty if something can."""
    planes = images.float() / 255
    if (planes[:, 1:] - planes[:, :-1]).abs().mean() < settings.least_contrast:
        return "the images do not change"
    turned = T.clone()
    turned[:, :3, 3] = 0
    points = back_project(depth[:, None], K)
    shift = (project(move(T, points), K) - project(move(turned, points), K)).norm(dim=1)
    return "" if shift.median() >= settings.least_parallax else "the camera stands or only turns"


def refine(models: Any, module: Any, batch: dict[str, Tensor], settings: RefinementSettings) -> bool:
    """Go on training on one batch, in place; whether the loss stayed finite.

    Normalisation keeps the statistics of the training, and scalars (the learned size of objects) are left alone.
    """
    weights = [p for p in models.parameters() if p.requires_grad and p.dim()]
    optimiser = torch.optim.Adam(weights, settings.learning_rate)
    terms = dataclasses.replace(module.LossSettings(), smoothness_weight=settings.smoothness_weight)
    for _ in range(settings.steps):
        loss = module.loss(models, batch, terms)["loss"]
        if not torch.isfinite(loss):
            return False
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return True


def guarded(refined: Tensor, static: Tensor, T: Tensor, max_change: float) -> tuple[Tensor, Tensor]:
    """Refined depth in the trained scale and within `max_change` of the trained one, and its motion likewise."""
    refined = torch.where(torch.isfinite(refined) & (refined > 0), refined, static)
    scale = (static / refined).median()
    ratio = (scale * refined / static).clamp(1 / (1 + max_change), 1 + max_change)
    T = T.clone()
    T[:, :3, 3] *= scale
    return static * ratio, T


def photometric_error(images: Tensor, depth: Tensor, T_older_newer: Tensor, K: Tensor) -> float:
    """Mean L1 of the newest image and its synthesis from the one before; what cannot be made counts as unmoved."""
    older, newer = (images[:, i].permute(0, 3, 1, 2).float() / 255 for i in (-2, -1))
    made, seen = warp(older, depth[:, None], T_older_newer, K)
    return float((torch.where(seen > 0, made, older) - newer).abs().mean())
