"""Convert models to TensorRT without a GPU: `convert_to_tensorrt.py RESULTS.jsonl [NAME ...]`.

Runs the backends' own `build` up to the serialised engine, for compute capability 8.9, and appends a line of JSON for
each model and precision: whether it became one engine without operators of PyTorch and without uint8 inputs. What is
already converted in RESULTS.jsonl, with the same code and versions, is skipped.

The compiler is the one of the environment: Torch-TensorRT (2.14 as torch-tensorrt-rtx, or the Python code of 2.8, both
with the builder of TensorRT-RTX), else TensorRT-RTX through ONNX, whose file also runs in ONNX Runtime, under the check
of all engines. Queries of the GPU are answered by stand-ins, and finished engines are not loaded. The stand-ins replace
private names of exactly these versions.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import json
import logging
import os
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch

ROOT = Path(__file__).resolve().parent.parent
JETPACK_TENSORRT = "10.3.0"
"""TensorRT of JetPack 6: Torch-TensorRT 2.8 decides by its version."""
PRECISIONS = ("float16", "float32")
Network = SimpleNamespace
"""engines: their sizes in bytes. left: operators that PyTorch runs. input_types. difference: from eager float32."""


def main(results: Path, names: list[str]) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["DEPTH_ROS_CACHE"] = tempfile.mkdtemp()
    has_torch_tensorrt = importlib.util.find_spec("torch_tensorrt") is not None
    convert = torch_tensorrt_converter() if has_torch_tensorrt else convert_with_rtx

    from depth_ros.engine import nvidia, store

    backend = "torch_tensorrt" if has_torch_tensorrt else "tensorrt_rtx"
    versions = {
        "torch_tensorrt": nvidia.torch_tensorrt_version(),
        "torch": torch.__version__,
        "tensorrt_rtx": nvidia.installed_version("tensorrt_rtx_cu13_libs"),
    }
    lines = results.read_text().splitlines() if results.is_file() else []
    rows = [row for row in map(json.loads, lines) if not row["problem"]]
    known = {(row["case"], row["precision"], row["code"]) for row in rows}
    for family, case in models(names):
        code = f"{store.source_checksum(family, backend)[:16]} {sorted(versions.values())}"
        for precision in PRECISIONS:
            if (case.name, precision, code) in known:
                continue
            start = time.monotonic()
            found = outcome(convert, case, precision)
            row = {
                "case": case.name,
                "precision": precision,
                **found,
                "seconds": round(time.monotonic() - start),
            }
            row |= {"date": time.strftime("%Y-%m-%d"), "versions": versions, "code": code}
            print(
                f"{case.name} {precision}: {row['problem'] or 'one engine'}, {row['seconds']} s", flush=True
            )
            with results.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


def models(names: list[str]) -> Iterator[tuple[str, object]]:
    """Family and case of every shipped model, every family and its tasks, and small networks of transformers."""
    from depth_ros.card import cards
    from depth_ros.engine.compile_check import CompileCase, cases
    from depth_ros.networks import families, family

    for card in cards():
        if not names or card.name in names:
            for case in cases(card.name):
                yield card.family, case
    shipped = {card.name for card in cards()}
    for name in families():
        if (not names or name in names) and name not in shipped and family(name).NETWORKS:
            for case in cases(name):
                yield name, case
    if not names or "hugging_face" in names:
        specification = importlib.util.spec_from_file_location(
            "kinds", ROOT / "test/networks/test_hugging_face.py"
        )
        tests = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(tests)
        for kind in tests.CONFIGS:
            model = tests.built(kind)
            yield (
                "hugging_face",
                CompileCase(f"hugging_face {kind}", model, (tests.random_image(model), tests.K)),
            )


def outcome(convert: Callable, case: object, precision: str) -> dict:
    """The result of one conversion. problem: empty if it is one engine without anything else."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = convert(case, precision, Path(folder))
    except Exception as error:  # compilers raise anything
        text = str(error).strip() or type(error).__name__
        return {"problem": text.splitlines()[0][:200], "megabytes": 0}
    problems = [f"{len(found.engines)} engines"] if len(found.engines) != 1 else []
    problems += [f"operators left: {found.left}"] if found.left else []
    problems += ["uint8 input"] if "UINT8" in found.input_types else []
    problems += [f"differs from eager float32: {found.difference}"] if found.difference else []
    return {"problem": "; ".join(problems), "megabytes": round(sum(found.engines) / 1e6, 1)}


def convert_with_rtx(case: object, precision: str, folder: Path) -> Network:
    """Convert by the backend `tensorrt_rtx`, and run the ONNX file in ONNX Runtime, under the check of all engines."""
    import onnx

    from depth_ros.engine import tensorrt_rtx_backend as backend
    from depth_ros.engine.check import Check
    from depth_ros.engine.compile_check import CAPABILITY
    from depth_ros.engine.precision import lowered

    check = Check.of(case.model, case.inputs)
    valid = any(
        result.isfinite().any() for result in check.expected
    )  # random weights may give nothing to compare
    with mock.patch.object(backend, "serialized_engine", wraps=backend.serialized_engine) as builder:
        backend.build(lowered(case.model, precision, case.inputs), case.inputs, folder, CAPABILITY)
    content = builder.call_args.args[0]
    kinds = [each.type.tensor_type.elem_type for each in onnx.load_from_string(content).graph.input]
    return Network(
        engines=[(folder / backend.FILE).stat().st_size],
        left="",
        input_types=[onnx.TensorProto.DataType.Name(kind) for kind in kinds],
        difference=check.problem(partial(run_onnx, content)) if valid else "",
    )


def run_onnx(content: bytes, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    import onnxruntime

    from depth_ros.engine.precision import without_uint8

    session = onnxruntime.InferenceSession(content)
    feed = {each.name: inputs[int(each.name.removeprefix("input_"))] for each in session.get_inputs()}
    arrays = dict(zip(feed, (tensor.numpy() for tensor in without_uint8(tuple(feed.values())))))
    return tuple(torch.from_numpy(result) for result in session.run(None, arrays))


def torch_tensorrt_converter() -> Callable:
    """The conversion by the Torch-TensorRT of this environment, with stand-ins for the GPU."""
    from depth_ros.engine import nvidia, torch_tensorrt_backend
    from depth_ros.engine.precision import lowered

    old = nvidia.torch_tensorrt_version().startswith("2.8.")
    stand_in_for_gpu(old)
    import torch_tensorrt
    from torch_tensorrt.dynamo import runtime
    from torch_tensorrt.dynamo.conversion import _TRTInterpreter as interpreter

    input_types, saved = [], []
    configure = interpreter.TRTInterpreter._populate_trt_builder_config

    def configure_without_gpu(self, *arguments, **options):
        import tensorrt_rtx_bindings as tensorrt

        config = configure(self, *arguments, **options)
        config.num_compute_capabilities = 1
        config.set_compute_capability(tensorrt.ComputeCapability.SM89, 0)
        network = self.ctx.net
        input_types.extend(network.get_input(i).dtype.name for i in range(network.num_inputs))
        return config

    interpreter.TRTInterpreter._populate_trt_builder_config = configure_without_gpu
    if old:
        adapt_interpreter_2_8(interpreter)
    names = ("PythonTorchTensorRTModule", "TorchTensorRTModule")
    kinds = tuple(getattr(runtime, name) for name in names if hasattr(runtime, name))
    for kind in kinds:
        kind.setup_engine = kind.set_output_tensors_as_unowned = lambda self, *arguments: None
    torch_tensorrt.save = lambda compiled, *arguments, **options: saved.append(compiled)

    def convert(case: object, precision: str, folder: Path) -> Network:
        input_types.clear()
        saved.clear()
        torch_tensorrt_backend.build(lowered(case.model, precision, case.inputs), case.inputs, folder)
        (compiled,) = saved
        engines = [len(part.serialized_engine) for part in compiled.modules() if isinstance(part, kinds)]
        left = torch_tensorrt_backend.operators_in_torch(compiled)
        return Network(engines=engines, left=left, input_types=list(input_types), difference="")

    return convert


def stand_in_for_gpu(old: bool) -> None:
    """Answer queries of the GPU as an Ada card (compute capability 8.9) would, and alias TensorRT-RTX as TensorRT.

    old: Torch-TensorRT is 2.8, which has to find the version of TensorRT in JetPack 6.
    """
    import tensorrt_rtx_bindings as tensorrt

    properties = SimpleNamespace(name="stand-in", major=8, minor=9, total_memory=24 << 30)
    torch.cuda.get_device_capability = lambda *arguments: (8, 9)
    torch.cuda.get_device_properties = lambda *arguments: properties
    torch.cuda.mem_get_info = lambda *arguments: (20 << 30, 24 << 30)
    torch.cuda.current_device = lambda: 0
    torch.cuda.empty_cache = lambda: None
    tensorrt.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=finished_engine)
    sys.modules.setdefault("tensorrt_rtx", tensorrt)
    sys.modules["tensorrt"] = tensorrt
    if old:
        tensorrt.__version__ = JETPACK_TENSORRT
        tensorrt.IAlgorithmSelector = type("IAlgorithmSelector", (), {})  # not in TensorRT-RTX
        tensorrt.tensorrt = sys.modules["tensorrt.tensorrt"] = tensorrt
        version = importlib.metadata.version
        importlib.metadata.version = lambda name: JETPACK_TENSORRT if name == "tensorrt" else version(name)


def finished_engine(data: bytes) -> SimpleNamespace:
    """A serialised engine: only a GPU can deserialise it."""
    return SimpleNamespace(serialize=lambda: memoryview(data), get_aliased_input_tensor=lambda name: None)


def adapt_interpreter_2_8(interpreter: object) -> None:
    """TensorRT-RTX has no timing cache, and types of outputs cannot be set: they have to be right by themselves."""
    kind = interpreter.TRTInterpreter
    kind._create_timing_cache = kind._save_timing_cache = lambda *arguments: None
    setting = "output.dtype = output_dtype.to(trt.DataType, use_default=True)"
    source = textwrap.dedent(inspect.getsource(kind.output))
    assert setting in source
    names = dict(vars(interpreter))
    exec(source.replace(setting, setting.replace("output.dtype =", "assert output.dtype ==")), names)
    kind.output = names["output"]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(Path(sys.argv[1]), sys.argv[2:])
