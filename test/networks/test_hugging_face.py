"""Family hugging_face: small networks of the transformers library with random weights obey the contract."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch.nn import functional as F

from depth_ros.errors import DepthRosError
from depth_ros.networks.hugging_face import (
    KINDS,
    NO_DEPTH,
    Model,
    Settings,
    library_kinds,
    loss,
    parse,
    scale_of,
)

transformers = pytest.importorskip("transformers", reason="optional: pip install transformers")

VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
DINO = {"model_type": "dinov2", "mlp_ratio": 2, **VIT}
NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
PATCHES = {**DINO, "image_size": 32, "patch_size": 8}
CONFIGS = {
    "depth_anything": {
        "model_type": "depth_anything", "patch_size": 14, "reassemble_hidden_size": 16, "head_hidden_size": 8, **NECK,
        "depth_estimation_type": "metric", "max_depth": 20,
        "backbone_config": {**DINO, "image_size": 56, "patch_size": 14, "out_indices": [1, 2, 3, 4],
                            "reshape_hidden_states": False, "apply_layernorm": True},
    },
    "dpt": {"model_type": "dpt", "image_size": 64, "patch_size": 16, "backbone_out_indices": [0, 1, 2, 3],
            "intermediate_size": 32, **VIT, **NECK},
    "glpn": {"model_type": "glpn", "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "decoder_hidden_size": 8,
             "num_attention_heads": [1, 1, 2, 2], "max_depth": 10},
    "zoedepth": {
        "model_type": "zoedepth", "bottleneck_features": 8, "bin_embedding_dim": 8, "num_relative_features": 4,
        "num_attractors": [2, 2, 2, 1], **NECK,
        "bin_configurations": [{"n_bins": 4, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
        "backbone_config": {"model_type": "beit", "image_size": 64, "patch_size": 16, "out_indices": [1, 2, 3, 4],
                            "reshape_hidden_states": False, "intermediate_size": 32,
                            "use_relative_position_bias": True, **VIT},
    },
    "depth_pro": {
        "model_type": "depth_pro", "patch_size": 32, "fusion_hidden_size": 8, "intermediate_hook_ids": [2, 0],
        "intermediate_feature_dims": [8, 8], "scaled_images_feature_dims": [8, 8, 8], "use_fov_model": True,
        "image_model_config": PATCHES, "patch_model_config": PATCHES, "fov_model_config": PATCHES,
    },
    "tipsv2_dpt": {
        "model_type": "tipsv2_dpt", "num_depth_bins": 8, **NECK,
        "backbone_config": {"model_type": "tipsv2_vision_model", "image_size": 56, "patch_size": 14, "mlp_ratio": 2,
                            "out_indices": [1, 2, 3, 4], "reshape_hidden_states": False, **VIT},
    },
}  # fmt: skip
"""The last is one that KINDS does not have."""
K = torch.tensor([[[50.0, 0, 20], [0, 50, 20], [0, 0, 1]]])


def built(kind: str, processor: dict | None = None, **changes) -> Model:
    torch.manual_seed(0)
    config = {**CONFIGS[kind], **changes}
    scale = "" if kind in KINDS else "metric"
    model = Model(Settings(json.dumps(config), json.dumps(processor or {}), scale)).eval()
    for parameter in model.network.parameters():  # the initial weights give the same depth for all images
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def random_image(model: Model) -> torch.Tensor:
    size = (2 * model.size_multiple, 3 * model.size_multiple, 3)
    return torch.randint(0, 256, (1, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_kind_obeys_the_contract_and_can_be_exported(kind):
    model = built(kind)
    image = random_image(model)
    with torch.no_grad():
        depth = model(image, K)
        assert depth.shape == image.shape[:3] and depth.dtype == torch.float32 and (depth > 0).all()
        exported = torch.export.export(model, (image, K)).module()
        torch.testing.assert_close(exported(image, K), depth)


def test_scale_of_each_kind():
    for kind in ("depth_anything", "zoedepth", "glpn", "depth_pro"):
        assert scale_of(CONFIGS[kind]) == "metric"
    assert scale_of(CONFIGS["dpt"]) == scale_of({"model_type": "depth_anything"}) == "affine_inverse"


def test_metric_depth_equals_that_of_the_library_for_the_normalised_image():
    processor = {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "do_normalize": True,
    }
    model = built("depth_anything", processor)
    image = random_image(model)
    mean, std = (torch.tensor(processor[key]) for key in ("image_mean", "image_std"))
    pixels = ((image / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.network(pixel_values=pixels).predicted_depth
        torch.testing.assert_close(model(image, K), expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(model.network(pixel_values=pixels / 2).predicted_depth, expected, rtol=1e-6)


def test_depth_of_relative_networks_is_the_inverse_of_their_prediction():
    model = built("depth_anything", depth_estimation_type="relative")
    image = random_image(model)
    with torch.no_grad():
        x = (image.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        predicted = model.network(pixel_values=x).predicted_depth
        torch.testing.assert_close(model(image, K), 1 / predicted.clamp(1e-4, 1e4), rtol=1e-3, atol=0)


def test_depth_pro_uses_the_given_focal_length():
    """depth = f / (W C), proportional to the focal length; the network that estimates f is left out."""
    model = built("depth_pro")
    assert model.side == 128 and not any("fov" in key for key in model.state_dict())
    image = random_image(model)
    with torch.no_grad():
        near, far = model(image, K), model(image, 2 * K)
        torch.testing.assert_close(far, 2 * near)
        x = F.interpolate(image.permute(0, 3, 1, 2) / 127.5 - 1, (128, 128), mode="bilinear")
        predicted = model.network(pixel_values=x).predicted_depth
        predicted = F.interpolate(predicted[:, None], image.shape[1:3], mode="bilinear")[:, 0]
        torch.testing.assert_close(near, 50.0 / (96 * predicted.clamp(1e-4, 1e4)), rtol=1e-3, atol=1e-5)


def test_the_user_says_what_networks_of_unknown_kinds_predict():
    """Of known kinds, too: DPT with a metric head has the configuration of one without."""
    config = json.dumps(CONFIGS["tipsv2_dpt"])
    with pytest.raises(
        DepthRosError, match=r"'tipsv2_dpt' predict depth in m or inverse depth is not known.*--scale metric"
    ):
        Model(Settings(config=config))
    model = built("tipsv2_dpt")
    assert model.size_multiple == 14 and not any(p.requires_grad for p in model.network.backbone.parameters())
    inverse = Model(Settings(config, scale="affine_inverse")).eval()
    inverse.load_state_dict(model.state_dict())
    image = random_image(model)
    with torch.no_grad():
        torch.testing.assert_close(inverse(image, K), 1 / model(image, K).clamp(1e-4, 1e4))
    assert scale_of(CONFIGS["dpt"], "metric") == "metric"


def test_every_kind_of_the_installed_library_is_known_unusable_or_tested():
    assert library_kinds() == {*KINDS, *NO_DEPTH, "tipsv2_dpt"}


def test_unusable_kinds_and_a_missing_library_are_reported(monkeypatch):
    with pytest.raises(
        DepthRosError, match=r"'llama' is not a depth network of the installed transformers, which has.* dpt"
    ):
        parse(Settings(config='{"model_type": "llama"}'))
    with pytest.raises(
        DepthRosError, match="'prompt_depth_anything' predict depth in the range of a depth image"
    ):
        parse(Settings(config='{"model_type": "prompt_depth_anything"}'))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DepthRosError, match="pip install transformers"):
        built("glpn")


def learnable_batch(model: Model) -> dict[str, torch.Tensor]:
    """Two random images of a wall whose distance is twice the mean brightness of the image, in m."""
    generator = torch.Generator().manual_seed(2)
    size = (2 * model.size_multiple, 3 * model.size_multiple)
    brightness = torch.tensor([60.0, 200.0])[:, None, None, None]
    image = (brightness + 20 * torch.randn((2, *size, 3), generator=generator)).clamp(0, 255).to(torch.uint8)
    depth = (brightness[..., 0] / 50).expand(2, *size).clone()
    depth[:, 0] = torch.nan
    return {"image": image, "intrinsics": K.expand(2, 3, 3), "depth": depth, "weight": torch.ones(2, *size)}


@pytest.mark.parametrize("train_encoder", [False, True])
def test_training_lowers_the_error_and_leaves_the_encoder_as_it_is_unless_told_otherwise(train_encoder):
    config = json.dumps(CONFIGS["depth_anything"])
    torch.manual_seed(0)
    model = Model(Settings(config=config, train_encoder=train_encoder)).train()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    errors = []
    for _ in range(30):
        terms = loss(model, learnable_batch(model))
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        errors.append(float(terms["abs_rel"].detach()))
    assert errors[-1] < 0.4 * errors[0]
    changed = {name for name, value in model.network.state_dict().items() if not value.equal(before[name])}
    assert any(name.startswith("head") for name in changed)
    assert any(name.startswith("backbone") for name in changed) == train_encoder


def test_networks_that_cannot_be_trained_are_refused():
    model = built("dpt")
    with pytest.raises(DepthRosError, match="start from a metric checkpoint"):
        loss(model, learnable_batch(model))
    with pytest.raises(DepthRosError, match="--start MODEL"):
        Model(Settings())
