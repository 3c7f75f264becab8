"""A bag through an estimator, without ROS and faster than real time, or through the real node over DDS.

The frames and the estimator are the same both ways, and so is the depth.
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
from depth_ros.datatypes import Depth, Frame
from depth_ros.errors import DepthRosError

if TYPE_CHECKING:
    from depth_ros.evaluation.folder import Recorded

Result = tuple[Sample, Depth, float]
"""A frame with its truth, the depth that came of it and the ms that it took."""

_UNITS_PER_METRE = 1000  # of the written depth images: mm, as REP-118 has it for uint16


class Estimator(Protocol):
    """What replay needs of `estimators.depth.DepthEstimator`."""

    card: Card

    def estimate(self, frame: Frame) -> Depth:
        """The depth of one frame."""
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
    bag: BagReader, estimator: Estimator, out: str | Path | None = None, limit: int = 0, progress: bool = True
) -> Replay:
    """Run the estimator over every frame of an open bag, in order.

    out: folder that is made for the depth, in the general layout of `datasets.folder`: image/ and depth/ of
    the depth's size, uint16 mm, and camera.yaml. limit: only so many frames; 0 = all. A cut bag is played as
    far as it is whole. Raises DepthRosError if `out` has content or no frame could be read.
    """
    damage: list[str] = []
    samples = itertools.islice(_until_cut(bag, damage), limit or None)

    def results() -> Iterator[Result]:
        for sample in samples:
            start = time.perf_counter()
            depth = estimator.estimate(sample.left)
            yield sample, depth, 1000 * (time.perf_counter() - start)

    total = min(limit, len(bag)) if limit else len(bag)
    return _gather(results(), estimator.card.scale, bag, damage, out, total, progress)


def replay_through(
    bag: BagReader,
    play: Callable[[Iterable[Frame]], Iterable[Recorded]],
    scale: str,
    out: str | Path | None = None,
    limit: int = 0,
    progress: bool = True,
) -> Replay:
    """The same with depth that `play` makes of the frames elsewhere: `nodes.play.play`, the node over DDS.

    scale: of the model, as its card states it. Frames that the node had no time for are not in the result.
    Latencies are those of `play`: from publishing the image to having received the depth.
    """
    from depth_ros.evaluation.folder import as_depth

    damage: list[str] = []
    waiting: dict[int, Sample] = {}

    def frames() -> Iterator[Frame]:
        for sample in itertools.islice(_until_cut(bag, damage), limit or None):
            waiting[sample.left.stamp] = sample
            yield sample.left

    def results() -> Iterator[Result]:
        for recorded in play(frames()):
            sample = waiting[recorded.stamp]
            for stamp in [stamp for stamp in waiting if stamp <= recorded.stamp]:
                del waiting[stamp]
            yield sample, as_depth(recorded.depth, sample.left), 1000 * recorded.latency

    total = min(limit, len(bag)) if limit else len(bag)
    return _gather(results(), scale, bag, damage, out, total, progress)


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
    for sample, depth, latency in tqdm(results, total=total, unit="frame", disable=not progress):
        latencies.append(latency)
        stamps.append(sample.left.stamp)
        if folder:
            _write(folder, sample.name, depth)
        if sample.depth is not None:
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
    from depth_ros.evaluation.depth import Tally
    from depth_ros.evaluation.plan import choose_protocol

    return Tally(choose_protocol("auto", [sample], [0], "measured", scale))  # type: ignore[arg-type]


def _new_folder(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DepthRosError(f"{path} exists already: remove it or give another name")
    for part in ("image", "depth"):
        (path / part).mkdir(parents=True, exist_ok=True)
    return path


def _write(folder: Path, name: str, depth: Depth) -> None:
    camera = depth.camera
    if not (folder / "camera.yaml").exists():
        keys = ("width", "height", "fx", "fy", "cx", "cy")
        lines = [f"{key}: {getattr(camera, key)}" for key in keys] + [f"depth_scale: {_UNITS_PER_METRE}"]
        (folder / "camera.yaml").write_text("\n".join(lines) + "\n")
    units = np.nan_to_num(np.rint(depth.depth * _UNITS_PER_METRE), nan=0.0, posinf=0.0, neginf=0.0)
    units = np.where((units > 0) & (units <= 65535), units, 0).astype(np.uint16)
    image = cv2.cvtColor(depth.image, cv2.COLOR_RGB2BGR)
    for part, pixels in (("image", image), ("depth", units)):
        file = folder / part / f"{name}.png"
        if not cv2.imwrite(str(file), pixels):
            raise DepthRosError(f"{file} cannot be written: is the disk full?")
