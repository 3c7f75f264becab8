"""Online refinement of depth: at every frame the networks are fine-tuned on the last three frames.

Casser et al., AAAI 2019, section "Online refinement": a few optimisation steps of the training loss on the current
clip, starting from the trained weights each time. Applies to every family that is trained on video. The paper predicts
the depth of the middle frame of the clip; here it is that of the newest frame, to avoid the delay.

The result is safeguarded: the trained prediction is returned if the clip is unsuitable (static camera or no texture) or
if refinement does not reduce the photometric error, and the depth of a pixel changes by at most the factor
1 + `max_change`. With ground truth g, the AbsRel of the result thus exceeds that of the trained networks by at most
max_change * (1 + AbsRel).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.card import Card, find_card, load_model
from depth_ros.config import setting, settings_from
from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import EngineStatus, engine_size, pick_device
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rectify
from depth_ros.networks import Family, family
from depth_ros.networks.blocks.synthesis import back_project, project, transform_points, warp

CLIP_LENGTH = 3
"""Number of frames that the networks are fine-tuned on."""


@dataclass(frozen=True)
class RefinementSettings:
    """Optimisation and limits of the refinement; steps and learning rate are those of the paper.

    The paper's smoothness weight of 0.01 suits fast cameras only: refinement changes AbsRel from 0.227 to 0.189 on a
    rendered street, but from 0.286 to 0.377 on a slow drive (kitti_raw_jam). With 0.2, chosen on the first third of
    that drive, the refined AbsRel is 0.232 and 0.273, and 0.274 instead of 0.322 on the remaining two thirds.
    """

    steps: int = setting(20, "Optimisation steps per frame.", minimum=1)
    learning_rate: float = setting(1e-4, "Learning rate of Adam.", minimum=0)
    smoothness_weight: float = setting(
        0.2, "Weight of the smoothness loss; 0.01 suits fast cameras.", minimum=0
    )
    max_change: float = setting(
        0.3, "Maximum relative change of a pixel's depth, by a factor of 1 + max_change.", minimum=0, maximum=10
    )  # fmt: skip
    min_parallax: float = setting(
        0.3, "Minimum median image shift by the camera's translation; clips with less are not refined.", "px", minimum=0
    )  # fmt: skip
    min_image_change: float = setting(
        0.005, "Minimum mean difference of neighbouring images (0 to 1); clips with less are not refined.", minimum=0
    )  # fmt: skip


class RefiningEstimator:
    """Frame -> Depth as in `DepthEstimator`, refined on the last frames. Runs in eager PyTorch, for recordings.

    model: depth model of a family trained on video; the models of the family's other tasks are beside it, in folders
    named MODEL_TASK. outcomes: number of frames by outcome. errors: for each refined frame the photometric error before
    and after. Raises DepthRosError if a model is missing.
    """

    def __init__(self, model: str, settings: RefinementSettings = RefinementSettings()) -> None:
        self.card: Card = find_card(model)
        self._module = family(self.card.family)
        if self.card.task != "depth" or not hasattr(self._module, "build_training_model"):
            raise DepthRosError(
                f"model '{model}' is for task '{self.card.task}', of family '{self.card.family}'; only depth models of "
                "families trained on video can be refined"
            )
        self._settings = settings
        self._device = pick_device("auto")
        self._models = load_training_model(self.card).to(self._device).eval()
        self._trained = {key: value.clone() for key, value in self._models.state_dict().items()}
        self._frames: list[tuple[int, np.ndarray]] = []
        self._size = (0, 0)
        self.outcomes: Counter[str] = Counter()
        self.errors: list[tuple[float, float]] = []

    @property
    def engine_status(self) -> EngineStatus:
        """The engine; its reason lists the outcomes so far and the mean photometric error before and after."""
        name = f"eager float32 {self._size[0]}x{self._size[1]}, {self._settings.steps} steps per frame"
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        if not self.errors:
            return EngineStatus(name, counts or "no image received yet")
        before, after = np.mean(self.errors, axis=0)
        return EngineStatus(
            name, f"{counts}; photometric error of refined frames {before:.4f} -> {after:.4f}"
        )

    def estimate(self, frame: Frame) -> Depth:
        """Depth of the rectified image at the model's size, with the camera scaled to it."""
        image, camera = rectify(frame.image, frame.camera)
        size = engine_size(self.card, camera.width, camera.height)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        camera = camera.resized(*size)
        if size != self._size or (self._frames and frame.stamp <= self._frames[-1][0]):
            self._frames, self._size = [], size
        self._frames = [*self._frames[1 - CLIP_LENGTH :], (frame.stamp, small)]
        images = torch.from_numpy(np.stack([pixels for _, pixels in self._frames]))[None].to(self._device)
        K = torch.from_numpy(camera.K.astype(np.float32))[None].to(self._device)
        depth, outcome = self._refined_depth(images, K)
        self.outcomes[outcome] += 1
        return Depth(frame.stamp, frame.frame_id, depth[0].cpu().numpy(), camera, small)

    def _refined_depth(self, images: Tensor, K: Tensor) -> tuple[Tensor, str]:
        """Depth (1, H, W) of the newest of the images (1, N, H, W, 3), and the outcome."""
        settings = self._settings
        trained, T_trained = predict(self._models, images, K)
        if images.shape[1] < CLIP_LENGTH:
            return trained, "not refined: too few frames"
        if problem := clip_problem(images, trained, T_trained, K, settings):
            return trained, f"not refined: {problem}"
        try:
            finite = refine(self._models, self._module, {"images": images, "intrinsics": K}, settings)
            refined, T_refined = predict(self._models, images, K)
        finally:
            self._models.load_state_dict(self._trained)
        if not finite:
            return trained, "not refined: the loss is not finite"
        refined, T_refined = limit_change(refined, trained, T_refined, settings.max_change)
        before = photometric_error(images, trained, T_trained, K)
        after = photometric_error(images, refined, T_refined, K)
        if after > before:
            return trained, "not refined: the photometric error did not decrease"
        self.errors.append((before, after))
        return refined, "refined"


def load_training_model(card: Card) -> nn.ModuleDict:
    """All models of a family by task, with the weights of the depth model `card` and of the models beside it."""
    module = family(card.family)
    settings = settings_from(module.Settings, card.settings, f"{card.path}/card.yaml, settings")
    models = module.build_training_model(settings)
    for task in module.MODELS:
        path = card.path if task == "depth" else card.path.with_name(f"{card.path.name}_{task}")
        models[task].load_state_dict(load_model(find_card(str(path))).state_dict())
    return models


@torch.no_grad()
def predict(models: nn.ModuleDict, images: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (1, H, W) of the newest image, and T_older_newer (1, 4, 4) of the last two, of images (1, N, H, W, 3).

    The motion is the identity while there are fewer than CLIP_LENGTH images.
    """
    depth = models["depth"](images[:, -1], K)
    if images.shape[1] < CLIP_LENGTH:
        return depth, torch.eye(4, device=images.device)[None]
    return depth, models["ego_motion"](images, K)[:, -1]


def clip_problem(images: Tensor, depth: Tensor, T: Tensor, K: Tensor, settings: RefinementSettings) -> str:
    """Why a clip is unsuitable for refinement; empty if it is suitable. Arguments as returned by `predict`."""
    scaled = images.float() / 255
    if (scaled[:, 1:] - scaled[:, :-1]).abs().mean() < settings.min_image_change:
        return "the images do not change"
    rotation = T.clone()
    rotation[:, :3, 3] = 0
    points = back_project(depth[:, None], K)
    parallax = (
        project(transform_points(T, points), K) - project(transform_points(rotation, points), K)
    ).norm(dim=1)
    return "" if parallax.median() >= settings.min_parallax else "the camera is static or only rotates"


def refine(
    models: nn.ModuleDict, module: Family, batch: dict[str, Tensor], settings: RefinementSettings
) -> bool:
    """Fine-tune the models of a family `module` on one batch, in place; returns whether the loss stayed finite.

    Normalisation layers keep their training statistics, and scalars (the learned size of objects) are not changed.
    """
    weights = [p for p in models.parameters() if p.requires_grad and p.dim()]
    optimiser = torch.optim.Adam(weights, settings.learning_rate)
    loss_settings = dataclasses.replace(module.LossSettings(), smoothness_weight=settings.smoothness_weight)
    for _ in range(settings.steps):
        loss = module.loss(models, batch, loss_settings)["loss"]
        if not torch.isfinite(loss):
            return False
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return True


def limit_change(refined: Tensor, trained: Tensor, T: Tensor, max_change: float) -> tuple[Tensor, Tensor]:
    """Refined depth at the scale of the trained one and within `max_change` of it, and the motion T at that scale.

    Invalid pixels get the trained depth.
    """
    refined = torch.where(torch.isfinite(refined) & (refined > 0), refined, trained)
    scale = (trained / refined).median()
    ratio = (scale * refined / trained).clamp(1 / (1 + max_change), 1 + max_change)
    T = T.clone()
    T[:, :3, 3] *= scale
    return trained * ratio, T


def photometric_error(images: Tensor, depth: Tensor, T_older_newer: Tensor, K: Tensor) -> float:
    """Mean L1 difference of the newest image and its synthesis from the previous one.

    Pixels that project outside the previous image are compared with the same pixel of it.
    """
    older, newer = (images[:, i].permute(0, 3, 1, 2).float() / 255 for i in (-2, -1))
    synthesis, inside = warp(older, depth[:, None], T_older_newer, K)
    return float((torch.where(inside > 0, synthesis, older) - newer).abs().mean())
