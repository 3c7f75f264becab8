"""The authors' networks with random weights: a checkpoint as they save it, and what it predicts, for check_systems.py.

`reference_systems.py SYSTEM SOURCE OUT` runs in an environment with TensorFlow 2.15 and tf_slim 1.1, of which it uses
the interface of TensorFlow 1, and PyTorch. SOURCE is a checkout of the authors' code. It writes OUT/model (a prefix or
a .pth file) and OUT/outputs.npz: `images` (N, H, W, 3) uint8 and the outputs by name.

The code of monodepth is for non-commercial use only and is not used: its network is built here from its published
description, of layers of slim, which numbers their variables as in the released checkpoints.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np


def images(width: int, height: int, count: int = 1) -> np.ndarray:
    """(N, H, W, 3) uint8: random colours of 8x8 px, and noise."""
    random = np.random.default_rng(0)
    cells = random.integers(0, 200, (count, -(-height // 8), -(-width // 8), 3))
    large = np.kron(cells, np.ones((1, 8, 8, 1), int))[:, :height, :width]
    return (large + random.integers(0, 56, large.shape)).astype(np.uint8)


def tensorflow_1() -> types.ModuleType:
    """TensorFlow's interface of version 1 under the names that code of 2017 imports."""
    import builtins

    import tensorflow.compat.v1 as tf
    from keras.src.legacy_tf_layers import normalization
    from tensorflow.python.framework import ops

    ops.Tensor = tf.Tensor  # tf_slim 1.1 looks for both where they were before TensorFlow 2.15
    sys.modules["tf_keras.legacy_tf_layers"] = types.SimpleNamespace(normalization=normalization)
    sys.modules["tf_keras.legacy_tf_layers.normalization"] = normalization
    import tf_slim
    from tf_slim.layers import utils

    tf.disable_v2_behavior()
    tf.Dimension.__truediv__ = tf.Dimension.__floordiv__  # Python 2
    builtins.basestring = str  # type: ignore[attr-defined]
    vars(np)["int"] = int
    tf.contrib = types.SimpleNamespace(slim=tf_slim)
    layers = types.SimpleNamespace(utils=utils)
    modules = {"contrib": tf.contrib, "contrib.slim": tf_slim, "contrib.layers": layers}
    modules |= {"contrib.layers.python": layers, "contrib.layers.python.layers": layers}
    sys.modules |= {"tensorflow": tf} | {f"tensorflow.{key}": value for key, value in modules.items()}
    tf.set_random_seed(0)
    return tf


def load(file: Path, name: str = "") -> types.ModuleType:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name or file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def fcrn(tf: Any, source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    package = types.ModuleType("models")
    package.__path__ = []
    sys.modules["models"] = package
    load(source / "tensorflow/models/network.py", "models.network")
    network = load(source / "tensorflow/models/fcrn.py", "models.fcrn")
    image = images(304, 228)
    net = network.ResNet50UpProj({"data": tf.constant(image, tf.float32)}, 1, 1.0, False)
    return image, {"depth": net.get_output()}


def sfmlearner(tf: Any, source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    nets = load(source / "nets.py")
    clip = images(416, 128, 3)
    x = tf.constant(clip, tf.float32) / 255 * 2 - 1
    middle, sources = x[1:2], tf.concat([x[0:1], x[2:3]], 3)
    disparities, _ = nets.disp_net(middle)
    vectors, masks, _ = nets.pose_exp_net(middle, sources, do_exp=True)
    explained = {  # probability of the second of two classes, of each source
        f"explained {s}": tf.stack([tf.nn.softmax(mask[..., i : i + 2])[..., 1] for i in (0, 2)], 3)
        for s, mask in enumerate(masks)
    }
    return clip, {f"disparity {s}": d for s, d in enumerate(disparities)} | {"motion": vectors} | explained


def vid2depth(tf: Any, source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    sys.modules["util"] = load(source / "util.py")
    nets = load(source / "nets.py")
    nets.FLAGS(["reference"])
    clip = images(416, 128, 3)
    x = tf.constant(clip, tf.float32) / 255
    with tf.variable_scope("depth_prediction"):
        disparities, _ = nets.disp_net(x[1:2])
    vectors, _ = nets.egomotion_net(tf.concat([x[0:1], x[1:2], x[2:3]], 3))
    return clip, {f"disparity {s}": d for s, d in enumerate(disparities)} | {"motion": vectors}


def struct2depth(tf: Any, source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    nets = load(source / "nets.py")
    clip = images(416, 128, 3)
    x = (tf.constant(clip, tf.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    stack = tf.concat([x[0:1], x[1:2], x[2:3]], 3)
    with tf.variable_scope("depth_prediction"):
        disparities, _ = nets.disp_net("resnet", x[1:2], True, 0.0, True)
    with tf.variable_scope("egomotion_prediction"):
        motion = nets.egomotion_net(stack, None, False, 3, 0.0)
    with tf.variable_scope("objectmotion_prediction"):
        objects = nets.objectmotion_net(stack, None, False, 3, 0.0)
    tf.get_variable("global_scale_var", initializer=0.1)
    outputs = {f"disparity {s}": d for s, d in enumerate(disparities)}
    return clip, outputs | {"motion": motion, "object motion": objects}


def planenet(tf: Any, source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    sys.modules["kaffe"] = types.ModuleType("kaffe")
    load(source / "code/kaffe/tensorflow/network.py", "kaffe.tensorflow")
    network = load(source / "code/planenet.py")
    options = types.SimpleNamespace(
        numOutputPlanes=10, deepSupervisionLayers=[], predictConfidence=0, predictSemantics=0, predictBoundary=0,
        predictLocal=0,
    )  # fmt: skip
    image = images(256, 192)
    net = network.PlaneNet(
        {"img_inp": tf.constant(image, tf.float32) / 255 - 0.5}, options, is_training=False
    )
    with tf.variable_scope("crfrnn"):
        for name in ("spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix"):
            tf.get_variable(name, initializer=np.eye(11, dtype=np.float32))
    segmentation = [net.layers["segmentation_pred"], net.layers["non_plane_mask_pred"]]
    return image, {
        "planes": net.layers["plane_pred"],
        "segmentation": tf.concat(segmentation, 3),
        "depth": net.layers["non_plane_depth_pred"],
    }


def monodepth(tf: Any, source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """VGG encoder; "explicit zero padding, then VALID", ELU, nearest neighbours, 0.3 sigmoid."""
    slim = tf.contrib.slim
    image = images(512, 256)

    def conv(x: Any, channels: int, kernel: int, stride: int = 1, activation: Any = tf.nn.elu) -> Any:
        pad = (kernel - 1) // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return slim.conv2d(x, channels, kernel, stride, "VALID", activation_fn=activation)

    def double(x: Any) -> Any:
        return tf.image.resize_nearest_neighbor(x, [2 * x.shape[1].value, 2 * x.shape[2].value])

    widths, skips, disparities = (32, 64, 128, 256, 512, 512, 512), [], []
    with tf.variable_scope("model"):
        x = tf.constant(image, tf.float32) / 255
        with tf.variable_scope("encoder"):
            for width, kernel in zip(widths, (7, 5, 3, 3, 3, 3, 3), strict=True):
                x = conv(conv(x, width, kernel), width, kernel, 2)
                skips.append(x)
        with tf.variable_scope("decoder"):
            for level, width in zip(range(7, 0, -1), (512, 512, 256, 128, 64, 32, 16), strict=True):
                parts = [conv(double(x), width, 3), *skips[level - 2 : level - 1][: level - 1]]
                if disparities:
                    parts.append(double(disparities[-1]))
                x = conv(tf.concat(parts, 3), width, 3)
                if level <= 4:
                    disparities.append(0.3 * conv(x, 2, 3, activation=tf.nn.sigmoid))
    return image, {f"disparity {s}": d for s, d in enumerate(disparities[::-1])}


def mannequin(source: Path, out: Path) -> None:
    """The network of key points, in PyTorch; prediction is ln depth."""
    import torch

    torch.manual_seed(0)
    network = load(source / "models/hourglass.py").HourglassModel(7).eval()
    for name, value in network.state_dict().items():
        if value.dtype == torch.float32:
            value.copy_(torch.from_numpy(random_values(f"/{name}", tuple(value.shape), torch_layout=True)))
    torch.save(network.state_dict(), out / "model.pth")
    image, extra = images(512, 288), torch.rand(1, 4, 288, 512)
    x = torch.cat([torch.from_numpy(image).permute(0, 3, 1, 2) / 255, extra], 1)
    with torch.inference_mode():
        depth, confidence = network(x)
    np.savez(out / "outputs.npz", images=image, extra=extra, log_depth=depth, confidence=confidence)


GAINS = {"ConvPred/weights": 1e-4, "plane_fc/weights": 1e-4, "non_plane_depth_conv2/weights": -1e-4}
"""Factors of the last layers of FCRN and PlaneNet, with which depth is some metres."""


def random_values(name: str, shape: tuple[int, ...], torch_layout: bool = False) -> np.ndarray:
    """Weights with which neither activations nor predictions vanish or saturate."""
    random = np.random.default_rng(sum(name.encode()))
    if len(shape) >= 2 and "crfrnn" not in name:
        inputs = np.prod(shape[1:] if torch_layout else shape[:-1])
        values = random.normal(0, (1.5 / inputs) ** 0.5, shape)
        return (GAINS.get(name, 1.0) * values).astype(np.float32)
    if name.rpartition("/")[2] in ("gamma", "scale", "variance", "moving_variance") or "running_var" in name:
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return random.normal(0.1, 0.1, shape).astype(np.float32)


TENSORFLOW = {
    "fcrn": fcrn,
    "sfmlearner": sfmlearner,
    "monodepth": monodepth,
    "vid2depth": vid2depth,
    "struct2depth": struct2depth,
    "planenet": planenet,
}


def main(system: str, source: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if system == "mannequin":
        return mannequin(source, out)
    tf = tensorflow_1()
    image, outputs = TENSORFLOW[system](tf, source)
    variables = tf.global_variables()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in variables:
            variable.load(random_values(variable.op.name, tuple(variable.shape.as_list())), session)
        tf.train.Saver().save(session, str(out / "model"), write_meta_graph=False)
        np.savez(out / "outputs.npz", images=image, **session.run(outputs))
    return None


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
