"""A GPU for tests on machines without one: tensors "on" it compute on the CPU, and what a real one costs is counted."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

COPIES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
Kernel = Callable[[], None]


class CudaTensor(Tensor):
    """A tensor on the GPU; `values` is a tensor on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> CudaTensor:
        with torch.inference_mode(
            False
        ):  # views of tensors made outside of inference mode are not inference tensors
            made = Tensor._make_wrapper_subclass(
                cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(),
                dtype=values.dtype, device="cuda",
            )  # fmt: skip
        made.values = values
        return made

    def __repr__(self, **_: Any) -> str:
        return f"CudaTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of fake_gpu()")


class FakeCuda(TorchDispatchMode):
    """Runs operators. `events` counts: pinned tensor, host tensor (made in pageable memory), upload pinned, upload
    pageable, download pinned, download pageable, synchronisation, graph replay."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Counter[str] = Counter()
        self.captured: list[Kernel] | None = None
        self._pinned: set[int] = set()  # addresses

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if _is_composite(func):
            with self:  # in inference mode composite operators arrive here as they are
                return func.decompose(*args, **kwargs)
        tensors = _tensors((args, kwargs))
        device = torch.device(kwargs["device"]).type if kwargs.get("device") else None
        self._count_transfer(func, tensors, device)
        on_gpu = device == "cuda" if device else any(isinstance(each, CudaTensor) for each in tensors)
        if device:
            kwargs["device"] = torch.device("cpu")
        pinned = kwargs.pop("pin_memory", False)
        values = _mapped(_values, (args, kwargs))
        result = func(*values[0], **values[1])
        if on_gpu and self.captured is not None:
            self.captured.append(_kernel(func, values, result))
        known = {id(_values(each)): each for each in tensors}
        storages = {_storage(each) for each in tensors}

        def wrapped(value: object) -> object:
            if not isinstance(value, Tensor) or id(value) in known:
                return known.get(id(value), value)
            if on_gpu:
                return CudaTensor(value)
            if _storage(value) not in storages:
                self.events["pinned tensor" if pinned else "host tensor"] += 1
                if pinned:
                    self._pinned.add(_storage(value))
            return value

        return _mapped(wrapped, result)

    def _count_transfer(self, func: object, tensors: list[Tensor], device: str | None) -> None:
        on_gpu = [isinstance(each, CudaTensor) for each in tensors]
        if func not in COPIES:
            if len({here for here, each in zip(on_gpu, tensors, strict=True) if each.dim()}) > 1:
                raise RuntimeError(f"{func}: expected all tensors to be on the same device")
            return
        into_gpu = on_gpu[0] if len(tensors) == 2 else device == "cuda"
        if (device is None and len(tensors) == 1) or into_gpu == on_gpu[-1]:
            return
        host = tensors[-1] if into_gpu else tensors[0]
        self.transfer("upload" if into_gpu else "download", _storage(host) in self._pinned)

    def transfer(self, direction: str, pinned: bool) -> None:
        if self.captured is not None:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        self.events[f"{direction} {'pinned' if pinned else 'pageable'}"] += 1


class _Functions(TorchFunctionMode):
    """What happens above the operators: a device has an index, and Python numbers are uploaded."""

    def __init__(self, gpu: FakeCuda) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_function__(self, func, types, args=(), kwargs=None):
        args = [_with_index(each) for each in args]
        kwargs = {key: _with_index(each) for key, each in (kwargs or {}).items()}
        if func is Tensor.new_tensor and isinstance(args[0], CudaTensor):
            self._gpu.transfer("upload", pinned=False)
            return CudaTensor(torch.tensor(args[1], dtype=args[0].dtype))
        return func(*args, **kwargs)


def _with_index(value: object) -> object:
    is_gpu = isinstance(value, (str, torch.device)) and str(value) == "cuda"
    return torch.device("cuda", 0) if is_gpu else value


@functools.cache
def _is_composite(func: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def _tensors(value: object) -> list[Tensor]:
    """All tensors in lists, tuples and dictionaries. Much faster than torch.utils._pytree."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, (list, tuple)) else []


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The same lists, tuples and dictionaries with the results of the function in the place of what they hold."""
    if isinstance(value, dict):
        return {key: _mapped(function, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(_mapped(function, each) for each in value)
    return function(value)


def _values(value: object) -> object:
    return value.values if isinstance(value, CudaTensor) else value


def _storage(tensor: Tensor) -> int:
    return _values(tensor).untyped_storage().data_ptr()


def _kernel(func: Callable, values: tuple[tuple, dict], result: object) -> Kernel:
    def run() -> None:
        found = _tensors(func(*values[0], **values[1]))
        for old, new in zip(_tensors(result), found, strict=True):
            if _storage(old) != _storage(new):
                old.copy_(new)

    return run


def _disable_device_guards() -> None:
    """Operators must not select the GPU in the driver. A build of torch without CUDA gets the guards of the CPU."""
    if torch.version.cuda:
        torch._C._ensureCUDADeviceGuardSet()  # as FakeTensorMode does
        return
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib/libc10.so"))
    guards = (ctypes.c_void_p * 2).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    guards[1] = guards[0]


@contextlib.contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """A machine with a GPU, as far as torch's tensors, streams and CUDA graphs go."""
    gpu = FakeCuda()

    class Stream:
        def __init__(self, device: object = None) -> None:
            pass

        def wait_stream(self, other: object) -> None:
            pass

        def synchronize(self) -> None:
            gpu.events["synchronisation"] += 1

    class Graph:
        def replay(self) -> None:
            gpu.events["graph replay"] += 1
            with _disable_current_modes():
                for kernel in self.kernels:
                    kernel()

    @contextlib.contextmanager
    def capture(graph: Graph, capture_error_mode: str = "global") -> Iterator[None]:
        gpu.captured = graph.kernels = []
        try:
            yield
        finally:
            gpu.captured = None

    for name, stand_in in {
        "_lazy_init": lambda: None, "is_available": lambda: True, "Stream": Stream, "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(), "CUDAGraph": Graph, "graph": capture,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    _disable_device_guards()
    with gpu, _Functions(gpu):
        yield gpu
