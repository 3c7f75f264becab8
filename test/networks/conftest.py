"""Rendered scenes for the tests of networks."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from depth_ros.world import World, WorldSettings


class Room(NamedTuple):
    """A rendered room. intrinsics: (1, 3, 3). depth: (1, H, W). planes: (1, P, 3) vectors n d. labels: (1, H, W)."""

    intrinsics: Tensor
    depth: Tensor
    planes: Tensor
    labels: Tensor


@pytest.fixture(scope="session")
def room() -> Room:
    world = World(WorldSettings(kind="room", seed=5, frames=1, width=128, height=96))
    planes = world.planes(0, min_pixels=1)
    vectors = torch.tensor(-planes.equations[:, :3] * planes.equations[:, 3:], dtype=torch.float32)[None]
    intrinsics = torch.tensor(world.cameras["left"].K, dtype=torch.float32)[None]
    return Room(
        intrinsics, torch.tensor(world.view(0).depth)[None], vectors, torch.tensor(planes.labels)[None]
    )
