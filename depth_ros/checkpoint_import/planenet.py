"""Variables of PlaneNet's releases: the TensorFlow checkpoint, and the state dict of the authors' PyTorch port."""

from __future__ import annotations

from typing import Any

from depth_ros.checkpoint_import.released_model import ReleasedModel, Variables

SIZE = (256, 192)
CRF_STRIDE = 8
"""Messages from every pixel, as in training, would take a matrix of 9.7 GB at `SIZE`."""
CRF_NOTE = (
    f"the dense CRF gets its messages from the means of cells of {CRF_STRIDE}x{CRF_STRIDE} px, not from every pixel as "
    "in the release; `crf_stride` in the card sets the size of the cells"
)
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def planenet(variables: Variables) -> list[ReleasedModel]:
    """The model of a checkpoint of the TensorFlow release, with or without CRF, or of the PyTorch port (no CRF)."""
    if "plane_fc/weights" in variables:
        crf = "crfrnn/compatibility_matrix" in variables
        settings: dict[str, Any] = {
            "network": "resnet101",
            "planes": variables["plane_fc/weights"].shape[1] // 3,
        }
        settings |= {"crf_stride": CRF_STRIDE} if crf else {"crf_iterations": 0}
        notes = [CRF_NOTE] if crf else []
        return [ReleasedModel("planes", settings, released_name, SIZE, scale="metric", notes=notes)]
    if "plane_pred.weight" in variables and "drn.layer0.0.weight" in variables:
        planes = variables["plane_pred.weight"].shape[0] // 3
        settings = {"network": "drn_d_54", "planes": planes, "crf_iterations": 0}
        return [
            ReleasedModel("planes", settings, lambda key: key.removeprefix("network."), SIZE, scale="metric")
        ]
    return []


def released_name(key: str) -> str:
    """The variable of the TensorFlow release for a key of the state dict of a `resnet101` model.

    network.res.4b7.branch2a.conv.weight is res4b7_branch2a/weights, the gamma of its batch norm bn4b7_branch2a/gamma;
    the stem is below degridding/, the CRF below crfrnn/.
    """
    _, *path, last = key.split(".")
    if key.startswith("crf."):
        return f"crfrnn/{last}"
    norm = path[-1] == "bn"
    variable = _NORM[last] if norm else {"weight": "weights", "bias": "biases"}[last]
    if path[0] == "res":
        return f"{'bn' if norm else 'res'}{path[1]}_{path[2]}/{variable}"
    if path[0] == "pools":
        return f"res5d_pool{int(path[1]) + 1}_{path[2]}/{variable}"
    if path[0] == "segmentation_conv1":
        return f"segmentation_{'bn1' if norm else 'conv1'}/{variable}"
    if path[0] in ("conv1", "conv2", "conv3"):
        layer = path[0][-1] + (path[1] if path[0] != "conv1" else "")
        scope = f"bn{layer}" if norm else {"2c": "conv2_c"}.get(layer, f"conv{layer}")
        return f"degridding/{scope}/{variable}"
    return f"{path[0]}/{variable}"
