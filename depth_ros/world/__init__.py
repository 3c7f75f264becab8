"""A built-in simulated world: rendered streets and rooms with exact depth, poses, object motions and planes.

world = World(WorldSettings(kind="street", seed=3))
sample = world[0]                    # as from a recorded folder: stereo pair, depth, pose, moving objects
image, depth = world.render(0)       # one image only, which is faster
world.planes(0), world.object_motions(1)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import cv2
import numpy as np

from depth_ros.config import setting, value_problem
from depth_ros.datatypes import Camera, Frame, ObjectMotion, Planes
from depth_ros.errors import DepthRosError
from depth_ros.geometry import back_project, inverse
from depth_ros.recordings import Contents, Sample
from depth_ros.recordings.files import FIRST_STAMP, NS
from depth_ros.world import room, street
from depth_ros.world.folder_writer import write_folder
from depth_ros.world.render import RenderedView, render_geometry, shade

__all__ = ["KIND_DEFAULTS", "World", "WorldSettings", "write_folder"]

SIDES = ("left", "right")


@dataclass(frozen=True)
class WorldSettings:
    """What to render. Zero selects the default of the kind, see `KIND_DEFAULTS`."""

    kind: str = setting("street", "Kind of scene", choices=("street", "room"))
    seed: int = setting(0, "Seed of all random numbers", minimum=0)
    frames: int = setting(40, "Length of the sequence; another length gives another street", minimum=1)
    width: int = setting(0, "Image width; 0: default of the kind", "px", minimum=0, maximum=8192)
    height: int = setting(0, "Image height; 0: default of the kind", "px", minimum=0, maximum=8192)
    focal: float = setting(0.0, "Focal length; 0: default of the kind", "px", minimum=0)
    baseline: float = setting(0.0, "Stereo baseline; 0: default of the kind", "m", minimum=0, maximum=2)
    rate: float = setting(0.0, "Frame rate; 0: default of the kind", "Hz", minimum=0, maximum=1000)
    moving_count: int = setting(3, "Number of moving objects", minimum=0, maximum=50)
    noise: float = setting(1.5, "Standard deviation of the image noise", "grey levels", minimum=0, maximum=50)
    supersample: int = setting(1, "Rays per pixel along each axis of the image", minimum=1, maximum=4)


KIND_DEFAULTS: dict[str, dict[str, float]] = {
    "street": {"width": 640, "height": 192, "focal": 0.58, "baseline": 0.54, "rate": 10.0},
    "room": {"width": 320, "height": 240, "focal": 0.8, "baseline": 0.1, "rate": 30.0},
}
"""Defaults of each kind, used for settings of zero. The focal length is a multiple of the image width."""


class World:
    """A rendered recording: a `recordings.Recording` with additional ground truth. Frames are rendered on access.

    The world frame has z up; the left camera is at `T_world_camera`, the right one `baseline` m along its x.
    """

    layout, camera_source, damage = "world", "the settings of the renderer", ()
    contents = Contents(pairs=True, depth=True, poses=True, moving_objects=True, exact=True)

    def __init__(self, settings: WorldSettings = WorldSettings()) -> None:
        for each in fields(settings):
            if problem := value_problem(each, getattr(settings, each.name)):
                raise DepthRosError(f"world: {problem}")
        defaults = KIND_DEFAULTS[settings.kind]
        self.settings = settings
        self.rate = settings.rate or defaults["rate"]
        self.baseline = settings.baseline or defaults["baseline"]
        width, height = settings.width or int(defaults["width"]), settings.height or int(defaults["height"])
        focal = settings.focal or defaults["focal"] * width
        centre = (width - 1) / 2, (height - 1) / 2
        self.cameras = {
            side: Camera.pinhole(width, height, focal, focal, *centre, baseline)
            for side, baseline in zip(SIDES, (0.0, self.baseline), strict=True)
        }
        rng = np.random.default_rng([settings.seed, settings.kind == "room"])
        if settings.kind == "street":
            self.scene = street.build(rng, (settings.frames - 1) / self.rate, settings.moving_count)
        else:
            self.scene = room.build(rng, settings.moving_count)

        self.names = [f"{index:06d}" for index in range(settings.frames)]
        self.stamps = [FIRST_STAMP + round(index * NS / self.rate) for index in range(settings.frames)]

    def __len__(self) -> int:
        return self.settings.frames

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of a world with {len(self)} frames")
        index %= len(self)
        view = self.view(index)
        stamp = self.stamps[index]
        left, right = (
            Frame(stamp, f"{side}_camera_optical_frame", image, self.cameras[side])
            for side, image in (
                ("left", self._image(index, "left", view)),
                ("right", self.render(index, "right")[0]),
            )
        )
        velocities = {m.label: m.velocity for m in self._motions(view, index)} if index else None
        labels = self._moving_objects(view)
        return Sample(self.names[index], left, right, view.depth, view.T_world_camera, labels, velocities)

    def pose(self, index: int) -> np.ndarray:
        """(4, 4) T_world_camera of the left camera."""
        return self.scene.camera(index / self.rate)

    def view(self, index: int, side: str = "left", camera: Camera | None = None) -> RenderedView:
        """The geometry that the left or right camera sees. `camera` overrides its image size."""
        camera = camera or self.cameras[side]
        offset = np.eye(4)
        offset[0, 3] = self.cameras[side].baseline
        return render_geometry(self.scene, camera, self.pose(index) @ offset, index / self.rate)

    def render(self, index: int, side: str = "left") -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 RGB and depth (H, W) float32 m (NaN = sky) of the left or right camera."""
        view = self.view(index, side)
        return self._image(index, side, view), view.depth

    def moving_objects(self, index: int) -> np.ndarray:
        """(H, W) int32 label of the moving object at each pixel of the left image, 0 = static."""
        return self._moving_objects(self.view(index))

    def _image(self, index: int, side: str, view: RenderedView) -> np.ndarray:
        size, rays_per_axis = (view.camera.width, view.camera.height), self.settings.supersample
        if rays_per_axis > 1:
            camera = view.camera.resized(rays_per_axis * size[0], rays_per_axis * size[1])
            view = self.view(index, side, camera)
        image = 255 * shade(self.scene, view, index / self.rate)
        if rays_per_axis > 1:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if self.settings.noise:
            rng = np.random.default_rng([self.settings.seed, index, SIDES.index(side)])
            image += self.settings.noise * rng.standard_normal(image.shape, np.float32)
        return np.clip(np.round(image), 0, 255).astype(np.uint8)

    def _moving_objects(self, view: RenderedView) -> np.ndarray:
        mesh = self.scene.mesh
        return np.where(view.face >= 0, mesh.body[mesh.solid][view.face], 0).astype(np.int32)

    def object_motions(self, index: int) -> list[ObjectMotion]:
        """Motions of all visible moving objects from frame index - 1 to index, in the newer camera frame."""
        if not 1 <= index < len(self):
            raise DepthRosError(
                f"world: no motion to frame {index}, which has no previous frame; allowed: 1 to {len(self) - 1}"
            )
        return self._motions(self.view(index), index)

    def _motions(self, view: RenderedView, index: int) -> list[ObjectMotion]:
        labels, T_world_camera, motions = self._moving_objects(view), view.T_world_camera, []
        points = back_project(view.depth, view.camera)
        for label in np.unique(labels[labels > 0]):
            old, new = (self.scene.bodies[label](i / self.rate) for i in (index - 1, index))
            T = inverse(T_world_camera) @ new @ inverse(old) @ T_world_camera
            centre = np.median(points[labels == label], axis=0).astype(float)
            translation = centre - (inverse(T) @ np.append(centre, 1))[:3]
            motions.append(ObjectMotion(int(label), labels == label, T, centre, translation * self.rate))
        return motions

    def planes(self, index: int, min_pixels: int = 50) -> Planes:
        """Planes that cover at least `min_pixels` px of the left image. Coplanar faces of a body are merged."""
        view, mesh = self.view(index), self.scene.mesh
        body = mesh.body[mesh.solid][:, None]
        _, member, plane = np.unique(
            np.round(np.hstack([body, view.planes]), 6), axis=0, return_index=True, return_inverse=True
        )
        plane = np.where(view.face >= 0, plane.reshape(-1)[view.face], -1)
        found, count = np.unique(plane[plane >= 0], return_counts=True)
        found = found[count >= min_pixels]
        label = np.full(len(member) + 1, -1, np.int32)
        label[found] = np.arange(len(found))
        return Planes(label[plane], view.planes[member[found]])
