"""Create the virtual environment of the repository: `environment.py FOLDER kilted|jazzy|distribution`.

`kilted` and `jazzy` install that ROS 2 distribution from PyPI wheels and compile tf2_msgs, which is not on PyPI.
`distribution` uses the sourced ROS distribution. Make runs this script when one of its inputs has changed; at the
end it writes FOLDER/.ready-ROS. The output of pip and the compiler goes to FOLDER/setup.log.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH_FILE = "import os, sys; os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)\n"
OFFLINE = (
    "NameResolutionError|NewConnectionError|ConnectTimeout|ReadTimeout|Max retries|ProxyError"
    "|Connection broken|No matching distribution"
)


def main(folder: Path, ros: str) -> None:
    check_machine(ros)
    stamps = list(folder.glob(".ready-*"))
    if stamps and stamps != [folder / f".ready-{ros}"]:
        shutil.rmtree(folder)  # created for another ROS distribution
    for stamp in stamps:
        stamp.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "setup.log").write_text("")
    system = ["--system-site-packages"] if ros == "distribution" else []
    step(folder, f"Python {sys.version.split()[0]}", [base_python(), "-m", "venv", *system, str(folder)])

    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--retries=2", "--progress-bar=off"]
    files = [f"-r{ROOT / 'requirements' / name}" for name in ("python.txt", f"ros-{ros}.txt")]
    step(folder, "packages from PyPI (a minute or two)", [*pip, *files])
    if ros != "distribution":
        prefix_file(folder).write_text(PATH_FILE)
        compile_tf2_msgs(folder)
    step(folder, "depth_ros itself", [*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    link_shared(folder)
    (folder / f".ready-{ros}").touch()


def check_machine(ros: str) -> None:
    """Exit with one line if something is missing that pip cannot install."""
    sourced = os.environ.get("ROS_DISTRO")
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    if sys.version_info < (3, 10):  # noqa: UP036 - run by any `python3`
        stop(f"Python is {sys.version.split()[0]}; 3.10 or newer is required: make PYTHON=python3.11 ...")
    if ros != "distribution" and sourced and "AMENT_PREFIX_PATH" in os.environ:
        stop(f"ROS {sourced} is sourced and conflicts with the {ros} wheels: use a shell without it")
    if ros != "distribution" and not (shutil.which("c++") and shutil.which("make") and headers.is_file()):
        stop("a C++ compiler and the Python headers are required: sudo apt install g++ make python3-dev")
    if subprocess.run([base_python(), "-c", "import ensurepip, venv"], capture_output=True).returncode:
        stop("the Python module venv is required: sudo apt install python3-venv")


def base_python() -> str:
    """The base interpreter, even if this script runs in a virtual environment."""
    return getattr(sys, "_base_executable", sys.executable)


def prefix_file(folder: Path) -> Path:
    """A .pth file, run by Python at startup: it makes the environment, which has the files of the wheels, a prefix."""
    return next(folder.glob("lib/python3.*/site-packages")) / "depth_ros_ament_prefix.pth"


def compile_tf2_msgs(folder: Path) -> None:
    """Build .ci/tf2_msgs with the wheels' rosidl and install it into `folder`."""
    python = str(folder / "bin/python")
    query = "import numpy, sysconfig; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
    headers, numpy_headers = subprocess.check_output([python, "-c", query], text=True).split()
    for file in folder.glob("share/*/cmake/*.cmake"):
        text = file.read_text()  # has header paths of the machine that built the wheels
        fixed = re.sub(r'/opt/python/[^;"]*/numpy/_core/include', numpy_headers, text)
        fixed = re.sub(r'/opt/python/[^;"]*/include/python3[.\d]*', headers, fixed)
        if fixed != text:
            file.write_text(fixed)
    build, cmake = str(folder / "build/tf2_msgs"), str(folder / "bin/cmake")
    environment = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(folder),
        "CMAKE_PREFIX_PATH": str(folder),
    }
    options = [f"-DCMAKE_INSTALL_PREFIX={folder}", f"-DPython3_EXECUTABLE={python}", "-DBUILD_TESTING=OFF"]
    configure = [cmake, "-S", str(ROOT / ".ci/tf2_msgs"), "-B", build, "-DCMAKE_BUILD_TYPE=Release", *options]
    step(folder, "configuring tf2_msgs", configure, environment)
    compiling = [cmake, "--build", build, "--target", "install", "--parallel", str(os.cpu_count())]
    step(folder, "compiling tf2_msgs", compiling, environment)


def link_shared(folder: Path) -> None:
    """Link this checkout into the prefix for `ros2 run`, `ros2 launch` and ament_index; editable installs do not."""
    links = {folder / "share/ament_index/resource_index/packages/depth_ros": ROOT / "resource/depth_ros"}
    for name in ("package.xml", "models"):
        links[folder / "share/depth_ros" / name] = ROOT / name
    for name in ("launch", "config"):  # file by file: `ros2 launch` does not follow linked folders
        target_folder = folder / "share/depth_ros" / name
        if target_folder.is_symlink():
            target_folder.unlink()
        links |= {target_folder / file.name: file for file in (ROOT / name).iterdir()}
    scripts = configparser.ConfigParser()
    scripts.read(folder.glob("lib/python3.*/site-packages/depth_ros-*.dist-info/entry_points.txt"))
    for name in scripts["console_scripts"]:
        links[folder / "lib/depth_ros" / name] = folder / "bin" / name
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def step(folder: Path, title: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run `command` with its output in FOLDER/setup.log. On failure, exit with one line."""
    print(f"{folder.name}: {title} ...", end="", flush=True)
    start, log = time.monotonic(), folder / "setup.log"
    with log.open("a+b") as output:
        before = output.tell()
        environment = {**os.environ, **(environment or {})}
        code = subprocess.run(command, stdout=output, stderr=output, env=environment).returncode
        output.seek(before)
        text = output.read().decode(errors="replace")
    print(f" {time.monotonic() - start:.0f} s", flush=True)
    if code and "pip" in command and re.search(OFFLINE, text):
        stop(
            f"PyPI cannot be reached: check the network, PIP_INDEX_URL and https_proxy, and try again ({log})"
        )
    if code:
        lines = [line for line in text.splitlines() if "error" in line.lower()] or [f"{command[0]} failed"]
        stop(f"{lines[0].strip()} ({log})")


def stop(message: str) -> None:
    sys.exit(f"setup: {message}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2])
