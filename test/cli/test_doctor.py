"""`depth_ros doctor` on machines that are not this one: libraries, drivers and settings that do not fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from depth_ros.cli import doctor, doctor_engines
from depth_ros.cli.finding import Finding
from depth_ros.engine import nvidia

MINOR = ".".join(torch.__version__.split(".")[:2])


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a stand-in for a package: its name, version, and source."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def write(name: str, version: str, source: str = "") -> None:
        (tmp_path / f"{name}.py").write_text(f"__version__ = '{version}'\n{source}\n")
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    return write


def finding(findings: list[Finding], word: str) -> Finding:
    """The first finding whose text starts with `word`."""
    return next(each for each in findings if each.text.startswith(word))


def test_torch_tensorrt_of_another_version_is_named_with_the_command(install):
    install("torch_tensorrt", "2.8.0")
    found = finding(doctor_engines.engine_findings(), "torch_tensorrt")
    assert not found.ok and found.text.endswith(f"does not fit torch {torch.__version__}")
    assert found.text.startswith("torch_tensorrt 2.8.0, TensorRT ")
    assert found.advice == f'pip install "torch-tensorrt=={MINOR}.*"'


def test_torch_tensorrt_that_fits_is_imported(install):
    install("torch_tensorrt", f"{MINOR}.1")
    found = finding(doctor_engines.engine_findings(), "torch_tensorrt")
    assert found.ok and found.text.startswith(f"torch_tensorrt {MINOR}.1, TensorRT ")


@pytest.mark.parametrize(
    "source, reason",
    [
        ("raise OSError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer.so.10"),
        ("import os; os.kill(os.getpid(), 11)", "status -11"),
    ],
    ids=["library missing", "crash"],
)
def test_torch_tensorrt_that_does_not_load_is_named_and_the_report_goes_on(install, source, reason):
    install("torch_tensorrt", f"{MINOR}.0", source)
    findings = doctor_engines.engine_findings()
    found = finding(findings, "torch_tensorrt")
    assert not found.ok and "its import fails" in found.text and reason in found.text
    assert "docs/installation.md" in found.advice
    assert finding(findings, "backend eager").ok


def test_cpu_build_of_torch_beside_an_nvidia_driver_is_named(monkeypatch):
    monkeypatch.setattr(nvidia, "driver_version", lambda: "580.65.06")
    monkeypatch.setattr(torch.version, "cuda", None)
    found = finding(doctor_engines.engine_findings(), "torch ")
    assert not found.ok and "CPU build, " in found.text and found.text.endswith("NVIDIA driver (580.65.06)")
    assert "CUDA build" in found.advice


def test_driver_that_is_too_old_for_torch_is_named(monkeypatch):
    monkeypatch.setattr(nvidia, "driver_version", lambda: "535.10")
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = finding(doctor_engines.engine_findings(), "torch ")
    assert not found.ok and "finds no GPU with driver 535.10" in found.text and "--gpus all" in found.advice


def test_old_torch_is_required_to_be_replaced(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.1.2")
    found = finding(doctor_engines.engine_findings(), "torch 2.1.2")
    assert found.needed and not found.ok and found.advice == 'pip install "torch>=2.6"'


def test_ros_distribution_for_another_python_is_named(monkeypatch):
    pytest.importorskip("rclpy")
    monkeypatch.setenv("ROS_DISTRO", "humble")
    monkeypatch.setattr(doctor, "version", lambda: "3.12")
    (found,) = doctor._ros()
    assert found.needed and found.text == "ROS 2: humble is built for Python 3.10, this is 3.12"


def test_numpy_2_beside_a_distribution_with_numpy_1_is_named(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(doctor, "installed_version", lambda *names: "2.2.6")
    monkeypatch.setattr(doctor.sys, "version_info", (3, 12, 3))
    found = finding(doctor._ros_packages(), "NumPy")
    assert found.needed and found.advice == 'pip install "numpy<2"'


def test_cv_bridge_for_another_numpy_is_named_in_one_line(install):
    install(
        "cv_bridge", "3.2", "print('A module that ...\\n' * 40); raise AttributeError('_ARRAY_API not found')"
    )
    found = finding(doctor._ros_packages(), "cv_bridge")
    assert not found.ok and found.text == "cv_bridge: AttributeError: _ARRAY_API not found"


def test_folder_of_engines_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("DEPTH_ROS_CACHE", "/proc/engines")
    (found,) = doctor._cache()
    assert found.needed and not found.ok and "/proc/engines is not writable" in found.text
    assert "DEPTH_ROS_CACHE" in found.advice


def test_transport_that_loses_images_is_named_with_the_variable_to_set(monkeypatch, tmp_path):
    transport = pytest.importorskip("depth_ros.nodes.transport")
    monkeypatch.setenv(transport.PROFILE_VARIABLES[0], str(tmp_path / "nothing.xml"))
    (found,) = doctor._transport()
    assert not found.ok and found.text.startswith("DDS: Fast DDS cannot read its profile")
    assert found.advice.startswith(f"set {transport.PROFILE_VARIABLES[0]}=")


def test_one_check_that_fails_does_not_hide_the_others(monkeypatch):
    def broken() -> list[Finding]:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(doctor, "cache_root", broken)
    findings = doctor.examine()
    assert not finding(findings, "cache: could not determine home directory").ok
    assert finding(findings, "model mono_driving").ok and Path(findings[0].text.split("(")[1][:-1]).is_file()
