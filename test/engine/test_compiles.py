"""`depth_ros compile --check-only`: networks that compile whole, networks that do not, compilers that are not here."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import nn

from depth_ros.cli import main
from depth_ros.engine import backend, inductor_backend, tensorrt_rtx
from depth_ros.engine.compiles import COMPILERS, Subject, exported, subjects, verdicts
from depth_ros.errors import DepthRosError

CONVERSIONS = (torch.ops.aten.to.dtype, torch.ops.aten._assert_tensor_metadata.default)


class Breaks(nn.Module):
    """Python decides by what is in the image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float() if image.float().mean() > 100 else -image.float()


@pytest.mark.parametrize("name", ["monodepth", "sfmlearner", "struct2depth", "vid2depth"])
def test_families_are_exported_whole_and_convert_images_first(name, monkeypatch):
    """The first two models of each, strictly; uint8 is used for nothing but a conversion (and an assertion of it)."""
    monkeypatch.setattr("depth_ros.engine.compiles.cards", list)  # one has the name of its family
    for subject in islice(subjects(name), 2):
        graph = exported(subject.model, subject.inputs).graph
        images = [n for n in graph.nodes if n.op == "placeholder" and n.meta["val"].dtype == torch.uint8]
        assert images and all(user.target in CONVERSIONS for image in images for user in image.users)


class Scales(nn.Module):
    """What compiles anywhere."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float() / 255


def test_what_is_not_here_is_said(monkeypatch):
    monkeypatch.setattr(tensorrt_rtx, "MODULES", {"no_such_module": "tensorrt-rtx-cu13-libs"})
    monkeypatch.setattr("depth_ros.engine.compiles.COMPILERS", ("openvino", "torch_tensorrt", "tensorrt_rtx"))
    subject = Subject("scales", Scales(), (torch.zeros(1, 4, 4, 3, dtype=torch.uint8),))
    found = {verdict.compiler: verdict for verdict in verdicts(subject)}
    assert found["torch.export"].compiles and found["openvino"].compiles
    assert found["tensorrt_rtx"].compiles is None
    assert (
        str(found["tensorrt_rtx"])
        == "tensorrt_rtx not checked (not installed: pip install tensorrt-rtx-cu13-libs)"
    )
    if not torch.cuda.is_available():
        assert str(found["torch_tensorrt"]) == "torch_tensorrt not checked (it needs an NVIDIA GPU)"
    assert set(COMPILERS) == {"torch_tensorrt", "openvino", "inductor", "tensorrt_rtx"}


class Unread(nn.Module):
    """Two heads, in 16 bits; of one the result, in 32, is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(3, 2, 3, dtype=torch.bfloat16) for _ in range(2))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image.permute(0, 3, 1, 2).to(torch.bfloat16)
        self.other(x).float().sigmoid()
        return self.one(x).float()


@pytest.mark.skipif(bool(inductor_backend.unavailable("cpu")), reason="no AOTInductor here")
def test_results_that_nobody_reads_are_no_trouble(tmp_path):
    inputs = (torch.randint(0, 255, (1, 8, 8, 3), dtype=torch.uint8),)
    model = Unread().eval()
    inductor_backend.build(model, inputs, tmp_path)
    run = inductor_backend.load(tmp_path, "cpu")
    with torch.no_grad():
        torch.testing.assert_close(run(*inputs), model(*inputs), rtol=0.02, atol=0.5)


def test_a_graph_break_is_seen():
    (verdict,) = verdicts(Subject("breaks", Breaks(), (torch.zeros(1, 4, 4, 3, dtype=torch.uint8),)))
    assert verdict.compiles is False and str(verdict).startswith("torch.export NO (")


def test_a_compiler_that_fails_fails_the_command(small_model, monkeypatch, capsys):
    def build(*arguments):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(backend("openvino"), "build", build)
    assert main(["compile", str(small_model), "--check-only", "--backend", "openvino"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "small: torch.export yes, openvino NO (no such operator)\n"
    assert "does not compile completely: small" in printed.err
    assert main(["compile"]) == 1 and "which model?" in capsys.readouterr().err


def test_tensorrt_rtx_builds_an_engine_and_refuses_uint8_arithmetic(small_model):
    if tensorrt_rtx.unavailable():
        pytest.skip(f"TensorRT-RTX is {tensorrt_rtx.unavailable()}")
    (subject,) = subjects(str(small_model))
    assert tensorrt_rtx.build(exported(subject.model, subject.inputs)) > 1e6

    class Late(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.permute(0, 3, 1, 2).float()

    with pytest.raises(DepthRosError, match="UInt8"):
        tensorrt_rtx.build(exported(Late(), (torch.zeros(1, 4, 4, 3, dtype=torch.uint8),)))
