"""Torch-TensorRT's backend, with a stand-in for the compiler that keeps its rules and runs in PyTorch on the CPU."""

from __future__ import annotations

import importlib
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from depth_ros.card import read_card
from depth_ros.cli import main
from depth_ros.engine import (
    EngineSettings,
    backend,
    builder,
    candidates,
    nvidia,
    opening,
    pool,
    store,
)
from depth_ros.engine.check import Check, check_inputs, task_inputs
from depth_ros.engine.fake_quantisation import QUANTISED
from depth_ros.engine.precision import lowered
from depth_ros.engine.store import EngineRequest
from depth_ros.errors import DepthRosError
from depth_ros.networks import compact, struct2depth

SHARED_FIELDS = (
    "workspace_size", "min_block_size", "require_full_compilation", "optimization_level", "dryrun",
    "timing_cache_path", "use_fp32_acc", "offload_module_to_cpu",
)  # fmt: skip
FIELDS = {
    "2.8.0": (*SHARED_FIELDS, "enabled_precisions", "use_python_runtime", "use_explicit_typing"),
    "2.14.0": (*SHARED_FIELDS, "use_complex_decomposition", "enable_autocast", "decompose_attention"),
}
"""Version of Torch-TensorRT -> fields of its CompilationSettings: those used here, and some that differ."""
LIBRARIES = {"2.8.0": ("tensorrt", "10.3.0"), "2.14.0": ("tensorrt_cu13_libs", "11.1.0.106")}
"""The distribution that contains TensorRT, and its version."""

COMPILER = '''
import dataclasses, json, os
from pathlib import Path
import torch
from torch import fx, nn

CompilationSettings = dataclasses.make_dataclass("CompilationSettings", [(name, object, None) for name in {fields}])
UNSUPPORTED, calls = set(), []

class Engine(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *inputs):
        return self.module(*inputs)

def compile(program, arg_inputs, **options):
    """Takes any option, as the real function does. An engine, or operators that PyTorch runs, or the program itself."""
    calls.append(options)
    names = set(program.graph_signature.user_inputs)
    inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if any(each.meta["val"].dtype == torch.uint8 for each in inputs) or any(t.dtype == torch.uint8 for t in arg_inputs):
        raise TypeError("Unsupported TensorRT data type UINT8")
    module = program.module()
    operators = {{str(node.target) for node in program.graph.nodes if node.op == "call_function"}}
    left = operators & UNSUPPORTED
    if left == operators:
        return module
    if left and options.get("require_full_compilation"):
        raise AssertionError("require_full_compilation=True was specified, but model is not fully supported")
    if not options.get("dryrun"):
        file = Path(options["timing_cache_path"])
        file.write_bytes((file.read_bytes() if file.is_file() else b"") + b"times ")
    graph = fx.Graph()
    values = tuple(graph.placeholder(each.name) for each in inputs)
    if left:  # only what is looked at: the submodule that PyTorch runs
        rest = fx.Graph()
        value = rest.placeholder("x")
        for node in program.graph.nodes:
            if node.op == "call_function" and str(node.target) in left:
                rest.call_function(node.target, (value,))
        graph.call_module("_run_on_gpu_0", values)
        print("report of the dry run")
        return fx.GraphModule({{"_run_on_gpu_0": fx.GraphModule({{}}, rest)}}, graph)
    graph.output(graph.call_module("_run_on_acc_0", values))
    return fx.GraphModule({{"_run_on_acc_0": Engine(module)}}, graph)
'''
PACKAGE = """
import torch
from torch_tensorrt import dynamo

def save(module, file_path, *, arg_inputs):
    torch.export.save(torch.export.export(module, tuple(arg_inputs)), file_path)

def load(file_path):
    return torch.export.load(file_path)

class runtime:
    cuda_graphs = False

    @classmethod
    def set_cudagraphs_mode(cls, mode):
        cls.cuda_graphs = mode
"""

CONVERSION = """
from types import SimpleNamespace

converters, layers = {}, []

def dynamo_tensorrt_converter(target):
    return lambda convert: converters.setdefault(target, convert)

def quantize(ctx, target, source_ir, name, x, amax, num_bits, exponent_bits):
    layers.append((name, tuple(amax.shape), float(amax.max()), num_bits, exponent_bits))

impl = SimpleNamespace(quantize=SimpleNamespace(quantize=quantize))
"""


def install(folder, name, version):
    """Metadata of a distribution."""
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture(params=FIELDS)
def compiler(request, tmp_path, monkeypatch, engine_cache):
    """The stand-in of one version of Torch-TensorRT, installed for this process and for build processes."""
    site = tmp_path / "site"
    package = site / "torch_tensorrt"
    (package / "dynamo").mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "dynamo/__init__.py").write_text(COMPILER.format(fields=FIELDS[request.param]))
    (package / "dynamo/conversion.py").write_text(CONVERSION)
    install(site, "torch_tensorrt", request.param)
    install(site, *LIBRARIES[request.param])
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    module = importlib.import_module("torch_tensorrt.dynamo")
    module.version = request.param
    yield module
    for name in [name for name in sys.modules if name.startswith("torch_tensorrt")]:
        del sys.modules[name]


@pytest.fixture()
def trt():
    return backend("torch_tensorrt")


@pytest.fixture()
def card(small_model):
    return read_card(small_model)


@pytest.fixture()
def case(card):
    """A depth model and its inputs, images in uint8."""
    torch.manual_seed(0)
    return compact.Model(compact.Settings()).eval(), check_inputs(card, 128, 64, "cpu")


def object_motion():
    """A model with two inputs in uint8, images and labels, and two results."""
    torch.manual_seed(0)
    model = struct2depth.ObjectMotionModel(struct2depth.Settings(width_divisor=16, objects=1)).eval()
    image = torch.randint(0, 256, (64, 128, 3), dtype=torch.uint8).numpy()
    return model, task_inputs("object_motion", 3, image, "cpu")


def built(trt, model, inputs, folder):
    folder.mkdir()
    trt.build(model, inputs, folder)
    return trt.load(folder, "cpu")


def test_engines_reproduce_eager_without_uint8_at_their_border(compiler, trt, case, tmp_path):
    for i, (model, inputs) in enumerate((case, object_motion())):
        assert inputs[0].dtype == torch.uint8
        check = Check.of(model, inputs)
        run = built(trt, model, inputs, tmp_path / str(i))
        assert check.problem(run) == ""
        program = torch.export.load(tmp_path / str(i) / trt.FILE)
        entering = program.example_inputs[0]
        assert len(entering) == len(inputs) and all(t.dtype == torch.float32 for t in entering)


def test_engines_run_as_cuda_graphs(compiler, trt, case, tmp_path):
    package = importlib.import_module("torch_tensorrt")
    assert not package.runtime.cuda_graphs
    built(trt, *case, tmp_path / "engine")
    assert package.runtime.cuda_graphs


def test_int8_becomes_quantise_layers_of_tensorrt(compiler, trt, case, tmp_path, monkeypatch):
    """Kernels with one scale an output channel, activations with one scale, 8 bits, no exponent."""
    monkeypatch.setattr(trt, "register_int8", trt.register_int8.__wrapped__)

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 8, 3, bias=False)

        def forward(self, image):
            x = image.to(self.layer.weight.dtype).permute(0, 3, 1, 2)
            return self.layer(x / 255).float().mean(1).exp()

    torch.manual_seed(0)
    model, inputs = Small().eval(), case[1][:1]
    program = lowered(model, "int8", inputs, "torch_tensorrt")
    run = built(trt, program, inputs, tmp_path / "engine")
    assert Check.of(model, inputs).problem(run) == ""
    conversion = importlib.import_module("torch_tensorrt.dynamo.conversion")
    convert = conversion.converters[QUANTISED]
    convert(None, None, (torch.empty(3, 2, 5, 5), [0.1, 0.2, 0.3]), {}, "kernel")
    convert(None, None, (torch.empty(1, 2, 5, 5), [0.5]), {}, "map")
    assert conversion.layers == [
        ("kernel", (3, 1, 1, 1), pytest.approx(127 * 0.3), 8, 0),
        ("map", (), 127 * 0.5, 8, 0),
    ]


def test_int8_on_a_gpu_is_used_only_on_request(gpu_backends):
    """Nobody has measured yet where it is faster than float16."""
    found = candidates(EngineSettings(), "cuda", [], int8=True)
    assert found[0] == ("torch_tensorrt", "float16")
    requested = candidates(EngineSettings(precision="int8"), "cuda", [])
    assert requested == [("torch_tensorrt", "int8"), ("eager", "float32")]


def test_options_are_those_of_the_version_and_full_compilation_is_required(compiler, trt, case, tmp_path):
    built(trt, *case, tmp_path / "engine")
    (options,) = compiler.calls
    assert options["require_full_compilation"] is True
    assert set(options) <= set(FIELDS[compiler.version])
    assert options.get("use_explicit_typing", True) is True
    assert ("use_explicit_typing" in options) == (compiler.version == "2.8.0")
    assert options["workspace_size"] == 0  # not a Jetson


class Assigns(nn.Module):
    """Assigns to slices, in the form that the functions of Torch 2.8 have, and in the usual form."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image.float()
        y = x.clone()
        y[:, 1:3, 0] = x[:, 1:3, 1] * 2
        return torch.ops.aten.slice_scatter(x, y)


def test_assignments_to_slices_become_functions_without_default_arguments(compiler, trt, tmp_path):
    inputs = (torch.arange(48, dtype=torch.uint8).reshape(1, 4, 4, 3),)
    program = trt.without_assignments(torch.export.export(Assigns(), trt.without_uint8(inputs)))
    scatters = [node for node in program.graph.nodes if "scatter" in str(node.target)]
    assert scatters and all(len(node.args) > 2 for node in scatters)
    assert all("copy_" not in str(node.target) for node in program.graph.nodes)
    assert torch.equal(built(trt, Assigns(), inputs, tmp_path / "engine")(*inputs), Assigns()(*inputs))


def test_operators_that_tensorrt_lacks_are_named(compiler, trt, case, tmp_path, capsys):
    compiler.UNSUPPORTED.add("aten.exp.default")
    with pytest.raises(DepthRosError, match=r"the whole network; operators left: 1 x aten\.exp\.default$"):
        built(trt, *case, tmp_path / "engine")
    assert compiler.calls[-1]["dryrun"] is True and capsys.readouterr().out == ""


def test_a_program_without_any_supported_operator_is_no_engine(compiler, trt, case, tmp_path):
    program = torch.export.export(case[0], trt.without_uint8(case[1]))
    compiler.UNSUPPORTED |= {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    with pytest.raises(DepthRosError, match=r"operators left: .*conv2d"):
        built(trt, *case, tmp_path / "engine")


def test_the_timing_cache_belongs_to_the_versions_and_survives_a_failed_build(compiler, trt, case, tmp_path):
    file = trt.timing_cache_file("cpu")
    assert compiler.version in file.name and LIBRARIES[compiler.version][1] in file.name
    assert file.is_relative_to(store.cache_root())
    built(trt, *case, tmp_path / "first")
    assert file.read_bytes() == b"times "
    built(trt, *case, tmp_path / "second")
    assert file.read_bytes() == b"times times "
    with pytest.raises(RuntimeError), trt.timing_cache("cpu") as copy:
        copy.write_bytes(b"half")
        raise RuntimeError
    assert file.read_bytes() == b"times times "


def test_the_build_process_stores_an_engine_with_its_versions(compiler, card):
    request = EngineRequest(card, 128, 64, "torch_tensorrt", "float32", "cpu")
    assert builder.build(request, "").startswith("built")
    assert opening.load(request)(*check_inputs(card, 128, 64, "cpu")).shape == (1, 64, 128)
    versions = json.loads((request.folder / store.MANIFEST).read_text())["versions"]
    assert versions["torch_tensorrt"] == compiler.version
    assert versions["tensorrt"] == LIBRARIES[compiler.version][1]
    assert {"cuda", "driver"} <= set(versions)


def test_a_new_tensorrt_library_makes_the_engine_unusable(compiler, card, monkeypatch):
    request = EngineRequest(card, 128, 64, "torch_tensorrt", "float32", "cpu")
    with store.new_engine(request) as folder:
        (folder / "engine.ep").write_bytes(b"engine")
    assert store.problem_with(request) == ""
    monkeypatch.setattr(nvidia, "tensorrt_version", lambda: "12.0.0")
    assert store.problem_with(request).startswith("versions was")


@pytest.mark.parametrize("compiler", ["2.8.0"], indirect=True)
def test_a_version_that_does_not_fit_torch_is_named_with_the_command(compiler, trt, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    assert trt.unavailable("cuda") == (
        'torch_tensorrt 2.8.0 does not fit torch 2.13.0+cpu: pip install "torch-tensorrt==2.13.*"'
    )
    monkeypatch.setattr(torch, "__version__", "2.8.0a0+git1")
    assert trt.unavailable("cuda") == ""
    assert trt.unavailable("cpu") == "it needs an NVIDIA GPU"


def test_the_workspace_is_bounded_on_a_jetson(compiler, trt, tmp_path, monkeypatch):
    gpu = SimpleNamespace(name="Orin", major=8, minor=7, total_memory=8 << 30, is_integrated=1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    monkeypatch.setattr(nvidia.platform, "machine", lambda: "aarch64")
    assert trt.options("cuda", tmp_path)["workspace_size"] == 1 << 30
    assert store.device_name("cuda").startswith("Orin gpu 0 sm_87 cuda")
    gpu.is_integrated = 0  # e.g. Grace Hopper
    assert trt.options("cuda", tmp_path)["workspace_size"] == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\nGCC version: 12.3.0", "550.54.14"),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "R36 (release), REVISION: 4.3"),
    ],
)  # fmt: skip
def test_the_version_of_the_driver_is_read(tmp_path, monkeypatch, text, expected):
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(nvidia, "DRIVER_FILES", (tmp_path / "missing", tmp_path / "version"))
    assert nvidia.driver_version() == expected


@pytest.fixture()
def gpu_backends(monkeypatch):
    """All backends are available, as on a machine with a GPU."""
    for name in ("torch_tensorrt", "inductor"):
        monkeypatch.setattr(backend(name), "unavailable", lambda device: "")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["torch_tensorrt float16", "torch_tensorrt float32", "inductor float16", "inductor float32",
              "eager float16", "eager float32"]),
        ({"backend": "torch_tensorrt"},
         ["torch_tensorrt float16", "torch_tensorrt float32", "eager float16", "eager float32"]),
        ({"precision": "float32"}, ["torch_tensorrt float32", "inductor float32", "eager float32"]),
        ({"backend": "eager"}, ["eager float32", "eager float16"]),
    ],
)  # fmt: skip
def test_eager_float16_comes_before_eager_float32_on_a_gpu(gpu_backends, settings, expected):
    assert [" ".join(each) for each in candidates(EngineSettings(**settings), "cuda", [])] == expected


def test_inductor_needs_triton_on_a_gpu(monkeypatch):
    inductor = backend("inductor")
    monkeypatch.setattr(inductor.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(
        inductor.importlib.metadata, "requires", lambda name: ["sympy", "triton==3.6.0; linux"]
    )
    assert inductor.unavailable("cuda") == 'no Triton: pip install "triton==3.6.0"'
    assert "Triton" not in inductor.unavailable("cpu")


@pytest.fixture()
def command_line(small_model, monkeypatch, engine_cache):
    """An environment as of a new process, in which `small` is a model."""
    monkeypatch.setenv("DEPTH_ROS_MODELS", str(small_model.parent))
    monkeypatch.setattr(pool, "_pool", pool.EnginePool())


def test_compile_with_a_named_backend_that_fails_ends_with_an_error(command_line, capsys, monkeypatch):
    monkeypatch.setattr(backend("torch_tensorrt"), "unavailable", lambda device: "")
    monkeypatch.setattr(builder, "COMMAND", ("-c", "raise SystemExit('no engine today')"))
    assert main(["compile", "small", "--backend", "torch_tensorrt", "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "small: backend 'torch_tensorrt' has no engine, eager float32 128x64 serves" in printed.err
    assert "torch_tensorrt float16: the build process ended with status 1: no engine today" in printed.err
    assert printed.err.strip().splitlines()[-1].startswith("depth_ros: ")


def test_compile_without_a_gpu_is_one_line_and_an_error(command_line, capsys):
    assert main(["compile", "small", "--backend", "torch_tensorrt", "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert error == "depth_ros: backend 'torch_tensorrt' cannot be used: it needs an NVIDIA GPU\n"
