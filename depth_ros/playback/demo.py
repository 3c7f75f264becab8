"""`depth_ros demo`: a clip through the real node over DDS, recorded, measured, and shown on one page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from depth_ros.bags import BagReader, write_bag
from depth_ros.datasets import Folder, open_folder
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.estimator import is_stereo
from depth_ros.evaluation.depth import evaluate_recorded
from depth_ros.evaluation.stereo import evaluate_recorded_pairs
from depth_ros.playback.play import play, play_pairs
from depth_ros.world import World, WorldSettings, write_folder

FRAMES = 40
"""Length of the rendered clip: 4 s at 10 Hz."""


def demo(data: Path | None, model: str, out: Path, say: Callable[[str], Any]) -> Path:
    """Play `data` (or a rendered street) through the node with `model` and write out/index.html.

    Everything that was made stays in `out`: the bag that was played, and the page.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = open_folder(data) if data else rendered(out / "clip", say)
    bag = out / "clip_bag"
    shutil.rmtree(bag, ignore_errors=True)
    write_bag(folder, bag)
    page = out / "index.html"
    if is_stereo(model):
        return _pairs(folder, bag, model, data or out / "clip", page, say)
    say(f"playing {len(folder)} frames through depth_node over DDS at {folder.rate:g} Hz")
    with BagReader(bag) as reader:
        played = list(play((sample.left for sample in reader), model))
    say(f"{len(played)} depth images came back")
    result = evaluate_recorded(played, model, folder, data or out / "clip", report=page)
    figures, baseline = result["figures"], result["baseline"]
    say(f"\npage: {page.resolve()}")
    if figures["abs_rel"] is not None:
        say(f"AbsRel {figures['abs_rel']:.3f} (constant predictor {baseline['abs_rel']:.3f}), "
            f"delta < 1.25: {100 * figures['delta1']:.1f} % ({100 * baseline['delta1']:.1f} %), "
            f"{result['ms_per_image']:.0f} ms from image to depth")  # fmt: skip
    return page


def _pairs(folder: Folder, bag: Path, model: str, data: Path, page: Path, say: Callable[[str], Any]) -> Path:
    """The same with both eyes through stereo_depth_node."""
    if folder[0].right is None:
        raise DepthRosError(f"{data} has no right eye: a stereo model is shown on pairs")
    say(f"playing {len(folder)} pairs through stereo_depth_node over DDS at {folder.rate:g} Hz")
    with BagReader(bag) as reader:
        pairs = ((sample.left, sample.right) for sample in reader if sample.right is not None)
        played = list(play_pairs(pairs, model))
    say(f"{len(played)} disparities came back")
    result = evaluate_recorded_pairs(played, model, folder, data, report=page)
    figures, baseline = result["figures"], result["baseline"]
    say(f"\npage: {page.resolve()}")
    beside = (
        f" (semi-global matching {baseline['epe']:.2f} px, {100 * baseline['d1_all']:.1f} %)"
        if baseline["epe"] is not None
        else ", against semi-global matching for want of truth"
    )
    say(
        f"EPE {figures['epe']:.2f} px, D1 {100 * figures['d1_all']:.1f} %{beside}, "
        f"{result['ms_per_image']:.0f} ms from pair to disparity"
    )
    return page


def rendered(path: Path, say: Callable[[str], Any]) -> Folder:
    """The rendered street, made once."""
    if not (path / "poses.txt").is_file():
        say(f"rendering {FRAMES} frames of a street")
        shutil.rmtree(path, ignore_errors=True)
        write_folder(World(WorldSettings(kind="street", frames=FRAMES, seed=7_000_000)), path)
    return open_folder(path)
