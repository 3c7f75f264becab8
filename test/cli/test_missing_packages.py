"""Every command and executable without one of the packages: one line that names it, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import depth_ros
from depth_ros.cli.dependencies import OPTIONAL, REQUIRED, explain
from depth_ros.evaluation.metrics.protocols import CROPS, SCALINGS

ROOT = Path(depth_ros.__file__).resolve().parent.parent
COMMAND = "depth_ros.cli:main"
NODES = ("depth", "stereo_depth", "object_motion", "odometry", "perception", "planes")
ENTRIES = [f"depth_ros.cli.nodes:{name}_node" for name in NODES]
SUBCOMMANDS = ("demo", "replay", "bench", "models", "compile", "import", "evaluate", "train", "bag", "render", "effect",
               "two_view", "predict", "doctor")  # fmt: skip
NEEDING_TORCH = (["compile", "mono_driving"], ["bench"], ["models", "--families"])
OTHERS = (
    ["models"], ["import", "fcrn", "nothing.npy"], ["import", "hugging_face", "nothing"], ["demo", "--data", "nothing"],
    ["replay", "nothing"], ["replay", "nothing", "--through-ros"], ["bag", "nothing", "new"],
    ["evaluate", "depth", "--model", "mono_driving", "--data", "nothing"], ["two_view", "nothing", "--out", "new"],
    ["train", "mono", "--data", "nothing"], ["effect", "defocus", "nothing", "--out", "new.mp4"],
)  # fmt: skip
OPENCV_WITHOUT_NUMPY = (
    'OpenCV bindings requires "numpy" package.\nInstall it via command:\n    pip install numpy\n'
)
ALL = ",".join((*REQUIRED, *OPTIONAL, "rclpy", "sensor_msgs", "cv_bridge", "tf2_ros"))


def run_without(modules: str, rounds, folder: Path) -> list[tuple[int, str, str]]:
    """(status, stdout, stderr) of each [entry, argv]."""
    command = [sys.executable, str(Path(__file__).parent / "run_without.py"), modules, json.dumps(rounds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DEPTH_ROS_CACHE": str(folder / "cache")}
    environment.pop("DEPTH_ROS_MODELS", None)
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=240)
    assert result.returncode == 0, result.stderr
    return [tuple(each) for each in json.loads(result.stdout.splitlines()[-1])]


@pytest.mark.parametrize("modules", ["torch", "rclpy", ALL])
def test_help_and_version_need_no_package(modules, tmp_path):
    rounds = [[COMMAND, ["--version"]], [COMMAND, ["-h"]], *([COMMAND, [name, "-h"]] for name in SUBCOMMANDS)]
    rounds += [[entry, [option]] for entry in ENTRIES for option in ("-h", "--help", "--version")]
    for (entry, argv), (status, out, err) in zip(rounds, run_without(modules, rounds, tmp_path)):
        assert (status, err) == (0, ""), (entry, argv, err)
        assert "usage" in out or out == f"depth_ros {depth_ros.__version__}\n"


@pytest.mark.parametrize("module", ["torch", "numpy", ALL])
def test_doctor_reports_a_missing_package_and_fails(module, tmp_path):
    [(status, out, err)] = run_without(module, [[COMMAND, ["doctor"]]], tmp_path)
    assert status == 1 and err == ""
    for name in module.split(","):
        if name in REQUIRED:
            line = next(line for line in out.splitlines() if line.startswith("[!!] not installed: "))
            assert name in line.split(": ")[1].split(", ") and REQUIRED[name] in out
    assert "does not work here" in out.splitlines()[-1]


def test_doctor_passes_without_ros_and_optional_packages_and_names_them(tmp_path):
    [(status, out, _)] = run_without(",".join(("rclpy", *OPTIONAL)), [[COMMAND, ["doctor"]]], tmp_path)
    assert status == 0 and "[--] ROS 2: rclpy is not installed" in out and "setup.bash" in out
    assert f"pip install {' '.join(OPTIONAL.values())}" in out and "works here" in out


@pytest.mark.parametrize("module", ["torch", "numpy", "cv2", "rclpy", "rosbags", ALL])
def test_a_command_that_cannot_work_says_why_in_one_line(module, tmp_path):
    rounds = [[COMMAND, argv] for argv in OTHERS]
    if module == "torch":
        rounds += [[COMMAND, argv] for argv in NEEDING_TORCH]
    for (_, argv), (status, out, err) in zip(rounds, run_without(module, rounds, tmp_path)):
        if argv in NEEDING_TORCH:
            assert "pip install torch" in err
        if status == 0:
            assert err == "" and argv[0] == "models", (argv, out, err)
            continue
        assert status == 1 and err.count("\n") == 1 and err.startswith("depth_ros: "), (argv, err)
        assert out in ("", OPENCV_WITHOUT_NUMPY) and "Traceback" not in err


@pytest.mark.parametrize("module", ["torch", "numpy", "rclpy", ALL])
def test_an_executable_that_cannot_work_says_why_in_one_line(module, tmp_path):
    for entry, (status, out, err) in zip(ENTRIES, run_without(module, [[e, []] for e in ENTRIES], tmp_path)):
        assert status == 1 and out == "" and err.count("\n") == 1, err
        assert err.startswith(f"{entry.partition(':')[2]}: not installed for {sys.executable}: ")
        assert module.split(",")[0] in err and ("pip install" in err or "setup.bash" in err or "apt" in err)


def test_models_are_listed_without_torch_and_ros(tmp_path):
    [(status, out, _)] = run_without(
        "torch,rclpy,safetensors,scipy,cv2,numpy", [[COMMAND, ["models"]]], tmp_path
    )
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == [
        "mono",
        "mono_driving",
        "mono_indoor",
        "stereo",
        "stereo_driving",
    ]


@pytest.mark.parametrize("argv, expected", [("models", {141}), ("-h", {0, 141})])
def test_a_reader_that_ends_early_ends_a_command_quietly(argv, expected):
    """`depth_ros models | head -1`: no traceback, and the status of a process that SIGPIPE ends.

    argparse ignores errors when it prints the help.
    """
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "depth_ros.cli", argv]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment, timeout=240)
    os.close(write)
    assert result.returncode in expected and result.stderr == b""


def test_help_of_a_node_lists_its_topics_and_parameters(tmp_path):
    pytest.importorskip("rclpy")
    [(status, out, _)] = run_without("none", [[ENTRIES[0], ["-h"]]], tmp_path)
    assert status == 0 and "ros2 run depth_ros depth_node" in out
    assert "out depth/image_rect (Image): " in out and "  model (default mono): Depth model" in out


@pytest.mark.parametrize(
    "error, parts",
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), ["torch cannot be imported"]),
        (ImportError("libGL.so.1: cannot open shared object file", name="cv2"), ["cv2 cannot", "libGL.so.1"]),
        (
            ModuleNotFoundError("No module named 'rclpy._rclpy_pybind11'\nThe C extension ...", name="rclpy"),
            ["rclpy is not built for this Python", sys.executable],
        ),
        (ModuleNotFoundError("No module named 'magic_msgs'", name="magic_msgs"), ["not installed", "magic_msgs"]),
    ],
)  # fmt: skip
def test_broken_imports_are_explained_in_one_line(error, parts):
    """Libraries that are there but do not load; torch is installed here, so it is not called missing."""
    text = explain(error)
    assert all(part in text for part in parts) and "\n" not in text


def test_an_import_error_of_depth_ros_itself_is_not_hidden():
    with pytest.raises(ModuleNotFoundError):
        explain(ModuleNotFoundError("No module named 'depth_ros.magic'", name="depth_ros.magic"))


def test_the_ros_distribution_names_the_python_that_it_needs(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    error = ModuleNotFoundError("No module named 'rclpy._rclpy_pybind11'", name="rclpy._rclpy_pybind11")
    assert ("needs Python 3.10" in explain(error)) == (sys.version_info[:2] != (3, 10))


def test_choices_of_evaluate_are_those_of_the_protocols():
    """They are repeated in the parser, which must not import NumPy."""
    source = (ROOT / "depth_ros/cli/evaluate.py").read_text()
    for names in (CROPS, SCALINGS):
        assert f"choices=({', '.join(json.dumps(name) for name in names)})" in source
