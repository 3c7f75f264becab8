"""Report of an object motion evaluation: moving objects drawn on the images, beside their depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.datatypes import Depth, ObjectMotion
from depth_ros.evaluation.report.html import figure, write_document
from depth_ros.evaluation.report.plots import depth_image, depth_range, plane_colour

MAX_STRIPS = 16
"""Maximum number of frames shown."""
ARROW_SECONDS = 0.5
"""An arrow shows the distance that an object travels in this time, s."""


@dataclass(frozen=True)
class ObjectMotionFrame:
    """A frame and the objects found in it. ground_truth: (h, w) ids of moving objects, 0 = static, or None."""

    depth: Depth
    objects: list[ObjectMotion]
    ground_truth: np.ndarray | None = None


def object_motion_image(frame: ObjectMotionFrame) -> np.ndarray:
    """The image (H, W, 3) with tinted objects, arrows and speeds; ground-truth objects are outlined in white."""
    depth = frame.depth
    image: np.ndarray = np.ascontiguousarray(depth.image).copy()
    height, width = image.shape[:2]
    thickness = max(1, width // 400)
    for each in frame.objects:
        colour = np.array(plane_colour(each.label), np.float32)
        image[each.mask] = (0.5 * image[each.mask] + 0.5 * colour).astype(np.uint8)
    if frame.ground_truth is not None:
        mask = (frame.ground_truth > 0).astype(np.uint8)
        moving = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        outlines = cv2.findContours(moving, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        cv2.polylines(image, outlines, True, (255, 255, 255), thickness, cv2.LINE_AA)
    for each in frame.objects:
        start, end = (_project(depth, each.centre + t * each.velocity) for t in (0.0, ARROW_SECONDS))
        cv2.arrowedLine(
            image, start, end, plane_colour(each.label), 2 * thickness, cv2.LINE_AA, tipLength=0.25
        )
        text = f"{each.label}: {np.linalg.norm(each.velocity):.1f} m/s"
        font, size = cv2.FONT_HERSHEY_SIMPLEX, width / 1600 + 0.2
        for grey, weight in ((0, 3 * thickness), (255, thickness)):
            cv2.putText(image, text, start, font, size, (grey, grey, grey), weight, cv2.LINE_AA)
    return image


def _project(depth: Depth, point: np.ndarray) -> tuple[int, int]:
    """Pixel of a point (3,) m, at most one image size outside the image."""
    height, width = depth.depth.shape
    u, v = (depth.camera.K @ point)[:2] / max(point[2], 0.1)
    return int(np.clip(u, -width, 2 * width)), int(np.clip(v, -height, 2 * height))


def write_object_motion_report(
    path: Path, result: dict[str, Any], frames: Sequence[ObjectMotionFrame], command: str
) -> None:
    """Write the report with evenly spaced frames of those given; missing folders are created."""
    shown = frames[:: -(-len(frames) // MAX_STRIPS) or 1]
    span = depth_range([frame.depth.depth for frame in shown]) if shown else (1.0, 10.0)
    strips = ""
    for frame in shown:
        caption = f"moving objects: {len(frame.objects)}, at {frame.depth.stamp / 1e9:.2f} s"
        objects = figure(object_motion_image(frame), caption, 640)
        depth = figure(depth_image(frame.depth.depth, span), f"depth, {span[0]:.1f} to {span[1]:.1f} m", 640)
        strips += f'<div class="strip wide">{objects}{depth}</div>'
    numbers = {key: value for key, value in result.items() if isinstance(value, float)}
    rows = "".join(f"<tr><th>{escape(key)}</th><td>{value:.3f}</td></tr>" for key, value in numbers.items())
    title = f"Object motion on {Path(result['data']).name}"
    text = (
        f"{result['frames']} frame pairs; depth: {result['model']}; method: {result['method']}. An arrow shows the "
        f"distance that an object travels in {ARROW_SECONDS:g} s. Ground-truth objects have a white outline."
    )
    parts = (
        f"<h1>{escape(title)}</h1><p>{escape(text)}</p>{strips}<table>{rows}</table>",
        f'<p class="note">{escape(command)}</p>',
    )
    write_document(path, title, parts)
