"""Replay of bags made here through an estimator whose depth is known."""

from __future__ import annotations

import types

import cv2
import numpy as np
import pytest

from depth_ros.bags import BagReader, write_bag
from depth_ros.card import Card
from depth_ros.datasets import Sample, open_folder
from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.errors import DepthRosError
from depth_ros.playback.replay import replay, replay_through

WIDTH, HEIGHT = 80, 60


class Recording:
    """Twelve frames; the pixels say the depth, in dm. Every second frame has truth."""

    layout, rate = "made", 10.0

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Sample:
        pixels = np.random.default_rng(index).integers(5, 90, (HEIGHT // 4, WIDTH // 4, 1), np.uint8)
        pixels = pixels.repeat(4, 0).repeat(4, 1).repeat(3, 2)
        camera = Camera.pinhole(WIDTH, HEIGHT, 60.0, 60.0, 39.5, 29.5)
        stamp = 990_000_000 + index * 100_000_000  # 9 digits, then 10
        depth = pixels[..., 0] / np.float32(10)
        return Sample("", Frame(stamp, "camera", pixels, camera), depth=depth if index % 2 else None)


class Reading:
    """Reads the depth off the pixels, too far by `factor`, at half the size."""

    card = Card("reading", "depth", "none", 40, 30, "metric", "none", "")

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.stamps: list[int] = []

    def estimate(self, frame: Frame) -> Depth:
        self.stamps.append(frame.stamp)
        image = cv2.resize(frame.image, (40, 30), interpolation=cv2.INTER_NEAREST)
        depth = image[..., 0] * np.float32(0.1 * self.factor)
        return Depth(frame.stamp, frame.frame_id, depth, frame.camera.resized(40, 30), image)


@pytest.fixture
def bag(tmp_path):
    write_bag(Recording(), tmp_path / "bag")
    return tmp_path / "bag"


def test_every_frame_in_order_with_figures(bag):
    estimator = Reading(factor=1.1)
    with BagReader(bag) as reader:
        result = replay(reader, estimator, progress=False)
    assert estimator.stamps == [Recording()[i].left.stamp for i in range(12)]
    assert result.frames == len(result.latencies) == 12
    assert result.compared == 6
    assert result.span == pytest.approx(1.1)
    assert not result.damage
    assert 0 < sum(result.latencies) / 1000 < result.seconds
    # the resized prediction is blurred at edges, the 10 % are the rest
    assert 0.1 < result.figures["abs_rel"] < 0.5
    assert result.figures["coverage"] == 1
    assert "indoor" in result.protocol
    with BagReader(bag) as reader:
        assert replay(reader, Reading(), progress=False).figures["abs_rel"] < result.figures["abs_rel"]


def test_written_depth_is_a_folder(bag, tmp_path):
    with BagReader(bag) as reader:
        replay(reader, Reading(), tmp_path / "out", limit=5, progress=False)
    folder = open_folder(tmp_path / "out")
    assert len(folder) == 5
    for index, sample in enumerate(folder):
        expected = Reading().estimate(Recording()[index].left)
        assert sample.left.stamp == expected.stamp
        assert np.array_equal(sample.left.image, expected.image)
        assert np.allclose(sample.depth, expected.depth, atol=5e-4)
        assert np.allclose(sample.left.camera.K, expected.camera.K)
    with BagReader(bag) as reader, pytest.raises(DepthRosError, match="out exists already"):
        replay(reader, Reading(), tmp_path / "out", progress=False)


def test_unknown_and_far_depth_is_stored_as_unknown(bag, tmp_path):
    class Odd(Reading):
        def estimate(self, frame):
            depth = super().estimate(frame)
            depth.depth[0, :5] = np.nan, np.inf, -np.inf, -1, 70
            return depth

    with BagReader(bag) as reader:
        replay(reader, Odd(), tmp_path / "out", limit=1, progress=False)
    depth = open_folder(tmp_path / "out")[0].depth
    assert np.isnan(depth[0, :5]).all()
    assert np.isfinite(depth[0, 5:]).all()


def test_cut_bag_gives_its_frames_and_says_so(bag):
    file = bag / "bag.mcap"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    with BagReader(bag) as reader:
        result = replay(reader, Reading(), progress=False)
    assert 5 <= result.frames < 12
    assert result.figures
    assert "cut or damaged" in result.damage
    assert f"{result.frames} frames" in result.damage


def test_errors_of_the_estimator_are_not_taken_for_a_cut(bag):
    class Failing(Reading):
        def estimate(self, frame):
            raise DepthRosError("no engine")

    with BagReader(bag) as reader, pytest.raises(DepthRosError, match="no engine"):
        replay(reader, Failing(), progress=False)


def test_no_truth_no_figures(tmp_path):
    class Bare(Recording):
        def __getitem__(self, index):
            return Sample("", super().__getitem__(index).left)

    write_bag(Bare(), tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        result = replay(reader, Reading(), limit=3, progress=False)
    assert (result.frames, result.figures, result.compared, result.protocol) == (3, None, 0, "")


def test_through_a_player_pairs_depth_with_its_frame(bag, tmp_path):
    """The player drops every third frame and answers one frame late."""

    def play(frames):
        late = None
        for number, frame in enumerate(frames):
            if late is not None:
                yield types.SimpleNamespace(stamp=late.stamp, depth=late.depth, latency=0.025)
            late = Reading().estimate(frame) if number % 3 else None

    with BagReader(bag) as reader:
        result = replay_through(reader, play, "metric", tmp_path / "out", progress=False)
    assert result.latencies == (25.0,) * result.frames
    folder = open_folder(tmp_path / "out")
    made = {Recording()[i].left.stamp: Reading().estimate(Recording()[i].left) for i in range(12) if i % 3}
    made.popitem()  # nobody waits for the last
    assert [sample.left.stamp for sample in folder] == list(made)
    for sample in folder:
        assert np.allclose(sample.depth, made[sample.left.stamp].depth, atol=5e-4)
        assert sample.left.camera.fx == 30.0


def test_pairs_need_both_eyes(bag):
    with BagReader(bag) as reader, pytest.raises(DepthRosError, match="no right eye beside the left one"):
        replay(reader, Reading(), progress=False, pairs=True)
