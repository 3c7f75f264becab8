"""Two-view inputs of a clip as a folder, and a network of family mannequin run on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.card import Card, find_card, load_model
from depth_ros.effects.clip import Moment, posed, read_clip
from depth_ros.effects.parallax import Parallax, channels, scale_of, two_view
from depth_ros.errors import DepthRosError
from depth_ros.evaluation.metrics.depth import PROTOCOLS, Tally

UNITS = 1000
"""Stored units of depth per unit of the poses: mm."""


@dataclass(frozen=True)
class Inputs:
    """What came of a clip. images: written. trusted: mean share of pixels with parallax depth.

    figures: {"parallax" | "alone" | "two views": figures against recorded depth}, where there is any.
    """

    images: int
    trusted: float
    figures: dict[str, dict[str, float | None]]


def write_inputs(
    source: Path,
    out: Path,
    model: str = "",
    poses: Path | None = None,
    masks: Path | None = None,
    limit: int = 0,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
    joints: Path | None = None,
) -> Inputs:
    """Make the two-view inputs of every posed image and write them to the new folder `out`.

    image/, camera.yaml and poses.txt as `datasets.folder` reads them, depth/ from parallax (uint16, 1/1000 of the
    poses' unit, 0 = none), confidence/ (uint8 / 255), moving_objects/ people (255). model: a mannequin one; its depth
    goes to predicted/ in the same units, brought to scale by parallax. See `clip.read_clip` for poses, masks, joints.
    """
    moments = posed(read_clip(source, poses, masks, limit, joints), source)
    if out.exists() and any(out.iterdir()):
        raise DepthRosError(f"{out} exists already: remove it or give another name")
    network = TwoView(model) if model else None
    tallies = {name: Tally(PROTOCOLS["mannequin"]) for name in ("parallax", "alone", "two views")}
    trusted = []
    for index in progress(range(len(moments))):
        moment, found = moments[index], two_view(moments, index)
        made = {} if found is None else {"parallax": found.depth}
        trusted.append(0.0 if found is None else float((found.confidence > 0).mean()))
        if network:
            made |= {"alone": network(moment, None), "two views": network(moment, found)}
        for name, depth in made.items():
            if moment.depth is not None:
                tallies[name].add(depth, moment.depth, people=moment.people)
        _write(out, moment, found, made.get("two views"))
    rows = [" ".join(f"{x:.9g}" for x in moment.T_world_camera[:3].flat) for moment in moments]  # type: ignore[index]
    (out / "poses.txt").write_text("\n".join(rows) + "\n")
    figures = {name: tally.figures() for name, tally in tallies.items() if len(tally)}
    return Inputs(len(moments), float(np.mean(trusted)), figures)


class TwoView:
    """A mannequin model fed with two-view inputs, eager: (moment, parallax or None) -> depth (H, W) up to scale."""

    def __init__(self, model: str) -> None:
        card: Card = find_card(model)
        self.model = load_model(card)
        if not hasattr(self.model, "channels"):
            raise DepthRosError(
                f"model '{model}' is of family '{card.family}': two views need one of 'mannequin'"
            )
        self.budget, self.multiple = card.width * card.height, int(self.model.size_multiple)  # type: ignore[arg-type]

    def __call__(self, moment: Moment, found: Parallax | None) -> np.ndarray:
        import torch

        height, width = moment.people.shape
        scale = (self.budget / (height * width)) ** 0.5
        size = tuple(max(1, round(side * scale / self.multiple)) * self.multiple for side in (width, height))
        image = cv2.resize(moment.frame.image, size, interpolation=cv2.INTER_AREA)
        extra = channels(self.model.channels, moment, found)  # type: ignore[arg-type]
        small = [cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in extra]
        stacked = np.stack(small) if small else np.zeros((0, *image.shape[:2]), np.float32)
        K = moment.frame.camera.resized(*size).K.astype(np.float32)
        with torch.inference_mode():
            depth = self.model(*(torch.from_numpy(each)[None] for each in (image, K, stacked)))[0].numpy()
        return 1 / cv2.resize(1 / depth, (width, height), interpolation=cv2.INTER_LINEAR)


def _write(out: Path, moment: Moment, found: Parallax | None, predicted: np.ndarray | None) -> None:
    camera, name = moment.frame.camera, f"{moment.name}.png"
    pictures = {
        "image": cv2.cvtColor(moment.frame.image, cv2.COLOR_RGB2BGR),
        "moving_objects": np.where(moment.people, 255, 0).astype(np.uint8),
    }
    if found is not None:
        pictures["depth"] = _units(found.depth)
        pictures["confidence"] = np.round(255 * found.confidence).astype(np.uint8)
    if predicted is not None:
        pictures["predicted"] = _units(predicted * (scale_of(predicted, found) or 1.0))
    for part, pixels in pictures.items():
        (out / part).mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(out / part / name), pixels):
            raise DepthRosError(f"{out / part / name} cannot be written: is the disk full?")
    if not (out / "camera.yaml").exists():
        lines = [f"{key}: {getattr(camera, key)}" for key in ("width", "height", "fx", "fy", "cx", "cy")]
        (out / "camera.yaml").write_text("\n".join([*lines, f"depth_scale: {UNITS}"]) + "\n")


def _units(depth: np.ndarray) -> np.ndarray:
    """uint16 as stored; unknown and what does not fit is 0."""
    units = np.nan_to_num(np.rint(depth * UNITS), nan=0.0, posinf=0.0, neginf=0.0)
    return np.where((units > 0) & (units <= 65535), units, 0).astype(np.uint16)
