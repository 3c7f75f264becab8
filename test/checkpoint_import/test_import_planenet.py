"""Import of PlaneNet: made-up checkpoints with the names and shapes of the TensorFlow release and the PyTorch port."""

from __future__ import annotations

import pytest
import torch

from depth_ros.card import load_model, read_card
from depth_ros.checkpoint_import import import_checkpoint, load_variables
from depth_ros.checkpoint_import.names import released_models
from depth_ros.checkpoint_import.planenet import released_name
from depth_ros.errors import DepthRosError
from depth_ros.networks import planenet

EXPECTED_NAMES = {
    "degridding/conv1/weights", "degridding/bn1/gamma", "degridding/conv2_c/weights", "degridding/bn2c/beta",
    "degridding/conv3c/weights", "degridding/conv3b/weights", "degridding/bn3b/moving_mean",
    "res2a_branch1/weights", "res4b22_branch2c/weights", "bn2a_branch1/moving_variance", "res5d_pool1_conv/weights",
    "res5d_pool4_bn/gamma", "plane_fc/weights", "plane_fc/biases", "segmentation_conv1/weights",
    "segmentation_bn1/beta", "segmentation_conv2/biases", "non_plane_mask_conv2/weights",
    "non_plane_depth_conv2/weights", "non_plane_normal_conv2/biases", "crfrnn/spatial_ker_weights",
    "crfrnn/bilateral_ker_weights", "crfrnn/compatibility_matrix",
}  # fmt: skip


def state_of(network: str, crf: bool, device: str = "meta") -> dict[str, torch.Tensor]:
    with torch.device(device):
        model = planenet.Model(planenet.Settings(network=network, crf_iterations=5 if crf else 0))
    return {key: value for key, value in model.state_dict().items() if "num_batches" not in key}


def released_checkpoint(crf: bool = True, device: str = "meta") -> dict[str, torch.Tensor]:
    """Variables of the TensorFlow release: kernels (kh, kw, in, out), the fully connected layer (in, out)."""
    variables = {}
    for key, value in state_of("resnet101", crf, device).items():
        name = released_name(key)
        if value.ndim == 4:
            value = value.permute(2, 3, 1, 0)
        variables[name] = value.T if name == "plane_fc/weights" else value
    return variables


def port_checkpoint(device: str = "meta") -> dict[str, torch.Tensor]:
    state = state_of("drn_d_54", False, device)
    return {f"module.{key.removeprefix('network.')}": value for key, value in state.items()}


def test_every_key_has_its_own_released_name():
    names = {key: released_name(key) for key in state_of("resnet101", True)}
    assert len(set(names.values())) == len(names)
    assert set(names.values()) >= EXPECTED_NAMES


@pytest.mark.parametrize("crf", [True, False])
def test_every_variable_of_the_release_is_used(crf):
    variables = released_checkpoint(crf)
    assert variables["plane_fc/weights"].shape == (2048, 30)
    (released,) = released_models("planenet", variables)
    assert (released.task, released.size, released.scale) == ("planes", (256, 192), "metric")
    with torch.device("meta"):
        model = planenet.Model(planenet.Settings(**released.settings))
    assert load_variables(model, released, variables) == set(variables)
    assert (model.crf is not None) == crf and bool(released.notes) == crf


def test_layers_are_transposed_and_matrices_of_the_crf_are_not():
    variables = {
        key: torch.rand(value.shape)
        for key, value in released_checkpoint().items()
        if "plane_fc" in key or "crf" in key
    }
    (released,) = released_models("planenet", variables)

    class Part(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch.nn.ModuleDict({"plane_fc": torch.nn.Linear(2048, 30)})
            self.crf = planenet.DenseCrf(11)

    model = Part()
    load_variables(model, released, variables)
    weight = model.network["plane_fc"].weight
    assert weight[29, 2047] == variables["plane_fc/weights"][2047, 29] != weight[28, 2047]
    assert torch.equal(model.crf.compatibility_matrix, variables["crfrnn/compatibility_matrix"])


def test_a_checkpoint_without_a_layer_is_refused():
    variables = released_checkpoint()
    del variables["segmentation_conv1/weights"]
    (released,) = released_models("planenet", variables)
    with torch.device("meta"):
        model = planenet.Model(planenet.Settings(**released.settings))
    with pytest.raises(DepthRosError, match="lacks 'segmentation_conv1/weights'"):
        load_variables(model, released, variables)


def test_the_pytorch_port_is_imported_whole_and_predicts_what_it_predicts(tmp_path):
    torch.manual_seed(0)
    state = port_checkpoint("cpu")
    torch.save({"state_dict": state}, tmp_path / "port.pth")
    result = import_checkpoint("planenet", tmp_path / "port.pth", tmp_path)
    assert (result.assigned, result.unused) == (len(state), ())
    card = read_card(result.models[0])
    assert (card.task, card.width, card.height) == ("planes", 256, 192)
    own = planenet.Model(planenet.Settings(network="drn_d_54", crf_iterations=0)).eval()
    own.load_state_dict(
        {key.replace("module.", "network."): value for key, value in state.items()}, strict=False
    )
    image = torch.randint(0, 256, (1, 192, 256, 3), dtype=torch.uint8)
    K = torch.tensor([[[229.0, 0, 128], [0, 229.0, 96], [0, 0, 1]]])
    with torch.inference_mode():
        for expected, value in zip(own(image, K), load_model(card)(image, K), strict=True):
            assert torch.allclose(expected, value, equal_nan=True)
