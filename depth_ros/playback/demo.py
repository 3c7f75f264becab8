"""`depth_ros demo`: a clip through the real node over DDS, recorded, measured, and shown in a report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.estimator import is_stereo
from depth_ros.evaluation.depth import evaluate_recorded_depth
from depth_ros.evaluation.stereo import evaluate_recorded_disparity
from depth_ros.playback.kinds import MONO, STEREO
from depth_ros.playback.play import DEPTH_NODE, STEREO_NODE, play
from depth_ros.recordings import Recording, open_recording
from depth_ros.recordings.bags import write_bag
from depth_ros.world import World, WorldSettings, write_folder

FRAMES = 40
"""Length of the rendered clip: 4 s at 10 Hz."""

Show = Callable[[str], Any]


def demo(data: Path | None, model: str, out: Path, show: Show) -> Path:
    """Play `data` (or a rendered street) through the node with `model` and write the report out/index.html.

    The bag that is played stays in `out`. show: prints a line of progress. Returns the path of the report.
    """
    stereo = is_stereo(model)
    node, kind = (STEREO_NODE, STEREO) if stereo else (DEPTH_NODE, MONO)
    out.mkdir(parents=True, exist_ok=True)
    folder, path = (
        (open_recording(data), data) if data else (rendered_street(out / "clip", show), out / "clip")
    )
    if stereo and not folder.contents.pairs:
        raise DepthRosError(f"{path} has no right images: a stereo model is demonstrated on stereo pairs")
    bag, report = out / "clip_bag", out / "index.html"
    shutil.rmtree(bag, ignore_errors=True)
    write_bag(folder, bag)
    name = node.module.rpartition(".")[2]
    show(
        f"playing {len(folder)} {'pairs' if stereo else 'frames'} through {name} over DDS at {folder.rate:g} Hz"
    )
    recording = open_recording(bag)
    samples = (recording[index] for index in range(len(recording)))
    played = list(play(node, map(kind.views_of, samples), model))
    show(f"received {len(played)} {'disparity' if stereo else 'depth'} images")
    evaluate = evaluate_recorded_disparity if stereo else evaluate_recorded_depth
    result = evaluate(played, model, folder, path, report=report)
    show(f"\nreport: {report.resolve()}")
    show(_stereo_summary(result) if stereo else _depth_summary(result))
    return report


def _depth_summary(result: dict[str, Any]) -> str:
    metrics, baseline = result["metrics"], result["baseline"]
    if metrics["abs_rel"] is None:
        return "no ground truth to compare with"
    return (
        f"AbsRel {metrics['abs_rel']:.3f} (constant predictor {baseline['abs_rel']:.3f}), "
        f"delta < 1.25: {100 * metrics['delta1']:.1f} % ({100 * baseline['delta1']:.1f} %), "
        f"{result['ms_per_image']:.0f} ms from image to depth"
    )


def _stereo_summary(result: dict[str, Any]) -> str:
    metrics, baseline = result["metrics"], result["baseline"]
    reference = (
        f" (semi-global matching {baseline['epe']:.2f} px, {100 * baseline['d1_all']:.1f} %)"
        if baseline["epe"] is not None
        else ", compared with semi-global matching because there is no ground truth"
    )
    return (
        f"EPE {metrics['epe']:.2f} px, D1 {100 * metrics['d1_all']:.1f} %{reference}, "
        f"{result['ms_per_image']:.0f} ms from pair to disparity"
    )


def rendered_street(path: Path, show: Show) -> Recording:
    """The rendered street; rendered at the first call only."""
    if not (path / "poses.txt").is_file():
        show(f"rendering {FRAMES} frames of a street")
        shutil.rmtree(path, ignore_errors=True)
        write_folder(World(WorldSettings(kind="street", frames=FRAMES, seed=7_000_000)), path)
    return open_recording(path)
