"""`depth_ros compile --check-only`: networks that compile completely, networks that do not, missing compilers."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import nn

from depth_ros.cli import main
from depth_ros.engine import backend, inductor_backend, tensorrt_rtx_backend
from depth_ros.engine.compile_check import COMPILERS, CompileCase, cases, check, exported

CONVERSIONS = (torch.ops.aten.to.dtype, torch.ops.aten._assert_tensor_metadata.default)


class Breaks(nn.Module):
    """Control flow that depends on the image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float() if image.float().mean() > 100 else -image.float()


@pytest.mark.parametrize("name", ["monodepth", "sfmlearner", "struct2depth", "vid2depth"])
def test_families_are_exported_completely_and_convert_images_first(name, monkeypatch):
    """The first two models of each, strictly; uint8 is used for nothing but a conversion (and an assertion of it)."""
    monkeypatch.setattr("depth_ros.engine.compile_check.cards", list)  # one has the name of its family
    for case in islice(cases(name), 2):
        graph = exported(case.model, case.inputs).graph
        images = [n for n in graph.nodes if n.op == "placeholder" and n.meta["val"].dtype == torch.uint8]
        assert images and all(user.target in CONVERSIONS for image in images for user in image.users)


class Scales(nn.Module):
    """Compiles with every compiler."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float() / 255


def test_missing_compilers_are_reported(monkeypatch):
    monkeypatch.setattr(tensorrt_rtx_backend, "not_installed", lambda: "not installed: pip install onnx")
    monkeypatch.setattr(
        "depth_ros.engine.compile_check.COMPILERS", ("openvino", "torch_tensorrt", "tensorrt_rtx")
    )
    case = CompileCase("scales", Scales(), (torch.zeros(1, 4, 4, 3, dtype=torch.uint8),))
    found = {result.compiler: result for result in check(case)}
    assert found["torch.export"].compiles and found["openvino"].compiles
    assert found["tensorrt_rtx"].compiles is None
    assert str(found["tensorrt_rtx"]) == "tensorrt_rtx not checked (not installed: pip install onnx)"
    if not torch.cuda.is_available():
        assert str(found["torch_tensorrt"]) == "torch_tensorrt not checked (it needs an NVIDIA GPU)"
    assert set(COMPILERS) == {"torch_tensorrt", "openvino", "inductor", "tensorrt_rtx"}


class UnusedHead(nn.Module):
    """Two heads in 16 bits; the float32 result of one is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(3, 2, 3, dtype=torch.bfloat16) for _ in range(2))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image.permute(0, 3, 1, 2).to(torch.bfloat16)
        self.other(x).float().sigmoid()
        return self.one(x).float()


@pytest.mark.skipif(bool(inductor_backend.unavailable("cpu")), reason="no AOTInductor here")
def test_aotinductor_compiles_a_network_with_an_unused_result(tmp_path):
    inputs = (torch.randint(0, 255, (1, 8, 8, 3), dtype=torch.uint8),)
    model = UnusedHead().eval()
    inductor_backend.build(model, inputs, tmp_path)
    run = inductor_backend.load(tmp_path, "cpu")
    with torch.no_grad():
        torch.testing.assert_close(run(*inputs), model(*inputs), rtol=0.02, atol=0.5)


def test_a_graph_break_is_reported():
    (result,) = check(CompileCase("breaks", Breaks(), (torch.zeros(1, 4, 4, 3, dtype=torch.uint8),)))
    assert result.compiles is False and str(result).startswith("torch.export NO (")


def test_the_command_fails_if_a_compiler_fails(small_model, monkeypatch, capsys):
    def build(*arguments):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(backend("openvino"), "build", build)
    assert main(["compile", str(small_model), "--check-only", "--backend", "openvino"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "small: torch.export yes, openvino NO (no such operator)\n"
    assert "does not compile completely: small" in printed.err
    assert main(["compile"]) == 1 and "which model?" in capsys.readouterr().err


def test_the_command_builds_an_engine_of_tensorrt_rtx_for_another_machine(small_model, capsys):
    assert main(["compile", str(small_model), "--check-only", "--backend", "tensorrt_rtx"]) == 0
    assert capsys.readouterr().out == "small: torch.export yes, tensorrt_rtx yes\n"
