"""A bag through an estimator, without ROS and faster than real time, or through the real node over DDS.

The frames and the estimator are the same both ways, and so is the depth. Of stereo models the same of pairs and
their disparity.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from depth_ros.bags import BagReader
from depth_ros.card import Card
from depth_ros.datasets import Sample
from depth_ros.datatypes import Depth, Disparity, Frame, StereoFrame
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.evaluation.depth import Recorded
    from depth_ros.evaluation.stereo import RecordedDisparity

Result = tuple[Sample, Depth | Disparity, float]
"""A frame with its truth, what came of it and the ms that it took."""

_UNITS_PER_METRE = 1000  # of the written depth images: mm, as REP-118 has it for uint16
_UNITS_PER_PX = 256  # of the written disparities, as KITTI has them


class Estimator(Protocol):
    """What replay needs of `estimators.depth.DepthEstimator` and `estimators.stereo.StereoEstimator`."""

    card: Card | None

    def estimate(self, frame: Any) -> Any:
        """The depth of one frame, or the disparity of one pair."""
        ...


@dataclass(frozen=True)
class Replay:
    """What came of a bag.

    seconds: wall time of everything. span: s from the first to the last stamp. latencies: ms of each frame.
    figures: against the truth in the bag, over `compared` frames under `protocol`, or None without truth.
    damage: what the bag's reader said where the bag is cut; all whole frames are in the result.
    """

    frames: int
    seconds: float
    span: float
    latencies: tuple[float, ...]
    figures: dict[str, float | None] | None
    compared: int
    protocol: str
    damage: str


def replay(
    bag: BagReader,
    estimator: Estimator,
    out: str | Path | None = None,
    limit: int = 0,
    progress: bool = True,
    pairs: bool = False,
) -> Replay:
    """Run the estimator over every frame of an open bag, in order.

    out: folder that is made for the depth, in the general layout of `datasets.folder`: image/ and depth/ of
    the depth's size, uint16 mm, and camera.yaml; of pairs left/ and disparity/, uint16 px/256. limit: only so many
    frames; 0 = all. pairs: the estimator takes pairs. A cut bag is played as far as it is whole. Raises
    DepthRosError if `out` has content, no frame could be read, or pairs are needed and there are none.
    """
    damage: list[str] = []
    samples = itertools.islice(_until_cut(bag, damage), limit or None)

    def results() -> Iterator[Result]:
        for sample in samples:
            frame = pair_of(sample) if pairs else sample.left
            start = time.perf_counter()
            found = estimator.estimate(frame)
            yield sample, found, 1000 * (time.perf_counter() - start)

    total = min(limit, len(bag)) if limit else len(bag)
    scale = estimator.card.scale if estimator.card else "metric"
    return _gather(results(), scale, bag, damage, out, total, progress)


def replay_through(
    bag: BagReader,
    play: Callable[[Iterable[Any]], Iterable[Recorded] | Iterable[RecordedDisparity]],
    scale: str,
    out: str | Path | None = None,
    limit: int = 0,
    progress: bool = True,
    pairs: bool = False,
) -> Replay:
    """The same with what `play` makes of the frames elsewhere, over DDS: `nodes.play.play` takes frames and returns
    depth, `nodes.play.play_pairs` left and right frames and returns disparity.

    scale: of the model, as its card states it. Frames that the node had no time for are not in the result.
    Latencies are those of `play`: from publishing the image to having received the depth.
    """
    from depth_ros.evaluation.depth import as_depth
    from depth_ros.evaluation.stereo import as_disparity

    damage: list[str] = []
    waiting: dict[int, Sample] = {}

    def frames() -> Iterator[Any]:
        for sample in itertools.islice(_until_cut(bag, damage), limit or None):
            waiting[sample.left.stamp] = sample
            yield (sample.left, _right_of(sample)) if pairs else sample.left

    def results() -> Iterator[Result]:
        recorded: Any
        for recorded in play(frames()):
            sample = waiting[recorded.stamp]
            for stamp in [stamp for stamp in waiting if stamp <= recorded.stamp]:
                del waiting[stamp]
            found = (
                as_disparity(recorded.disparity, pair_of(sample))
                if pairs
                else as_depth(recorded.depth, sample.left)
            )
            yield sample, found, 1000 * recorded.latency

    total = min(limit, len(bag)) if limit else len(bag)
    return _gather(results(), scale, bag, damage, out, total, progress)


def pair_of(sample: Sample) -> StereoFrame:
    """Both eyes of a sample, rectified. Raises DepthRosError where there is one eye or they make no pair."""
    from depth_ros.estimators.stereo.estimator import rectified_pair

    return rectified_pair(sample.left, _right_of(sample))


def _right_of(sample: Sample) -> Frame:
    if sample.right is None:
        raise DepthRosError(
            "the bag has no right eye beside the left one (.../left/... and .../right/...): a stereo model needs it"
        )
    return sample.right


def _gather(
    results: Iterable[Result],
    scale: str,
    bag: BagReader,
    damage: list[str],
    out: str | Path | None,
    total: int,
    progress: bool,
) -> Replay:
    """Take all results, write and measure them."""
    from tqdm import tqdm

    folder = _new_folder(Path(out)) if out else None
    latencies: list[float] = []
    stamps: list[int] = []
    tally: Any = None
    begin = time.perf_counter()
    for sample, found, latency in tqdm(results, total=total, unit="frame", disable=not progress):
        latencies.append(latency)
        stamps.append(sample.left.stamp)
        if folder:
            _write(folder, sample.name, found)
        if sample.depth is not None:
            depth = found.depth() if isinstance(found, Disparity) else found
            tally = tally or _tally(sample, scale)
            tally.add(depth.depth, sample.depth, sample.fx_baseline)
    if not latencies:
        raise DepthRosError(damage[0] if damage else f"{bag.path} has no image on {bag.image_topic}")
    return Replay(
        len(latencies),
        time.perf_counter() - begin,
        (max(stamps) - min(stamps)) / 1e9,
        tuple(latencies),
        tally.figures() if tally else None,
        len(tally) if tally else 0,
        tally.protocol.text if tally else "",
        damage[0] if damage else "",
    )


def _until_cut(bag: BagReader, damage: list[str]) -> Iterator[Sample]:
    """The samples of a bag; what its reader raises goes to `damage`, so that the frames before count."""
    try:
        yield from bag
    except DepthRosError as error:
        damage.append(str(error))


def _tally(sample: Sample, scale: str) -> Any:
    """Empty figures under the protocol that suits the first sample with truth."""
    from depth_ros.evaluation.metrics.depth import Tally
    from depth_ros.evaluation.setup import choose_protocol

    return Tally(choose_protocol("auto", [sample], [0], "measured", scale))  # type: ignore[arg-type]


def _new_folder(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DepthRosError(f"{path} exists already: remove it or give another name")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write(folder: Path, name: str, found: Depth | Disparity) -> None:
    """The image and what came of it; with the first one the camera."""
    if isinstance(found, Disparity):
        parts, units = ("left", "disparity"), _UNITS_PER_PX * (found.disparity - np.float32(found.offset))
    else:
        parts, units = ("image", "depth"), _UNITS_PER_METRE * found.depth
    if not (folder / "camera.yaml").exists():
        for part in parts:
            (folder / part).mkdir()
        _write_camera(folder / "camera.yaml", found)
    units = np.nan_to_num(np.rint(units), nan=0.0, posinf=0.0, neginf=0.0)
    units = np.where((units > 0) & (units <= 65535), units, 0).astype(np.uint16)
    image = cv2.cvtColor(found.image, cv2.COLOR_RGB2BGR)
    for part, pixels in zip(parts, (image, units), strict=True):
        file = folder / part / f"{name}.png"
        if not cv2.imwrite(str(file), pixels):
            raise DepthRosError(f"{file} cannot be written: is the disk full?")


def _write_camera(file: Path, found: Depth | Disparity) -> None:
    lines = [f"{key}: {getattr(found.camera, key)}" for key in ("width", "height", "fx", "fy", "cx", "cy")]
    if isinstance(found, Disparity):
        lines.append(f"baseline: {found.baseline}")
    else:
        lines.append(f"depth_scale: {_UNITS_PER_METRE}")
    file.write_text("\n".join(lines) + "\n")
