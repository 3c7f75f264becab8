"""`depth_ros demo`: a clip through the real node over DDS, recorded, measured, and shown on one page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from depth_ros.bags import BagReader, write_bag
from depth_ros.datasets import Folder, open_folder
from depth_ros.evaluation.folder import evaluate_recorded
from depth_ros.nodes.play import play
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
    say(f"playing {len(folder)} frames through depth_node over DDS at {folder.rate:g} Hz")
    with BagReader(bag) as reader:
        played = list(play((sample.left for sample in reader), model))
    say(f"{len(played)} depth images came back")
    page = out / "index.html"
    result = evaluate_recorded(played, model, folder, data or out / "clip", report=page)
    figures, baseline = result["figures"], result["baseline"]
    say(f"\npage: {page.resolve()}")
    if figures["abs_rel"] is not None:
        say(f"AbsRel {figures['abs_rel']:.3f} (constant predictor {baseline['abs_rel']:.3f}), "
            f"delta < 1.25: {100 * figures['delta1']:.1f} % ({100 * baseline['delta1']:.1f} %), "
            f"{result['ms_per_image']:.0f} ms from image to depth")  # fmt: skip
    return page


def rendered(path: Path, say: Callable[[str], Any]) -> Folder:
    """The rendered street, made once."""
    if not (path / "poses.txt").is_file():
        say(f"rendering {FRAMES} frames of a street")
        shutil.rmtree(path, ignore_errors=True)
        write_folder(World(WorldSettings(kind="street", frames=FRAMES, seed=7_000_000)), path)
    return open_folder(path)
