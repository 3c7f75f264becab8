"""The `depth_ros` command: parses, imports what the subcommand needs, calls one function, prints."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from depth_ros.engine import BACKENDS
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.depth import CROPS, SCALINGS

EPILOG = "Every command has --help. Models, recipes and folders: README.md."


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; 0 on success, 1 on an error that the user can mend, printed as one line."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="depth_ros: %(message)s")
    logging.getLogger("depth_ros").setLevel(logging.INFO if arguments.verbose else logging.WARNING)
    try:
        return arguments.run(arguments) or 0
    except DepthRosError as error:
        print(f"depth_ros: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("depth_ros: stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Parser of all subcommands, without heavy imports."""
    top = argparse.ArgumentParser(prog="depth_ros", description=__doc__, epilog=EPILOG)
    top.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    models = _command(commands, "models", run_models, "list the models, or the families they belong to")
    models.add_argument(
        "--families", action="store_true", help="families with the parameters of each network"
    )
    models.add_argument("--json", metavar="FILE", help="write JSON; - for standard output")

    compile_ = _command(commands, "compile", run_compile, "build the engine of a model for this machine")
    compile_.add_argument(
        "model", nargs="?", default="", help="with --check-only also a family; default: all"
    )
    compile_.add_argument("--width", type=int, default=0, help="px of the camera's images; 0 = the card's")
    compile_.add_argument("--height", type=int, default=0, help="px of the camera's images; 0 = the card's")
    compile_.add_argument(
        "--check-only", action="store_true", help="say which compilers take it whole, keep no engine"
    )
    _engine_options(compile_)

    replay = _command(commands, "replay", run_replay, "run a model on a bag, faster than real time")
    replay.add_argument("bag", type=Path)
    replay.add_argument("--model", default="mono_driving")
    replay.add_argument("--out", type=Path, help="folder for the depth images, uint16 mm")
    replay.add_argument("--limit", type=int, default=0, help="only so many frames; 0 = all")
    replay.add_argument("--image-topic", default="", help="where the bag has more than one camera")
    replay.add_argument("--through-ros", action="store_true", help="play it through the real node over DDS")
    replay.add_argument(
        "--refine", type=int, default=0, metavar="STEPS", help="learn on from every frame; 0 = no, usual 20"
    )
    replay.add_argument("--rate", type=float, default=1.0, help="with --through-ros: times the recorded rate")
    replay.add_argument("--scale", type=float, default=1.0,
                        help="stereo: pairs are matched at so many times their size, 0.1 to 2")  # fmt: skip
    _engine_options(replay)

    evaluate = _command(commands, "evaluate", run_evaluate, "measure a model on a folder with truth")
    evaluate.add_argument("task", choices=("depth", "odometry", "object_motion", "planes"))
    evaluate.add_argument(
        "--model",
        default="",
        help="odometry, object_motion: whose depth is used; default: what suits the folder",
    )
    evaluate.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    evaluate.add_argument("--split", choices=("all", "held_out"), default="all",
                          help="held_out: only what training leaves out of this folder")  # fmt: skip
    evaluate.add_argument("--protocol", default="auto")
    evaluate.add_argument("--crop", choices=CROPS, help="depth: instead of the protocol's")
    evaluate.add_argument("--scaling", choices=SCALINGS, help="depth: instead of the protocol's")
    evaluate.add_argument("--resize", choices=("inverse_depth", "depth"),
                          help="depth: what is interpolated, instead of the protocol's")  # fmt: skip
    evaluate.add_argument("--cap", type=float, help="depth: m, instead of the protocol's")
    evaluate.add_argument("--scale", type=float, default=1.0,
                          help="stereo: pairs are matched at so many times their size, up to 2")  # fmt: skip
    evaluate.add_argument("--images", type=Path, metavar="FILE",
                          help="list of the images of raw KITTI to take, as the Eigen split's test file")  # fmt: skip
    evaluate.add_argument("--lidar-x", action="store_true",
                          help="truth of raw KITTI: distance from the lidar, as published tables have it")  # fmt: skip
    evaluate.add_argument(
        "--baseline-data", type=Path, metavar="FOLDER", help="training pairs of the baseline"
    )
    evaluate.add_argument("--limit", type=int, default=0, help="at most so many images; 0 = all")
    evaluate.add_argument("--json", metavar="FILE", help="write JSON; - for standard output")
    evaluate.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page")
    evaluate.add_argument("--trajectories", type=Path, metavar="FOLDER",
                          help="odometry: write estimate.txt and truth.txt, TUM format")  # fmt: skip
    evaluate.add_argument("--instances", action="store_true",
                          help="object_motion: give it the folder's moving_objects as masks")  # fmt: skip
    _engine_options(evaluate)

    import_ = _command(commands, "import", run_import, "make models of a released checkpoint")
    import_.add_argument("family")
    import_.add_argument("checkpoint", type=Path, help="prefix of a TensorFlow checkpoint, .npy, .mat, .pth")
    import_.add_argument("--out", type=Path, default=Path("runs/imported"), metavar="FOLDER")
    import_.add_argument("--calibrate", type=Path, metavar="FOLDER",
                         help="images to take batch norm statistics from, for models released without")  # fmt: skip
    import_.add_argument("--hub", action="store_true", help="hugging_face: download OWNER/NAME from the hub")

    train = _command(commands, "train", run_train, "train a recipe; goes on where it was stopped")
    train.add_argument("recipe")
    train.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="FOLDER")
    train.add_argument("--out", type=Path, help="working folder; default runs/RECIPE")
    train.add_argument("--steps", type=int, default=0, help="instead of the recipe's")
    train.add_argument("--start", default="", metavar="MODEL", help="refine this model, with the recipe")
    train.add_argument("--on", nargs="+", default=[], metavar="FOLDER",
                       help="learn from these folders below --data instead of the recipe's")  # fmt: skip

    bench = _command(commands, "bench", run_bench, "time all backends, and the node over DDS, in one run")
    bench.add_argument("--model", default="mono_driving")
    bench.add_argument("--family", default="", help="time the equivalent forms of a family's network instead")
    bench.add_argument("--rounds", type=int, default=60, help="timed calls of each backend, interleaved")
    bench.add_argument("--no-ros", action="store_true", help="leave the node out")
    bench.add_argument("--json", metavar="FILE", help="write JSON; - for standard output")

    two_view = _command(
        commands, "two_view", run_two_view, "make two-view inputs of a clip: parallax, people"
    )
    _clip_options(two_view)
    two_view.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="new, in the general layout"
    )
    two_view.add_argument("--joints", type=Path, metavar="FOLDER", help="images, numbers of joints 1 to 17")
    two_view.add_argument("--model", default="", help="of family mannequin: also predict from the inputs")

    effect = _command(commands, "effect", run_effect, "defocus, take people out, insert an object: a video")
    effect.add_argument("effect", choices=("defocus", "remove", "insert"))
    _clip_options(effect)
    effect.add_argument("--out", type=Path, required=True, metavar="VIDEO", help=".mp4 or .avi")
    effect.add_argument("--model", default="", help="whose depth to use; default: recorded depth")
    effect.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
                        help="focus, aperture, size, distance, column, row")  # fmt: skip
    _engine_options(effect)

    _command(commands, "doctor", run_doctor, "what works here, what is missing and what to type")

    demo = _command(commands, "demo", run_demo, "a clip through the node, measured, on one page")
    demo.add_argument(
        "--data", type=Path, metavar="FOLDER", help="a recorded folder; default: a rendered street"
    )
    demo.add_argument("--model", default="", help="default: mono_driving")
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="FOLDER")

    bag = _command(commands, "bag", run_bag, "turn a recorded folder into a rosbag2")
    bag.add_argument("folder", type=Path)
    bag.add_argument("bag", type=Path)
    bag.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    bag.add_argument("--compressed", action="store_true", help="lossless CompressedImage instead of raw")

    render = _command(commands, "render", run_render, "write a clip of the built-in world as a folder")
    render.add_argument("kind", choices=("street", "room"))
    render.add_argument("folder", type=Path)
    render.add_argument("--frames", type=int, default=40)
    render.add_argument("--seed", type=int, default=0)
    render.add_argument("--rate", type=float, default=0.0, help="frames per second, 0 = usual for the kind")
    return top


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    return command


def _clip_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", type=Path, help="a bag or a recorded folder")
    command.add_argument("--poses", type=Path, metavar="FILE", help="camera trajectory, TUM format")
    command.add_argument("--masks", type=Path, metavar="FOLDER", help="images, not 0 = people")
    command.add_argument("--limit", type=int, default=0, help="only so many frames; 0 = all")


def _engine_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--backend", choices=("auto", *BACKENDS), default="auto")
    command.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16", "float16", "int8"), default="auto"
    )
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _engine_settings(arguments: argparse.Namespace) -> Any:
    from depth_ros.engine import EngineSettings

    return EngineSettings(arguments.backend, arguments.precision, arguments.device)


def write_json(content: Any, target: str) -> None:
    """Write to a file, or to standard output for `-`."""
    text = json.dumps(content, indent=1)
    if target == "-":
        print(text)
    else:
        Path(target).write_text(text + "\n")


def run_models(arguments: argparse.Namespace) -> None:
    from depth_ros.cli.inventory import list_families, list_models

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


def run_compile(arguments: argparse.Namespace) -> None:
    if arguments.check_only:
        return check_compilers(arguments.model, arguments.backend)
    if not arguments.model:
        raise DepthRosError("which model? `depth_ros models` lists them; with --check-only none is all")
    from depth_ros.card import find_card
    from depth_ros.engine import engine_size, open_engine

    card = find_card(arguments.model)
    width, height = arguments.width or card.width, arguments.height or card.height
    engine = open_engine(card, *engine_size(card, width, height), _engine_settings(arguments))
    print(f"{card.name}: {engine.name}, {engine.reason}")
    return None


def check_compilers(name: str, compiler: str) -> None:
    """Print what every compiler says of a model, a family or all of them. DepthRosError if one takes it not."""
    from depth_ros.engine.compiles import subjects, verdicts

    broken: list[str] = []
    for subject in subjects(name):
        print(f"{subject.name}:", end="", flush=True)
        for i, verdict in enumerate(verdicts(subject, compiler)):
            print(f"{',' if i else ''} {verdict}", end="", flush=True)
            broken += [subject.name] if verdict.compiles is False else []
        print()
    if broken:
        raise DepthRosError(f"does not compile completely: {', '.join(dict.fromkeys(broken))}")


def run_replay(arguments: argparse.Namespace) -> None:
    from depth_ros.bags import BagReader
    from depth_ros.estimators.stereo.estimator import is_stereo
    from depth_ros.evaluation.metrics.latency import summarise
    from depth_ros.playback.replay import replay, replay_through

    pairs = is_stereo(arguments.model)
    with BagReader(arguments.bag, arguments.image_topic) as bag:
        if arguments.through_ros:
            through, scale = _through(arguments, pairs)
            result = replay_through(bag, through, scale, arguments.out, arguments.limit, pairs=pairs)
        else:
            estimator = _estimator(arguments, pairs)
            result = replay(bag, estimator, arguments.out, arguments.limit, pairs=pairs)
            print(f"engine: {estimator.engine_name}, {estimator.reason}")
    latency = summarise(result.latencies)
    if latency:
        speed = f"{result.span / result.seconds:.1f} times real time" if result.seconds else ""
        print(f"{result.frames} frames, median {latency.median:.1f} ms, p95 {latency.p95:.1f} ms, {speed}")
    if result.figures:
        print(f"{result.compared} frames with truth; {result.protocol}")
        print(_figures_line(result.figures))
    if result.damage:
        raise DepthRosError(result.damage)


def _through(arguments: argparse.Namespace, pairs: bool) -> tuple[Any, str]:
    """What plays frames through the node of the model, and the model's scale."""
    from depth_ros.card import find_card
    from depth_ros.playback.play import play, play_pairs

    parameters = {key: getattr(arguments, key) for key in ("backend", "precision", "device")}
    if pairs:  # all of what the estimator says, as without ROS
        through: Any = partial(
            play_pairs, parameters=parameters | {"flying_pixels": 0.0, "scale": arguments.scale}
        )
    else:
        through = partial(play, parameters=parameters)
    scale = "metric" if pairs else find_card(arguments.model).scale
    return partial(through, model=arguments.model, factor=arguments.rate), scale


def _estimator(arguments: argparse.Namespace, pairs: bool) -> Any:
    from depth_ros.config import settings_from
    from depth_ros.estimators.depth import DepthEstimator
    from depth_ros.estimators.refinement import RefinementSettings, RefiningEstimator
    from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings

    if pairs:
        if arguments.refine:
            raise DepthRosError("stereo models do not learn on while they run: leave --refine out")
        settings = settings_from(StereoSettings, {"scale": arguments.scale}, "replay")
        return StereoEstimator(arguments.model, _engine_settings(arguments), settings)
    if arguments.refine:
        return RefiningEstimator(arguments.model, RefinementSettings(steps=arguments.refine))
    return DepthEstimator(arguments.model, _engine_settings(arguments))


def run_evaluate(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    if not arguments.model and arguments.task not in ("odometry", "object_motion"):
        raise DepthRosError(f"evaluate {arguments.task} needs --model")
    evaluate, lines = {
        "depth": (_evaluate_depth, _depth_lines),
        "odometry": (_evaluate_odometry, _odometry_lines),
        "object_motion": (_evaluate_object_motion, _object_motion_lines),
        "planes": (_evaluate_planes, _planes_lines),
    }[arguments.task]
    with tqdm(unit="image", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = evaluate(arguments, progress)
    if arguments.json:
        write_json(result, arguments.json)
    if arguments.json != "-":
        print("\n".join(lines(result)))
        if arguments.report:
            print(f"page: {arguments.report}")


def _evaluate_depth(arguments: argparse.Namespace, progress: Any) -> dict[str, Any]:
    from depth_ros.config import settings_from
    from depth_ros.estimators.stereo.estimator import StereoSettings, is_stereo
    from depth_ros.evaluation.depth import evaluate_depth
    from depth_ros.evaluation.stereo import evaluate_stereo

    if is_stereo(arguments.model):
        return evaluate_stereo(
            arguments.model, arguments.data, split=arguments.split, limit=arguments.limit, progress=progress,
            engine_settings=_engine_settings(arguments), report=arguments.report,
            command=" ".join(["depth_ros", *sys.argv[1:]]),
            stereo=settings_from(StereoSettings, {"scale": arguments.scale}, "evaluate"),
        )  # fmt: skip
    changes = {"crop": arguments.crop, "scaling": arguments.scaling, "resize": arguments.resize}
    changes |= {"truth_max": arguments.cap, "max_depth": arguments.cap}
    return evaluate_depth(
        arguments.model, arguments.data, split=arguments.split, protocol=arguments.protocol,
        changes={key: value for key, value in changes.items() if value is not None},
        images=arguments.images, lidar_x=arguments.lidar_x,
        baseline_data=arguments.baseline_data, engine_settings=_engine_settings(arguments),
        limit=arguments.limit, report=arguments.report, command=" ".join(["depth_ros", *sys.argv[1:]]),
        progress=progress,
    )  # fmt: skip


def _depth_lines(result: dict[str, Any]) -> list[str]:
    return [
        f"{result['model']} on {result['data']}: {result['images']} images, {result['engine']}",
        f"model     {_figures_line(result['figures'])}",
        f"baseline  {_figures_line(result['baseline'])}",
    ]


def _evaluate_odometry(arguments: argparse.Namespace, progress: Any) -> dict[str, Any]:
    from depth_ros.evaluation.odometry import evaluate_odometry

    return evaluate_odometry(
        arguments.model, arguments.data, engine_settings=_engine_settings(arguments), limit=arguments.limit,
        trajectories=arguments.trajectories, report=arguments.report, progress=progress,
    )  # fmt: skip


def _odometry_lines(result: dict[str, Any]) -> list[str]:
    figures = {key: value for key, value in result.items() if isinstance(value, float)}
    head = f"{result['model']} on {result['data']}: {result['frames']} frames, {result['engine']}"
    return [f"{head}, lengths {result['lengths'].replace('_', ' ')}", _figures_line(figures)]


def _evaluate_object_motion(arguments: argparse.Namespace, progress: Any) -> dict[str, Any]:
    from depth_ros.evaluation.object_motion import evaluate_object_motion

    return evaluate_object_motion(
        arguments.model, arguments.data, engine_settings=_engine_settings(arguments),
        instances=arguments.instances, limit=arguments.limit, report=arguments.report, progress=progress,
        command=" ".join(["depth_ros", *sys.argv[1:]]),
    )  # fmt: skip


def _object_motion_lines(result: dict[str, Any]) -> list[str]:
    figures = {key: value for key, value in result.items() if isinstance(value, float)}
    head = f"{result['model']} on {result['data']}: {result['frames']} pairs, {result['engine']}"
    return [f"{head}, {result['method']}", _figures_line(figures)]


def _evaluate_planes(arguments: argparse.Namespace, progress: Any) -> dict[str, Any]:
    from depth_ros.evaluation.planes import evaluate_planes

    return evaluate_planes(
        arguments.model, str(arguments.data), split=arguments.split, limit=arguments.limit,
        engine_settings=_engine_settings(arguments), report=arguments.report,
        command=" ".join(["depth_ros", *sys.argv[1:]]), progress=progress,
    )  # fmt: skip


def _planes_lines(result: dict[str, Any]) -> list[str]:
    head = f"{result['model']} on {result['data']}: {result['images']} images, {result['true planes']} planes"
    return [f"{head}, {result['engine']}", *(f"{k:<26} {v:.3f}" for k, v in result["figures"].items())]


def _figures_line(figures: Mapping[str, float | None]) -> str:
    known = (f"{name} {value:.3f}" for name, value in figures.items() if value is not None)
    return "  ".join(known) or "no truth to compare with"


def run_import(arguments: argparse.Namespace) -> None:
    if arguments.family == "hugging_face":
        from depth_ros.checkpoint_import.hugging_face import import_folder

        return print(f"model: {import_folder(str(arguments.checkpoint), arguments.out, arguments.hub)}")
    from depth_ros.checkpoint_import import import_checkpoint

    result = import_checkpoint(arguments.family, arguments.checkpoint, arguments.out, arguments.calibrate)
    print("\n".join(f"model: {path}" for path in result.models))
    print(f"{result.placed} variables placed, {result.slots} of the optimiser left out")
    if result.left:
        print(f"NOT PLACED ({len(result.left)}): {', '.join(result.left)}")
    print("\n".join(f"note: {note}" for note in result.notes), end="\n" if result.notes else "")
    return None


def run_train(arguments: argparse.Namespace) -> None:
    from depth_ros.training.loop import shortened, train
    from depth_ros.training.recipes import on_own_data, recipe

    chosen = on_own_data(recipe(arguments.recipe), arguments.start, arguments.on)
    if arguments.steps:
        chosen = shortened(chosen, arguments.steps)
    path = train(chosen, arguments.data, arguments.out or Path("runs") / chosen.name)
    what = "planes" if chosen.supervision == "planes" else "depth"
    print(
        f"model: {path}; measure it: depth_ros evaluate {what} --model {path} --data FOLDER --split held_out"
    )


def run_bench(arguments: argparse.Namespace) -> None:
    from depth_ros.playback.bench import bench, bench_forms, table

    if arguments.family:
        result = bench_forms(arguments.family, arguments.rounds)
    else:
        result = bench(arguments.model, arguments.rounds, ros=not arguments.no_ros)
    if arguments.json:
        write_json(result, arguments.json)
    if arguments.json != "-":
        print(table(result))


def run_two_view(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from depth_ros.effects.inputs import write_inputs

    made = write_inputs(
        arguments.source, arguments.out, arguments.model, arguments.poses, arguments.masks, arguments.limit, tqdm,
        arguments.joints,
    )  # fmt: skip
    print(f"{made.images} images in {arguments.out}, parallax for {100 * made.trusted:.0f} % of the pixels")
    for name, figures in made.figures.items():
        print(f"{name:<10} {_figures_line(figures)}")


def run_effect(arguments: argparse.Namespace) -> None:
    import yaml
    from tqdm import tqdm

    from depth_ros.config import settings_from
    from depth_ros.effects.video import EffectSettings, make_video

    pairs = (change.partition("=") for change in arguments.changes)
    changes = {key: yaml.safe_load(value) for key, _, value in pairs}
    images, share = make_video(
        arguments.effect, arguments.source, arguments.out, arguments.model,
        settings_from(EffectSettings, changes, "--set"), arguments.poses, arguments.masks, arguments.limit,
        _engine_settings(arguments), tqdm,
    )  # fmt: skip
    told = {"remove": f", {100 * share:.0f} % of the holes seen by other images",
            "insert": f", {100 * share:.0f} % of the object shows"}  # fmt: skip
    print(f"video: {arguments.out}, {images} images{told.get(arguments.effect, '')}")


def run_doctor(arguments: argparse.Namespace) -> int:
    from depth_ros.cli.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"[{'ok' if finding.ok else '--'}] {finding.text}")
        if finding.advice:
            print(f"     {finding.advice}")
    return 0 if all(finding.ok or not finding.needed for finding in findings) else 1


def run_demo(arguments: argparse.Namespace) -> None:
    from depth_ros.playback.demo import demo

    demo(arguments.data, arguments.model or "mono_driving", arguments.out, say=print)


def run_bag(arguments: argparse.Namespace) -> None:
    from depth_ros.bags import write_bag
    from depth_ros.datasets import open_folder

    write_bag(open_folder(arguments.folder), arguments.bag, arguments.storage, arguments.compressed, True)
    print(f"bag: {arguments.bag}")


def run_render(arguments: argparse.Namespace) -> None:
    from depth_ros.world import World, WorldSettings, write_folder

    settings = WorldSettings(
        kind=arguments.kind, frames=arguments.frames, seed=arguments.seed, rate=arguments.rate
    )
    write_folder(World(settings), arguments.folder)
    print(f"folder: {arguments.folder}")
