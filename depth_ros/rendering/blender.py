"""Blender as a program of its own: finding it, giving it a scene, and getting light and geometry of frames back."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from depth_ros.datatypes import Planes
from depth_ros.errors import DepthRosError
from depth_ros.geometry import rays
from depth_ros.rendering.planes import mesh_planes, transformed_planes, visible_equations
from depth_ros.rendering.scene import Part, Scene
from depth_ros.rendering.settings import SceneSettings

PROGRAM = Path(__file__).with_name("blender_program.py")
READY, DONE = "depth_ros: ready", "depth_ros: frame done"
"""Lines that the program writes."""
INSTALL = (
    "Blender, which renders scenes, is not installed: in an environment of Python 3.11, pip install bpy==4.5.15, and "
    "give --blender ENVIRONMENT/bin/python; or install Blender 4.5 (blender.org) and give --blender its program"
)


def find_blender(given: str = "") -> list[str]:
    """The command that runs `PROGRAM`: of the given Python or Blender, else of this Python if it has bpy, else of the
    `blender` on PATH. Raises DepthRosError, with what to type, if there is none."""
    program = shutil.which(given) if given else None
    if given and program is None:
        raise DepthRosError(f"--blender {given}: no such program. {INSTALL}")
    if program is None and importlib.util.find_spec("bpy") is not None:
        program = sys.executable
    program = program or shutil.which("blender")
    if program is None:
        raise DepthRosError(INSTALL)
    if "python" in Path(program).name:
        return [program, str(PROGRAM)]
    return [
        program,
        "--background",
        "--factory-startup",
        "--python-exit-code",
        "1",
        "--python",
        str(PROGRAM),
        "--",
    ]


@dataclass(frozen=True)
class Rendered:
    """lights: of each camera, (H, W, 3) float32, linear. depth: (H, W) float32 m of the first camera along its optical
    axis, 0 = nothing. labels: (H, W) int32 of the objects, 0 = nothing. planes: those of the frame."""

    lights: tuple[np.ndarray, ...]
    depth: np.ndarray
    labels: np.ndarray
    planes: Planes


class Blender:
    """A running Blender with a scene. Use as a context manager."""

    def __init__(self, scene: Scene, settings: SceneSettings, command: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="depth_ros_render_")
        self._job, self._scene, self._camera = Path(self._folder.name), scene, settings.camera
        self._planes = _planes_of(scene)
        self.keys = write_job(scene, settings, self._job, {key: of for key, (of, _) in self._planes.items()})
        """The names in frames of the meshes, by their keys."""
        self.materials = sum(len(mesh) for mesh in scene.meshes.values())
        """Number of materials, in the order in which frames change them."""
        self._log = (self._job / "log").open("w+")
        try:
            self._process = subprocess.Popen(
                [*command, str(self._job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
        except OSError as error:
            raise DepthRosError(f"{command[0]} cannot be run: {error}") from error
        self._wait_for(READY)

    def __enter__(self) -> Blender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def render(self, frame: dict[str, Any]) -> Rendered:
        """The results of one frame; see `blender_program`. Raises DepthRosError if the program ends."""
        try:
            stdin: IO[str] = self._process.stdin  # type: ignore[assignment]
            stdin.write(json.dumps(frame) + "\n")
            stdin.flush()
        except OSError:
            pass  # it has ended; the next line says why
        self._wait_for(DONE)
        geometry = np.load(self._job / "geometry.npy")
        lights = tuple(np.load(self._job / f"light_{k}.npy") for k in range(len(frame["cameras"])))
        depth = geometry[..., 0] / np.linalg.norm(rays(self._camera), axis=-1)
        numbers, faces = np.moveaxis(np.round(geometry[..., 1:]).astype(np.int32), -1, 0)
        placed = [(each.label, each.mesh, each.T_world_mesh) for each in self._scene.instances]
        meshes = {name: key for key, name in self.keys.items()}
        for each in frame["objects"]:
            placed.append((each["label"], meshes[each["mesh"]], np.array(each["T"][len(each["T"]) // 2])))
        labels = np.array([0, *(label for label, *_ in placed)], np.int32)[numbers]
        cameras = frame["cameras"][0]
        T_world_camera = np.array(cameras[len(cameras) // 2])
        return Rendered(lights, depth, labels, self._frame_planes(placed, numbers, faces, T_world_camera))

    def _frame_planes(
        self,
        placed: Sequence[tuple[int, str, np.ndarray]],
        numbers: np.ndarray,
        faces: np.ndarray,
        T_world_camera: np.ndarray,
    ) -> Planes:
        """placed: label, mesh and T_world_mesh of what is there, which numbers (H, W) counts from 1. faces: (H, W)
        planes of these meshes, from 1."""
        owners: list[int] = []
        equations, index = [np.zeros((0, 4))], np.full(numbers.shape, -1)
        for number in np.unique(numbers[faces > 0]):
            label, key, T = placed[number - 1]
            of_mesh = self._planes[key][1]
            here = (numbers == number) & (faces > 0)
            index[here] = len(owners) + faces[here] - 1
            equations.append(transformed_planes(of_mesh, T))
            owners += [label] * len(of_mesh)
        return visible_equations(index, owners, np.concatenate(equations), T_world_camera)

    def _wait_for(self, expected: str) -> None:
        stdout: IO[str] = self._process.stdout  # type: ignore[assignment]
        for line in stdout:
            if line.strip() == expected:
                return
        status = self._process.wait()
        self._log.seek(0)
        reason = " ".join(self._log.read().strip().splitlines()[-3:]) or "it says nothing"
        raise DepthRosError(f"Blender ended with status {status}: {reason}. {INSTALL}")


def _planes_of(scene: Scene) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`mesh_planes` of all meshes, by their keys."""
    scales = {
        each.mesh: abs(float(np.linalg.det(each.T_world_mesh[:3, :3]))) ** (1 / 3) for each in scene.instances
    }
    return {key: mesh_planes(mesh, scales.get(key, 1.0)) for key, mesh in scene.meshes.items()}


def write_job(
    scene: Scene, settings: SceneSettings, job: Path, planes: dict[str, np.ndarray]
) -> dict[str, str]:
    """Write the scene into the folder of a job; returns the names in it of the meshes, by their keys.

    planes: of the triangles of each mesh, in the order of its parts.
    """
    keys = {key: f"mesh_{number}" for number, key in enumerate(scene.meshes)}
    meshes: dict[str, list[dict[str, Any]]] = {}
    for key, mesh in scene.meshes.items():
        arrays: dict[str, np.ndarray] = {"planes": planes[key]}
        meshes[keys[key]] = []
        for number, part in enumerate(mesh):
            uv = part.uv if part.uv is not None else np.zeros((*part.corners.shape[:2], 2))
            arrays |= {f"corners_{number}": part.corners, f"uv_{number}": uv}
            texture = _texture_file(part, job, f"{keys[key]}_{number}")
            meshes[keys[key]].append(
                {"texture": texture, "colour": part.material.colour, "has_uv": part.uv is not None}
            )
        np.savez(job / f"{keys[key]}.npz", **arrays)  # type: ignore[arg-type]
    content = {
        "width": settings.width, "height": settings.height, "angle": math.radians(settings.fov),
        "samples": settings.samples, "threads": settings.threads, "meshes": meshes,
        "exposure": settings.exposure_time, "readout": settings.readout_time,
        "instances": [
            {"mesh": keys[each.mesh], "T": [each.T_world_mesh.tolist()]} for each in scene.instances
        ],
    }  # fmt: skip
    (job / "scene.json").write_text(json.dumps(content))
    return keys


def _texture_file(part: Part, job: Path, name: str) -> str:
    texture = part.material.texture
    if isinstance(texture, bytes):
        file = job / (name + (".png" if texture[1:4] == b"PNG" else ".jpg"))
        file.write_bytes(texture)
        return str(file)
    return str(texture) if texture else ""
