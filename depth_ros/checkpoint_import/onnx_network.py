"""Import an ONNX graph as a model, and compare it with ONNX Runtime."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from depth_ros.card import Card, load_model, read_card
from depth_ros.checkpoint_import.onnx_file import FLOATS, GraphFile, read_onnx
from depth_ros.checkpoint_import.preset import Preset, meanings
from depth_ros.checkpoint_import.presets import find_preset
from depth_ros.config import settings_from
from depth_ros.engine.check import check_inputs
from depth_ros.errors import DepthRosError
from depth_ros.networks import onnx
from depth_ros.training.export import save_model

MAX_MEDIAN, MAX_TAIL = 1e-4, 1e-3
"""Limits of the median and 99th percentile of the difference from ONNX Runtime, relative to the largest value."""
HALF_PRECISION = 30.0
"""Factor on these limits for graphs in 16 bits, which are converted to float32."""
CARD_KEYS = ("name", "width", "height", "fit", "scale", "licence", "description", "terms", "training_data")
DEFAULTS = {
    "depth": Preset("depth", "", "", "", {"image": "image"}, {"depth": "depth"}),
    "stereo_depth": Preset(
        "stereo_depth", "", "", "", {"left": "left", "right": "right"}, {"disparity": "disparity"}
    ),
}
LICENCE = "that of the imported file: ask its authors"


@dataclass(frozen=True)
class ImportedGraph:
    """path: folder of the model. difference: largest one from ONNX Runtime, relative to the largest value. notes: what
    the user should know."""

    path: Path
    difference: float
    notes: tuple[str, ...]


def import_graph(
    file: Path, out: Path, task: str = "", like: str = "", changes: Mapping[str, Any] | None = None
) -> ImportedGraph:
    """Import an ONNX file as a model below `out`.

    task: "depth" or "stereo_depth"; that of the preset `like` if it is not given. changes: keys of the card and of
    `networks.onnx.Settings` that differ from those of the preset. Raises DepthRosError if the file is not that of a
    network, has operators that are not supported, or computes something else than under ONNX Runtime.
    """
    preset = _preset(task, like)
    content = read_onnx(file)
    card = _card(file, out, preset, like, content, changes or {})
    text = json.dumps(content.graph)
    settings = {**card.settings, "graph_sha256": hashlib.sha256(text.encode()).hexdigest()}
    card = dataclasses.replace(card, settings=settings)
    complete = settings_from(onnx.Settings, {**settings, "graph": text}, f"{file}")
    model = onnx.MODELS[card.task](complete).eval()
    model.network.load_state_dict(content.weights)
    card.path.mkdir(parents=True, exist_ok=True)
    (card.path / onnx.FILE).write_text(text)
    try:
        save_model(model, card, "room" if card.task == "depth" else "street")
        difference, notes = _compare(read_card(card.path), content)
    except BaseException as error:
        shutil.rmtree(card.path)
        if isinstance(error, DepthRosError) and "no valid value" in str(error):
            raise DepthRosError(
                "every pixel of the check image is invalid: check the meaning of the outputs and the thresholds "
                "(--set min_confidence=..., min_valid=..., max_sky=..., max_depth=..., unit=...)"
            ) from error
        raise
    if preset.unverified and like:
        notes.append(f"preset {like}: not verified with {preset.unverified}")
    return ImportedGraph(card.path, difference, tuple(notes))


def _preset(task: str, like: str) -> Preset:
    if not like:
        if task not in DEFAULTS:
            raise DepthRosError(f"--task is '{task}'; allowed: {', '.join(DEFAULTS)}; or give --like PRESET")
        return DEFAULTS[task]
    preset = find_preset(like)
    if task not in ("", preset.task):
        raise DepthRosError(f"preset '{like}' is for task '{preset.task}', not '{task}'")
    return preset


def _card(
    file: Path, out: Path, preset: Preset, like: str, content: GraphFile, changes: Mapping[str, Any]
) -> Card:
    names = {field.name for field in dataclasses.fields(onnx.Settings)} - {"graph", "graph_sha256"}
    unknown = sorted(set(changes) - names - set(CARD_KEYS))
    if unknown:
        raise DepthRosError(
            f"--set: unknown key '{unknown[0]}'; allowed: {', '.join(sorted({*names, *CARD_KEYS}))}"
        )
    _fix_values(content.graph, preset.values)
    settings = {**preset.settings, **{key: value for key, value in changes.items() if key in names}}
    source = f"preset {like}" if like else f"task {preset.task}"
    graph_inputs = [each["name"] for each in content.graph["inputs"]]
    inputs = changes.get("inputs") or meanings(graph_inputs, _inputs(preset, graph_inputs), "inputs", source)
    outputs = changes.get("outputs") or meanings(content.graph["outputs"], preset.outputs, "outputs", source)
    settings |= {"inputs": _as_list(inputs), "outputs": _as_list(outputs)}
    _check_meanings(preset.task, settings, content.graph)
    size = _size(content.graph, settings)
    if size:
        settings |= {"multiple": 1, "padding": "resize"}
    width, height = size or preset.size
    name = re.sub(r"[^a-z0-9]+", "_", str(changes.get("name", file.stem)).lower()).strip("_")
    fixed = {
        "name": name, "task": preset.task, "family": "onnx", "width": width, "height": height,
        "scale": preset.scale, "licence": preset.licence or LICENCE, "sha256": "",
        "fit": ("stretch" if preset.fit == "aspect" else preset.fit) if size else "aspect",
        "description": f"{preset.description or 'ONNX graph'}, imported from {file.name}",
        "training_data": list(preset.training_data),
        "terms": f"Not verified with {preset.unverified}." if like and preset.unverified else "",
        "recipe": f"depth_ros import onnx {file.name} --task {preset.task}" + (f" --like {like}" if like else ""),
    }  # fmt: skip
    fixed |= {key: changes[key] for key in CARD_KEYS if key in changes and key != "name"}
    card = settings_from(Card, {**fixed, "settings": settings}, "--set")
    if size and (card.width, card.height) != size:
        raise DepthRosError(f"the graph takes images of {size[0]}x{size[1]} only: leave out width and height")
    multiple = settings.get("multiple", 1) if settings.get("padding", "resize") == "resize" else 1
    width, height = (max(multiple, round(side / multiple) * multiple) for side in (card.width, card.height))
    return dataclasses.replace(card, width=width, height=height, path=out / name)


def _inputs(preset: Preset, names: list[str]) -> Mapping[str, str]:
    """The meaning of the inputs; a single one of a stereo network without a preset is the stacked pair."""
    if preset is DEFAULTS["stereo_depth"] and len(names) == 1:
        return {names[0]: "pair"}
    return {name: meaning for name, meaning in preset.inputs.items() if name not in preset.values}


def _as_list(value: Any) -> list[str]:
    items = value.split(",") if isinstance(value, str) else value
    return [str(each or "").strip() for each in items]


def _check_meanings(task: str, settings: Mapping[str, Any], graph: Mapping[str, Any]) -> None:
    settings_from(onnx.Settings, settings, "--set")
    for kind in ("inputs", "outputs"):
        names = [each["name"] if kind == "inputs" else each for each in graph[kind]]
        if len(settings[kind]) != len(names):
            raise DepthRosError(
                f"{kind} has {len(settings[kind])} meanings ({', '.join(settings[kind])}), but the graph has "
                f"{len(names)} {kind}: {', '.join(names)}; give one for each, in order"
            )
    needed = onnx.DEPTHS if task == "depth" else onnx.DISPARITIES
    if not set(needed) & set(settings["outputs"]):
        raise DepthRosError(f"no output is one of {', '.join(needed)}: use --set outputs=...")


def _fix_values(graph: dict[str, Any], values: Mapping[str, float]) -> None:
    """Inputs that always have the same value become constants."""
    for each in list(graph["inputs"]):
        if each["name"] in values:
            graph["inputs"].remove(each)
            shape = [n or 1 for n in each["shape"]]
            count = int(np.prod(shape))
            value = values[each["name"]]
            graph["constants"][each["name"]] = {
                "dtype": each["dtype"],
                "shape": shape,
                "values": [value] * count,
            }


def _size(graph: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height of the images if the graph takes only these. Raises DepthRosError if it takes no image."""
    meanings_of = settings["inputs"]
    image = next((i for i, name in enumerate(meanings_of) if name in ("image", "left", "pair")), None)
    if image is None:
        raise DepthRosError(f"no input is an image ({', '.join(meanings_of)}): use --set inputs=...")
    shape = graph["inputs"][image]["shape"]
    if len(shape) not in (3, 4, 5):
        raise DepthRosError(
            f"input '{graph['inputs'][image]['name']}' has the shape {shape}; an image has 3 to 5 axes"
        )
    nhwc = settings.get("layout", "nchw") == "nhwc"
    height, width = shape[-3:-1] if nhwc else shape[-2:]
    channels = shape[-1] if nhwc else shape[-3]
    expected = (1 if settings.get("channels") == "grey" else 3) * (2 if meanings_of[image] == "pair" else 1)
    if channels not in (None, expected):
        raise DepthRosError(
            f"input '{graph['inputs'][image]['name']}' has {channels} channels (shape {shape}), not {expected}: "
            "use --set layout=nhwc, channels=grey, or inputs=..."
        )
    return (width, height) if width and height else None


def _compare(card: Card, content: GraphFile) -> tuple[float, list[str]]:
    """The largest difference from ONNX Runtime. Raises DepthRosError if it is too large."""
    try:
        import onnxruntime
    except ImportError as error:
        raise DepthRosError("importing ONNX files needs onnxruntime: pip install onnx onnxruntime") from error
    model = cast(onnx.DepthModel | onnx.StereoModel, load_model(card))
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(
            content.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own kinds
        raise DepthRosError(
            f"ONNX Runtime cannot load the graph: {str(error).splitlines()[0][:200]}"
        ) from error
    tensors = (
        *content.graph["weights"].values(),
        *content.graph["constants"].values(),
        *content.graph["inputs"],
    )
    half = any(each["dtype"] in FLOATS[:2] for each in tensors)
    inputs = check_inputs(card, card.width, card.height, "cpu")
    largest, notes = 0.0, list[str]()
    for images in (inputs, tuple(x.flip(2) if x.dtype == torch.uint8 else x for x in inputs)):
        with torch.inference_mode():
            feeds = _feeds(model, images)
            found = model.network(*feeds)
            result = model(*images)
        expected = _run(session, content, feeds)
        for name, meaning, a, b in zip(
            content.graph["outputs"],
            model.settings.outputs,
            expected,
            found,
            strict=True,
        ):
            if meaning:
                largest = max(largest, _difference(name, a, b.numpy(), HALF_PRECISION if half else 1.0))
    map_ = result[0] if isinstance(result, tuple) else result
    if not torch.isfinite(map_).any():
        notes.append(
            f"{card.name} predicts no valid pixel on its check image: see docs/onnx.md on its settings"
        )
    elif card.task == "depth" and map_.nanquantile(0.95) < 1.01 * map_.nanquantile(0.05):
        notes.append(f"{card.name} predicts nearly the same depth at every pixel: is it trained?")
    return largest, notes


def _feeds(model: onnx.Wrapped, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    names = ("left", "right") if model.task == "stereo_depth" else ("image",)
    maps = {name: model.prepared(image) for name, image in zip(names, inputs)}
    return model.feeds(maps, None if "left" in maps else inputs[1])


def _run(session: Any, content: GraphFile, feeds: list[Tensor]) -> list[np.ndarray]:
    types = {"float": "float32", "double": "float64"}
    values: dict[str, np.ndarray] = {}
    for each, x in zip(content.graph["inputs"], feeds, strict=True):
        values[each["name"]] = x.numpy().astype(types.get(each["dtype"], each["dtype"]))
    for each in session.get_inputs():
        if each.name not in values:
            constant = content.graph["constants"][each.name]
            array = np.array(constant["values"], types.get(constant["dtype"], constant["dtype"]))
            values[each.name] = array.reshape(constant["shape"])
    return session.run(content.graph["outputs"], values)


def _difference(name: str, expected: np.ndarray, found: np.ndarray, factor: float) -> float:
    if expected.shape != found.shape:
        raise DepthRosError(
            f"output '{name}' has the shape {found.shape}, under ONNX Runtime {expected.shape}"
        )
    largest = max(float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)), 1e-6)
    relative = np.abs(found - expected.astype(np.float64))[np.isfinite(expected)] / largest
    median, tail = np.percentile(relative, [50, 99]) if relative.size else (0.0, 0.0)
    if not (median <= factor * MAX_MEDIAN and tail <= factor * MAX_TAIL):
        raise DepthRosError(
            f"output '{name}' differs from that of ONNX Runtime: median {median:.1e}, 99th percentile {tail:.1e} of "
            "the largest value: please report it with the file"
        )
    return float(tail)
