"""Import of synthetic checkpoints with the names and shapes of the released ones."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from bundle import write_checkpoint
from torch.nn import functional as F

from depth_ros.card import load_model, read_card
from depth_ros.checkpoint_import import constant_depth_notes, import_checkpoint, load_variables
from depth_ros.checkpoint_import.image_families import fcrn_name
from depth_ros.checkpoint_import.names import is_optimizer_slot, released_models
from depth_ros.checkpoint_import.npy import read_npy
from depth_ros.checkpoint_import.tensorflow import Checkpoint
from depth_ros.checkpoint_import.training_data import trained_on
from depth_ros.cli import main
from depth_ros.errors import DepthRosError
from depth_ros.networks import family, model_class
from depth_ros.networks.blocks.fit import Fit
from depth_ros.networks.blocks.video_layers import UpConv
from depth_ros.recordings import open_recording
from depth_ros.world import World, WorldSettings, write_folder

Shapes = dict[str, tuple[int, ...]]

DISPNET = (  # layer, kernel, input and output channels; upcnv are transposed convolutions
    *((f"cnv{n}{b}", k, i, o) for n, k, first, o in (
        (1, 7, 3, 32), (2, 5, 32, 64), (3, 3, 64, 128), (4, 3, 128, 256), (5, 3, 256, 512), (6, 3, 512, 512),
        (7, 3, 512, 512)) for b, i in (("", first), ("b", o))),
    *((f"upcnv{n}", 3, i, o) for n, i, o in (
        (7, 512, 512), (6, 512, 512), (5, 512, 256), (4, 256, 128), (3, 128, 64), (2, 64, 32), (1, 32, 16))),
    *((f"icnv{n}", 3, i, o) for n, i, o in (
        (7, 1024, 512), (6, 1024, 512), (5, 512, 256), (4, 256, 128), (3, 129, 64), (2, 65, 32), (1, 17, 16))),
    *((f"disp{n}", 3, i, 1) for n, i in ((4, 128), (3, 64), (2, 32), (1, 16))),
)  # fmt: skip


def kernel(name: str, k: int, i: int, o: int) -> tuple[int, ...]:
    return (k, k, o, i) if "upc" in name else (k, k, i, o)


def slim(scope: str, layers, norm: bool = False) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Variables of layers (name, kernel, in, out), with biases or, where `norm`, those of slim's batch norm."""
    for name, k, i, o in layers:
        yield f"{scope}/{name}/weights", kernel(name, k, i, o)
        if norm and not name.startswith(("disp", "pose/pred")):
            yield from (
                (f"{scope}/{name}/BatchNorm/{part}", (o,))
                for part in ("beta", "moving_mean", "moving_variance")
            )
        else:
            yield f"{scope}/{name}/biases", (o,)


def posenet(frames: int, explain: bool = False) -> list[tuple[str, int, int, int]]:
    layers = [("cnv1", 7, 3 * frames, 16), ("cnv2", 5, 16, 32), ("cnv3", 3, 32, 64), ("cnv4", 3, 64, 128),
             ("cnv5", 3, 128, 256), ("pose/cnv6", 3, 256, 256), ("pose/cnv7", 3, 256, 256),
             ("pose/pred", 1, 256, 6 * (frames - 1))]  # fmt: skip
    if explain:
        widths, kernels = (256, 256, 128, 64, 32, 16), (3, 3, 3, 5, 7)
        for n, k, i, o in zip((5, 4, 3, 2, 1), kernels, widths, widths[1:]):
            layers.append((f"exp/upcnv{n}", k, i, o))
            if n < 5:
                layers.append((f"exp/mask{n}", k, o, 2 * (frames - 1)))
    return layers


def struct2depth() -> Iterator[tuple[str, tuple[int, ...]]]:
    scope = "depth_prediction"
    blocks = {"conv1/conv": (7, 3, 64, "conv1/bn")}
    for stage, i, o in ((2, 64, 64), (3, 64, 128), (4, 128, 256), (5, 256, 512)):
        for unit in (1, 2):
            for conv in (1, 2):
                first = i if unit == conv == 1 else o
                blocks[f"conv{stage}_{unit}/conv_{conv}"] = (3, first, o, f"conv{stage}_{unit}/bn_{conv}")
        if stage > 2:
            yield f"{scope}/conv{stage}_1/shortcut/kernel", (1, 1, i, o)
    for name, (k, i, o, norm) in blocks.items():
        yield f"{scope}/{name}/kernel", (k, k, i, o)
        yield from (
            (f"{scope}/{norm}/{p}", (o,)) for p in ("gamma", "beta", "moving_mean", "moving_variance")
        )
    widths = {5: (512, 256, 512), 4: (256, 128, 256), 3: (128, 64, 128), 2: (64, 32, 96), 1: (32, 16, 16)}
    for n, (i, o, joined) in widths.items():
        yield from slim(scope, [(f"upconv{n}", 3, i, o), (f"iconv{n}", 3, joined, o)])
        if n < 5:
            yield from slim(scope, [(f"disp{n}", 3, o, 1)])
    for task in ("egomotion", "objectmotion"):
        yield from slim(f"{task}_prediction/pose_exp_net", posenet(3))
    yield "global_scale_var", ()


def monodepth_vgg(channels: int = 3) -> Iterator[tuple[str, tuple[int, ...]]]:
    encoder, i = [], channels
    for o, k in zip((32, 64, 128, 256, 512, 512, 512), (7, 5, 3, 3, 3, 3, 3), strict=True):
        encoder += [(k, i, o), (k, o, o)]
        i = o
    yield from monodepth(encoder, {7: 1024, 6: 1024, 5: 512, 4: 256, 3: 130, 2: 66, 1: 18}, 512)


def monodepth_resnet50() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every unit has three convolutions, then a projection."""
    encoder, i = [(7, 3, 64)], 64
    for n, units in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(units):
            encoder += [(1, i, n), (3, n, n), (1, n, 4 * n), (1, i, 4 * n)]
            i = 4 * n
    yield from monodepth(encoder, {6: 1536, 5: 768, 4: 384, 3: 130, 2: 98, 1: 18}, 2048)


def monodepth_transposed() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The VGG network with transposed convolutions, which slim numbers separately."""
    convolutions, count = dict(monodepth_vgg()), {"Conv": 0, "Conv2d_transpose": 0}
    for number in range(18):
        name = "model/decoder/Conv" + (f"_{number}" if number else "")
        k, _, i, o = convolutions.pop(f"{name}/weights")
        biases = convolutions.pop(f"{name}/biases")
        is_upconv = number in (0, 2, 4, 6, 9, 12, 15)
        kind = "Conv2d_transpose" if is_upconv else "Conv"
        new = f"model/decoder/{kind}" + (f"_{count[kind]}" if count[kind] else "")
        count[kind] += 1
        yield from (
            (f"{new}/weights", (k, k, o, i) if is_upconv else (k, k, i, o)),
            (f"{new}/biases", biases),
        )
    yield from convolutions.items()


def monodepth(encoder, joined: dict[int, int], i: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Layers numbered by slim. joined: input channels of iconv by level. i: output channels of the encoder."""
    widths, decoder = {7: 512, 6: 512, 5: 256, 4: 128, 3: 64, 2: 32, 1: 16}, []
    for level, inner in joined.items():
        o = widths[level]
        decoder += [(3, i, o), (3, inner, o)] + ([(3, o, 2)] if level < 5 else [])
        i = o
    for side, convs in (("encoder", encoder), ("decoder", decoder)):
        for number, (k, first, o) in enumerate(convs):
            name = f"model/{side}/Conv" + (f"_{number}" if number else "")
            yield from ((f"{name}/weights", (k, k, first, o)), (f"{name}/biases", (o,)))


CHECKPOINTS: dict[str, tuple[str, Shapes, list[str]]] = {
    "SfMLearner depth": ("sfmlearner", dict(slim("depth_net", DISPNET)), ["depth"]),
    "SfMLearner motion": ("sfmlearner", dict(slim("pose_exp_net", posenet(5, True))), ["ego_motion"]),
    "vid2depth": ("vid2depth", {
        **dict(slim("depth_prediction/depth_net", DISPNET, norm=True)),
        **dict(slim("pose_exp_net", posenet(3), norm=True)),
    }, ["depth", "ego_motion"]),
    "struct2depth": ("struct2depth", dict(struct2depth()), ["depth", "ego_motion", "object_motion"]),
    "struct2depth simple": (
        "struct2depth", dict(slim("depth_prediction/depth_net", DISPNET)), ["depth"]
    ),
    "monodepth": ("monodepth", dict(monodepth_vgg()), ["depth"]),
    "monodepth resnet50": ("monodepth", dict(monodepth_resnet50()), ["depth"]),
    "monodepth transposed": ("monodepth", dict(monodepth_transposed()), ["depth"]),
    "monodepth stereo": ("monodepth", dict(monodepth_vgg(6)), ["stereo_depth"]),
}  # fmt: skip


def fcrn_variables() -> dict[str, torch.Tensor]:
    """Names and shapes of the released FCRN weights, on the meta device."""
    shapes: Shapes = {
        "conv1/weights": (7, 7, 3, 64), "conv1/biases": (64,), "layer1/biases": (1024,),
        "layer1/weights": (1, 1, 2048, 1024), "ConvPred/weights": (3, 3, 64, 1), "ConvPred/biases": (1,),
    }  # fmt: skip
    norms = {"bn_conv1": 64, "layer1_BN": 1024}
    i = 64
    for stage, units in ((2, "abc"), (3, "abcd"), (4, "abcdef"), (5, "abc")):
        n = 64 * 2 ** (stage - 2)
        for unit in units:
            for branch, k, a, b in (
                ("1", 1, i, 4 * n),
                ("2a", 1, i, n),
                ("2b", 3, n, n),
                ("2c", 1, n, 4 * n),
            ):
                if branch != "1" or unit == "a":
                    shapes[f"res{stage}{unit}_branch{branch}/weights"] = (k, k, a, b)
                    norms[f"bn{stage}{unit}_branch{branch}"] = b
            i = 4 * n
    for level, o in ((2, 512), (4, 256), (8, 128), (16, 64)):
        name = f"layer{level}x"
        for branch in (1, 2):
            for part, k in (("A", (3, 3)), ("B", (2, 3)), ("C", (3, 2)), ("D", (2, 2))):
                shapes[f"{name}_br{branch}_Conv{part}/weights"] = (*k, 2 * o, o)
                shapes[f"{name}_br{branch}_Conv{part}/biases"] = (o,)
            norms[f"{name}_br{branch}_BN"] = o
        shapes |= {f"{name}_Conv/weights": (3, 3, o, o), f"{name}_Conv/biases": (o,)}
        norms[f"{name}_BN"] = o
    parts = ("scale", "offset", "mean", "variance")
    shapes |= {f"{name}/{part}": (width,) for name, width in norms.items() for part in parts}
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("trained", "zeros", "size"), [(True, "before", (304, 228)), (False, "after", (172, 230))]
)
def test_fcrn_weights_of_nyu_and_make3d_are_distinguished_by_their_biases(trained, zeros, size):
    """Kernels trained interleaved have different biases; kernels converted from 5x5 share one."""
    variables = fcrn_variables()
    variables["layer2x_br1_ConvA/biases"] = torch.zeros(512)
    variables["layer2x_br1_ConvD/biases"] = torch.full((512,), float(trained))
    (released,) = released_models("fcrn", variables)
    assert (released.settings["zeros"], released.settings["stretched"], released.size) == (zeros, True, size)
    view = Fit(released.fit, *released.size, released.region).view(640, 480)
    assert (view.width, view.height) == ((640, 480) if trained else (359, 480))
    with torch.device("meta"):
        model = model_class("fcrn", "depth")(family("fcrn").Settings(**released.settings))
    on_meta = {key: value.to("meta") for key, value in variables.items()}
    assert load_variables(model, released, on_meta) == set(variables)


def test_every_key_has_its_own_name_in_the_released_fcrn_weights():
    with torch.device("meta"):
        keys = list(model_class("fcrn", "depth")(family("fcrn").Settings(zeros="before")).state_dict())
    names = {key: fcrn_name(key) for key in keys}
    variables = [name for name in names.values() if name]
    assert len(variables) == len(set(variables)) == len([key for key in keys if "num_batches" not in key])
    expected = {
        "network.encoder.conv1.bias": "conv1/biases",
        "network.encoder.bn_conv1.running_mean": "bn_conv1/mean",
        "network.encoder.res2.a.branch1.weight": "res2a_branch1/weights",
        "network.encoder.res4.f.branch2b.weight": "res4f_branch2b/weights",
        "network.encoder.res3.d.bn2c.running_var": "bn3d_branch2c/variance",
        "network.layer1.weight": "layer1/weights",
        "network.bn1.weight": "layer1_BN/scale",
        "network.up.0.up1.convB.weight": "layer2x_br1_ConvB/weights",
        "network.up.3.up2.convD.bias": "layer16x_br2_ConvD/biases",
        "network.up.1.bn2.bias": "layer4x_br2_BN/offset",
        "network.up.2.conv.bias": "layer8x_Conv/biases",
        "network.up.2.bn.weight": "layer8x_BN/scale",
        "network.predict.weight": "ConvPred/weights",
    }
    assert {key: names[key] for key in expected} == expected
    assert {name.split("/")[1] for name in variables} == {
        "weights", "biases", "scale", "offset", "mean", "variance"
    }  # fmt: skip


def test_variants_of_mannequin_are_distinguished_by_their_input_channels():
    for channels, inputs in ((3, "image"), (6, "parallax"), (7, "keypoints")):
        with torch.device("meta"):
            state = family("mannequin").Network(channels).state_dict()
        (released,) = released_models("mannequin", state)
        assert released.settings == {"inputs": inputs} and released.scale == "up_to_scale"
        assert (released.fit, released.size) == ("width", (512, 288))
        with torch.device("meta"):
            model = model_class("mannequin", "depth")(family("mannequin").Settings(**released.settings))
        used = load_variables(model, released, state)
        assert used == {key for key in state if "num_batches" not in key}
        assert used == {key for key in state if not is_optimizer_slot(key)}  # nothing is left unexplained
    assert released_models("mannequin", {"seq.0.weight": torch.zeros(8, 4, 7, 7)}) == []


def test_npy_files_are_read_without_running_code(tmp_path):
    layers = {
        "conv1": {"weights": np.arange(6.0, dtype=np.float32).reshape(1, 2, 3, 1), "biases": np.ones(1)}
    }
    np.save(tmp_path / "good.npy", layers, allow_pickle=True)
    variables = read_npy(tmp_path / "good.npy")
    assert set(variables) == {"conv1/weights", "conv1/biases"}
    assert np.array_equal(variables["conv1/weights"], layers["conv1"]["weights"])

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "broken-in"), "w"))

    np.save(tmp_path / "evil.npy", np.array({"conv1": Evil()}), allow_pickle=True)
    with pytest.raises(DepthRosError, match=r"it would run \w+\.open"):
        read_npy(tmp_path / "evil.npy")
    assert not (tmp_path / "broken-in").exists()
    np.save(tmp_path / "plain.npy", np.ones(3))
    assert read_npy(tmp_path / "plain.npy") == {}


@pytest.mark.parametrize("which", CHECKPOINTS)
def test_every_variable_of_a_checkpoint_is_used(which):
    """Names and shapes of whole checkpoints, on the meta device: none is missing, none is unused."""
    name, shapes, tasks = CHECKPOINTS[which]
    variables = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    models, used = released_models(name, variables), set[str]()
    assert [released.task for released in models] == tasks
    for released in models:
        with torch.device("meta"):
            model = model_class(name, released.task)(family(name).Settings(**released.settings))
        used |= load_variables(model, released, variables)
    assert used == set(variables)


@pytest.mark.parametrize(("which", "size"), [
    ("SfMLearner depth", (416, 128)),
    ("SfMLearner motion", (416, 128)),
    ("vid2depth", (416, 128)),
    ("struct2depth", (416, 128)),
    ("struct2depth simple", (416, 128)),
    ("monodepth", (512, 256)),
    ("monodepth resnet50", (512, 256)),
    ("monodepth stereo", (512, 256)),
])  # fmt: skip
def test_networks_of_street_scenes_were_trained_with_stretched_images(which, size):
    name, shapes, _ = CHECKPOINTS[which]
    variables = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    for released in released_models(name, variables):
        assert (released.fit, released.size, released.region) == ("stretch", size, (0, 0, 1, 1))


def test_crop_and_baseline_of_cityscapes_are_known():
    window = {
        "monodepth": (0, 0, 2048, 819),
        "sfmlearner": (0, 0, 2048, 767),
        "struct2depth": (192, 256, 1664, 512),
    }
    for which in ("monodepth", "SfMLearner depth", "struct2depth"):
        name, shapes, _ = CHECKPOINTS[which]
        variables = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        for released in released_models(name, variables):
            cropped = trained_on("cityscapes", name, released)
            view = Fit(cropped.fit, *cropped.size, cropped.region).view(2048, 1024)
            assert (view.left, view.top, view.width, view.height) == window[name]
            assert cropped.settings.get("baseline", 0.0) == (0.22 if name == "monodepth" else 0.0)
            assert trained_on("", name, released) is released
    with pytest.raises(
        DepthRosError, match="no published crop of 'cityscapes' for family 'fcrn'; families with"
    ):
        trained_on("cityscapes", "fcrn", released)


@pytest.mark.parametrize(("which", "count"), [
    ("SfMLearner depth", 31_596_900),
    ("SfMLearner motion", 2_660_232),
    ("vid2depth", 33_187_568 + 2 * (7_072 + 1_008)),  # and two statistics per beta
    ("struct2depth", 17_508_780 + 7_808 + 1),  # and statistics, global_scale_var
    ("monodepth", 31_600_072),
    ("monodepth resnet50", 58_452_008),
    ("monodepth transposed", 31_600_072),
    ("monodepth stereo", 31_604_776),
])  # fmt: skip
def test_synthetic_checkpoints_have_the_published_number_of_values(which, count):
    assert sum(int(np.prod(shape)) for shape in CHECKPOINTS[which][1].values()) == count


def random_variables(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {key: (0.1 * random.standard_normal(shape)).astype(np.float32) for key, shape in shapes.items()}


def test_import_of_a_tensorflow_checkpoint(tmp_path, capsys):
    _, shapes, _ = CHECKPOINTS["SfMLearner motion"]
    variables = random_variables(shapes)
    slots = {f"{key}/Adam": np.zeros(1, np.float32) for key in shapes}
    more = {"global_step": np.array(7, np.int64), "data_loading/strange": np.ones(2, np.float32)}
    prefix = write_checkpoint(tmp_path / "model-100280", {**variables, **slots, **more})
    assert main(["import", "sfmlearner", str(prefix), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"{len(shapes)} variables assigned, {len(slots) + 1} optimizer slots ignored" in printed
    assert "NOT USED (1): data_loading/strange" in printed
    card = read_card(tmp_path / "sfmlearner_ego_motion")
    assert (card.task, card.frames, card.scale) == ("ego_motion", 5, "up_to_scale")
    assert (card.width, card.height, card.fit, card.region) == (416, 128, "stretch", [0.0, 0.0, 1.0, 1.0])
    assert card.settings == {"padding": "same", "frames": 5, "explain": True}
    state = load_model(card).state_dict()
    kernel = variables["pose_exp_net/cnv2/weights"]
    assert state["network.cnv2.conv.weight"][3, 2, 1, 4].item() == kernel[1, 4, 2, 3]
    kernel = variables["pose_exp_net/exp/upcnv4/weights"]
    assert state["network.upcnv4.conv.weight"][5, 3, 0, 1].item() == kernel[0, 1, 3, 5]
    assert np.array_equal(state["network.pred.bias"], variables["pose_exp_net/pose/pred/biases"])


def test_transposed_convolutions_equal_those_of_tensorflow():
    """conv2d_transpose is by definition the gradient of conv2d with SAME padding."""
    random = torch.Generator().manual_seed(0)
    for k in (3, 5, 7):
        kernel = torch.randn(k, k, 4, 6, generator=random).permute(3, 2, 0, 1)  # from h, w, out, in
        x = torch.randn(2, 6, 5, 7, generator=random)
        layer = UpConv(6, 4, k, bias=False)
        layer.weight.data = kernel
        wide = torch.zeros(2, 4, 10, 14, requires_grad=True)
        padded = F.pad(wide, ((k - 2) // 2, (k - 1) // 2) * 2)
        F.conv2d(padded, kernel, stride=2).backward(x)
        assert torch.allclose(layer(x), wide.grad, atol=1e-5)


def port_state(frames: int, explain: bool) -> dict[str, torch.Tensor]:
    """State dict of PoseExpNet in the PyTorch port."""
    convs = [(f"conv{n}.0", (o, i, k, k)) for n, k, i, o in (
        (1, 7, 3 * frames, 16), (2, 5, 16, 32), (3, 3, 32, 64), (4, 3, 64, 128), (5, 3, 128, 256),
        (6, 3, 256, 256), (7, 3, 256, 256))] + [("pose_pred", (6 * (frames - 1), 256, 1, 1))]  # fmt: skip
    if explain:
        widths = (256, 256, 128, 64, 32, 16)
        for n, i, o in zip((5, 4, 3, 2, 1), widths, widths[1:]):
            convs.append((f"upconv{n}.0", (i, o, 4, 4)))
            if n < 5:
                convs.append((f"predict_mask{n}", (frames - 1, o, 3, 3)))
    state = {}
    for name, shape in convs:
        state[f"{name}.weight"] = torch.randn(shape) * 0.1
        state[f"{name}.bias"] = torch.randn(shape[1] if name.startswith("upconv") else shape[0])
    return state


@pytest.mark.parametrize(("frames", "explain", "count"), [(3, False, 16), (5, True, 34)])
def test_import_of_the_pytorch_port(tmp_path, frames, explain, count):
    state = port_state(frames, explain)
    assert len(state) == count
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "exp_pose_model_best.pth.tar")
    result = import_checkpoint("sfmlearner", tmp_path / "exp_pose_model_best.pth.tar", tmp_path)
    assert (result.assigned, result.unused) == (count, ())
    card = read_card(result.models[0])
    assert card.settings == {"padding": "even", "frames": frames, "explain": explain}
    imported = load_model(card).state_dict()
    assert torch.equal(imported["network.cnv7.conv.weight"], state["conv7.0.weight"])
    assert torch.equal(imported["network.pred.bias"], state["pose_pred.bias"])
    if explain:
        assert torch.equal(imported["network.upcnv3.conv.weight"], state["upconv3.0.weight"])


def test_depth_network_of_the_pytorch_port_is_recognised():
    state = {}
    for name, k, i, o in DISPNET:
        port_name = name.replace("cnv", "conv").removesuffix("b") + (".2" if name.endswith("b") else ".0")
        port_name = port_name.replace("disp", "predict_disp")
        state[f"{port_name}.weight"] = torch.empty(
            (i, o, k, k) if "upc" in name else (o, i, k, k), device="meta"
        )
        state[f"{port_name}.bias"] = torch.empty(o, device="meta")
    assert len(state) == 64
    (released,) = released_models("sfmlearner", state)
    with torch.device("meta"):
        model = model_class("sfmlearner", "depth")(family("sfmlearner").Settings(**released.settings))
    assert load_variables(model, released, state) == set(state)


def test_tensorflow_checkpoints_are_read_by_prefix_file_or_folder(tmp_path):
    """With variables of every type, scalars, and more than one block."""
    random = np.random.default_rng(0)
    variables = {
        f"scope/layer_{i}/weights": random.standard_normal((i % 3 + 1, 2)).astype("f4") for i in range(150)
    }
    variables |= {
        "step": np.array(2**40),
        "half": np.ones(3, "f2"),
        "double": np.array([[1e-300]]),
        "n": np.array(5, "i4"),
    }
    prefix = write_checkpoint(tmp_path / "model.v2-12", variables)
    files = (prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001", tmp_path)
    for path in files:
        checkpoint = Checkpoint(type(prefix)(path))
        assert set(checkpoint) == set(variables)
    for name, value in variables.items():
        assert np.array_equal(checkpoint[name].numpy(), value) and checkpoint[name].shape == value.shape


class RunsCode:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a file was run')",))


def test_errors_state_what_is_wrong(tmp_path, capsys):
    variables = random_variables(CHECKPOINTS["SfMLearner motion"][1])
    prefix = write_checkpoint(tmp_path / "complete", variables)
    assert main(["import", "vid2depth", str(prefix)]) == 1  # it has biases instead
    assert "lacks 'pose_exp_net/cnv1/BatchNorm/beta'" in capsys.readouterr().err
    with pytest.raises(DepthRosError, match=r"no model of family 'monodepth'.*try sfmlearner"):
        import_checkpoint("monodepth", prefix, tmp_path)
    with pytest.raises(
        DepthRosError,
        match="checkpoints of family 'compact' cannot be imported; supported families: sfmlearner",
    ):
        import_checkpoint("compact", prefix, tmp_path)
    index = tmp_path / "complete.index"
    index.write_bytes(index.read_bytes()[:-3])
    with pytest.raises(DepthRosError, match="footer is missing"):
        import_checkpoint("sfmlearner", prefix, tmp_path)
    wrong = write_checkpoint(
        tmp_path / "wrong", {**variables, "pose_exp_net/cnv3/weights": np.ones((3, 3, 8, 8), "f4")}
    )
    with pytest.raises(
        DepthRosError, match=r"'pose_exp_net/cnv3/weights' has shape \(8, 8, 3, 3\), but the model needs"
    ):
        import_checkpoint("sfmlearner", wrong, tmp_path)
    data = tmp_path / "wrong.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(DepthRosError, match="cannot be read"):
        import_checkpoint("sfmlearner", wrong, tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(DepthRosError, match="not a state dict saved by PyTorch"):
        import_checkpoint("sfmlearner", tmp_path / "evil.pth", tmp_path)
    with pytest.raises(DepthRosError, match="no checkpoint"):
        import_checkpoint("sfmlearner", tmp_path / "nowhere", tmp_path)


def test_calibration_makes_results_independent_of_the_batch(tmp_path):
    """The ego-motion network of vid2depth: statistics of the batch, then means over a folder."""
    write_folder(World(WorldSettings(kind="street", frames=6, width=128, height=64)), tmp_path / "clip")
    variables = random_variables(dict(slim("pose_exp_net", posenet(3), norm=True)))
    prefix = write_checkpoint(tmp_path / "m", variables)
    plain = import_checkpoint("vid2depth", prefix, tmp_path / "plain")
    calibrated = import_checkpoint("vid2depth", prefix, tmp_path / "calibrated", tmp_path / "clip")
    assert any("--calibrate FOLDER" in note for note in plain.notes) and not calibrated.notes
    cards = [read_card(result.models[0]) for result in (plain, calibrated)]
    assert [card.settings["batch_statistics"] for card in cards] == [True, False]
    assert "calibrated on 4 images of clip" in cards[1].description
    images = torch.randint(0, 256, (2, 3, 128, 416, 3), dtype=torch.uint8)
    K, models = torch.eye(3).expand(2, 3, 3), [load_model(card) for card in cards]
    with torch.inference_mode():
        alone, in_batch = zip(*((m(images[:1], K[:1])[0], m(images, K)[0]) for m in models))
    assert not torch.allclose(alone[0], in_batch[0], atol=1e-4)
    assert torch.allclose(alone[1], in_batch[1], atol=1e-6)
    first = models[1].network.cnv1
    folder = open_recording(tmp_path / "clip")
    size = (cards[1].width, cards[1].height)
    small = [cv2.resize(folder[i].left.image.astype(np.float32), size) for i in range(6)]
    with torch.inference_mode():
        stacks = torch.stack([torch.from_numpy(np.concatenate(small[i : i + 3], 2)) for i in range(4)])
        out = first.conv(stacks.permute(0, 3, 1, 2).float() / 255)
    assert torch.allclose(first.norm.running_mean, out.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)


class ConstantDepth(torch.nn.Module):
    def forward(self, image, intrinsics):
        return 100.0 + 0.001 * image[..., 0].float()


def test_constant_depth_is_noted(small_model):
    card = read_card(small_model)
    (note,) = constant_depth_notes(ConstantDepth(), card)
    assert "nearly the same depth, 100" in note and "at every pixel of its check image" in note
    assert constant_depth_notes(load_model(card), card) == []
