"""Models: list them, compile them, import released checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_ros.cli.options import (
    Commands,
    add_command,
    add_engine_options,
    add_json_option,
    engine_settings,
    write_json,
)
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.card import Card


def add_commands(commands: Commands) -> None:
    """models, compile, import."""
    models = add_command(commands, "models", run_models, "list the models, or the families they belong to")
    models.add_argument(
        "--families", action="store_true", help="list families and the parameters of their networks"
    )
    add_json_option(models)

    compile_ = add_command(commands, "compile", run_compile, "build the engine of a model for this machine")
    compile_.add_argument(
        "model", nargs="?", default="", help="name or folder; with --check-only also a family; default: all"
    )
    compile_.add_argument("--width", type=int, default=0, help="px of the camera's images; 0 = the card's")
    compile_.add_argument("--height", type=int, default=0, help="px of the camera's images; 0 = the card's")
    compile_.add_argument(
        "--check-only",
        action="store_true",
        help="report which compilers accept it completely; store no engine",
    )
    add_engine_options(compile_)

    import_ = add_command(commands, "import", run_import, "import a released checkpoint as models")
    import_.add_argument("family")
    import_.add_argument(
        "checkpoint", type=Path, help="prefix of a TensorFlow checkpoint, .npy, .mat or .pth, an ONNX file"
    )
    import_.add_argument("--out", type=Path, default=Path("runs/imported"), metavar="FOLDER")
    import_.add_argument(
        "--calibrate", type=Path, metavar="FOLDER",
        help="images for the batch norm statistics of checkpoints that were released without them",
    )  # fmt: skip
    import_.add_argument(
        "--trained-on", default="", choices=("cityscapes",),
        help="training images of the checkpoint, which decide the crop; default: those of most of its family",
    )  # fmt: skip
    import_.add_argument("--hub", action="store_true", help="hugging_face: download OWNER/NAME from the hub")
    import_.add_argument(
        "--scale", default="", choices=("metric", "affine_inverse"),
        help="hugging_face: depth in m, or inverse depth of unknown scale and shift; default: as its kind predicts",
    )  # fmt: skip
    import_.add_argument(
        "--task", default="", choices=("depth", "stereo_depth"), help="onnx: what it computes"
    )
    import_.add_argument("--like", default="", metavar="PRESET",
                         help="onnx: the published network that it is, see docs/onnx.md")  # fmt: skip
    import_.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
                         help="onnx: change the card or the preset: scale=metric, mean=[0,0,0], ...")  # fmt: skip


def run_models(arguments: argparse.Namespace) -> None:
    rows = list_families() if arguments.families else list_models()
    if arguments.json:
        return write_json(rows, arguments.json)
    for row in rows:
        if arguments.families:
            counts = ", ".join(f"{name} {count:,}" for name, count in row["parameters"].items())
            print(f"{row['family']:<12} {counts}")
        else:
            print("{name:<14} {task:<6} {family:<10} {scale:<8} {width}x{height}  "
                  "{megabytes:.1f} MB  {engine}".format(**row))  # fmt: skip
    return None


def list_models() -> list[dict[str, Any]]:
    """One row a model, as `depth_ros models --json` writes them."""
    from depth_ros.card import cards

    return [
        {
            "name": card.name,
            "task": card.task,
            "family": card.family,
            "scale": card.scale,
            "width": card.width,
            "height": card.height,
            "megabytes": round(card.weights.stat().st_size / 1e6, 2) if card.weights.is_file() else 0.0,
            "engine": engine_state(card),
            "licence": card.licence,
            "path": str(card.path),
        }
        for card in cards()
    ]


def engine_state(card: Card) -> str:
    """The engines of a model in the cache."""
    from depth_ros.engine import store

    return "; ".join(store.stored_engines(card)) or "not compiled"


def list_families() -> list[dict[str, Any]]:
    """[{"family", "parameters": {network: trainable parameters}}]"""
    from depth_ros.networks import families, parameter_counts

    return [{"family": name, "parameters": parameter_counts(name)} for name in families()]


def run_compile(arguments: argparse.Namespace) -> None:
    if arguments.check_only:
        return check_compilers(arguments.model, arguments.backend)
    if not arguments.model:
        raise DepthRosError("which model? `depth_ros models` lists them; only --check-only does without one")
    from depth_ros.card import find_card, with_post_processing
    from depth_ros.engine import engine_size, open_engine

    card = find_card(arguments.model)
    width, height = arguments.width or card.width, arguments.height or card.height
    settings = engine_settings(arguments)
    card = with_post_processing(card) if settings.post_process else card
    engine = open_engine(card, *engine_size(card, width, height), settings)
    if settings.backend not in ("auto", engine.backend):
        raise DepthRosError(
            f"{card.name}: backend '{settings.backend}' has no engine, {engine.name} serves: {engine.reason}"
        )
    print(f"{card.name}: {engine.name}, {engine.reason}")
    return None


def check_compilers(name: str, compiler: str) -> None:
    """Print which compilers accept a model, a family or all families. Raises DepthRosError if one fails."""
    from depth_ros.engine.compile_check import cases, check

    broken: list[str] = []
    for case in cases(name):
        print(f"{case.name}:", end="", flush=True)
        for i, result in enumerate(check(case, compiler)):
            print(f"{',' if i else ''} {result}", end="", flush=True)
            broken += [case.name] if result.compiles is False else []
        print()
    if broken:
        raise DepthRosError(f"does not compile completely: {', '.join(dict.fromkeys(broken))}")


def run_import(arguments: argparse.Namespace) -> None:
    if arguments.family == "hugging_face":
        from depth_ros.checkpoint_import.hugging_face import import_folder

        return print(
            f"model: {import_folder(str(arguments.checkpoint), arguments.out, arguments.hub, arguments.scale)}"
        )
    if arguments.family == "onnx":
        return import_onnx(arguments)
    from depth_ros.checkpoint_import import import_checkpoint

    result = import_checkpoint(
        arguments.family, arguments.checkpoint, arguments.out, arguments.calibrate, arguments.trained_on
    )
    print("\n".join(f"model: {path}" for path in result.models))
    print(f"{result.assigned} variables assigned, {result.optimizer_slots} optimizer slots ignored")
    if result.unused:
        print(f"NOT USED ({len(result.unused)}): {', '.join(result.unused)}")
    for note in result.notes:
        print(f"note: {note}")
    return None


def import_onnx(arguments: argparse.Namespace) -> None:
    """Import an ONNX graph, and print how closely it agrees with ONNX Runtime."""
    import yaml

    from depth_ros.checkpoint_import.onnx_network import import_graph
    from depth_ros.training.recipes.changes import from_arguments

    changes = {key: yaml.safe_load(str(text)) for key, text in from_arguments(arguments.changes).items()}
    result = import_graph(arguments.checkpoint, arguments.out, arguments.task, arguments.like, changes)
    print(f"model: {result.path}")
    print(
        f"99 % of its values differ from those of ONNX Runtime by less than {result.difference:.1e} of the largest"
    )
    for note in result.notes:
        print(f"note: {note}")
