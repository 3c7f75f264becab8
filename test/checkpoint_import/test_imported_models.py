"""Imported models of every family in the estimators: what the network gets, and the geometry of its result.

With fewer channels than the released networks; names and shapes of those are tested in the other files here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from test_import import CHECKPOINTS, fcrn_variables
from test_import_planenet import port_checkpoint

from depth_ros.card import Card, deployed_model, load_model, read_card
from depth_ros.checkpoint_import.names import released_models
from depth_ros.checkpoint_import.released_model import Variables
from depth_ros.config import settings_from
from depth_ros.datatypes import Camera, Frame
from depth_ros.engine import EngineSettings
from depth_ros.estimators.odometry.pose_network import PoseNetwork
from depth_ros.estimators.planes import PlanesEstimator
from depth_ros.networks import family, model_class
from depth_ros.training.export import save_model

EAGER = EngineSettings(backend="eager", precision="float32", device="cpu")
NARROW: dict[str, dict[str, object]] = {
    "fcrn": {"backbone": "lite0", "zeros": "after"}, "planenet": {"network": "lite"},
}  # fmt: skip
"""Settings with which a network is small; the others have `width_divisor`."""


def variables_of(which: str) -> tuple[str, Variables]:
    """Family and variables of a made-up checkpoint, on the meta device."""
    if which == "fcrn":
        biases = {f"layer2x_br1_Conv{name}/biases": torch.full((512,), i) for i, name in enumerate("AD")}
        return which, fcrn_variables() | biases
    if which == "planenet":
        return which, {key.removeprefix("module."): value for key, value in port_checkpoint().items()}
    if which == "mannequin":
        with torch.device("meta"):
            return which, family(which).Network(3).state_dict()
    name, shapes, _ = CHECKPOINTS[which]
    return name, {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def imported(which: str, task: str, folder: Path) -> Path:
    """Write the model of a task with the card of the import, fewer channels and random weights."""
    name, variables = variables_of(which)
    (released,) = (each for each in released_models(name, variables) if each.task == task)
    settings = {**released.settings, **NARROW.get(name, {"width_divisor": 8})}
    settings |= {"batch_statistics": False} if "batch_statistics" in settings else {}
    torch.manual_seed(0)
    model = model_class(name, task)(settings_from(family(name).Settings, settings, which)).eval()
    for module in model.modules():  # random, but no result saturates
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)):
            torch.nn.init.normal_(module.weight, std=0.5 / module.weight[0].numel() ** 0.5)
    if name == "fcrn":
        torch.nn.init.constant_(model.network.predict.bias, 2.0)
    card = Card(
        which, task, name, *released.size, released.scale, "", "", fit=released.fit, region=list(released.region),
        frames=released.frames, settings=settings, path=folder / task,
    )  # fmt: skip
    save_model(model, card)
    return card.path


def frame(width: int, height: int) -> Frame:
    image = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    image = np.kron(image, np.ones((8, 8, 1), np.uint8))[:height, :width]
    camera = Camera.pinhole(width, height, 0.6 * width, 0.6 * width, (width - 1) / 2, (height - 1) / 2)
    return Frame(7, "camera", np.ascontiguousarray(image), camera)


CASES = [  # checkpoint, task, size of its network's input, of the depth of a camera of 1280x400 px and of 640x480 px
    ("monodepth", "depth", (512, 256), (819, 256), (512, 384)),
    ("SfMLearner depth", "depth", (416, 128), (416, 130), (416, 312)),
    ("vid2depth", "depth", (416, 128), (416, 130), (416, 312)),
    ("struct2depth", "depth", (416, 128), (416, 130), (416, 312)),
    ("fcrn", "depth", (304, 228), (730, 228), (304, 228)),
    ("planenet", "planes", (256, 192), (614, 192), (256, 192)),
    ("mannequin", "depth", None, (512, 160), (512, 384)),
]


@pytest.mark.parametrize(("which", "task", "size", "wide", "narrow"), CASES)
def test_a_frame_through_the_estimator(which, task, size, wide, narrow, tmp_path):
    """The network gets images of the size of its training, whatever the camera; depth has the camera's geometry."""
    estimator = PlanesEstimator(str(imported(which, task, tmp_path)), EAGER)
    seen = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: (
            seen.append(tuple(inputs[0].shape[-2:]))
            if isinstance(module, torch.nn.Conv2d) and module.in_channels == 3
            else None
        )
    )
    try:
        for camera, expected in (((1280, 400), wide), ((640, 480), narrow)):
            seen.clear()
            depth, _ = estimator.estimate(frame(*camera))
            assert depth.depth.shape == expected[::-1]
            padding = np.subtract(seen, (size or expected)[::-1])  # some networks pad their input
            assert len(seen) and (padding >= 0).all() and (padding < 8).all()
            assert depth.camera.fx == pytest.approx(0.6 * expected[0])
            assert depth.camera.fy == pytest.approx(0.6 * camera[0] * expected[1] / camera[1], rel=1e-6)
            cropped = which == "fcrn" and camera == (1280, 400)
            outside = 1 - expected[1] * 304 / 228 / expected[0] if cropped else 0.0
            invalid = np.isnan(depth.depth).mean()  # the random planes of planenet are invalid in some places
            assert outside - 0.01 < invalid < (0.9 if which == "planenet" else outside + 0.01)
    finally:
        hook.remove()


@pytest.mark.parametrize("which", ["SfMLearner motion", "vid2depth", "struct2depth"])
def test_frames_through_the_odometry_of_an_imported_pose_network(which, tmp_path):
    odometry = PoseNetwork(str(imported(which, "ego_motion", tmp_path)), EAGER)
    assert odometry.estimate(frame(640, 480)).motion is None
    second = frame(640, 480)
    motion = odometry.estimate(dataclasses.replace(second, stamp=10**9)).motion
    assert motion is not None and np.isfinite(motion.T_old_new).all()
    assert odometry.engine_status.name == "eager float32 416x312"


def test_disparity_of_the_imported_network_is_that_of_the_published_procedure(tmp_path):
    """Resize to 512x256, predict, multiply by the native width, resize bilinearly."""
    card = read_card(imported("monodepth", "depth", tmp_path))
    big = frame(1280, 400)
    model, K = load_model(card), torch.from_numpy(big.camera.K).float()[None]
    image = torch.from_numpy(big.image)[None]
    small = torch.nn.functional.interpolate(
        image.permute(0, 3, 1, 2).float(), (256, 512), mode="bilinear", antialias=True
    )
    with torch.inference_mode():
        fraction = model.disparities(small.permute(0, 2, 3, 1))[0][:, :1]
        native = 1280 * torch.nn.functional.interpolate(fraction, (400, 1280), mode="bilinear")[0, 0]
        found = deployed_model(card)(image, K)[0]
    torch.testing.assert_close(found, 768.0 * 0.54 / native, rtol=1e-4, atol=0)
