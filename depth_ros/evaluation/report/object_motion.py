"""The page of `depth_ros evaluate object_motion`: what moves, drawn on the images, beside their depth."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Depth, ObjectMotion
from depth_ros.evaluation.report.html import document, picture
from depth_ros.evaluation.report.plots import depth_picture, depth_range, plane_colour

STRIPS = 16
"""Frames on the page at most."""
SECONDS = 0.5
"""Arrows lead to where an object will be after so long."""
Frame = tuple[Depth, list[ObjectMotion], np.ndarray | None]
"""A frame, what was found in it, and the ids (h, w) of what truly moves, if these are known."""


def motion_picture(depth: Depth, objects: list[ObjectMotion], truth: np.ndarray | None = None) -> np.ndarray:
    """The image (H, W, 3) with objects tinted, their arrows and speeds; what truly moves is outlined in white."""
    drawn = np.ascontiguousarray(depth.image).copy()
    height, width = drawn.shape[:2]
    thick = max(1, width // 400)
    for each in objects:
        colour = np.array(plane_colour(each.label), np.float32)
        drawn[each.mask] = (0.5 * drawn[each.mask] + 0.5 * colour).astype(np.uint8)
    if truth is not None:
        truth = cv2.resize((truth > 0).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        outlines = cv2.findContours(truth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        cv2.polylines(drawn, outlines, True, (255, 255, 255), thick, cv2.LINE_AA)
    for each in objects:
        start, end = (_pixel(depth, each.centre + t * each.velocity) for t in (0.0, SECONDS))
        cv2.arrowedLine(drawn, start, end, plane_colour(each.label), 2 * thick, cv2.LINE_AA, tipLength=0.25)
        words = f"{each.label}: {np.linalg.norm(each.velocity):.1f} m/s"
        for shade, weight in (((0, 0, 0), 3 * thick), ((255, 255, 255), thick)):
            cv2.putText(
                drawn, words, start, cv2.FONT_HERSHEY_SIMPLEX, width / 1600 + 0.2, shade, weight, cv2.LINE_AA
            )
    return drawn


def _pixel(depth: Depth, point: np.ndarray) -> tuple[int, int]:
    """Where a point (3,) m is seen, no farther outside than the image is large."""
    height, width = depth.depth.shape
    u, v = (depth.camera.K @ point)[:2] / max(point[2], 0.1)
    return int(np.clip(u, -width, 2 * width)), int(np.clip(v, -height, 2 * height))


def write_object_motion_page(path: Path, result: dict[str, Any], frames: list[Frame], command: str) -> None:
    """frames: of all, from which some are shown."""
    shown = frames[:: -(-len(frames) // STRIPS) or 1]
    span = depth_range([depth.depth for depth, _, _ in shown]) if shown else (1.0, 10.0)
    strips = ""
    for depth, objects, truth in shown:
        pictures = (
            (motion_picture(depth, objects, truth), f"{len(objects)} moving, at {depth.stamp / 1e9:.2f} s"),
            (depth_picture(depth.depth, span), f"depth, {span[0]:.1f} to {span[1]:.1f} m"),
        )
        strips += f'<div class="strip wide">{"".join(picture(*each, width=640) for each in pictures)}</div>'
    numbers = {key: value for key, value in result.items() if isinstance(value, float)}
    rows = "".join(f"<tr><th>{escape(key)}</th><td>{value:.3f}</td></tr>" for key, value in numbers.items())
    title = f"Object motion on {Path(result['data']).name}"
    words = (
        f"{result['frames']} pairs of images, depth of {result['model']}; {result['method']}. Arrows lead to where an "
        f"object will be after {SECONDS:g} s; what truly moves, where that is known, has a white outline."
    )
    parts = (
        f"<h1>{escape(title)}</h1><p>{escape(words)}</p>{strips}<table>{rows}</table>",
        f'<p class="note">{escape(command)}</p>',
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(title, parts), encoding="utf-8")
