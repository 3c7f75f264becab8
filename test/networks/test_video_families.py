"""Families that learn from video: published networks, contracts, and losses that train every weight."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depth_ros.networks import family, parameter_counts
from depth_ros.networks.blocks.resnet18_depthnet import Encoder
from depth_ros.networks.blocks.synthesis import inverse, matrix_from_vector, vector_from_matrix
from depth_ros.world import World, WorldSettings

COUNTS = {
    "sfmlearner": {
        "depth": 31_596_900,
        "pose": 1_590_668,
        "pose_5_frames": 1_598_456,
        "pose_explained": 2_639_180,
        "pose_explained_5_frames": 2_660_232,
        "pose_explained_port": 3_340_388,
        "pose_explained_port_5_frames": 3_352_504,
    },
    "vid2depth": {"depth": 31_596_900, "ego_motion": 1_590_668},
    "struct2depth": {
        "depth": 14_327_444,
        "depth_simple": 31_596_900,
        "ego_motion": 1_590_668,
        "object_motion": 1_590_668,
    },
}


@pytest.mark.parametrize("name", COUNTS)
def test_networks_have_the_published_number_of_parameters(name):
    assert parameter_counts(name) == COUNTS[name]


def test_struct2depth_has_the_published_number_of_parameters_in_total_and_in_its_encoder():
    module = family("struct2depth")
    with torch.device("meta"):
        models = module.build_training_model(module.Settings())
        encoder = Encoder()
    assert sum(p.numel() for p in models.parameters()) == 17_508_780 + 1  # the learned height
    assert sum(p.numel() for p in encoder.parameters()) == 11_174_720


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("size", [(128, 416), (64, 224)])
def test_four_scales_of_inverse_depth(name, size):
    module = family(name)
    with torch.device("meta"):
        model = module.Model(module.Settings())
        scales = model.network(torch.empty(2, 3, *size))
    assert [tuple(d.shape) for d in scales] == [(2, 1, size[0] >> s, size[1] >> s) for s in range(4)]


def clip(count: int = 2, frames: int = 3) -> dict[str, torch.Tensor]:
    """Clips of noise, with labels of an object that is in all frames of each clip, and of one that is not."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, frames, 64, 96, 3), dtype=torch.uint8, generator=generator)
    K = torch.tensor([[[60.0, 0, 47.5], [0, 60, 31.5], [0, 0, 1]]]).repeat(count, 1, 1)
    labels = torch.zeros(count, frames, 64, 96, dtype=torch.uint8)
    labels[:, :, 20:40, 50:80] = 2
    labels[0, :2, :20, :20] = 7
    return {"images": images, "intrinsics": K, "labels": labels}


def models(name: str, **settings) -> torch.nn.ModuleDict:
    module = family(name)
    torch.manual_seed(0)
    built = module.build_training_model(module.Settings(**settings))
    module.initialise(built)
    return built


@pytest.mark.parametrize(
    ("name", "settings"), [("sfmlearner", {"explain": True}), ("vid2depth", {}), ("struct2depth", {})]
)
def test_every_term_has_gradients_and_the_loss_trains_every_weight(name, settings):
    trained = models(name, **settings)
    terms = family(name).loss(trained, clip())
    weights = [p for p in trained.parameters() if p.requires_grad]
    for term, value in terms.items():
        gradients = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        nonzero = [g for g in gradients if g is not None and g.any()]
        assert nonzero and all(g.isfinite().all() for g in nonzero), term
        if term == "loss":
            assert len(nonzero) == len(weights)


@pytest.mark.parametrize("name", COUNTS)
def test_models_obey_their_contracts(name):
    module, batch = family(name), clip(1)
    by_task = models(name).eval()
    with torch.inference_mode():
        depth = by_task["depth"](batch["images"][:, 1], batch["intrinsics"])
        T = by_task["ego_motion"](batch["images"], batch["intrinsics"])
    assert depth.shape == (1, 64, 96) and depth.dtype == torch.float32
    assert 0.09 < depth.min() <= depth.max() < 100.1
    assert T.shape == (1, 2, 4, 4) and (T[..., 3, :] == torch.tensor([0.0, 0, 0, 1])).all()
    assert set(by_task) == set(module.MODELS)


def test_sfmlearner_chains_the_motions_that_it_predicts_from_the_middle_frame():
    ego, batch = models("sfmlearner", frames=5)["ego_motion"], clip(1, 5)
    torch.nn.init.normal_(ego.network.pred.weight, std=150.0)
    with torch.inference_mode():
        to_source = matrix_from_vector(ego.network(ego.stacked(batch["images"])))[
            0
        ]  # frames 0, 1, 3, 4 from frame 2
        T = ego(batch["images"], batch["intrinsics"])[0]
    assert (to_source - torch.eye(4)).abs().max() > 0.1
    total = T[0] @ T[1] @ T[2] @ T[3]
    torch.testing.assert_close(total, to_source[0] @ torch.linalg.inv(to_source[3]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(T[1], to_source[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(T[2], torch.linalg.inv(to_source[2]), atol=1e-5, rtol=1e-5)


def test_object_motion_is_expressed_in_the_newest_camera():
    """With given network outputs, T takes a point of the object to its position in the newest camera."""
    objects, batch = models("struct2depth")["object_motion"].eval(), clip(1)
    ego = torch.tensor([[[0, 0, 1.0, 0, 0, 0], [0.1, 0, 0.8, 0, 0.05, 0]]])
    moved = torch.tensor([[[0.3, 0, 0, 0, 0, 0.0], [0.4, 0.0, 0.2, 0, 0.02, 0]]])
    objects.ego_motion.network.forward = lambda x: ego
    objects.network.forward = lambda x: moved.expand(len(x), 2, 6)
    with torch.inference_mode():
        motions, depths = objects(batch["images"], batch["labels"], batch["intrinsics"])
        depth = objects.depth(batch["images"][:, 1], batch["intrinsics"])[0]
    T = motions[0]
    assert T.shape == (8, 4, 4) and depths.shape == (1, 8)
    torch.testing.assert_close(depths[0, 1], 1 / (1 / depth[batch["labels"][0, 1] == 2]).mean())
    assert depths[0, 0] == 1
    torch.testing.assert_close(T[0], torch.eye(4))  # id 1 is not in the images
    point = torch.tensor([1.0, 0.5, 12.0, 1.0])  # in the middle camera at the middle time
    later = (
        inverse(matrix_from_vector(moved[0, 1])) @ point
    )  # the network predicts the transform from the last time to the middle
    in_newest = inverse(matrix_from_vector(ego[0, 1]))
    torch.testing.assert_close(T[1] @ (in_newest @ point), in_newest @ later, atol=1e-4, rtol=1e-4)


def test_object_motion_has_no_operators_that_tensorrt_lacks_and_keeps_their_meaning():
    """The static mask is 1 where no frame has an object; ids that are not in all frames get the identity."""
    network = family("struct2depth")
    torch.manual_seed(0)
    model, batch = network.ObjectMotionModel(network.Settings(width_divisor=16)).eval(), clip(1)
    one_object = network.ObjectMotionModel(network.Settings(width_divisor=16, objects=1)).eval()
    inputs = (batch["images"], batch["labels"], batch["intrinsics"])
    with torch.no_grad():
        program = torch.export.export(one_object, inputs)
        found = []
        model.ego_motion.register_forward_pre_hook(lambda module, arguments: found.append(arguments[2]))
        motions, depths = model(*inputs)
    names = {str(node.target) for node in program.graph.nodes}
    assert not [name for name in names if name.startswith(("aten.all", "aten.any"))]
    assert torch.equal(found[0], (batch["labels"] == 0).all(1).float())
    assert (
        torch.equal(motions[0, 6], torch.eye(4)) and depths[0, 6] == 1
    )  # id 7: in the first two frames only
    assert not torch.equal(motions[0, 1], torch.eye(4)) and depths[0, 1] != 1


class FreeDepth(torch.nn.Module):
    """A model whose parameters are the inverse depth of three frames; its motion is the true one."""

    def __init__(self, T: torch.Tensor, height: int, width: int) -> None:
        super().__init__()
        self.T, self.size = T, (height, width)
        self.levels = torch.nn.ParameterList([torch.zeros(3, 1, height >> s, width >> s) for s in range(5)])

    def disparities(self, images):
        log_disparity = sum(F.interpolate(level, self.size, mode="bilinear") for level in self.levels)
        finest = torch.exp(log_disparity if len(images) == 3 else log_disparity[1:2]) / 15
        return [F.avg_pool2d(finest, 2**s) for s in range(4)]

    def vectors(self, images):
        return vector_from_matrix(self.T)

    def forward(self, images, K, static=None):
        return self.T


def learned_depth(name: str, steps: int, **weights) -> tuple[float, float]:
    """abs_rel (median-scaled, within 40 m) of constant depth, and after minimising the loss of a rendered clip."""
    world = World(
        WorldSettings(kind="street", seed=3, frames=3, width=160, height=64, moving_count=0, supersample=2)
    )
    views = [world.render(i) for i in range(3)]
    T = np.stack([np.linalg.inv(world.pose(i)) @ world.pose(i + 1) for i in (0, 1)])
    module, free = family(name), FreeDepth(torch.from_numpy(T).float()[None], 64, 160)
    trained = {"depth": free, "ego_motion": free}
    if name == "struct2depth":
        trained = {"object_motion": SimpleNamespace(depth=free, ego_motion=free)}
    images = torch.from_numpy(np.stack([image for image, _ in views]))
    batch = {"images": images[None], "intrinsics": torch.from_numpy(world.cameras["left"].K).float()[None]}
    optimiser = torch.optim.Adam(free.parameters(), 0.03)

    def error() -> float:
        ground_truth, depth = views[1][1], 1 / free.disparities(images)[0].detach()[1, 0].numpy()
        near = ground_truth < 40
        ratio = depth[near] / ground_truth[near]
        return float(np.abs(ratio / np.median(ratio) - 1).mean())

    before = error()
    for _ in range(steps):
        optimiser.zero_grad()
        module.loss(trained, batch, module.LossSettings(**weights))["loss"].backward()
        optimiser.step()
    return before, error()


def test_minimising_the_loss_of_struct2depth_reduces_the_depth_error():
    before, after = learned_depth("struct2depth", 40)
    assert after < 0.75 * before


def test_alignment_loss_improves_the_depth_of_vid2depth():
    """Without it, points that are not visible in both views diverge."""
    _, plain = learned_depth("vid2depth", 30, alignment_weight=0.0)
    _, aligned = learned_depth("vid2depth", 30)
    assert aligned < 0.7 * plain


@pytest.mark.parametrize("relative", [False, True])
def test_only_relative_alignment_is_independent_of_the_unit_of_length(relative):
    """A scene three times as large has a larger alignment loss, or, with relative alignment, the same."""
    vid2depth, terms = family("vid2depth"), []
    images = torch.randint(0, 255, (1, 3, 32, 64, 3), dtype=torch.uint8)
    K = torch.tensor([[[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]])
    bumps = 0.2 * torch.randn(3, 1, 32, 64).cumsum(3)
    for unit in (1.0, 3.0):
        T = torch.eye(4).repeat(1, 2, 1, 1)
        T[..., 2, 3], T[..., 0, 2] = 0.5 * unit, 0.01
        free = FreeDepth(T, 32, 64)
        free.levels[0].data = bumps / 10 - np.log(unit)
        weights = vid2depth.LossSettings(alignment_relative=relative)
        batch = {"images": images, "intrinsics": K}
        losses = vid2depth.loss({"depth": free, "ego_motion": free}, batch, weights)
        terms.append(losses["alignment"].item())
    assert terms[0] > 0.01 and (0.98 < terms[1] / terms[0] < 1.02 if relative else terms[1] > 1.5 * terms[0])


@pytest.mark.parametrize("name", COUNTS)
def test_width_divisor_of_two_leaves_about_a_quarter_of_the_parameters(name):
    module = family(name)
    with torch.device("meta"):
        full, narrow = (module.build_training_model(module.Settings(width_divisor=n)) for n in (1, 2))
        scales = narrow["depth"].network(torch.empty(2, 3, 64, 224))
    sizes = [sum(p.numel() for p in models.parameters()) for models in (full, narrow)]
    assert 3.8 < sizes[0] / sizes[1] < 4.1
    assert [tuple(d.shape) for d in scales] == [(2, 1, 64 >> s, 224 >> s) for s in range(4)]
