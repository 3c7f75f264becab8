"""Renders the frames of a scene into a folder of the general layout (`recordings.layouts.folder`).

Beside it: instances/, uint16 labels of the objects of the first camera, 0 = nothing, instances.txt, their names, and
settings.yaml.
A frame depends on the settings and its number alone, so a run that was interrupted continues where it stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from depth_ros.errors import DepthRosError
from depth_ros.recordings.files import images_in, read_values, read_yaml
from depth_ros.rendering.appearance import draw_lights, draw_surfaces, scene_lamps
from depth_ros.rendering.blender import Blender, Rendered
from depth_ros.rendering.clutter import Object, extra_objects, movable_objects, place_clutter
from depth_ros.rendering.free_space import FreeSpace
from depth_ros.rendering.moving import Moving, place_moving
from depth_ros.rendering.scene import Mesh, Scene
from depth_ros.rendering.sensor import draw_sensor
from depth_ros.rendering.settings import SceneSettings
from depth_ros.rendering.views import VIEWS, exposed_poses

DEPTH_SCALE, DISPARITY_SCALE = 1000, 256
"""Stored units per metre and per px."""
JPEG_QUALITY = 92
Progress = Callable[[int], object]
"""Is called with the number of frames that are done."""


def render_recording(
    scene: Scene,
    settings: SceneSettings,
    out: Path,
    command: list[str],
    progress: Progress,
    objects: dict[str, Mesh],
) -> None:
    """Render all frames that `out` lacks. command: see `blender.find_blender`. objects: meshes that serve as clutter;
    without them the small objects of the scene do. Raises DepthRosError."""
    if settings.lowest > settings.highest:
        raise DepthRosError(
            f"the lowest height is {settings.lowest} m, above the highest, {settings.highest} m"
        )
    space = FreeSpace(scene.triangles(), scene.triangles(bounds_only=True))
    clutter = extra_objects(objects) if objects else movable_objects(scene)
    if settings.clutter and not clutter:
        raise DepthRosError("--clutter: the scene has no small objects; name models or meshes with --objects")
    scene.meshes |= objects
    poses = [VIEWS[settings.views](space, settings, number) for number in range(settings.frames)]
    moving = place_moving(space, clutter, settings, poses)
    _continue_or_begin(out, settings)
    missing = [
        number for number in range(settings.frames) if not _image_file(out, settings, number).is_file()
    ]
    progress(settings.frames - len(missing))
    if missing:
        with Blender(scene, settings, command) as blender:
            for number in missing:
                frame = plan_frame(space, clutter, settings, poses[number], number)
                if settings.appearance == "scene" and scene.lights:
                    frame |= {"lamps": scene_lamps(scene), "sky": {"colour": scene.ambient, "strength": 1.0}}
                seconds = [number / settings.rate + t for t in settings.exposure_times]
                frame["objects"] += [(each.each.mesh, [each.at(t)[0] for t in seconds]) for each in moving]
                frame["surfaces"] = draw_surfaces(blender.materials, settings, frame["look"])
                frame["objects"] = _labelled(frame["objects"], blender.keys, max(scene.names()))
                rendered = blender.render(frame)
                if moving:
                    _write_moving(out, settings, number, rendered.labels - max(scene.names()))
                _write_frame(out, settings, number, rendered)
                progress(1)
    np.savetxt(out / "poses.txt", np.array([T[:3].reshape(-1) for T in poses]), fmt="%.9f")
    if moving:
        (out / "velocities.txt").write_text("".join(_velocities(out, settings, moving, poses)))
    names = (f"{label} {name}\n" for label, name in sorted(scene.names().items()))
    (out / "instances.txt").write_text("".join(names))
    _write_camera(out / "camera.yaml", settings)


def _continue_or_begin(out: Path, settings: SceneSettings) -> None:
    """Write the settings into the folder. Raises DepthRosError if it has frames of other settings, or more frames."""
    file = out / "settings.yaml"
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("frames", "threads")}
    if file.is_file() and (differing := [k for k, v in read_yaml(file).items() if values.get(k) != v]):
        raise DepthRosError(
            f"{out} has frames with another {', '.join(differing)} ({file.name}): give another --out"
        )
    count = len(images_in(out / "left") or images_in(out / "image"))
    if count > settings.frames:
        raise DepthRosError(f"{out} has {count} frames, more than {settings.frames}: give --frames {count}")
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(values, sort_keys=False))


def plan_frame(
    space: FreeSpace,
    clutter: Sequence[Object],
    settings: SceneSettings,
    T_world_camera: np.ndarray,
    number: int,
) -> dict[str, Any]:
    """What the program in Blender renders for a frame, without surfaces. The frames of a drive share light and look."""
    drive = settings.views == "drive"
    left = exposed_poses(space, settings, number, T_world_camera)
    T_left_right = np.eye(4)
    T_left_right[0, 3] = settings.baseline
    right = [[T @ T_left_right for T in left]] if settings.baseline else []
    lamps, sky = draw_lights(space, settings, T_world_camera, 0 if drive else number)
    placed = [] if drive else place_clutter(space, clutter, settings, T_world_camera, number)
    return {
        "cameras": [[T.tolist() for T in poses] for poses in (left, *right)],
        "objects": [(mesh, [T]) for mesh, T in placed],
        "lamps": lamps,
        "sky": sky,
        "seed": number,
        "look": 0 if drive else number,
    }


def _labelled(
    objects: Sequence[tuple[str, list[np.ndarray]]], keys: dict[str, str], last_label: int
) -> list[dict[str, Any]]:
    return [
        {"mesh": keys[mesh], "T": [T.tolist() for T in poses], "label": last_label + number}
        for number, (mesh, poses) in enumerate(objects, 1)
    ]


def frame_name(settings: SceneSettings, number: int) -> str:
    """Consecutive numbers for a drive; even ones for independent views, which the layout tells apart by the gaps."""
    return f"{number if settings.views == 'drive' else 2 * number:06d}"


def _image_file(out: Path, settings: SceneSettings, number: int) -> Path:
    return out / ("left" if settings.baseline else "image") / f"{frame_name(settings, number)}.jpg"


def _write_frame(out: Path, settings: SceneSettings, number: int, rendered: Rendered) -> None:
    name = frame_name(settings, number)
    drive = settings.views == "drive"
    valid = (rendered.depth > 0) & (rendered.depth < settings.max_depth)
    kind, units = "depth", rendered.depth * DEPTH_SCALE
    if settings.baseline:
        depth = np.where(valid, rendered.depth, np.inf)
        kind, units = "disparity", settings.camera.fx * settings.baseline / depth * DISPARITY_SCALE
    units = np.where(valid & (units <= 65535), np.round(units), 0).astype(np.uint16)
    _write(out / kind / f"{name}.png", units)
    _write(out / "instances" / f"{name}.png", rendered.labels.astype(np.uint16))
    _write(out / "planes" / f"{name}.png", np.where(valid, rendered.planes.labels + 1, 0).astype(np.uint16))
    np.savetxt(out / "planes" / f"{name}.txt", rendered.planes.equations, fmt="%.6f")
    sensor = draw_sensor(rendered.lights[0], settings, 0 if drive else number)
    rng = np.random.default_rng([settings.seed, number, 9])
    folders = ("left", "right") if settings.baseline else ("image",)
    images = [sensor.image(light, rng) for light in rendered.lights]
    for folder, image in reversed(
        list(zip(folders, images, strict=True))
    ):  # the left or only one is written last
        _write(out / folder / f"{name}.jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _write_moving(out: Path, settings: SceneSettings, number: int, labels: np.ndarray) -> None:
    """labels: from 1 for moving objects, 0 and less for others."""
    _write(
        out / "moving_objects" / f"{frame_name(settings, number)}.png", np.maximum(labels, 0).astype(np.uint8)
    )


def _velocities(
    out: Path, settings: SceneSettings, moving: Sequence[Moving], poses: Sequence[np.ndarray]
) -> Iterator[str]:
    """Lines of velocities.txt: of the objects that a frame shows, in its camera frame."""
    for number, T in enumerate(poses):
        name = frame_name(settings, number)
        shown = np.unique(read_values(out / "moving_objects" / f"{name}.png"))
        for label in shown[shown > 0]:
            v = T[:3, :3].T @ moving[int(label) - 1].at(number / settings.rate)[1]
            yield f"{name} {label} {v[0]:.4f} {v[1]:.4f} {v[2]:.4f}\n"


def _write_camera(file: Path, settings: SceneSettings) -> None:
    camera = settings.camera
    values: dict[str, Any] = {
        key: getattr(camera, key) for key in ("width", "height", "fx", "fy", "cx", "cy")
    }
    values |= {"baseline": settings.baseline} if settings.baseline else {"depth_scale": DEPTH_SCALE}
    values |= {"rate_hz": settings.rate} | ({} if settings.readout_time else {"rendered": "true"})
    file.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))


def _write(file: Path, image: np.ndarray) -> None:
    """Under another name first: a file that exists is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".part{file.suffix}")
    if not cv2.imwrite(str(part), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] * (file.suffix == ".jpg")):
        raise DepthRosError(
            f"could not write '{file}': check the permissions of the folder and the free disk space"
        )
    part.replace(file)
