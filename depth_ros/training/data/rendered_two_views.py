"""Images of rendered scenes with moving objects, with the inputs of two-view networks, kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_ros.datatypes import Camera
from depth_ros.recordings.two_view_inputs import TwoViewInputs
from depth_ros.training.data.cache import ArrayCache
from depth_ros.training.data.example import Example
from depth_ros.training.data.rendered import SKY_DEPTH, SKY_WEIGHT
from depth_ros.world import World, WorldSettings

IMAGE_SIZES = {"street": (320, 96), "room": (160, 120)}
"""Width and height of rendered images, px: smaller than single ones, since four are rendered for one example."""
RATE = 3.0
"""Hz; the second image is the next one."""
INPUT = "input_"
"""Begin of the names of the inputs in the cache."""


@dataclass(frozen=True)
class RenderedTwoViews:
    """Images of scenes with exact depth and the inputs that a second image gives, one a seed.

    The focal length depends on the seed. Where the two images do not overlap enough, only the mask of people is known.
    """

    kind: str
    seeds: Sequence[int]
    cache: ArrayCache

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int, /) -> Example:
        seed = self.seeds[index]
        width, height = IMAGE_SIZES[self.kind]
        focal = width * float(np.random.default_rng(seed).uniform(0.5, 0.95))
        settings = WorldSettings(
            kind=self.kind, seed=seed, width=width, height=height, frames=2, focal=focal, rate=RATE
        )
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        arrays = self.cache.arrays(f"two_views/{self.kind}_{seed:07d}_{digest}", lambda: _render(settings))
        sky = ~np.isfinite(arrays["depth"])
        return Example(
            image=arrays["image"],
            camera=Camera.pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2),
            depth=np.where(sky, SKY_DEPTH, arrays["depth"]).astype(np.float32),
            weight=np.where(sky, SKY_WEIGHT, 1.0).astype(np.float32),
            extra_inputs={
                name.removeprefix(INPUT): array for name, array in arrays.items() if name.startswith(INPUT)
            },
        )


def _render(settings: WorldSettings) -> dict[str, np.ndarray]:
    sample = TwoViewInputs(World(settings))[0]
    assert sample.depth is not None
    inputs = {f"{INPUT}{name}": values for name, values in sample.left.extra_inputs.items()}
    return {"image": sample.left.image, "depth": sample.depth, **inputs}
