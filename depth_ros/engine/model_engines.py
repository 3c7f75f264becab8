"""The engines of one model, and the size of the engine for images of a camera."""

from __future__ import annotations

import math

from depth_ros.card import Card, model_traits, with_post_processing
from depth_ros.engine.compiler_folders import select_folder
from depth_ros.engine.engine import Engine, EngineSettings, EngineStatus
from depth_ros.engine.pool import EngineProvider, building_of, open_engine


class ModelEngines:
    """The engines of one model for whatever image size comes. provider: `open_engine` or `serve_engine`.

    Raises DepthRosError if post-processing is requested and the model has none.
    """

    def __init__(self, card: Card, settings: EngineSettings, provider: EngineProvider = open_engine) -> None:
        select_folder()
        card = with_post_processing(card) if settings.post_process else card
        self.card, self._settings, self._provider = card, settings, provider
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self._engine: Engine | None = None

    @property
    def status(self) -> EngineStatus:
        """The engine that served the last image, and what is being built."""
        building = building_of(self.card)
        if self._engine is None:
            return EngineStatus(building=building)
        return EngineStatus(self._engine.name, self._engine.reason, building, self._engine.problem)

    def for_image(self, width: int, height: int) -> Engine:
        """The engine for images of width x height px, which are resized to its size."""
        if (width, height) not in self._sizes:
            self._sizes[width, height] = engine_size(self.card, width, height)
        return self.of_size(*self._sizes[width, height])

    def of_size(self, width: int, height: int) -> Engine:
        """The engine of exactly width x height px, multiples of the model's `size_multiple`."""
        self._engine = self._provider(self.card, width, height, self._settings)
        return self._engine


def engine_size(card: Card, width: int, height: int) -> tuple[int, int]:
    """Width and height (px) of the engine for images of width x height.

    Where the input of the network has a fixed size, the smallest size with the aspect ratio of the image at which what
    the network gets of it is at least that large; the engine resizes it. Otherwise multiples that the family can take,
    at the width of the card, or near the aspect ratio of the image first (stretching contradicts the intrinsics) and
    the card's number of pixels second.
    """
    fit = card.input_fit
    if fit.is_fixed:
        scale = min(1.0, max(fit.view(width, height).scale))
        return round(scale * width), round(scale * height)
    step = model_traits(card).size_multiple
    if card.fit == "width":
        return card.width, max(step, round(card.width * height / width / step) * step)
    budget, aspect = card.width * card.height, width / height
    highest = int((4 * budget / aspect) ** 0.5 / step) + 1
    sizes = [(max(step, round(h * step * aspect / step) * step), h * step) for h in range(1, highest + 1)]

    def mismatch(size: tuple[int, int]) -> float:
        w, h = size
        return 4 * abs(math.log(w / h / aspect)) + abs(math.log(w * h / budget))

    return min(sizes, key=mismatch)
