"""Online refinement of depth: at every frame the networks are fine-tuned on a clip of a few frames.

Casser et al., AAAI 2019, section "Online refinement": a few optimisation steps of the training loss on the clip,
starting from the trained weights each time. Applies to every family that is trained on video.

With the settings `PUBLISHED` this is the protocol of the authors: the depth of the middle frame after the last step,
whatever it is. With `GUARDED` it is that of the newest frame, to avoid the delay, and the result is safeguarded: the
trained prediction is returned if the clip is unsuitable (static camera or no texture) or if refinement does not reduce
the photometric error, and the depth of a pixel changes by at most the factor 1 + `max_change`. With ground truth g, the
AbsRel of the result thus exceeds that of the trained networks by at most max_change * (1 + AbsRel).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.config import setting
from depth_ros.datatypes import Depth, Frame
from depth_ros.engine import EngineStatus, engine_size, pick_device
from depth_ros.estimators.video_models import load_video_models
from depth_ros.geometry import rectify
from depth_ros.networks import Family
from depth_ros.networks.blocks.fit import View
from depth_ros.networks.blocks.fitted import (
    channels_in_input,
    depth_in_image,
    image_in_input,
    intrinsics_in_input,
)
from depth_ros.networks.blocks.synthesis import back_project, project, transform_points, warp


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
    target: str = setting(
        "newest", "Frame of a clip whose depth is the result.", choices=("newest", "middle")
    )
    max_change: float = setting(
        0.3, "Maximum relative change of a pixel's depth, by a factor of 1 + max_change; inf: unlimited.", minimum=0
    )  # fmt: skip
    min_parallax: float = setting(
        0.3, "Minimum median image shift by the camera's translation; clips with less are not refined.", "px", minimum=0
    )  # fmt: skip
    min_translation: float = setting(
        0.0, "Minimum mean translation between frames, in the unit of the model; clips with less are not refined.",
        minimum=0,
    )  # fmt: skip
    min_image_change: float = setting(
        0.005, "Minimum mean difference of neighbouring images (0 to 1); clips with less are not refined.", minimum=0
    )  # fmt: skip
    require_improvement: bool = setting(
        True, "Discard refined depth that does not lower the photometric error of the target."
    )


GUARDED = RefinementSettings()
"""Our settings, for robots: never much worse than the trained networks."""
PUBLISHED = RefinementSettings(
    smoothness_weight=0.01, target="middle", max_change=math.inf, min_parallax=0.0, min_translation=0.01,
    min_image_change=0.0, require_improvement=False,
)  # fmt: skip
"""Those of the released code of struct2depth."""
PROTOCOLS = {"guarded": GUARDED, "published": PUBLISHED}


class ClipRefiner:
    """Clip -> Depth of one of its frames, refined on the clip. Runs in eager PyTorch, for recordings.

    model: depth model of a family trained on video, see `load_video_models`. outcomes: number of clips by outcome.
    errors: for each refined clip the photometric error before and after.
    """

    def __init__(self, model: str, settings: RefinementSettings = GUARDED) -> None:
        loaded = load_video_models(model)
        self.card, self.clip_length = loaded.card, loaded.clip_length
        self.has_object_motion = loaded.has_object_motion
        self._module, self._settings = loaded.module, settings
        self._device = pick_device("auto")
        self._models = loaded.models.to(self._device).eval()
        self._trained = {key: value.clone() for key, value in self._models.state_dict().items()}
        self._size = (0, 0)
        self.outcomes: Counter[str] = Counter()
        self.errors: list[tuple[float, float]] = []

    @property
    def target(self) -> int:
        """Index in a clip of the frame whose depth is the result."""
        return self.clip_length // 2 if self._settings.target == "middle" else self.clip_length - 1

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

    def trained_depth(self, frame: Frame) -> Depth:
        """Depth of a frame by the trained networks, at the model's size, with the camera scaled to it."""
        return self._result(frame, predict_depth(self._models, *self._inputs([frame])))

    def refined_depth(self, clip: Sequence[Frame], labels: Sequence[np.ndarray] = ()) -> Depth:
        """Depth of the frame `target` of a clip of `clip_length` frames, oldest first, all of one size.

        labels: of every frame, (H, W) instance ids of objects that may move, one id per object in all frames,
        0 = background; empty: none are known. They are used by families with object motion.
        """
        images, K = self._inputs(clip)
        batch = {"images": images, "intrinsics": K}
        if len(labels):
            resized = [
                cv2.resize(each.astype(np.uint8), self._size, interpolation=cv2.INTER_NEAREST)
                for each in labels
            ]
            stack = torch.from_numpy(np.stack(resized))[None].to(self._device)
            batch["labels"] = channels_in_input(self._view, stack).to(torch.uint8)
        depth, outcome = self._refined(batch)
        self.outcomes[outcome] += 1
        return self._result(clip[self.target], depth)

    @property
    def _view(self) -> View:
        """What the networks get of the resized images."""
        return self.card.input_fit.view(*self._size)

    def _inputs(self, frames: Sequence[Frame]) -> tuple[Tensor, Tensor]:
        """Images (1, N, H, W, 3) uint8 as the networks get them and intrinsics (1, 3, 3) of the first."""
        images = []
        for frame in frames:
            image, camera = rectify(frame.image, frame.camera)
            self._size = engine_size(self.card, camera.width, camera.height)
            images.append(cv2.resize(image, self._size, interpolation=cv2.INTER_AREA))
        K = camera.resized(*self._size).K.astype(np.float32)
        stack = image_in_input(self._view, torch.from_numpy(np.stack(images))[None].to(self._device))
        K_input = intrinsics_in_input(self._view, torch.from_numpy(K)[None].to(self._device))
        return stack.round().to(torch.uint8), K_input

    def _result(self, frame: Frame, depth: Tensor) -> Depth:
        image, camera = rectify(frame.image, frame.camera)
        small = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        camera = camera.resized(*self._size)
        full = depth_in_image(self._view, depth)[0].cpu().numpy()
        return Depth(frame.stamp, frame.frame_id, full, camera, small)

    def _refined(self, batch: dict[str, Tensor]) -> tuple[Tensor, str]:
        """Depth (1, H, W) of the target of a clip, and the outcome."""
        settings, target = self._settings, self.target
        images, K = batch["images"], batch["intrinsics"]
        trained, T_trained = predict(self._models, images, K, target)
        if problem := clip_problem(images, trained, T_trained, K, settings, target):
            return trained, f"not refined: {problem}"
        try:
            finite = refine(self._models, self._module, batch, settings)
            refined, T_refined = predict(self._models, images, K, target)
        finally:
            self._models.load_state_dict(self._trained)
        if not finite or not torch.isfinite(refined).any():
            return trained, "not refined: the loss is not finite"
        T_before, T_after = (T[:, target - 1] for T in (T_trained, T_refined))
        if math.isfinite(settings.max_change):
            refined, T_after = limit_change(refined, trained, T_after, settings.max_change)
        pair = images[:, target - 1 : target + 1]
        before = photometric_error(pair, trained, T_before, K)
        after = photometric_error(pair, refined, T_after, K)
        if settings.require_improvement and after > before:
            return trained, "not refined: the photometric error did not decrease"
        self.errors.append((before, after))
        return refined, "refined"


class RefiningEstimator:
    """Frame -> Depth as in `DepthEstimator`, refined on the last frames with the settings `GUARDED`, or similar ones.

    settings: the target must be the newest frame. Raises DepthRosError if a model is missing.
    """

    def __init__(self, model: str, settings: RefinementSettings = GUARDED) -> None:
        self._refiner = ClipRefiner(model, dataclasses.replace(settings, target="newest"))
        self.card = self._refiner.card
        self._frames: list[Frame] = []

    @property
    def engine_status(self) -> EngineStatus:
        """The engine and the outcomes so far, see `ClipRefiner`."""
        return self._refiner.engine_status

    @property
    def outcomes(self) -> Counter[str]:
        """Number of frames by outcome."""
        return self._refiner.outcomes

    def estimate(self, frame: Frame) -> Depth:
        """Depth of the rectified image at the model's size, with the camera scaled to it."""
        last = self._frames[-1] if self._frames else None
        if last and (frame.image.shape != last.image.shape or frame.stamp <= last.stamp):
            self._frames = []
        self._frames = [*self._frames[1 - self._refiner.clip_length :], frame]
        if len(self._frames) < self._refiner.clip_length:
            self.outcomes["not refined: too few frames"] += 1
            return self._refiner.trained_depth(frame)
        return self._refiner.refined_depth(self._frames)


@torch.no_grad()
def predict_depth(models: nn.ModuleDict, images: Tensor, K: Tensor, target: int = -1) -> Tensor:
    """Depth (1, H, W) of the image `target` of images (1, N, H, W, 3)."""
    return models["depth"](images[:, target], K)


@torch.no_grad()
def predict(models: nn.ModuleDict, images: Tensor, K: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Depth (1, H, W) of the image `target`, and T_older_newer (1, N - 1, 4, 4), of images (1, N, H, W, 3)."""
    return predict_depth(models, images, K, target), models["ego_motion"](images, K)


def clip_problem(
    images: Tensor, depth: Tensor, T: Tensor, K: Tensor, settings: RefinementSettings, target: int
) -> str:
    """Why a clip is unsuitable for refinement; empty if it is suitable. Arguments as returned by `predict`."""
    scaled = images.float() / 255
    if (scaled[:, 1:] - scaled[:, :-1]).abs().mean() < settings.min_image_change:
        return "the images do not change"
    if T[..., :3, 3].norm(dim=-1).mean() < settings.min_translation:
        return f"the predicted translation is below {settings.min_translation:g}"
    T = T[:, target - 1]
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

    Normalisation layers keep their training statistics, and priors such as the learned size of objects are not changed.
    """
    priors = getattr(module, "PRIORS", ())
    weights = [p for name, p in models.named_parameters() if p.requires_grad and name not in priors]
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
    """Mean L1 difference of the second of two images (1, 2, H, W, 3) and its synthesis from the first.

    Pixels that project outside the first image are compared with the same pixel of it.
    """
    older, newer = (images[:, i].permute(0, 3, 1, 2).float() / 255 for i in (0, 1))
    synthesis, inside = warp(older, depth[:, None], T_older_newer, K)
    return float((torch.where(inside > 0, synthesis, older) - newer).abs().mean())
