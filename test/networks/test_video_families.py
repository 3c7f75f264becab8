"""sfmlearner, vid2depth, struct2depth: published networks, contracts, and losses that reach every weight."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depth_ros.networks import family, parameter_counts
from depth_ros.networks.blocks.synthesis import vector_from_matrix
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


def test_struct2depth_as_a_whole_and_its_encoder():
    module = family("struct2depth")
    with torch.device("meta"):
        models = module.build_training_model(module.Settings())
        encoder = module.Encoder()
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
    """Noise, and labels with one object that is in all frames of each clip and one that is not."""
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
    made = module.build_training_model(module.Settings(**settings))
    module.initialise(made)
    return made


@pytest.mark.parametrize(
    ("name", "settings"), [("sfmlearner", {"explain": True}), ("vid2depth", {}), ("struct2depth", {})]
)
def test_every_term_has_a_gradient_and_together_they_reach_every_weight(name, settings):
    learner = models(name, **settings)
    terms = family(name).loss(learner, clip())
    weights = [p for p in learner.parameters() if p.requires_grad]
    for term, value in terms.items():
        found = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        reached = [g for g in found if g is not None and g.any()]
        assert reached and all(g.isfinite().all() for g in reached), term
        if term == "loss":
            assert len(reached) == len(weights)


@pytest.mark.parametrize("name", COUNTS)
def test_models_obey_their_contracts(name):
    module, batch = family(name), clip(1)
    found = models(name).eval()
    with torch.inference_mode():
        depth = found["depth"](batch["images"][:, 1], batch["intrinsics"])
        T = found["ego_motion"](batch["images"], batch["intrinsics"])
    assert depth.shape == (1, 64, 96) and depth.dtype == torch.float32
    assert 0.09 < depth.min() <= depth.max() < 100.1
    assert T.shape == (1, 2, 4, 4) and (T[..., 3, :] == torch.tensor([0.0, 0, 0, 1])).all()
    assert set(found) == set(module.MODELS)


def test_sfmlearner_chains_the_motions_that_it_tells_from_the_middle():
    from depth_ros.networks.blocks.synthesis import matrix_from_vector

    ego, batch = models("sfmlearner", frames=5)["ego_motion"], clip(1, 5)
    torch.nn.init.normal_(ego.network.pred.weight, std=150.0)
    with torch.inference_mode():
        to_source = matrix_from_vector(ego.network(ego.stacked(batch["images"])))[
            0
        ]  # of frames 0 1 3 4, from 2
        T = ego(batch["images"], batch["intrinsics"])[0]
    assert (to_source - torch.eye(4)).abs().max() > 0.1
    whole = T[0] @ T[1] @ T[2] @ T[3]
    torch.testing.assert_close(whole, to_source[0] @ torch.linalg.inv(to_source[3]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(T[1], to_source[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(T[2], torch.linalg.inv(to_source[2]), atol=1e-5, rtol=1e-5)


def test_objects_that_are_not_in_all_frames_are_background():
    from depth_ros.networks.struct2depth import tracked

    labels = clip()["labels"]
    owner, which = tracked(labels)
    assert which.tolist() == [0, 1]
    for k in range(2):
        assert torch.equal(owner[k], (k + 1) * (labels[k] == 2).long())


def test_size_prior_in_numbers():
    from depth_ros.networks.struct2depth import rows_of, size_prior

    owner = torch.zeros(2, 3, 8, 8, dtype=torch.long)
    owner[1, :, 2:6, 3:5] = 1  # four rows, in the second clip
    rows = rows_of((owner[1:] == 1).float())
    assert rows.tolist() == [[4, 4, 4]]
    depth = torch.stack([torch.full((3, 8, 8), 99.0), torch.full((3, 8, 8), 10.0)])
    for height, wanted in ((0.4, 3 * 5 / 10), (0.8, 0.0)):  # expects 50 * 0.4 / 4 = 5
        found = size_prior(depth, owner, torch.tensor([1]), 50 * height / rows)
        assert found.item() == pytest.approx(wanted)


def test_each_object_is_moved_on_its_own():
    """What is composed of two objects is, on each, what that object alone gives."""
    from depth_ros.networks.blocks.synthesis import matrix_from_vector, warp
    from depth_ros.networks.struct2depth import composed

    torch.manual_seed(0)
    frames, depth = torch.rand(1, 3, 3, 32, 64), torch.rand(1, 1, 32, 64) + 5
    K = torch.tensor([[[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]])
    owner = torch.zeros(1, 3, 32, 64, dtype=torch.long)
    owner[..., 5:15, 5:20], owner[..., 10:25, 30:50] = 1, 2
    moves = matrix_from_vector(0.3 * torch.rand(2, 2, 6))
    made = composed(frames, owner, depth, K, moves)
    for i, source in enumerate((0, 2)):
        torch.testing.assert_close(made[i] * (owner[:, 1:2] == 0), frames[:, source] * (owner[:, 1:2] == 0))
        for each in range(2):
            alone, _ = warp(frames[:, source], depth, moves[each, i][None], K)
            mask = owner[:, 1:2] == each + 1
            torch.testing.assert_close(made[i] * mask, alone * mask, atol=1e-5, rtol=1e-5)


def test_object_motion_moves_objects_and_is_told_in_the_newest_camera():
    """With the networks' answers given, T takes a point of the object to where it is in the last camera."""
    from depth_ros.networks.blocks.synthesis import inverse, matrix_from_vector

    objects, batch = models("struct2depth")["object_motion"].eval(), clip(1)
    ego = torch.tensor([[[0, 0, 1.0, 0, 0, 0], [0.1, 0, 0.8, 0, 0.05, 0]]])
    moved = torch.tensor([[[0.3, 0, 0, 0, 0, 0.0], [0.4, 0.0, 0.2, 0, 0.02, 0]]])
    objects.ego_motion.network.forward = lambda x: ego
    objects.network.forward = lambda x: moved.expand(len(x), 2, 6)
    with torch.inference_mode():
        motions, away = objects(batch["images"], batch["labels"], batch["intrinsics"])
        depth = objects.depth(batch["images"][:, 1], batch["intrinsics"])[0]
    T = motions[0]
    assert T.shape == (8, 4, 4) and away.shape == (1, 8)
    torch.testing.assert_close(away[0, 1], 1 / (1 / depth[batch["labels"][0, 1] == 2]).mean())
    assert away[0, 0] == 1
    torch.testing.assert_close(T[0], torch.eye(4))  # id 1 is nowhere
    point = torch.tensor([1.0, 0.5, 12.0, 1.0])  # in the middle camera at the middle time
    later = inverse(matrix_from_vector(moved[0, 1])) @ point  # the network: from the last time to the middle
    in_newest = inverse(matrix_from_vector(ego[0, 1]))
    torch.testing.assert_close(T[1] @ (in_newest @ point), in_newest @ later, atol=1e-4, rtol=1e-4)


class Free(torch.nn.Module):
    """In place of networks: inverse depth of three frames that is free, pixel by pixel, and the true motion."""

    def __init__(self, T: torch.Tensor, height: int, width: int) -> None:
        super().__init__()
        self.T, self.size = T, (height, width)
        self.levels = torch.nn.ParameterList([torch.zeros(3, 1, height >> s, width >> s) for s in range(5)])

    def disparities(self, images):
        whole = sum(F.interpolate(level, self.size, mode="bilinear") for level in self.levels)
        finest = torch.exp(whole if len(images) == 3 else whole[1:2]) / 15
        return [F.avg_pool2d(finest, 2**s) for s in range(4)]

    def vectors(self, images):
        return vector_from_matrix(self.T)

    def forward(self, images, K, static=None):
        return self.T


def learned_depth(name: str, steps: int, **weights) -> tuple[float, float]:
    """abs_rel (median-scaled, nearer than 40 m) of constant depth, and after minimising a loss on a rendered clip."""
    world = World(
        WorldSettings(kind="street", seed=3, frames=3, width=160, height=64, moving_count=0, supersample=2)
    )
    views = [world.render(i) for i in range(3)]
    T = np.stack([np.linalg.inv(world.pose(i)) @ world.pose(i + 1) for i in (0, 1)])
    module, free = family(name), Free(torch.from_numpy(T).float()[None], 64, 160)
    learner = {"depth": free, "ego_motion": free}
    if name == "struct2depth":
        learner = {"object_motion": SimpleNamespace(depth=free, ego_motion=free)}
    images = torch.from_numpy(np.stack([image for image, _ in views]))
    batch = {"images": images[None], "intrinsics": torch.from_numpy(world.cameras["left"].K).float()[None]}
    optimiser = torch.optim.Adam(free.parameters(), 0.03)

    def error() -> float:
        truth, depth = views[1][1], 1 / free.disparities(images)[0].detach()[1, 0].numpy()
        near = truth < 40
        ratio = depth[near] / truth[near]
        return float(np.abs(ratio / np.median(ratio) - 1).mean())

    before = error()
    for _ in range(steps):
        optimiser.zero_grad()
        module.loss(learner, batch, module.LossSettings(**weights))["loss"].backward()
        optimiser.step()
    return before, error()


def test_the_least_loss_of_struct2depth_is_near_the_truth():
    before, after = learned_depth("struct2depth", 40)
    assert after < 0.75 * before


def test_alignment_of_clouds_makes_the_depth_of_vid2depth_better():
    """The same steps with and without it: points that two views cannot explain go astray without."""
    _, plain = learned_depth("vid2depth", 30, alignment_weight=0.0)
    _, aligned = learned_depth("vid2depth", 30)
    assert aligned < 0.7 * plain


@pytest.mark.parametrize("relative", [False, True])
def test_relative_alignment_does_not_care_how_long_a_unit_is(relative):
    """Everything three times as large: more is left over, or, relative, as much."""
    vid2depth, terms = family("vid2depth"), []
    images = torch.randint(0, 255, (1, 3, 32, 64, 3), dtype=torch.uint8)
    K = torch.tensor([[[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]])
    bumps = 0.2 * torch.randn(3, 1, 32, 64).cumsum(3)
    for unit in (1.0, 3.0):
        T = torch.eye(4).repeat(1, 2, 1, 1)
        T[..., 2, 3], T[..., 0, 2] = 0.5 * unit, 0.01
        free = Free(T, 32, 64)
        free.levels[0].data = bumps / 10 - np.log(unit)
        weights = vid2depth.LossSettings(alignment_relative=relative)
        found = vid2depth.loss(
            {"depth": free, "ego_motion": free}, {"images": images, "intrinsics": K}, weights
        )
        terms.append(found["alignment"].item())
    assert terms[0] > 0.01 and (0.98 < terms[1] / terms[0] < 1.02 if relative else terms[1] > 1.5 * terms[0])


@pytest.mark.parametrize("name", COUNTS)
def test_half_as_wide_is_about_a_quarter_as_large(name):
    module = family(name)
    with torch.device("meta"):
        whole, narrow = (module.build_training_model(module.Settings(width_divisor=n)) for n in (1, 2))
        scales = narrow["depth"].network(torch.empty(2, 3, 64, 224))
    sizes = [sum(p.numel() for p in models.parameters()) for models in (whole, narrow)]
    assert 3.8 < sizes[0] / sizes[1] < 4.1
    assert [tuple(d.shape) for d in scales] == [(2, 1, 64 >> s, 224 >> s) for s in range(4)]
