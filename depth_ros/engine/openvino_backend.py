"""OpenVINO: the fastest backend measured on x86 CPUs. Optional: pip install openvino."""

from __future__ import annotations

import importlib.util
import platform
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, fx, nn

FILE = "engine.xml"
HINTS = {"float32": "f32", "bfloat16": "bf16"}


def unavailable(device: str) -> str:
    if device == "cuda":
        return "it is used on CPUs only"
    if importlib.util.find_spec("openvino") is None:
        return "not installed: pip install openvino"
    return ""


def precisions(device: str) -> list[str]:
    x86 = platform.machine() == "x86_64"
    # without VNNI its int8 sums overflow 16 bits
    found = ["int8"] if x86 and torch.cpu._is_vnni_supported() else []
    return [*found, *(["bfloat16"] if x86 and torch.cpu._is_avx512_bf16_supported() else []), "float32"]


def build(model: nn.Module, inputs: tuple, folder: Path) -> None:
    """Convert `model` to folder/engine.xml and .bin; the precision of its parameters becomes a hint.

    For a quantised program (depth_ros.engine.int8) the hint applies to the operators that are not quantised.
    """
    import openvino

    lowest = {p.dtype for p in model.parameters()}
    low = torch.bfloat16 in lowest or (isinstance(model, fx.GraphModule) and "bfloat16" in precisions("cpu"))
    precision = "bfloat16" if low else "float32"
    # OpenVINO converts a float32 program itself and keeps the decoding after the last convolution in float32
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model.float(), inputs)
        converted = openvino.convert_model(program)
    openvino.save_model(converted, folder / FILE, compress_to_fp16=False)
    (folder / "precision").write_text(HINTS[precision])


def load(folder: Path, device: str) -> Callable:
    import openvino

    hint = (folder / "precision").read_text()
    compiled = openvino.Core().compile_model(
        folder / FILE,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": hint,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # processes side by side would all use the first processor
        },
    )
    request = compiled.create_infer_request()

    def run(*inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = request.infer([tensor.numpy() for tensor in inputs], share_inputs=True)
        results = tuple(torch.from_numpy(found[output]) for output in compiled.outputs)
        return results[0] if len(results) == 1 else results

    return run
