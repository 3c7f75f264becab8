"""How images of any size become the input of a network that was trained at one size.

Released networks were trained with images that were stretched, or cropped and resized, to one size. See
`networks.blocks.fitted` for the module that does the same to the images of a camera.
"""

from __future__ import annotations

from dataclasses import dataclass

FITS = {
    "aspect": "a size with the aspect ratio of the image and about as many pixels as width x height",
    "width": "the width, and the height that the aspect ratio of the image requires",
    "stretch": "the region, stretched to width x height",
    "crop": "the largest centred part of the region with the aspect ratio of width x height, resized to it",
    "letterbox": "the region, resized with its aspect ratio to fit into width x height, in a margin of one colour",
}
"""How a network gets the images of a camera; with the last three, the size of its input is always the same."""
FIXED = ("stretch", "crop", "letterbox")
WHOLE = (0.0, 0.0, 1.0, 1.0)
NO_MARGIN = (0, 0, 0, 0)


@dataclass(frozen=True)
class Fit:
    """How images become the input of a network. mode: one of FITS. width, height: px, of its input.

    region: left, top, right and bottom of the part of an image that is used, as fractions of its width and height.
    """

    mode: str
    width: int
    height: int
    region: tuple[float, ...] = WHOLE

    @property
    def is_fixed(self) -> bool:
        """Whether the network gets inputs of this size only."""
        return self.mode in FIXED

    def view(self, width: int, height: int) -> View:
        """What the network gets of images of width x height px."""
        if not self.is_fixed:
            return View(width, height, 0, 0, width, height, width, height)
        left, right = (round(self.region[i] * width) for i in (0, 2))
        top, bottom = (round(self.region[i] * height) for i in (1, 3))
        w, h = right - left, bottom - top
        if self.mode == "crop":
            w, h = min(w, round(h * self.width / self.height)), min(h, round(w * self.height / self.width))
        w, h = max(w, 1), max(h, 1)
        left, top = left + (right - left - w) // 2, top + (bottom - top - h) // 2
        margin = self._margin(w, h) if self.mode == "letterbox" else NO_MARGIN
        return View(width, height, left, top, w, h, self.width, self.height, margin)

    def _margin(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Around a window of width x height px; an odd pixel is on the right or at the bottom, as in Metric3D."""
        scale = min(self.width / width, self.height / height)
        w, h = (max(int(side * scale + 1e-6), 1) for side in (width, height))
        across, down = self.width - w, self.height - h
        return across // 2, down // 2, across - across // 2, down - down // 2


@dataclass(frozen=True)
class View:
    """The window of an image that a network sees, and the size of the network's input. All in px.

    image_width, image_height: of the image. left, top, width, height: the window. input_width, input_height: of the
    input. margin: of the input, left, top, right and bottom; the window is resized to what is inside. Pixel centres
    have integer coordinates.
    """

    image_width: int
    image_height: int
    left: int
    top: int
    width: int
    height: int
    input_width: int
    input_height: int
    margin: tuple[int, int, int, int] = NO_MARGIN

    @property
    def inside(self) -> tuple[int, int]:
        """Width and height of the input without its margin."""
        left, top, right, bottom = self.margin
        return self.input_width - left - right, self.input_height - top - bottom

    @property
    def scale(self) -> tuple[float, float]:
        """Input px per image px, horizontally and vertically."""
        return self.inside[0] / self.width, self.inside[1] / self.height

    @property
    def is_identity(self) -> bool:
        """Whether the input is the image."""
        sizes = {(self.image_width, self.image_height), (self.width, self.height), self.inside}
        return len(sizes) == 1 and self.margin == NO_MARGIN
