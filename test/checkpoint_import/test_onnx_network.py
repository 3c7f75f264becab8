"""Import of ONNX graphs: presets, what the outputs mean, and files that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.card import deployed_model, read_card
from depth_ros.cli import main
from depth_ros.errors import DepthRosError

onnx = pytest.importorskip("onnx", reason="optional: pip install onnx onnxruntime")
pytest.importorskip("onnxruntime", reason="optional: pip install onnx onnxruntime")

from onnx_graphs import graph, one_output  # noqa: E402

from depth_ros.checkpoint_import.onnx_network import import_graph  # noqa: E402
from depth_ros.checkpoint_import.presets import presets  # noqa: E402
from depth_ros.networks.onnx import CHANNELS  # noqa: E402

K = torch.tensor([[[300.0, 0, 31.5], [0, 300, 23.5], [0, 0, 1]]])


def saved(model, folder, name: str = "network.onnx", **options):
    onnx.save(model, str(folder / name), **options)
    return folder / name


def simple(image: str = "image", shape=(1, 3, None, None), outputs=("depth",), dtype=onnx.TensorProto.FLOAT):
    """A graph with one map for each output."""
    parts = [one_output("map", image, 1, name) for name in outputs]
    kind = np.float16 if dtype == onnx.TensorProto.FLOAT16 else np.float32
    weights = {key: array.astype(kind) for _, each in parts for key, array in each.items()}
    return graph(
        [n for nodes, _ in parts for n in nodes], {image: list(shape)}, outputs, weights, dtype=dtype
    )


def images(*names: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (1, 48, 64, 3), dtype=torch.uint8, generator=generator) for _ in names]


def loaded(result):
    return deployed_model(read_card(result.path))


def preset_graph(preset):
    """A graph with the inputs and outputs of a preset: its first image, convolved."""
    pair = "pair" in preset.inputs.values()
    shape = [1, 2, None, None] if pair else [1, 3, None, None]
    inputs, nodes, weights = {}, [], {}
    for name in preset.inputs:
        inputs[name] = [] if name in preset.values else [1, None, None, 2] if pair else shape
    image = next(name for name, meaning in preset.inputs.items() if meaning in ("image", "left", "pair"))
    if pair:
        nodes += [("Transpose", [image], ["nchw"], {"perm": [0, 3, 1, 2]}), ("Split", ["nchw"], ["a", "b"],
                  {"axis": 1, "num_outputs": 2}), ("Concat", ["a", "a", "b"], ["rgb"], {"axis": 1})]  # fmt: skip
        image = "rgb"
    used = [name for name, meaning in preset.inputs.items() if meaning == "right"]
    if used:
        nodes.append(("Sub", [image, used[0]], ["difference"], {}))
        image = "difference"
    for name, meaning in preset.outputs.items():
        kind = "number" if meaning == "scale" else "map"
        more, w = one_output(kind, image, CHANNELS.get(meaning, 1), name)
        nodes, weights = nodes + more, weights | w
    return graph(nodes, inputs, list(preset.outputs), weights)


@pytest.mark.parametrize("name", presets())
def test_a_graph_with_the_signature_of_each_preset_obeys_the_contract(name, tmp_path):
    preset = presets()[name]
    file = saved(preset_graph(preset), tmp_path)
    size = {
        "width": 64,
        "height": 48,
        "multiple": min(preset.settings.get("multiple", 1), 16),
        "max_sky": 9.0,
    }
    result = import_graph(file, tmp_path / "out", like=name, changes=size)
    card = read_card(result.path)
    assert (card.task, card.scale, card.family) == (
        preset.task,
        preset.scale,
        "onnx",
    ) and result.difference < 1e-4
    assert bool(card.terms) == bool(preset.unverified)
    model = loaded(result)
    inputs = images("left", "right") if card.task == "stereo_depth" else [*images("image"), K]
    with torch.no_grad():
        found = model(*inputs)
    assert found.shape == (1, 48, 64) and found.dtype == torch.float32
    if card.task == "depth" and preset.settings.get("canonical_focal_length"):
        with (
            torch.no_grad()
        ):  # metres on this camera: the same image at twice the focal length is twice as far
            limit = preset.settings.get("max_depth", 1e9)
            far = model(inputs[0], K * torch.tensor([2.0, 2.0, 1.0])[:, None])
            torch.testing.assert_close(
                far, torch.where(2 * found <= limit, 2 * found, torch.nan), equal_nan=True
            )


def test_images_are_normalised_padded_and_resized_as_the_card_says(tmp_path):
    """The graph returns a channel of its input, so that what it got is visible."""
    kernel = np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1)
    model = graph([("Conv", ["x", "k"], ["depth"], {})], {"x": [1, 3, None, None]}, ["depth"], {"k": kernel})
    file, (image,) = saved(model, tmp_path), images("image")
    changes = {
        "channels": "bgr",
        "mean": [-1.0, 0, 0],
        "std": [0.5, 1, 1],
        "multiple": 32,
        "padding": "replicate",
    }
    found = loaded(import_graph(file, tmp_path / "out", "depth", changes=changes))(image, K)
    torch.testing.assert_close(found, (image[..., 2].float() / 255 + 1) / 0.5)
    fixed = graph([("Conv", ["x", "k"], ["depth"], {})], {"x": [1, 3, 24, 32]}, ["depth"], {"k": kernel})
    result = import_graph(saved(fixed, tmp_path), tmp_path / "out", "depth", changes={"mean": [-1.0, 0, 0]})
    card = read_card(result.path)
    assert (card.fit, card.width, card.height) == ("stretch", 32, 24)
    assert loaded(result)(image, K).shape == (1, 48, 64)


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        ("depth", lambda x: 2 * x),
        ("inverse_depth", lambda x: 1 / (2 * x)),
        ("log_depth", lambda x: 2 * torch.exp(x)),
    ],
)
def test_outputs_become_depth_and_masks_invalid_pixels(meaning, expected, tmp_path):
    file = saved(simple(outputs=("a", "b", "c", "d")), tmp_path)
    changes = {"outputs": f"{meaning},confidence,,std", "unit": 2.0, "min_confidence": 0.6}
    model = loaded(import_graph(file, tmp_path / "out", "depth", changes=changes))
    (image,) = images("image")
    a, b, _, d = model.network(*model.feeds({"image": model.prepared(image)}, K))
    depth, std = model(image, K)
    valid = b[:, 0] >= 0.6
    assert 0.1 < valid.float().mean() < 0.9 and model.deviations == (1,)
    torch.testing.assert_close(depth, torch.where(valid, expected(a[:, 0]), torch.nan), equal_nan=True)
    torch.testing.assert_close(std, torch.where(valid, 2 * d[:, 0], torch.nan), equal_nan=True)


def test_sky_is_infinitely_far(tmp_path):
    file = saved(simple(outputs=("a", "b", "c", "d")), tmp_path)
    changes = {"outputs": "depth,sky,,", "max_sky": 0.6}
    result = import_graph(file, tmp_path / "out", "depth", changes=changes)
    model, (image,) = loaded(result), images("image")
    a, b, *_ = model.network(*model.feeds({"image": model.prepared(image)}, K))
    sky = b[:, 0] >= 0.6
    assert 0.1 < sky.float().mean() < 0.9 and result.difference < 1e-4
    torch.testing.assert_close(model(image, K), torch.where(sky, torch.inf, a[:, 0]))


def test_the_shift_of_a_point_map_follows_from_the_focal_length():
    from depth_ros.networks.onnx import _depth_of_points, _rays

    rays = _rays(K, 48, 64)
    z = 2 + torch.rand(1, 1, 48, 64, generator=torch.Generator().manual_seed(0))
    points = rays / rays[:, 2:] * z
    shifted = points - torch.tensor([0, 0, 0.7]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(_depth_of_points(shifted, K, None), z[:, 0], rtol=1e-3, atol=0)


def test_float16_and_external_data_are_read(tmp_path):
    half = simple(dtype=onnx.TensorProto.FLOAT16)
    assert import_graph(saved(half, tmp_path), tmp_path / "out", "depth").difference < 0.02
    outside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    file = saved(simple(), tmp_path, **outside)
    inside = saved(simple(), tmp_path, "inside.onnx")
    a, b = (import_graph(each, tmp_path / "out", "depth").path for each in (file, inside))
    assert (a / "weights.safetensors").read_bytes() == (b / "weights.safetensors").read_bytes()
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(DepthRosError, match=r"put it beside network\.onnx|cannot be read"):
        import_graph(file, tmp_path / "out", "depth")


WRONG = {
    "several outputs": (lambda: simple(outputs=("a", "b")), {}, "outputs a, b, .* with --set outputs="),
    "unknown operator": (
        lambda: graph([("NonMaxSuppression", ["image", "image"], ["depth"], {})], {"image": [1, 3, 8, 8]}, ["depth"]),
        {}, "operators that are not supported: NonMaxSuppression"),
    "opset": (lambda: graph([("Abs", ["image"], ["depth"], {})], {"image": [1, 3, 8, 8]}, ["depth"], opset=99),
              {}, "opset 99; supported are 7 to 26: export it with opset 17"),
    "channels": (lambda: simple(shape=(1, 8, 8, 3)), {}, r"8 channels \(shape \[1, 8, 8, 3\]\).*--set layout=nhwc"),
    "size": (lambda: simple(shape=(1, 3, 48, 64)), {"width": 100}, "images of 64x48 only: leave out width and height"),
    "no image": (lambda: simple(shape=(1,)), {}, "has the shape .1.; an image has 3 to 5 axes"),
    "meaning": (lambda: simple(), {"outputs": "distance"}, "outputs has 'distance'; allowed: 'depth'"),
    "not depth": (lambda: simple(), {"outputs": "confidence"}, "no output is one of depth, inverse_depth"),
    "all invalid": (
        lambda: simple(), {"max_depth": 0.1}, "every pixel of the check image is invalid: check the meaning"),
    "unknown key": (lambda: simple(), {"focal": 3}, "--set: unknown key 'focal'; allowed: canonical_focal_length"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_or_option_is_refused_with_advice(case, tmp_path):
    model, changes, message = WRONG[case]
    with pytest.raises(DepthRosError, match=message):
        import_graph(saved(model(), tmp_path), tmp_path / "out", "depth", changes=changes)
    assert not list(tmp_path.glob("out/*/card.yaml"))


def test_files_that_are_not_onnx_and_a_damaged_graph_are_refused(tmp_path, capsys):
    (tmp_path / "text.onnx").write_text("not a graph")
    for file in ("text.onnx", "missing.onnx"):
        assert main(["import", "onnx", str(tmp_path / file), "--task", "depth"]) == 1
    assert "cannot be read as an ONNX file" in (errors := capsys.readouterr().err) and "no file" in errors
    result = import_graph(saved(simple(), tmp_path), tmp_path / "out", "depth")
    stored = result.path / "graph.json"
    stored.write_text(stored.read_text().replace("Abs", "Neg"))
    with pytest.raises(DepthRosError, match=r"graph.json is damaged: its sha256 is not that of the card"):
        loaded(result)
