"""Training of networks that take more than the image: inputs follow the image through augmentation."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from depth_ros.datatypes import Camera
from depth_ros.networks import mannequin
from depth_ros.training.augmentation import crop_example, roll_example
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.cache import ArrayCache
from depth_ros.training.data.example import Example
from depth_ros.training.data.items import UnusableItem
from depth_ros.training.data.rendered_two_views import RenderedTwoViews
from depth_ros.training.data.source import DataFolders, Source
from depth_ros.training.depth_validation import validate_depth
from depth_ros.training.extra_inputs import mirrored_input
from depth_ros.training.supervision.depth import DepthSupervision
from depth_ros.world import World, WorldSettings, write_folder

NAMES = ("people", "parallax", "confidence")


def smooth_example() -> Example:
    """An image whose brightness, depth and inputs are the same smooth function of the place."""
    noise = np.random.default_rng(0).uniform(0, 1, (8, 10)).astype(np.float32)
    values = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_LINEAR)
    image = np.repeat(np.rint(255 * values)[..., None], 3, 2).astype(np.uint8)
    camera = Camera.pinhole(160, 120, 120.0, 120.0, 80.0, 60.0)
    weight = np.ones_like(values)
    return Example(image, camera, 1 + values, weight, extra_inputs={"a": values, "b": 2 * values})


@pytest.mark.parametrize("seed", range(4))
def test_inputs_are_cropped_rolled_and_mirrored_as_the_image(seed):
    crop = CropSettings(64, 48, zoom=1.5, max_roll=10.0, colours="none")
    item, _ = crop_example(smooth_example(), crop, np.random.default_rng(seed))
    a, b = item["extra"]
    inside = item["weight"] > 0
    assert a.shape == (48, 64) and a.dtype == np.float32 and inside.mean() > 0.8
    np.testing.assert_allclose(a[inside], item["image"][inside][:, 0] / 255, atol=0.06)
    np.testing.assert_allclose(a[inside], item["depth"][inside] - 1, atol=1e-6)
    np.testing.assert_allclose(b, 2 * a)


def test_flow_is_rotated_with_the_image_and_mirrored():
    """A quarter turn against the clock makes flow to the right flow up, which is negative y."""
    right, zero = np.full((121, 121), 0.5, np.float32), np.zeros((121, 121), np.float32)
    example = smooth_example()
    square = dataclasses.replace(
        example, image=example.image[:, :121][[*range(120), 119]], depth=right, weight=right,
        camera=Camera.pinhole(121, 121, 120.0, 120.0, 60.0, 60.0),
        extra_inputs={"flow_x": right, "flow_y": zero},
    )  # fmt: skip
    inputs = roll_example(square, 90.0).extra_inputs
    np.testing.assert_allclose(inputs["flow_x"][20:100, 20:100], 0, atol=1e-6)
    np.testing.assert_allclose(inputs["flow_y"][20:100, 20:100], -0.5, atol=1e-6)
    assert mirrored_input("flow_x", np.array([[1.0, 2.0]])).tolist() == [[-2.0, -1.0]]
    assert mirrored_input("flow_y", np.array([[1.0, 2.0]])).tolist() == [[2.0, 1.0]]


def test_left_and_right_joints_are_exchanged_in_a_mirrored_image():
    """As the pairs of the authors' code: 2 with 3, ..., 16 with 17; 0 (none) and 1 stay."""
    joints = np.array([[0, 1, 2, 3, 9, 16, 17]])
    mirrored = 18 * mirrored_input("keypoints", (joints / 18).astype(np.float32))
    np.testing.assert_allclose(mirrored, [[16, 17, 8, 2, 3, 1, 0]], atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "room"
    settings = WorldSettings(kind="room", seed=4, frames=12, width=96, height=72, moving_count=2)
    write_folder(World(settings), root)
    return root


def test_network_learns_from_the_inputs_of_a_recording(folder):
    supervision = DepthSupervision("up_to_scale", NAMES[::-1])
    crop = CropSettings(64, 48)
    items = supervision.load_training_data([Source("room")], crop, DataFolders(folder.parent))
    example = items[0]
    assert tuple(example.extra_inputs) == NAMES[::-1] and example.extra_inputs["parallax"].any()
    item = supervision.crop_item(example, crop, np.random.default_rng(0))
    batch = {key: torch.from_numpy(np.ascontiguousarray(value))[None] for key, value in item.items()}
    model = mannequin.Model(mannequin.Settings(inputs="parallax", width_divisor=16))
    mannequin.loss(model, batch)["loss"].backward()
    gradient = model.network.seq[0].weight.grad.abs().sum((0, 2, 3))
    assert gradient.shape == (6,) and (gradient[3:] > 0).all()


def test_images_without_an_input_are_left_out_with_the_reason(folder):
    supervision = DepthSupervision("up_to_scale", ("people", "keypoints"))
    items = supervision.load_training_data([Source("room")], CropSettings(64, 48), DataFolders(folder.parent))
    with pytest.raises(
        UnusableItem, match=r"without keypoints: .* keypoints need images of joints \(--keypoints"
    ):
        items[0]


def test_rendered_scenes_have_the_inputs_of_their_next_image(tmp_path):
    items = RenderedTwoViews("room", [3], ArrayCache(tmp_path))
    first, again = items[0], items[0]
    assert set(NAMES) <= set(first.extra_inputs) and np.array_equal(again.image, first.image)
    confident = first.extra_inputs["confidence"] > 0.5
    parallax, log = first.extra_inputs["parallax"], np.log(first.depth)
    assert confident.mean() > 0.1
    difference = (parallax - log)[confident]
    assert np.median(np.abs(difference - np.median(difference))) < 0.15


class Inverse(torch.nn.Module):
    """A model whose depth is one of its inputs."""

    extra_inputs = ("people", "parallax")

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image, intrinsics, extra):
        return torch.exp(extra[:, 1])


def test_validation_gives_the_model_its_inputs():
    """Depth e^0.5 everywhere, of which the ground truth is twice: no error left with median scaling."""
    sample = World(WorldSettings(kind="room", frames=1, width=64, height=48))[0]
    depth = 2 * np.exp(np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(48, 0))
    inputs = {"parallax": np.log(depth / 2), "people": np.zeros_like(depth)}
    left = dataclasses.replace(sample.left, extra_inputs=inputs)
    held_out = {"x": [dataclasses.replace(sample, left=left, depth=depth)]}
    metrics = validate_depth(Inverse(), held_out, CropSettings(64, 48), "up_to_scale")
    assert metrics["x abs_rel"] == pytest.approx(0, abs=1e-5)
