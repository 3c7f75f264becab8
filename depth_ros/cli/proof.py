"""Proof that a backend works on this machine; `docs/prove_on_gpu.sh` starts it.

Runs the commands that a user types, in an empty engine cache, compares what they print with what the documentation
promises, and writes all of it to a JSON file that can be sent in. The last line is PROVED, or NOT PROVED after the
commands that failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import depth_ros
from depth_ros.card import find_card, model_traits

COMMAND = (sys.executable, "-m", "depth_ros.cli")
MODELS = ("mono", "mono_driving", "mono_indoor", "stereo", "stereo_driving")
TIMEOUT = 7200.0
"""Seconds after which a command is stopped; TensorRT takes many minutes for a network on a Jetson."""
MAX_DIFFERENCE = 0.01
"""Largest relative difference of a metric from that of eager float32."""


@dataclass(frozen=True)
class Step:
    """A command, a regular expression that its output has to contain, and one that it must not.

    figures: the JSON file that it writes.
    """

    arguments: tuple[str, ...]
    expected: str
    forbidden: str = r"Traceback"
    figures: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What a command printed. problem: how it differs from what was expected; empty if it does not."""

    command: str
    expected: str
    problem: str
    seconds: float
    output: str


def steps(backend: str, precisions: Sequence[str], models: Sequence[str], folder: Path) -> Iterator[Step]:
    """The commands, the one without which no other can succeed first. precisions: of the backend.

    int8 is built for the models whose metrics were measured in int8.
    """
    best, named = next(each for each in precisions if each != "int8"), ("--backend", backend)
    yield Step(("doctor",), rf"\[ok\] backend {backend}: .*{best}")
    check = ("compile", "--check-only", *named)
    yield Step(check, rf"torch\.export yes, {backend} yes", rf"{backend} (NO|not checked)")
    for model in models:
        int8 = model_traits(find_card(model)).int8
        for precision in precisions if int8 else [each for each in precisions if each != "int8"]:
            compile_ = ("compile", model, *named, "--precision", precision)
            yield Step(compile_, rf"{model}: {backend} {precision} \d+x\d+, built, because there was none")
        again = ("compile", model, *named, "--precision", best)
        yield Step(again, rf"{model}: {backend} {best} \d+x\d+, from the cache")
        yield Step(("compile", model), rf"{model}: {backend} \w+ \d+x\d+, from the cache")
        figures = folder / f"bench_{model}.json"
        bench = ("bench", "--model", model, "--no-ros", "--rounds", "50", "--json", str(figures))
        yield Step(bench, "", figures=figures)
    clip, bag = str(folder / "clip"), str(folder / "bag")
    yield Step(("render", "street", clip, "--frames", "30"), "")
    for each in (backend, "eager"):
        figures = folder / f"evaluate_{each}.json"
        evaluate = ("evaluate", "depth", "--model", models[0], "--data", clip, "--backend", each)
        yield Step((*evaluate, "--json", str(figures)), "", figures=figures)
    yield Step(("bag", clip, bag), "")
    replay = ("replay", bag, "--model", models[0], *named)
    yield Step(replay, rf"engine: {backend} .*\n.*30 frames")
    yield Step((*replay, "--through-ros"), "30 frames")


def run(step: Step, environment: dict[str, str]) -> Outcome:
    """Run a command, print what it prints, and compare."""
    command = " ".join(["depth_ros", *step.arguments])
    print(f"\n$ {command}", flush=True)
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*COMMAND, *step.arguments], env=environment, timeout=TIMEOUT, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        status, output = -1, f"stopped after {TIMEOUT:g} s"
    seconds = time.monotonic() - start
    print(output.rstrip(), flush=True)
    problem = ""
    if status:
        problem = f"ended with status {status}"
    elif not re.search(step.expected, output):
        problem = f"did not print {step.expected}"
    elif found := re.search(step.forbidden, output):
        problem = f"printed {found.group()}"
    if problem:
        print(f"!! {problem}", flush=True)
    return Outcome(command, step.expected, problem, seconds, output)


def disagreement(figures: dict[str, Any], backend: str) -> str:
    """How the metrics of the backend differ from those of eager float32; empty if they do not."""
    try:
        found, expected = (figures[f"evaluate_{each}"]["metrics"]["abs_rel"] for each in (backend, "eager"))
    except KeyError:
        return "metrics of the backend or of eager float32 are missing"
    if abs(found - expected) <= MAX_DIFFERENCE * expected:
        return ""
    return f"abs_rel is {found:.4f}, with eager float32 {expected:.4f}"


def speed_problems(figures: dict[str, Any], backend: str, models: Sequence[str]) -> list[str]:
    """Models whose engines are missing in the benchmark, or slower than eager float32."""
    problems = []
    for model in models:
        rows = figures.get(f"bench_{model}", {}).get("engines", [])
        speedups = [row["speedup"] for row in rows if row["backend"] == backend]
        if not speedups:
            problems.append(f"bench {model}: no row of {backend}")
        elif max(speedups) <= 1:
            problems.append(f"bench {model}: {backend} is slower than eager float32")
    return problems


def machine(backend: str) -> dict[str, Any]:
    """Hardware and versions, for the report."""
    import torch

    from depth_ros.engine import nvidia
    from depth_ros.engine.store import device_name

    return {
        "gpu": nvidia.gpu_name() if torch.cuda.is_available() else "none",
        "cpu": device_name("cpu"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "depth_ros": depth_ros.__version__,
        **nvidia.versions(backend),
    }


def prove(backend: str, models: Sequence[str], out: Path) -> list[str]:
    """Run all steps and write the report. Returns what failed, one line each."""
    from depth_ros.engine import backend as module_of
    from depth_ros.engine import pick_device

    device = pick_device("auto")
    missing = module_of(backend).unavailable(device)
    report: dict[str, Any] = {"backend": backend, "machine": machine(backend), "steps": [], "figures": {}}
    failures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "DEPTH_ROS_CACHE": str(folder / "cache"),
            "FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA",
            "TQDM_DISABLE": "1",
        }
        for step in steps(backend, module_of(backend).precisions(device), models, folder):
            outcome = run(step, environment)
            report["steps"].append(asdict(outcome))
            failures += [f"{outcome.command}: {outcome.problem}"] if outcome.problem else []
            if step.figures and step.figures.is_file():
                report["figures"][step.figures.stem] = json.loads(step.figures.read_text())
            if missing:
                failures.append(f"nothing else was run: backend {backend}: {missing}")
                break
        else:
            failures += speed_problems(report["figures"], backend, models)
            failures += filter(None, [disagreement(report["figures"], backend)])
    report["failures"] = failures
    out.write_text(json.dumps(report, indent=1) + "\n")
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch_tensorrt", help="default: %(default)s")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--out", type=Path, default=Path("proof.json"), metavar="FILE")
    options = parser.parse_args(arguments)
    failures = prove(options.backend, options.models, options.out)
    print("\n" + "\n".join(f"!! {each}" for each in failures))
    print(f"written: {options.out}\n" + ("NOT PROVED" if failures else "PROVED"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
