"""A small built-in world: rendered streets and rooms whose depth, pose, motion and planes are exactly known.

world = World(WorldSettings(kind="street", seed=3))
sample = world[0]                    # as any recorded folder: stereo pair, depth, pose, moving ids
image, depth = world.render(0)       # one eye, as cheap as it gets
world.planes(0), world.object_motions(1)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import cv2
import numpy as np

from depth_ros.config import problem_with, setting
from depth_ros.datasets import Sample
from depth_ros.datatypes import Camera, Frame, ObjectMotion, Planes
from depth_ros.errors import DepthRosError
from depth_ros.geometry import back_project, inverse
from depth_ros.world import room, street
from depth_ros.world.render import View, look, paint
from depth_ros.world.writing import write_folder

__all__ = ["World", "WorldSettings", "write_folder"]

EYES = ("left", "right")


@dataclass(frozen=True)
class WorldSettings:
    """What to render. Zero means: as is usual for the kind, see `KIND_DEFAULTS`."""

    kind: str = setting("street", "What to render", choices=("street", "room"))
    seed: int = setting(0, "Everything random follows from it", minimum=0)
    frames: int = setting(40, "Length of the sequence; another length is another street", minimum=1)
    width: int = setting(0, "Image width, 0 = usual for the kind", "px", minimum=0, maximum=8192)
    height: int = setting(0, "Image height, 0 = usual for the kind", "px", minimum=0, maximum=8192)
    focal: float = setting(0.0, "Focal length, 0 = usual for the kind", "px", minimum=0)
    baseline: float = setting(0.0, "Distance of the eyes, 0 = usual for the kind", "m", minimum=0, maximum=2)
    rate: float = setting(0.0, "Frames per second, 0 = usual for the kind", "Hz", minimum=0, maximum=1000)
    moving: int = setting(3, "How many objects move", minimum=0, maximum=50)
    noise: float = setting(1.5, "Standard deviation of the image noise", "grey levels", minimum=0, maximum=50)
    supersample: int = setting(1, "Rays per pixel along each axis of the image", minimum=1, maximum=4)


KIND_DEFAULTS: dict[str, dict[str, float]] = {
    "street": {"width": 640, "height": 192, "focal": 0.58, "baseline": 0.54, "rate": 10.0},
    "room": {"width": 320, "height": 240, "focal": 0.8, "baseline": 0.1, "rate": 30.0},
}
"""What zero stands for; the focal length here is a multiple of the width."""


class World:
    """A rendered recording: a `datasets.Folder` with more truth. Frames are rendered when they are asked for.

    The world frame has z up; the left camera is at `T_world_camera`, the right one `baseline` m along its x.
    """

    layout = "world"

    def __init__(self, settings: WorldSettings = WorldSettings()) -> None:
        for each in fields(settings):
            if problem := problem_with(each, getattr(settings, each.name)):
                raise DepthRosError(f"world: {problem}")
        usual = KIND_DEFAULTS[settings.kind]
        self.settings = settings
        self.rate = settings.rate or usual["rate"]
        self.baseline = settings.baseline or usual["baseline"]
        width, height = settings.width or int(usual["width"]), settings.height or int(usual["height"])
        focal = settings.focal or usual["focal"] * width
        centre = (width - 1) / 2, (height - 1) / 2
        self.cameras = {
            eye: Camera.pinhole(width, height, focal, focal, *centre, baseline)
            for eye, baseline in zip(EYES, (0.0, self.baseline), strict=True)
        }
        rng = np.random.default_rng([settings.seed, settings.kind == "room"])
        if settings.kind == "street":
            self.scene = street.build(rng, (settings.frames - 1) / self.rate, settings.moving)
        else:
            self.scene = room.build(rng, settings.moving)

    def __len__(self) -> int:
        return self.settings.frames

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of a world of {len(self)}")
        index %= len(self)
        view = self.look(index)
        stamp = round(index * 1e9 / self.rate)
        left, right = (
            Frame(stamp, f"{eye}_camera_optical_frame", image, self.cameras[eye])
            for eye, image in (
                ("left", self._image(index, "left", view)),
                ("right", self.render(index, "right")[0]),
            )
        )
        velocities = {m.label: m.velocity for m in self._motions(view, index)} if index else None
        return Sample(
            f"{index:06d}", left, right, view.depth, view.T_world_camera, self._bodies(view), velocities
        )

    def pose(self, index: int) -> np.ndarray:
        """(4, 4) T_world_camera of the left camera."""
        return self.scene.camera(index / self.rate)

    def look(self, index: int, eye: str = "left", camera: Camera | None = None) -> View:
        """The truth that one eye sees, without colours; `camera` replaces its image size."""
        camera = camera or self.cameras[eye]
        offset = np.eye(4)
        offset[0, 3] = self.cameras[eye].baseline
        return look(self.scene, camera, self.pose(index) @ offset, index / self.rate)

    def render(self, index: int, eye: str = "left") -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 RGB and depth (H, W) float32 m (NaN = sky) of one eye, and nothing else."""
        view = self.look(index, eye)
        return self._image(index, eye, view), view.depth

    def moving(self, index: int) -> np.ndarray:
        """(H, W) int32 number of the moving object that each pixel of the left image shows, 0 = static."""
        return self._bodies(self.look(index))

    def _image(self, index: int, eye: str, view: View) -> np.ndarray:
        size, fine = (view.camera.width, view.camera.height), self.settings.supersample
        if fine > 1:
            view = self.look(index, eye, view.camera.resized(fine * size[0], fine * size[1]))
        image = 255 * paint(self.scene, view, index / self.rate)
        if fine > 1:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if self.settings.noise:
            rng = np.random.default_rng([self.settings.seed, index, EYES.index(eye)])
            image += self.settings.noise * rng.standard_normal(image.shape, np.float32)
        return np.clip(np.round(image), 0, 255).astype(np.uint8)

    def _bodies(self, view: View) -> np.ndarray:
        """(H, W) int32 number of the body that each pixel shows, 0 = static."""
        mesh = self.scene.mesh
        return np.where(view.face >= 0, mesh.body[mesh.solid][view.face], 0).astype(np.int32)

    def object_motions(self, index: int) -> list[ObjectMotion]:
        """Motion of every visible moving object from frame index - 1 to index, in the newer camera."""
        if not 1 <= index < len(self):
            raise DepthRosError(f"world: frame {index} has no frame before it; ask for 1 to {len(self) - 1}")
        return self._motions(self.look(index), index)

    def _motions(self, view: View, index: int) -> list[ObjectMotion]:
        bodies, T_world_camera, motions = self._bodies(view), view.T_world_camera, []
        points = back_project(view.depth, view.camera)
        for label in np.unique(bodies[bodies > 0]):
            was, now = (self.scene.bodies[label](i / self.rate) for i in (index - 1, index))
            T = inverse(T_world_camera) @ now @ inverse(was) @ T_world_camera
            centre = np.median(points[bodies == label], axis=0).astype(float)
            moved = centre - (inverse(T) @ np.append(centre, 1))[:3]
            motions.append(ObjectMotion(int(label), bodies == label, T, centre, moved * self.rate))
        return motions

    def planes(self, index: int, smallest: int = 50) -> Planes:
        """Planes of the left image that cover at least `smallest` px; coplanar faces of a body are one."""
        view, mesh = self.look(index), self.scene.mesh
        body = mesh.body[mesh.solid][:, None]
        _, member, plane = np.unique(
            np.round(np.hstack([body, view.planes]), 6), axis=0, return_index=True, return_inverse=True
        )
        plane = np.where(view.face >= 0, plane.reshape(-1)[view.face], -1)
        found, count = np.unique(plane[plane >= 0], return_counts=True)
        found = found[count >= smallest]
        label = np.full(len(member) + 1, -1, np.int32)
        label[found] = np.arange(len(found))
        return Planes(label[plane], view.planes[member[found]])
