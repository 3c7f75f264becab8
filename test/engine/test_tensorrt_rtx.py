"""TensorRT-RTX's backend: the real builder, for another machine, and a stand-in for the runtime, which needs a GPU.

The stand-in runs the ONNX file that the builder accepted in ONNX Runtime, on the memory that the backend hands over.
"""

from __future__ import annotations

import ctypes
import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorrt_rtx_bindings
import torch
from torch import nn

from depth_ros.card import read_card
from depth_ros.cli import main
from depth_ros.engine import EngineSettings, backend, builder, candidates, nvidia, opening, pool, store
from depth_ros.engine import tensorrt_rtx_backend as rtx
from depth_ros.engine.check import Check, check_inputs
from depth_ros.engine.compile_check import CAPABILITY
from depth_ros.engine.precision import lowered
from depth_ros.engine.store import EngineRequest
from depth_ros.errors import DepthRosError
from depth_ros.networks import compact

STREAM = 42
ONNX_TYPES = {
    "tensor(float)": "FLOAT",
    "tensor(float16)": "HALF",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
}
NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "UINT8": np.uint8}


class Runtime:
    """TensorRT-RTX's runtime, engine, execution context and runtime cache in one."""

    calls: list = []  # noqa: RUF012
    """What was done with streams and runtime caches."""

    def __init__(self, logger):
        self.logger, self.addresses = logger, {}

    def deserialize_cuda_engine(self, data):
        if not data:
            self.logger.log(tensorrt_rtx_bindings.ILogger.ERROR, "the engine is damaged")
            return None
        self.session = onnxruntime.InferenceSession(data)
        self.tensors = {each.name: each for each in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.num_io_tensors = len(self.tensors)
        return self

    def create_runtime_config(self):
        return self

    def create_runtime_cache(self):
        return self

    def deserialize(self, data):
        self.calls.append(("deserialize", bytes(data)))

    def serialize(self):
        return memoryview(b"kernels")

    def set_runtime_cache(self, cache):
        assert cache is self

    def create_execution_context(self, config):
        assert config is self
        return self

    def get_tensor_name(self, i):
        return list(self.tensors)[i]

    def get_tensor_shape(self, name):
        return self.tensors[name].shape

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=ONNX_TYPES[self.tensors[name].type])

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        self.calls.append(("execute", stream))
        inputs = {each.name: self.memory(each.name) for each in self.session.get_inputs()}
        outputs = [each.name for each in self.session.get_outputs()]
        for name, result in zip(outputs, self.session.run(outputs, inputs), strict=True):
            self.memory(name)[...] = result
        return True

    def memory(self, name):
        kind = np.dtype(NUMPY_TYPES[self.get_tensor_dtype(name).name])
        size = kind.itemsize * int(np.prod(self.get_tensor_shape(name)))
        block = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(block, kind).reshape(self.get_tensor_shape(name))


def install_runtime(monkeypatch):
    """Build for another machine, keep the ONNX file that the builder accepted, and run it."""
    build = rtx.serialized_engine

    def accepted(onnx_bytes, capability=""):
        assert len(build(onnx_bytes, CAPABILITY)) > 1000
        return onnx_bytes

    monkeypatch.setattr(rtx, "serialized_engine", accepted)
    monkeypatch.setattr(tensorrt_rtx_bindings, "Runtime", Runtime)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=STREAM))


CHILD = """
import sys, pytest
sys.path.insert(0, {folder!r})
import test_tensorrt_rtx
test_tensorrt_rtx.install_runtime(pytest.MonkeyPatch())
from depth_ros.engine import builder
builder.main()
"""


@pytest.fixture()
def runtime(monkeypatch, request, engine_cache):
    """The stand-in, in this process and in build processes."""
    install_runtime(monkeypatch)
    monkeypatch.setattr(Runtime, "calls", [])
    monkeypatch.setattr(builder, "COMMAND", ("-c", CHILD.format(folder=str(request.path.parent))))
    return Runtime


@pytest.fixture()
def card(small_model):
    return read_card(small_model)


@pytest.fixture()
def depth(card):
    """A depth model and its inputs."""
    torch.manual_seed(0)
    return compact.Model(compact.Settings()).eval(), check_inputs(card, 128, 64, "cpu")


class Segmentation(nn.Module):
    """Images and labels in uint8, an input without effect, and two results, one of them integers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image: torch.Tensor, K: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.convolution((image.permute(0, 3, 1, 2) / 255).to(self.convolution.weight.dtype)).float()
        return x.argmax(1), x.amax(1) * (labels.float() + 1)


@pytest.fixture()
def segmentation(depth):
    image, K = depth[1]
    return Segmentation().eval(), (image, K, image[..., 0].contiguous())


@pytest.mark.parametrize(("kind", "precision"), [("depth", "float16"), ("segmentation", "float32")])
def test_the_builder_accepts_the_model_and_its_onnx_file_reproduces_eager(
    runtime, request, tmp_path, kind, precision
):
    model, inputs = request.getfixturevalue(kind)
    check = Check.of(model, inputs)
    rtx.build(lowered(model, precision, inputs), inputs, tmp_path)
    assert check.problem(rtx.load(tmp_path, "cpu")) == ""
    assert runtime.calls == [("execute", STREAM)]
    graph = onnx.load(tmp_path / rtx.FILE).graph
    assert {each.type.tensor_type.elem_type for each in graph.input} == {onnx.TensorProto.FLOAT}
    kernels = {each.data_type for each in graph.initializer if len(each.dims) == 4}
    assert (onnx.TensorProto.FLOAT16 in kernels) == (precision == "float16")


def test_inputs_that_do_not_fit_the_engine_are_rejected(runtime, depth, tmp_path):
    model, (image, K) = depth
    rtx.build(model, (image, K), tmp_path)
    run = rtx.load(tmp_path, "cpu")
    with torch.no_grad():
        assert torch.equal(run(image.mT.contiguous().mT, K), run(image, K))  # not contiguous
    for wrong in (image[:, 1:], image.double()):
        with pytest.raises(
            DepthRosError, match=r"input_0 is .*; the engine needs \(\(1, 64, 128, 3\), torch.float32"
        ):
            run(wrong, K)


def test_results_of_two_calls_do_not_share_memory(runtime, depth, tmp_path):
    model, (image, K) = depth
    rtx.build(model, (image, K), tmp_path)
    run = rtx.load(tmp_path, "cpu")
    first = run(image, K)
    before = first.clone()
    run(255 - image, K)
    assert torch.equal(first, before)


def test_kernels_are_stored_with_the_engine_by_the_build_process(runtime, card):
    request = EngineRequest(card, 128, 64, "tensorrt_rtx", "float16", "cpu")
    assert builder.build(request, "").startswith("built")
    manifest = json.loads((request.folder / store.MANIFEST).read_text())
    assert set(manifest["files"]) == {rtx.FILE, rtx.KERNELS, store.CHECK}
    assert {"tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", "cuda", "driver"} <= set(
        manifest["versions"]
    )
    assert opening.load(request)(*check_inputs(card, 128, 64, "cpu")).shape == (1, 64, 128)
    assert runtime.calls[0] == ("deserialize", b"kernels")
    assert store.problem_with(request) == ""


def test_another_version_of_the_library_makes_the_engine_unusable(card, engine_cache, monkeypatch):
    request = EngineRequest(card, 128, 64, "tensorrt_rtx", "float32", "cpu")
    with store.new_engine(request) as folder:
        (folder / rtx.FILE).write_bytes(b"engine")
    assert store.problem_with(request) == ""
    version = nvidia.installed_version
    monkeypatch.setattr(
        nvidia, "installed_version", lambda *names: "9.9" if "libs" in names[0] else version(*names)
    )
    assert store.problem_with(request).startswith("versions was")


def test_a_damaged_engine_is_an_error_with_the_reason(runtime, tmp_path):
    (tmp_path / rtx.FILE).write_bytes(b"")
    with pytest.raises(DepthRosError, match="the engine is damaged"):
        rtx.load(tmp_path, "cpu")


def test_the_workspace_is_bounded_and_the_builder_gives_its_reason(depth, card, tmp_path, monkeypatch):
    monkeypatch.setattr(rtx, "WORKSPACE", 1000)
    with pytest.raises(DepthRosError, match=r"OutOfMemory|workspace") as error:
        rtx.build(depth[0], check_inputs(card, 512, 256, "cpu"), tmp_path, CAPABILITY)
    assert "Cuda Runtime" not in str(error.value)  # that there is no GPU is not the reason


def test_what_the_parser_rejects_is_named(tmp_path):
    class Fft(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft(image.float()).real

    with pytest.raises(DepthRosError, match="DFT"):
        rtx.build(Fft().eval(), (torch.zeros(1, 4, 4, dtype=torch.uint8),), tmp_path, CAPABILITY)


def test_compute_capabilities_are_those_of_the_builder():
    known = {f"SM{each.replace('.', '')}" for each in rtx.CAPABILITIES}
    assert set(tensorrt_rtx_bindings.ComputeCapability.__members__) == known | {"NONE", "CURRENT"}


@pytest.fixture()
def gpu(monkeypatch):
    """Torch finds a GPU, at first one that TensorRT-RTX supports."""
    found = {"capability": (8, 9)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: found["capability"])
    return found


def test_what_is_missing_is_named_with_the_command(gpu, monkeypatch):
    assert rtx.unavailable("cuda") == ""
    assert rtx.unavailable("cpu") == "it needs an NVIDIA GPU"
    gpu["capability"] = (9, 0)  # H100
    assert rtx.unavailable("cuda") == (
        "compute capability 9.0 is not supported, only 7.5, 8.0, 8.6, 8.9, 12.0, 12.1: use torch_tensorrt"
    )
    gpu["capability"] = (12, 0)
    find_spec = rtx.importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(rtx.importlib.util, "find_spec", lambda name: None if "_" in name else find_spec(name))
        assert rtx.unavailable("cuda") == (
            "not installed: pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs"
        )
        patch.setattr(nvidia, "installed_version", lambda *names: nvidia.MISSING)
        patch.setattr(torch.version, "cuda", "12.8")
        assert rtx.unavailable("cuda").endswith(
            "pip install tensorrt-rtx-cu12-bindings tensorrt-rtx-cu12-libs"
        )
    monkeypatch.setattr(nvidia, "installed_version", lambda name: "1.6" if "bindings" in name else "1.7")
    assert rtx.unavailable("cuda") == (
        "tensorrt-rtx-cu13-bindings 1.6 does not fit tensorrt-rtx-cu13-libs 1.7: "
        "pip install tensorrt-rtx-cu13-bindings==1.7"
    )


def test_auto_tries_it_after_torch_tensorrt_and_before_inductor(gpu, monkeypatch):
    for name in ("torch_tensorrt", "inductor"):
        monkeypatch.setattr(backend(name), "unavailable", lambda device: "")
    tried = [name for name, _ in candidates(EngineSettings(), "cuda", [])]
    assert list(dict.fromkeys(tried)) == ["torch_tensorrt", "tensorrt_rtx", "inductor", "eager"]


def test_compile_without_a_gpu_is_one_line_and_an_error(small_model, monkeypatch, engine_cache, capsys):
    monkeypatch.setenv("DEPTH_ROS_MODELS", str(small_model.parent))
    monkeypatch.setattr(pool, "_pool", pool.EnginePool())
    assert main(["compile", "small", "--backend", "tensorrt_rtx", "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert error == "depth_ros: backend 'tensorrt_rtx' cannot be used: it needs an NVIDIA GPU\n"
