"""Items of the built-in renderer: each scene is rendered when it is first drawn, and kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_ros.datatypes import Camera, Planes
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.cache import ArrayCache
from depth_ros.training.data.clip import Clip, ClipFrame, ClipSettings
from depth_ros.training.data.example import Example
from depth_ros.training.data.source import Source
from depth_ros.world import KIND_DEFAULTS, World, WorldSettings

SKY_DEPTH = 400.0
"""Depth of rendered sky, m: beyond the range of published depth, but finite, so that it can be learned."""
SKY_WEIGHT = 0.3
"""Loss weight of rendered sky."""
IMAGE_SIZES = {"street": (640, 192), "room": (320, 240)}
"""Width and height of rendered images, px."""


@dataclass(frozen=True)
class RenderedExamples:
    """Images of scenes with exact depth and planes, one a seed; the focal length depends on the seed."""

    kind: str
    seeds: Sequence[int]
    cache: ArrayCache

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int, /) -> Example:
        seed = self.seeds[index]
        width, height = IMAGE_SIZES[self.kind]
        focal = width * float(np.random.default_rng(seed).uniform(0.5, 0.95))
        settings = WorldSettings(kind=self.kind, seed=seed, width=width, height=height, frames=1, focal=focal)
        arrays = self.cache.arrays(_name(settings), lambda: _render_image(settings))
        sky = ~np.isfinite(arrays["depth"])
        return Example(
            image=arrays["image"],
            camera=Camera.pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2),
            depth=np.where(sky, SKY_DEPTH, arrays["depth"]).astype(np.float32),
            weight=np.where(sky, SKY_WEIGHT, 1.0).astype(np.float32),
            right=arrays["right"],
            fx_baseline=focal * KIND_DEFAULTS[self.kind]["baseline"],
            planes=Planes(arrays["labels"], arrays["equations"]),
        )


def _render_image(settings: WorldSettings) -> dict[str, np.ndarray]:
    world = World(settings)
    sample, planes = world[0], world.planes(0)
    assert sample.depth is not None and sample.right is not None
    return {
        "image": sample.left.image,
        "right": sample.right.image,
        "depth": sample.depth,
        "labels": planes.labels,
        "equations": planes.equations,
    }


@dataclass(frozen=True)
class RenderedClips:
    """Clips of rendered scenes at the size that crops need: the frames of one seed after those of the other."""

    source: Source
    crop: CropSettings
    settings: ClipSettings
    cache: ArrayCache

    @property
    def _clips_per_scene(self) -> int:
        return max(0, self.source.frames - self.settings.frames + 1)

    def __len__(self) -> int:
        return len(self.source.seeds) * self._clips_per_scene

    def __getitem__(self, index: int, /) -> Clip:
        scene, start = divmod(index, self._clips_per_scene)
        width, height = (round(side) for side in self.crop.source_size)
        settings = WorldSettings(
            kind=self.source.scene_kind,
            seed=self.source.seeds[scene],
            frames=self.source.frames,
            width=width,
            height=height,
            supersample=2,
            moving_count=self.settings.moving_count,
            rate=self.source.rate,
        )
        arrays = self.cache.arrays(_name(settings), lambda: _render_frames(settings))
        focal = float(arrays["focal"])
        camera = Camera.pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
        frames = range(start, start + self.settings.frames)
        return tuple(
            ClipFrame(arrays["images"][i], arrays["labels"][i], camera, arrays["depths"][i]) for i in frames
        )


def _render_frames(settings: WorldSettings) -> dict[str, np.ndarray]:
    world = World(settings)
    rendered = [world.render(index) for index in range(settings.frames)]
    return {
        "images": np.stack([image for image, _ in rendered]),
        "depths": np.stack([depth for _, depth in rendered]),
        "labels": np.stack([world.moving_objects(i).astype(np.uint8) for i in range(settings.frames)]),
        "focal": np.array(world.cameras["left"].fx),
    }


def _name(settings: WorldSettings) -> str:
    """Where the cache keeps what is rendered with these settings."""
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    return f"rendered/{settings.kind}_{settings.seed:07d}_{digest}"
