"""Variables of the released checkpoints of the families that predict depth from single images or pairs."""

from __future__ import annotations

import re

import torch
from torch import nn

from depth_ros.checkpoint_import.released_model import ReleasedModel, Variables
from depth_ros.networks.mannequin import INPUTS
from depth_ros.networks.monodepth import ENCODERS, LICENCE_NOTE, Network

MONODEPTH_NOTE = (
    "metric for the stereo rig of the training: 0.54 m of KITTI, or 0.22 m with --trained-on cityscapes; "
    "for weights of another rig set `baseline` in the card"
)
FCRN_NOTE = (
    "the focal length of the Make3D images is not known; "
    "if you know a better value, change `focal` in the card"
)
_SLIM = {"weight": "weights", "bias": "biases"}
_FCRN_NORM = {"weight": "scale", "bias": "offset", "running_mean": "mean", "running_var": "variance"}


def monodepth(variables: Variables) -> list[ReleasedModel]:
    """The model of a checkpoint whose layers slim numbered in the order in which the graph was built."""
    first = "model/encoder/Conv/weights"
    if first not in variables:
        return []
    encoder = "resnet50" if "model/encoder/Conv_64/weights" in variables else "vgg"
    channels = variables[first].shape[2]
    stereo = channels == 6
    upconv = "transposed" if "model/decoder/Conv2d_transpose/weights" in variables else "nearest"
    with torch.device("meta"):
        network = Network(*ENCODERS[encoder](channels, 1), upconv)
    scopes: dict[str, str] = {}
    for side in ("encoder", "decoder"):
        for kind, scope in ((nn.Conv2d, "Conv"), (nn.ConvTranspose2d, "Conv2d_transpose")):
            modules = network.named_modules()  # in the order of the graph
            names = [name for name, m in modules if name.startswith(side) and isinstance(m, kind)]
            scopes |= {name: f"model/{side}/{scope}" + (f"_{i}" if i else "") for i, name in enumerate(names)}

    def variable_name(key: str) -> str:
        path, leaf = key.removeprefix("network.").rsplit(".", 1)
        return f"{scopes[path]}/{_SLIM[leaf]}"

    settings = {"encoder": encoder, "stereo": stereo, "upconv": upconv}
    task = "stereo_depth" if stereo else "depth"
    return [
        ReleasedModel(
            task,
            settings,
            variable_name,
            (512, 256),
            scale="metric",
            terms=LICENCE_NOTE,
            notes=[MONODEPTH_NOTE],
        )
    ]


def fcrn(variables: Variables) -> list[ReleasedModel]:
    """The model of FCRN's weights for NYU or Make3D.

    The NYU weights were trained interleaved, so that the four kernels have different biases; the Make3D weights were
    converted from 5x5 kernels and share one. A .mat file states on which side of a map the odd row or column of zeros
    is. Images of NYU were halved, and 304x228 of 320x240 px used (protocol nyu_fcrn); here the largest part with this
    aspect ratio is, and the focal length accounts for its scale.
    """
    if "layer2x_br1_ConvA/weights" not in variables:
        return []
    A, D = (variables[f"layer2x_br1_Conv{name}/biases"] for name in "AD")
    interleaved = not torch.equal(A, D)
    pads = [name for name in variables if name.endswith("/pad")]
    rows = variables["layer2x_br1_ConvB/pad"] if pads else None
    before = interleaved if rows is None else bool(rows[0] > rows[1])
    settings = {
        "zeros": "before" if before else "after",
        "stretched": True,
        "focal": 259.0 if interleaved else 300.0,  # NYU: 518 px at a width of 640 px, halved
    }
    size = (304, 228) if interleaved else (172, 230)
    notes = [] if interleaved else [FCRN_NOTE]
    return [
        ReleasedModel(
            "depth", settings, fcrn_name, size, "crop", scale="metric", notes=notes, settings_variables=pads
        )
    ]  # fmt: skip


def fcrn_name(key: str) -> str:
    """The variable of FCRN's TensorFlow weights (NYU_FCRN.ckpt, NYU_ResNet-UpProj.npy) for a key of the state dict."""
    path, leaf = key.removeprefix("network.").rsplit(".", 1)
    unit = re.fullmatch(r"encoder\.res(\d)\.(\w)\.(branch|bn)(\w+)", path)
    up = re.fullmatch(r"up\.(\d)\.(?:up(\d)\.conv(\w)|bn(\d)|(conv)|(bn))", path)
    if unit:
        stage, name, kind, branch = unit.groups()
        scope = f"{'res' if kind == 'branch' else 'bn'}{stage}{name}_branch{branch}"
    elif up:
        level, branch, kernel, norm_of, conv, _ = up.groups()
        if kernel:
            inner = f"br{branch}_Conv{kernel}"
        elif norm_of:
            inner = f"br{norm_of}_BN"
        else:
            inner = "Conv" if conv else "BN"
        scope = f"layer{2 << int(level)}x_{inner}"
    else:
        scope = {"bn1": "layer1_BN", "predict": "ConvPred"}.get(path, path.removeprefix("encoder."))
    names = _FCRN_NORM if "bn" in path.rsplit(".", 1)[-1] else _SLIM
    return f"{scope}/{names[leaf]}" if leaf in names else ""


def mannequin(variables: Variables) -> list[ReleasedModel]:
    """The model of a state dict of the authors (best_depth_Ours_Bilinear_inc_{3,6,7}_net_G.pth).

    Its keys are those of `Model` without "network."; the number of input channels tells the variant. The authors ran it
    on images 512 px wide, of 288 rows for videos and of 384 for those of TUM RGB-D.
    """
    stem = variables.get("seq.0.weight")
    channels = stem.shape[1] if stem is not None and stem.ndim == 4 else 0
    inputs = {3 + len(INPUTS[name]): name for name in ("image", "parallax", "keypoints")}.get(channels)
    if inputs is None:
        return []
    return [
        ReleasedModel(
            "depth", {"inputs": inputs}, lambda key: key.removeprefix("network."), (512, 288), fit="width"
        )
    ]
