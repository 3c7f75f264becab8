"""`make check-systems REFERENCE=FOLDER`: check the eight published systems from checkpoint to node.

FOLDER holds checkouts of the authors' code: FCRN-DepthPrediction (iro-cp, 4212943), SfMLearner (tinghuiz, 65f71f1),
vid2depth (research/vid2depth of tensorflow/models, c76bfcf), struct2depth (amanrajdce, beca2a7), PlaneNet
(art-programmer, ccc4423), mannequinchallenge (google, cb5b773), all on GitHub. For each system, a checkpoint with
random weights is written by that code (`reference_systems.py`, in an environment of its own with TensorFlow), imported,
compared with it, compiled and run in a node; its published recipe makes ten steps on made-up data; the tests of losses
and protocol run.
At the end, docs/systems_check.md is written. Arguments restrict it: `check_systems.py FOLDER fcrn planenet:node`; all
other cells stay as they are. Exits with 1 if a cell says NO.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from environment import ROOT, base_python, step
from torch import Tensor

RESULTS = ROOT / "build/check_systems"
TABLE = ROOT / "docs/systems_check.md"
ENVIRONMENT = ROOT / ".venv-reference"
PACKAGES = ["tensorflow-cpu==2.15.1", "tf_slim==1.1.0", "torch==2.13.0", "numpy<2"]
BACKENDS = ("eager", "openvino", "inductor")
TOLERANCE = 1e-4
"""Largest median relative difference from the authors' network."""
PAGE = """\
# The eight systems, checked

Checked on {date} with `.ci/check_systems.py`; `make check-systems REFERENCE=FOLDER` checks all cells. Each row is one
published system:

* **import**: a checkpoint with random weights, saved by the authors' code with its full shapes; all variables placed.
* **forward**: largest median relative difference of the outputs from the authors' network with the same weights.
  monodepth's code is for non-commercial use only: its network is built from the published description instead.
* **losses**, **protocol**: tests that compare each term of the loss, and the published evaluation on toy data, with
  independent formulas.
* **compiled**: the imported model at its published size, float32; every engine reproduced the eager model. TensorRT-RTX
  converts the whole model, which did not run without a GPU.
* **node**: one rendered frame through the node over DDS: size of its depth, valid part (random weights often predict
  depth outside the range), time on a machine under load. Mannequin had no second view: zeros, with a warning.
* **recipe**: ten steps of the published recipe on made-up data in the official layout: its networks, losses, optimiser,
  schedule and batch size at a reduced image size; loss of step 5 and of step 10. Then that of one step from the
  imported model.

"not checked": did not run to the end on a machine that was under load.

| System | {columns} |
|---|{rules}
{rows}
"""


@dataclass(frozen=True)
class System:
    """One row. reference: folder of the authors' code, and argument of reference_systems.py. recipe: the published one.

    size: width and height, px, of the ten steps. losses, protocol: the tests, below test/.
    """

    title: str
    family: str
    reference: str
    recipe: str
    size: tuple[int, int]
    losses: tuple[str, ...]
    protocol: tuple[str, ...]
    data: str = ""
    task: str = "depth"
    changes: tuple[str, ...] = ()


SYSTEMS = {
    "fcrn": System(
        "FCRN", "fcrn", "FCRN-DepthPrediction", "fcrn_nyu_published", (96, 64),
        ("networks/test_fcrn.py -k berhu or squared",),
        ("evaluation/test_depth_evaluation.py -k nyu", "evaluation/metrics/test_depth_metrics.py -k pooled",
         "evaluation/metrics/test_protocols.py -k make3d"),
    ),
    "sfmlearner": System(
        "SfMLearner", "sfmlearner", "SfMLearner", "sfmlearner_kitti_published", (64, 32),
        ("networks/test_video_losses.py -k sfmlearner",),
        ("evaluation/metrics/test_protocols.py -k eigen or strip or crop",
         "evaluation/metrics/test_trajectory_metrics.py -k snippet"),
    ),
    "monodepth": System(
        "monodepth", "monodepth", "", "monodepth_kitti_published", (128, 128),
        ("networks/test_monodepth.py -k loss or smoothness or inconsistent or pyramid",),
        ("evaluation/metrics/test_protocols.py -k eigen or crop", "evaluation/metrics/test_depth_metrics.py",
         "networks/test_monodepth.py -k post"),
    ),
    "vid2depth": System(
        "vid2depth", "vid2depth", "vid2depth", "vid2depth_kitti_published", (256, 64),
        ("networks/test_video_losses.py -k vid2depth", "networks/blocks/test_alignment.py"),
        ("evaluation/metrics/test_protocols.py -k eigen or crop",
         "evaluation/metrics/test_trajectory_metrics.py -k snippet"),
        changes=("loss_settings.alignment_scale=3",),
    ),
    "struct2depth": System(
        "struct2depth", "struct2depth", "struct2depth", "struct2depth_kitti_published", (64, 32),
        ("networks/test_video_losses.py -k struct2depth", "networks/blocks/test_moving_objects.py"),
        ("evaluation/test_refined_depth.py -k rows or table", "estimators/test_refinement.py -k published"),
    ),
    "structure_and_semantics": System(
        "Structure and semantics", "struct2depth", "struct2depth", "struct2depth_cityscapes_published", (64, 32),
        ("networks/blocks/test_moving_objects.py",),
        ("evaluation/metrics/test_protocols.py -k cityscapes",
         "recordings/layouts/test_public_layouts.py -k cityscapes"),
        data="cityscapes",
    ),
    "planenet": System(
        "PlaneNet", "planenet", "PlaneNet", "planenet_scannet_published", (128, 64),
        ("networks/test_planenet.py -k loss or overlap", "networks/blocks/test_dense_crf.py"),
        ("evaluation/metrics/test_plane_metrics.py", "evaluation/test_plane_evaluation.py -k annotated"), task="planes",
    ),
    "mannequin": System(
        "Mannequin", "mannequin", "mannequinchallenge", "mannequin_published", (64, 32),
        ("networks/test_mannequin.py -k term or smoothness or scale",),
        ("evaluation/metrics/test_depth_metrics.py -k si_rmse",),
    ),
}  # fmt: skip


def main(reference: Path, chosen: list[str]) -> None:
    (RESULTS / "clip").parent.mkdir(parents=True, exist_ok=True)
    for name, system in SYSTEMS.items():
        for column, check in COLUMNS.items():
            if not chosen or name in chosen or f"{name}:{column}" in chosen:
                start = time.monotonic()
                try:
                    cell = check(name, system, reference.resolve())
                except Exception as error:  # whatever does not work is a result
                    cell = f"NO: {str(error).strip().splitlines()[-1]}"
                print(f"{name} {column}: {cell} [{time.monotonic() - start:.0f} s]", flush=True)
                file = RESULTS / name / "row.json"
                file.parent.mkdir(exist_ok=True)
                cells = json.loads(file.read_text()) if file.exists() else {}
                file.write_text(json.dumps({**cells, column: cell}, indent=1))
    rows = {name: json.loads((RESULTS / name / "row.json").read_text()) for name in SYSTEMS if done(name)}
    if len(rows) == len(SYSTEMS):
        TABLE.write_text(page(rows))
        print(TABLE.relative_to(ROOT))
    failed = [f"{name}:{key}" for name, row in rows.items() for key, cell in row.items() if "NO" in cell]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def done(name: str) -> bool:
    return (RESULTS / name / "row.json").is_file()


def page(rows: dict[str, dict[str, str]]) -> str:
    lines = [
        " | ".join([f"| {SYSTEMS[name].title}", *(row.get(key, "not checked") for key in COLUMNS)]) + " |"
        for name, row in rows.items()
    ]
    return PAGE.format(
        date=datetime.date.today(),
        columns=" | ".join(COLUMNS),
        rules="---|" * len(COLUMNS),
        rows="\n".join(lines),
    )


def run(*command: object) -> str:
    """The output of a command on one line a line. Raises RuntimeError with its last line if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr or f"exit status {done.returncode}")
    return done.stdout


def depth_ros(*arguments: object) -> str:
    """The output of a command of depth_ros, run in this process, which has imported torch."""
    from depth_ros.cli import main as command

    sys.argv = ["depth_ros", *map(str, arguments)]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = command(sys.argv[1:])
    if status:
        raise RuntimeError(output.getvalue())
    return output.getvalue()


def imported_folder(name: str, system: System) -> Path:
    return RESULTS / name / f"imported/{system.family}_{system.task}"


def imported(name: str, system: System, reference: Path) -> str:
    folder, python = RESULTS / name, ENVIRONMENT / "bin/python"
    if not python.exists():
        ENVIRONMENT.mkdir()
        step(ENVIRONMENT, "environment", [base_python(), "-m", "venv", str(ENVIRONMENT)])
        step(ENVIRONMENT, "TensorFlow", [str(python), "-m", "pip", "install", *PACKAGES])
    source = reference / system.reference
    if not source.is_dir():
        raise RuntimeError(f"no checkout of the authors' code in {source}")
    if not (folder / "outputs.npz").exists():
        run(python, ROOT / ".ci/reference_systems.py", system.family, source, folder)
    checkpoint = next((file for file in [folder / "model.pth"] if file.exists()), folder / "model")
    data = ["--trained-on", "cityscapes"] if system.data else []
    text = depth_ros("import", system.family, checkpoint, "--out", folder / "imported", *data)
    assigned = re.search(r"(\d+) variables assigned", text)
    if assigned is None or "NOT USED" in text:
        raise RuntimeError(text)
    return f"{assigned[1]} variables"


def forward(name: str, system: System, reference: Path) -> str:
    outputs = dict(np.load(RESULTS / name / "outputs.npz"))
    differences = {}
    for key, own in own_outputs(system.family, RESULTS / name / "imported", outputs).items():
        own = own.permute(0, 2, 3, 1) if own.ndim == 4 and system.family != "mannequin" else own
        a, b = own.numpy().ravel(), outputs[key].ravel()
        assert a.shape == b.shape, f"{key}: {own.shape} and {outputs[key].shape}"
        assert np.std(b) > 1e-6 and np.mean(b != 0) > 0.5, (
            f"{key} is nearly constant: the comparison shows nothing"
        )
        differences[key] = float(np.median(np.abs(a - b)[b != 0] / np.abs(b)[b != 0]))
    assert set(differences) == set(outputs) - {"images", "extra"}
    worst = max(differences.values())
    return f"{'' if worst <= TOLERANCE else 'NO: '}{worst:.1e}, {len(differences)} outputs"


@torch.inference_mode()
def own_outputs(family: str, folder: Path, outputs: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """What our networks, with the imported weights, predict for the images of the reference."""
    from depth_ros.card import load_model, read_card
    from depth_ros.networks import struct2depth
    from depth_ros.networks.blocks.planenet_output import resize_tf1, to_forward

    images = torch.from_numpy(outputs["images"])
    models = {path.name.removeprefix(f"{family}_"): load_model(read_card(path)) for path in folder.iterdir()}
    planes = images.permute(0, 3, 1, 2).float()
    if family == "fcrn":
        return {"depth": models["depth"].network(planes)[:, None]}
    if family == "planenet":
        found = models["planes"].network(planes / 255 - 0.5, torch.eye(3)[None])
        maps = {"segmentation": found.logits, "depth": found.depth[:, None]}
        return {"planes": to_forward(found.planes)} | {k: resize_tf1(x, 192, 256) for k, x in maps.items()}
    if family == "mannequin":
        x = torch.cat([planes / 255, torch.from_numpy(outputs["extra"])], 1)
        depth, confidence = models["depth"].network(x)
        return {"log_depth": depth, "confidence": confidence}
    image = images if len(images) == 1 else images[1:2]
    found = {f"disparity {s}": each for s, each in enumerate(models["depth"].disparities(image))}
    if family == "vid2depth":
        found["motion"] = models["ego_motion"].vectors(images[None])
    if family == "sfmlearner":
        network, x = models["ego_motion"].network, models["ego_motion"].stacked(images[None])
        found["motion"] = network(x)
        masks = network.explainability(network.features(x), x)
        found |= {f"explained {s}": mask for s, mask in enumerate(masks)}
    if family == "struct2depth":
        network = models["ego_motion"].network
        stack = torch.cat([struct2depth.normalised(each[None], network) for each in images], 1)
        found["motion"] = network(stack)
        found["object motion"] = models["object_motion"].network(stack)
    return found


class Passed:
    """Plugin of pytest that counts."""

    count = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.count += report.when == "call" and report.passed


def tests(which: tuple[str, ...]) -> str:
    """Run tests in this process, which has imported torch."""
    passed = Passed()
    for each in which:
        file, _, expression = each.partition(" -k ")
        options = ["-k", expression] if expression else []
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = pytest.main(
                ["-q", "-p", "no:cacheprovider", str(ROOT / "test" / file), *options], [passed]
            )
        if status:
            raise RuntimeError(f"{output.getvalue()}\n{each}: pytest ended with {status}")
    return f"{passed.count} tests"


def losses(name: str, system: System, reference: Path) -> str:
    return tests(system.losses)


def protocol(name: str, system: System, reference: Path) -> str:
    return tests(system.protocol)


def compiled(name: str, system: System, reference: Path) -> str:
    model = imported_folder(name, system)
    cells = []
    for backend in BACKENDS:
        try:
            depth_ros("compile", model, "--backend", backend, "--precision", "float32")
            cells.append(backend)
        except RuntimeError as error:
            cells.append(f"{backend} NO: {str(error).strip().splitlines()[-1]}")
    text = depth_ros("compile", model, "--check-only", "--backend", "tensorrt_rtx")
    return ", ".join([*cells, text.strip().splitlines()[-1].rpartition(", ")[2].replace("yes", "").strip()])


def node(name: str, system: System, reference: Path) -> str:
    from depth_ros.card import find_card
    from depth_ros.playback import play
    from depth_ros.world import World, WorldSettings

    # a large network is loaded before the topics exist, and takes seconds for an image on a machine under load
    play.DISCOVERY_TIMEOUT, play.END_TIMEOUT = play.START_TIMEOUT, 120.0

    world = World(WorldSettings(kind="street", frames=4, width=640, height=192))
    parameters = {"backend": "eager", "precision": "float32", "device": "cpu"}
    views = ((world[i].left,) for i in range(4))
    model = str(imported_folder(name, system))
    interface = play.UP_TO_SCALE_NODE if find_card(model).scale == "up_to_scale" else play.DEPTH_NODE
    (played, *_) = play.play(interface, views, model, 0.2, parameters)
    height, width = played.image.shape
    valid = np.isfinite(played.image).mean()
    return f"{width}x{height}, {valid:.0%} valid, {played.latency:.1f} s"


def recipe(name: str, system: System, reference: Path) -> str:
    sys.path.append(str(ROOT / "test/training/recipes"))
    from test_published_recipes import PUBLISHED

    folder = RESULTS / name
    shutil.rmtree(folder / "data", ignore_errors=True)
    (folder / "data").mkdir()
    PUBLISHED[system.recipe][0](folder / "data")
    width, height = system.size
    changes = [f"crop.width={width}", f"crop.height={height}", *system.changes]
    command = ["train", system.recipe, "--data", folder / "data", "--workers", 0]
    lines, note = [], ""
    for steps, every, start in ((10, 5, []), (1, 1, ["--start", folder / "imported"])):
        out = folder / f"run{steps}"
        shutil.rmtree(out, ignore_errors=True)
        schedule = [f"steps={steps}", f"validate_every={every}", *changes]
        try:
            depth_ros(*command, "--out", out, *start, "--set", *schedule)
        except RuntimeError as error:  # FCRN without ImageNet weights
            if "no valid value" not in str(error):
                raise
            note = f"; not exported after {steps}: no valid depth yet"
        with (out / "training.csv").open() as file:
            lines += [float(row["loss"]) for row in csv.DictReader(file) if int(row["step"])]
    assert np.isfinite(lines).all(), f"losses {lines}"
    return f"{lines[0]:.3g}, {lines[1]:.3g}; imported {lines[2]:.3g}{note}"


COLUMNS: dict[str, Callable[[str, System, Path], str]] = {
    "import": imported,
    "forward": forward,
    "losses": losses,
    "protocol": protocol,
    "compiled": compiled,
    "node": node,
    "recipe": recipe,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
