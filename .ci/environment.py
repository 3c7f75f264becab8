"""Make the environment that everything here runs in: `environment.py FOLDER kilted|jazzy|distribution`.

`kilted` and `jazzy` install that ROS 2 from PyPI wheels and compile tf2_msgs, which PyPI lacks, beside them.
`distribution` builds on the ROS distribution that is sourced. Make calls this when an input has changed; it ends
by writing FOLDER/.ready-ROS. What pip and the compiler say goes to FOLDER/setup.log; people see one line a step.
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
    made = list(folder.glob(".ready-*"))
    if made and made != [folder / f".ready-{ros}"]:
        shutil.rmtree(folder)  # made for another ROS
    for stamp in made:
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
    """End with one line when something is missing that pip cannot bring."""
    sourced = os.environ.get("ROS_DISTRO")
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    if sys.version_info < (3, 10):  # noqa: UP036 - whatever `python3` is runs this
        stop(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11 ...")
    if ros != "distribution" and sourced and "AMENT_PREFIX_PATH" in os.environ:
        stop(f"ROS {sourced} is sourced and would mix with the {ros} wheels: use a shell without it")
    if ros != "distribution" and not (shutil.which("c++") and shutil.which("make") and headers.is_file()):
        stop("a C++ compiler and Python's headers are needed: sudo apt install g++ make python3-dev")
    if subprocess.run([base_python(), "-c", "import ensurepip, venv"], capture_output=True).returncode:
        stop("Python's venv module is needed: sudo apt install python3-venv")


def base_python() -> str:
    """The interpreter itself, also where the caller runs in a virtual environment."""
    return getattr(sys, "_base_executable", sys.executable)


def prefix_file(folder: Path) -> Path:
    """Run by Python at start: makes the environment, where ROS wheels put `share/` and `lib/`, an ament prefix."""
    return next(folder.glob("lib/python3.*/site-packages")) / "depth_ros_ament_prefix.pth"


def compile_tf2_msgs(folder: Path) -> None:
    """Build .ci/tf2_msgs with the wheels' rosidl and install it into `folder`."""
    python = str(folder / "bin/python")
    query = "import numpy, sysconfig; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
    headers, numpy_headers = subprocess.check_output([python, "-c", query], text=True).split()
    for file in folder.glob("share/*/cmake/*.cmake"):
        text = file.read_text()  # names the headers of the machine that built the wheels
        mended = re.sub(r'/opt/python/[^;"]*/numpy/_core/include', numpy_headers, text)
        mended = re.sub(r'/opt/python/[^;"]*/include/python3[.\d]*', headers, mended)
        if mended != text:
            file.write_text(mended)
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
    """Show `ros2 run`, `ros2 launch` and ament_index this checkout: an editable install leaves such files out."""
    links = {folder / "share/ament_index/resource_index/packages/depth_ros": ROOT / "resource/depth_ros"}
    for name in ("package.xml", "models"):
        links[folder / "share/depth_ros" / name] = ROOT / name
    for name in ("launch", "config"):  # file by file: `ros2 launch` does not look into linked folders
        place = folder / "share/depth_ros" / name
        if place.is_symlink():
            place.unlink()
        links |= {place / file.name: file for file in (ROOT / name).iterdir()}
    scripts = configparser.ConfigParser()
    scripts.read(folder.glob("lib/python3.*/site-packages/depth_ros-*.dist-info/entry_points.txt"))
    for name in scripts["console_scripts"]:
        links[folder / "lib/depth_ros" / name] = folder / "bin" / name
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def step(folder: Path, title: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run `command`, its output to FOLDER/setup.log; on failure end with one line that says what to do."""
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
        stop(f"PyPI cannot be reached: check the network, PIP_INDEX_URL and https_proxy, then repeat ({log})")
    if code:
        lines = [line for line in text.splitlines() if "error" in line.lower()] or [f"{command[0]} failed"]
        stop(f"{lines[0].strip()} ({log})")


def stop(message: str) -> None:
    sys.exit(f"setup: {message}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2])
