"""One image of the best and the worst images of an evaluation, for documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.errors import DepthRosError

SHEET_WIDTH = 800
"""px"""
LINE, GAP = 20, 4
"""Height of a line of text, and space between images, px."""
WEBP_QUALITY = 40
EXTREMES = 5
"""Number of best and of worst images on a sheet."""


@dataclass(frozen=True)
class SheetRow:
    """Images (H, W, 3) uint8 RGB of one size, by their captions, under a title."""

    title: str
    images: Mapping[str, np.ndarray]


def extreme_images(ranking: Sequence[int]) -> dict[int, str]:
    """{index: "best 1" ... or "worst 1" ...} of at most EXTREMES each, from indices ranked from best to worst.

    Each image appears once; the worst one is the last.
    """
    count = min(EXTREMES, len(ranking) // 2)
    best = {
        index: f"best {number}" for number, index in enumerate(ranking[: len(ranking) - count][:EXTREMES], 1)
    }
    worst = ranking[len(ranking) - count :]
    return best | {index: f"worst {count - number}" for number, index in enumerate(worst)}


def write_sheet(file: Path, rows: Sequence[SheetRow], note: str) -> None:
    """Write the rows, one below the other, and a note; missing folders are created. Wide images take two lines a row.

    file: its suffix decides the format, e.g. .webp, .png or .jpg. Raises DepthRosError if OpenCV cannot write it.
    """
    sheet = np.vstack([*map(_row, rows), _text(note)])
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(
            str(file), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
        )
    except cv2.error:
        written = False
    if not written:
        raise DepthRosError(
            f"could not write '{file}': give a .webp, .png or .jpg file in a folder that is writable"
        )


def _row(row: SheetRow) -> np.ndarray:
    height, width = next(iter(row.images.values())).shape[:2]
    columns = 2 if width > 2 * height and len(row.images) > 2 else len(row.images)
    panel = (SHEET_WIDTH - GAP * (columns - 1)) // columns
    images = [
        _captioned(
            cv2.resize(image, (panel, round(panel * height / width)), interpolation=cv2.INTER_AREA), caption
        )
        for caption, image in row.images.items()
    ]
    lines = [_side_by_side(images[start : start + columns]) for start in range(0, len(images), columns)]
    return np.vstack([_text(row.title), *lines])


def _side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    line = np.full((images[0].shape[0] + GAP, SHEET_WIDTH, 3), 255, np.uint8)
    for column, image in enumerate(images):
        left = column * (image.shape[1] + GAP)
        line[: image.shape[0], left : left + image.shape[1]] = image
    return line


def _captioned(image: np.ndarray, caption: str) -> np.ndarray:
    image = image.copy()
    for thickness, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        cv2.putText(image, caption, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)
    return image


def _text(text: str) -> np.ndarray:
    line = np.full((LINE, SHEET_WIDTH, 3), 255, np.uint8)
    cv2.putText(line, text, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return line
