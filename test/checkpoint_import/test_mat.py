"""Import of FCRN from a synthetic .mat file of MatConvNet: a DagNN as `saveobj` stores it, with few channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_import import fcrn_variables
from torch.nn import functional as F

from depth_ros.checkpoint_import import import_checkpoint
from depth_ros.checkpoint_import.mat import read_mat
from depth_ros.checkpoint_import.names import released_models
from depth_ros.errors import DepthRosError
from depth_ros.networks.blocks.up_projection import EPS, FastUp

io = pytest.importorskip("scipy.io", reason="optional: pip install scipy")
SIZES = {"A": (3, 3), "B": (2, 3), "C": (3, 2), "D": (2, 2)}
PADS = {"before": (1, 0), "after": (0, 1)}


class Dag:
    """Writer of layers and parameters in MatConvNet's format; names of the decoder are not the released ones."""

    def __init__(self) -> None:
        self.layers, self.values = [], {}
        self.random = np.random.default_rng(0)

    def add(self, kind: str, name: str, sources: list[str], parameters: list[str] = (), **block) -> str:
        cells = [np.array(list(texts), dtype=object) for texts in (sources, [name], parameters)]
        self.layers.append((name, f"dagnn.{kind}", *cells, block or np.zeros((0, 0))))
        return name

    def conv(self, name: str, source: str, shape: tuple[int, ...], pad=(0, 0, 0, 0)) -> str:
        self.values[f"{name}_filter"] = self.random.standard_normal(shape).astype(np.float32)
        self.values[f"{name}_bias"] = self.random.standard_normal((1, shape[3])).astype(np.float32)
        return self.add(
            "Conv", name, [source], [f"{name}_filter", f"{name}_bias"], pad=np.array([pad], float)
        )

    def norm(self, name: str, source: str, n: int) -> str:
        parts = {"mult": (n, 1), "bias": (n, 1), "moments": (n, 2)}
        for part, shape in parts.items():
            self.values[f"{name}_{part}"] = self.random.uniform(0.5, 2, shape).astype(np.float32)
        return self.add("BatchNorm", name, [source], [f"{name}_{part}" for part in parts], epsilon=1e-5)

    def up(self, name: str, source: str, i: int, o: int, odd: tuple[int, int]) -> str:
        outputs = []
        for letter, (h, w) in SIZES.items():
            rows, columns = odd if h == 2 else (1, 1), odd if w == 2 else (1, 1)
            outputs.append(self.conv(f"{name}{letter.lower()}", source, (h, w, i, o), (*rows, *columns)))
        return self.norm(f"{name}n", self.add("Combine", name, [outputs[k] for k in (0, 1, 2, 3)]), o)

    def save(self, file) -> None:
        fields = ["name", "type", "inputs", "outputs", "params", "block"]
        layers = np.zeros((1, len(self.layers)), [(name, object) for name in fields])
        layers[0] = [tuple(row) for row in self.layers]
        params = np.zeros((1, len(self.values)), [("name", object), ("value", object)])
        params[0] = list(self.values.items())
        io.savemat(file, {"layers": layers, "params": params, "meta": {"border": [6, 8]}})


def synthetic_network(zeros: str, encoder: bool = True) -> Dag:
    dag, odd = Dag(), PADS[zeros]
    source = "data"
    for name, variable in fcrn_variables().items() if encoder else ():
        layer, part = name.split("/")
        if layer.startswith(("conv1", "res")) and part == "weights":
            dag.conv(layer, "data", (*variable.shape[:2], 2, 3))
            norm = "bn_conv1" if layer == "conv1" else layer.replace("res", "bn")
            source = dag.norm(norm, layer, 3)
    x, n = dag.norm("first_n", dag.conv("first", source, (1, 1, 3, 16)), 16), 16
    for level in range(4):
        one = dag.add("ReLU", f"r{level}", [dag.up(f"u{level}", x, n, n // 2, odd)])
        one = dag.norm(f"c{level}n", dag.conv(f"c{level}", one, (3, 3, n // 2, n // 2), (1, 1, 1, 1)), n // 2)
        other = dag.up(f"v{level}", x, n, n // 2, odd)
        x, n = dag.add("ReLU", f"t{level}", [dag.add("Sum", f"s{level}", [one, other])]), n // 2
    dag.conv("prediction", dag.add("DropOut", "drop", [x]), (3, 3, 1, 1), (1, 1, 1, 1))
    return dag


@pytest.mark.parametrize("zeros", PADS)
def test_every_layer_is_read_and_its_padding_selects_the_side_of_zeros(tmp_path, zeros):
    dag = synthetic_network(zeros)
    dag.save(tmp_path / "net.mat")
    variables = read_mat(tmp_path / "net.mat")
    pads = {name for name in variables if name.endswith("/pad")}
    # the released convolutions of the encoder have no biases
    biases = {name for name in variables if name.endswith("biases") and name.startswith("res")}
    assert set(variables) - pads - biases == set(fcrn_variables()) and len(pads) == 4 * 2 * 3
    assert np.array_equal(variables["res3b_branch2b/weights"], dag.values["res3b_branch2b_filter"])
    assert np.array_equal(variables["layer8x_br2_ConvC/weights"], dag.values["v2c_filter"])
    assert variables["ConvPred/weights"].shape == (3, 3, 1, 1)
    moments = dag.values["c3n_moments"]
    assert torch.equal(variables["layer16x_BN/mean"], torch.from_numpy(moments[:, 0]))
    expected = torch.from_numpy(moments[:, 1].astype(np.float64) ** 2 - EPS)
    torch.testing.assert_close(variables["layer16x_BN/variance"].double(), expected, rtol=0, atol=1e-6)
    (released,) = released_models("fcrn", variables)
    assert released.settings["zeros"] == zeros and set(released.settings_variables) == pads


@pytest.mark.parametrize("zeros", PADS)
def test_up_convolutions_equal_those_of_matconvnet(tmp_path, zeros):
    """Maps are padded as stated in the file and combined as by `Combine`: kernels with two rows give rows 1, 3, ..."""
    dag = synthetic_network(zeros, encoder=False)
    dag.save(tmp_path / "net.mat")
    variables = read_mat(tmp_path / "net.mat")
    x = torch.randn(1, 16, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(1, 8, 8, 10)
    up = FastUp(16, 8, zeros)
    for letter, (h, w) in SIZES.items():
        kernel = torch.from_numpy(dag.values[f"u0{letter.lower()}_filter"]).permute(3, 2, 0, 1)
        bias = torch.from_numpy(dag.values[f"u0{letter.lower()}_bias"][0])
        top, bottom = PADS[zeros] if h == 2 else (1, 1)
        left, right = PADS[zeros] if w == 2 else (1, 1)
        output = F.conv2d(F.pad(x, (left, right, top, bottom)), kernel, bias)
        expected[:, :, int(h == 2) :: 2, int(w == 2) :: 2] = output
        layer = getattr(up, f"conv{letter}")
        layer.weight.data = variables[f"layer2x_br1_Conv{letter}/weights"].permute(3, 2, 0, 1)
        layer.bias.data = variables[f"layer2x_br1_Conv{letter}/biases"]
    torch.testing.assert_close(up(x), expected, rtol=1e-5, atol=1e-5)


def test_files_without_a_suitable_network_are_rejected(tmp_path):
    (tmp_path / "text.mat").write_text("no matrices")
    io.savemat(tmp_path / "other.mat", {"x": np.ones(3)})
    half = Dag()
    half.conv("conv1", "data", (3, 3, 2, 3))
    half.save(tmp_path / "half.mat")
    for name, text in (
        ("text", "no network of MatConvNet"),
        ("other", "layers and params"),
        ("half", "up-proj"),
    ):
        with pytest.raises(DepthRosError, match=text):
            import_checkpoint("fcrn", tmp_path / f"{name}.mat", tmp_path)
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + bytes([0, 2]) + b"IM" + bytes(512))
    with pytest.raises(DepthRosError, match="'-v7'"):
        read_mat(tmp_path / "new.mat")
