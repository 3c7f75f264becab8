"""mannequin: depth, up to scale, of scenes with moving people seen by a moving camera.

Source: Li, Dekel, Cole, Tucker, Snavely, Liu, Freeman, "Learning the Depths of Moving People by Watching Frozen
People", CVPR 2019. The hourglass network of Chen et al. (NIPS 2016) with bilinear upsampling. Its input is the image
alone, or also channels derived from a second view of the clip: masks of people, depth from parallax outside of them,
its confidence, key points (section 4). Names in the state dict are those of the released weights, which load with
strict matching. Written from the paper; Apache-2.0, as is the authors' code.

The other variants take these channels as a third argument, see `Model.extra_inputs`. `parallax.input_channels` and
`recordings.parallax` make them from a recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.config import setting
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.convolution import apply_in_own_precision, keep_float32

TASK = "depth"

INPUTS = {
    "image": (),
    "flow": ("flow_x", "flow_y", "people", "confidence"),
    "parallax_mask": ("people", "parallax"),
    "parallax": ("people", "parallax", "confidence"),
    "keypoints": ("people", "keypoints", "parallax", "confidence"),
}
"""Variant -> input channels after RGB, in order (table 1 of the paper: I, IFCM, IDM, IDCM, IDCMK). Weights of image,
parallax and keypoints were released."""

TYPES: dict[str, tuple[int, int, int, tuple[int, int, int]]] = {
    # channels of the input, of the output of each branch, between the convolutions of branches 1 to 3, their kernels
    "A": (128, 16, 64, (3, 7, 11)),
    "a": (128, 16, 32, (3, 7, 11)),
    "B": (128, 32, 32, (3, 5, 7)),
    "C": (128, 32, 64, (3, 7, 11)),
    "D": (128, 64, 32, (3, 5, 7)),
    "E": (256, 64, 32, (3, 5, 7)),
    "F": (256, 64, 64, (3, 7, 11)),
    "G": (256, 32, 32, (3, 5, 7)),
    "H": (128, 32, 64, (3, 5, 7)),
}
"""Inception units (table 3 of Chen et al. and the authors' code; a = A'), all with four branches."""

LEVELS = (
    # < halves the size, > doubles it, a letter is a unit, a digit the next inner level
    ("<EEE>", "EE", False),
    ("<EE0EF>", "EF", False),
    ("<BD1EG>", "BC", True),
    ("<BB2Ha>", "A", True),
)
"""Levels 1 (innermost) to 4: pooled path, skip path, whether the pooled path comes first in the state dict. The output
of a level is the sum of both paths."""


@dataclass(frozen=True)
class Settings:
    """Options of `Model`."""

    inputs: str = setting("image", "Inputs of the network: the image, and what else.", choices=tuple(INPUTS))
    width_divisor: int = setting(
        1, "Divisor of all numbers of channels between image and depth; 1 = as published.", "", 1, 16
    )


class Unit(nn.Module):
    """Inception unit: branches of 1x1 and, three times, of 1x1 and k x k convolutions, concatenated.

    Each convolution is followed by a batch norm without weights and ReLU.
    """

    def __init__(self, kind: str, width_divisor: int = 1) -> None:
        super().__init__()
        channels, out, mid, kernels = TYPES[kind]
        channels, out, mid = (n // width_divisor for n in (channels, out, mid))
        branches = [nn.Sequential(*_layer(channels, out, 1))]
        branches += [nn.Sequential(*_layer(channels, mid, 1), *_layer(mid, out, k)) for k in kernels]
        self.convs = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.convs], 1)


def _layer(channels: int, out: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
    return [convolution, Norm(out), nn.ReLU(inplace=True)]


class Norm(nn.BatchNorm2d):
    """Batch norm without weights. In evaluation it passes ones and zeros in its own precision.

    Torch-TensorRT would add them in float32, which does not fit inputs in float16. They are not in the state dict.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)
        self.register_buffer("scale", torch.ones(channels), persistent=False)
        self.register_buffer("offset", torch.zeros(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.scale, self.offset, False, 0.0, self.eps
        )


class Level(nn.Module):
    """One level of the hourglass: the sum of two paths."""

    def __init__(self, number: int, width_divisor: int = 1) -> None:
        super().__init__()
        pooled, skip, pooled_first = LEVELS[number]
        paths = [pooled, skip] if pooled_first else [skip, pooled]
        self.list = nn.ModuleList(nn.Sequential(*(_step(c, width_divisor) for c in path)) for path in paths)

    def forward(self, x: Tensor) -> Tensor:
        return self.list[0](x) + self.list[1](x)


def _step(letter: str, width_divisor: int) -> nn.Module:
    if letter == "<":
        return nn.AvgPool2d(2)
    if letter == ">":
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return Level(int(letter), width_divisor) if letter.isdigit() else Unit(letter, width_divisor)


class Network(nn.Module):
    """(B, C, H, W), RGB in [0, 1] first -> ln depth and confidence, both (B, H, W); H, W multiples of 16."""

    def __init__(self, channels: int = 3, width_divisor: int = 1) -> None:
        super().__init__()
        wide, last = 128 // width_divisor, 64 // width_divisor
        self.seq = nn.Sequential(
            nn.Conv2d(channels, wide, 7, padding=3),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            Level(3, width_divisor),
        )
        self.uncertainty_layer = nn.Sequential(nn.Conv2d(last, 1, 3, padding=1), nn.Sigmoid())
        self.pred_layer = keep_float32(nn.Conv2d(last, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.seq(x)
        log_depth = apply_in_own_precision(self.pred_layer, x)
        return log_depth[:, 0], self.uncertainty_layer(x)[:, 0]


def _network(inputs: str) -> Callable[[], nn.Module]:
    return lambda: Network(3 + len(INPUTS[inputs]))


NETWORKS: dict[str, Callable[[], nn.Module]] = {name: _network(name) for name in INPUTS}


class Model(nn.Module):
    """`Network` with the contract of a depth model (see depth_ros.networks); depth has one unknown factor per image."""

    size_multiple = 16

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        if 16 % settings.width_divisor:
            raise DepthRosError(
                f"mannequin: 'width_divisor' is {settings.width_divisor}; allowed: 1, 2, 4, 8, 16"
            )
        self.settings = settings
        self.extra_inputs = INPUTS[settings.inputs]
        self.network = Network(3 + len(self.extra_inputs), settings.width_divisor)

    def log_depth(self, image: Tensor, extra: Tensor | None = None) -> Tensor:
        """ln depth (B, H, W) float32 of images (B, H, W, 3) uint8.

        extra: the channels named by `self.extra_inputs`, (B, C, H, W) float32; None if there are none.
        """
        dtype = next(self.network.parameters()).dtype
        x = image.to(dtype).permute(0, 3, 1, 2) / 255
        if self.extra_inputs:
            if extra is None:
                raise DepthRosError(f"the network also takes the inputs {', '.join(self.extra_inputs)}")
            x = torch.cat([x, extra.to(dtype)], 1)
        return self.network(x)[0].float()

    def forward(self, image: Tensor, intrinsics: Tensor, extra: Tensor | None = None) -> Tensor:
        """Depth (B, H, W) float32, up to scale. `intrinsics` are not used."""
        return torch.exp(self.log_depth(image, extra))


GRADIENT_WEIGHT, FIRST_ORDER_WEIGHT, SECOND_ORDER_WEIGHT, DATA_WEIGHT = 0.75, 0.075, 0.1, 1.5
"""Weights of the terms of `loss`, as in the authors' code; the paper divides all of them by the last."""


def loss(model: Model, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervised loss of ln depth, invariant to scale except for smoothness (section 3.3 of the paper).

    batch: image (B, H, W, 3) uint8, depth (B, H, W) with NaN for invalid pixels, weight (B, H, W), pixels with weight 0
    are ignored; optional extra (B, C, H, W), see `Model.log_depth`, and people (B, H, W), 1 on people.

    With R = predicted - true ln depth, the weighted terms are: scale_invariant: 1.5 V, V = mean R^2 - (mean R)^2, or
    with people V + P / 2, P = half the mean of (R_p - R_q)^2 over all pairs of a pixel p on a person and a pixel q.
    gradient: differences of R two pixels apart, at five scales. smooth1, smooth2: first differences and Laplacian of
    the prediction, with less weight where the image has them too, at five scales. "loss" is their sum.
    """
    predicted = model.log_depth(batch["image"], batch.get("extra"))
    valid = torch.isfinite(batch["depth"]) & (batch["weight"] > 0)
    error = torch.where(valid, predicted - batch["depth"].nan_to_num(1.0).log(), 0.0)
    image = batch["image"].permute(0, 3, 1, 2).float() / 255
    data = DATA_WEIGHT * _variance(error, valid).mean()
    if "people" in batch:
        pairs = _mean_over_pairs(error, valid & batch["people"].bool(), valid)
        data = (_variance(error, valid) + 0.5 * pairs).mean()
    gradient = first = second = predicted.new_zeros(())
    for k in range(5):
        step = 2**k
        gradient = gradient + _mean_gradient(error[:, ::step, ::step], valid[:, ::step, ::step])
        small, small_image = predicted[:, ::step, ::step], image[:, :, ::step, ::step]
        if min(small.shape[1:]) > 2:
            first = first + _first_order(small, small_image) * 0.5**k
            second = second + _second_order(small, small_image) * 0.5**k
    terms = {
        "scale_invariant": data,
        "gradient": GRADIENT_WEIGHT * gradient,
        "smooth1": FIRST_ORDER_WEIGHT * first,
        "smooth2": SECOND_ORDER_WEIGHT * second,
    }
    return {"loss": sum(terms.values(), predicted.new_zeros(())), **terms}


def _moments(error: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (B,) over the pixels of the mask; both are 0 for an empty mask."""
    count = mask.sum((1, 2)).clamp(min=1)
    mean = (error * mask).sum((1, 2)) / count
    return mean, ((error - mean[:, None, None]).square() * mask).sum((1, 2)) / count


def _variance(error: Tensor, mask: Tensor) -> Tensor:
    return _moments(error, mask)[1]


def _mean_over_pairs(error: Tensor, mask_p: Tensor, mask_q: Tensor) -> Tensor:
    """(B,) half the mean of (R_p - R_q)^2 over p in `mask_p` and q in `mask_q`; 0 if there is no p."""
    (mean_p, variance_p), (mean_q, variance_q) = _moments(error, mask_p), _moments(error, mask_q)
    return 0.5 * (variance_p + variance_q + (mean_p - mean_q).square()) * mask_p.any(2).any(1)


def _mean_gradient(error: Tensor, valid: Tensor) -> Tensor:
    """Mean of |R(x + 2) - R(x)|, and of the same in y, over all pairs of valid pixels of the batch."""
    total, count = error.new_zeros(()), error.new_zeros(())
    for dim in (1, 2):
        size = error.shape[dim] - 2
        if size > 0:
            both = valid.narrow(dim, 2, size) & valid.narrow(dim, 0, size)
            total = total + ((error.narrow(dim, 2, size) - error.narrow(dim, 0, size)).abs() * both).sum()
            count = count + both.sum()
    return total / count.clamp(min=1)


def _first_order(predicted: Tensor, image: Tensor) -> Tensor:
    """Mean of |first difference of ln depth| in x and y, weighted by exp(-|difference of the image|)."""
    down, right = (
        (slice(None), slice(1, None), slice(None, -1)),
        (slice(None), slice(None, -1), slice(1, None)),
    )
    here = (slice(None), slice(None, -1), slice(None, -1))
    total = predicted.new_zeros(())
    for there in (down, right):
        edge = (image[(slice(None), *there)] - image[(slice(None), *here)]).abs().mean(1)
        total = total + (torch.exp(-edge) * (predicted[there] - predicted[here]).abs()).mean()
    return total


def _second_order(predicted: Tensor, image: Tensor) -> Tensor:
    """Mean of |Laplacian of ln depth|, of four neighbours, weighted by exp(-|Laplacian of the image|)."""
    kernel = predicted.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    edge = F.conv2d(image.flatten(0, 1)[:, None], kernel).unflatten(0, image.shape[:2])[:, :, 0].abs().mean(1)
    return (torch.exp(-edge) * F.conv2d(predicted[:, None], kernel)[:, 0].abs()).mean()


def initialise(model: Model) -> None:
    """Kaiming initialisation (He et al. 2015); nothing is pretrained. Depth starts at about 2."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    nn.init.normal_(model.network.pred_layer.weight, std=0.01)
    nn.init.constant_(model.network.pred_layer.bias, 0.7)  # type: ignore[arg-type]
