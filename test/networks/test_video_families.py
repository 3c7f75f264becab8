"""sfmlearner, vid2depth, struct2depth: published networks, contracts, and losses that reach every weight."""

from __future__ import annotations

import pytest
import torch

from depth_ros.networks import family, parameter_counts

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
        models = module.learner(module.Settings())
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
