"""Validation of models that predict depth from one image."""

import numpy as np
import pytest
import torch

from depth_ros.training.crop import CropSettings
from depth_ros.training.data.examples import held_out_samples
from depth_ros.training.data.source import DataFolders, held_out
from depth_ros.training.depth_validation import predict_depth, validate_depth
from depth_ros.world import World, WorldSettings


class FocalDepth(torch.nn.Module):
    """Predicts fx of the image as depth, m."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image, K):
        return K[:, 0, 0, None, None].expand(len(image), *image.shape[1:3])


def test_a_prediction_is_made_at_the_crop_size_and_has_the_image_size():
    frame = World(WorldSettings(kind="room", frames=1, width=128, height=96))[0].left
    depth = predict_depth(FocalDepth(), frame.image, frame.camera, CropSettings(64, 48))
    assert depth.shape == (96, 128)
    np.testing.assert_allclose(depth, frame.camera.fx / 2, rtol=1e-5)


@pytest.mark.parametrize(("scale", "is_scaled"), [("metric", False), ("up_to_scale", True)])
def test_only_depth_up_to_scale_is_scaled_by_the_median(data, scale, is_scaled):
    samples = held_out_samples([held_out("clip")], DataFolders(data))
    assert len(list(samples["clip"])) == 2
    result = validate_depth(FocalDepth(), samples, CropSettings(64, 48), scale)
    assert set(result) == {"clip abs_rel", "clip delta1"}
    depths = [sample.depth for sample in samples["clip"]]
    predicted = next(iter(samples["clip"])).left.camera.fx / 2
    factors = [np.median(depth) / predicted if is_scaled else 1.0 for depth in depths]
    expected = np.mean([(np.abs(f * predicted - depth) / depth).mean() for f, depth in zip(factors, depths)])
    assert result["clip abs_rel"] == pytest.approx(expected, rel=1e-3)
