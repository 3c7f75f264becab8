"""Replay of bags through an estimator of known depth."""

from __future__ import annotations

import types
from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_ros.card import Card
from depth_ros.datatypes import Camera, Depth, Frame
from depth_ros.engine import EngineSettings, EngineStatus
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings
from depth_ros.playback.kinds import MONO, STEREO
from depth_ros.playback.replay import ReplayOptions, replay, replay_through
from depth_ros.recordings import Contents, Sample, open_recording
from depth_ros.recordings.bags import BagRecording, write_bag

WIDTH, HEIGHT = 80, 60
QUIET = ReplayOptions(progress=False)


class Recording:
    """Twelve frames whose pixels are the depth in dm. Every second frame has ground truth."""

    layout, rate, camera_source, damage = "made", 10.0, "made for tests", ()
    contents = Contents(depth=True)
    names = tuple(str(index) for index in range(12))
    stamps = tuple(990_000_000 + index * 100_000_000 for index in range(12))  # 9 digits, then 10

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Sample:
        pixels = np.random.default_rng(index).integers(5, 90, (HEIGHT // 4, WIDTH // 4, 1), np.uint8)
        pixels = pixels.repeat(4, 0).repeat(4, 1).repeat(3, 2)
        camera = Camera.pinhole(WIDTH, HEIGHT, 60.0, 60.0, 39.5, 29.5)
        depth = pixels[..., 0] / np.float32(10)
        return Sample(
            "", Frame(self.stamps[index], "camera", pixels, camera), depth=depth if index % 2 else None
        )


class Reading:
    """Reads the depth from the pixels, multiplied by `factor`, at half the size."""

    card = Card("reading", "depth", "none", 40, 30, "metric", "none", "")

    engine_status = EngineStatus("none", "made for tests")

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


def test_all_frames_are_replayed_in_order_and_measured(bag):
    estimator = Reading(factor=1.1)
    with BagRecording(bag) as reader:
        result = replay(reader, estimator, MONO, QUIET)
    assert estimator.stamps == [Recording()[i].left.stamp for i in range(12)]
    assert result.frames == len(result.latencies) == 12
    assert result.compared == 6
    assert result.duration == pytest.approx(1.1)
    assert not result.damage
    assert 0 < sum(result.latencies) / 1000 < result.seconds
    # 10 %, and the blurred edges of the resized prediction
    assert 0.1 < result.metrics["abs_rel"] < 0.5
    assert result.metrics["coverage"] == 1
    assert "indoor" in result.protocol
    with BagRecording(bag) as reader:
        assert replay(reader, Reading(), MONO, QUIET).metrics["abs_rel"] < result.metrics["abs_rel"]


def test_written_depth_can_be_read_as_a_folder(bag, tmp_path):
    with BagRecording(bag) as reader:
        replay(reader, Reading(), MONO, ReplayOptions(tmp_path / "out", 5, progress=False))
    folder = open_recording(tmp_path / "out")
    assert len(folder) == 5
    for index, sample in enumerate(folder):
        expected = Reading().estimate(Recording()[index].left)
        assert sample.left.stamp == expected.stamp
        assert np.array_equal(sample.left.image, expected.image)
        assert np.allclose(sample.depth, expected.depth, atol=5e-4)
        assert np.allclose(sample.left.camera.K, expected.camera.K)
    with BagRecording(bag) as reader, pytest.raises(DepthRosError, match="out exists already"):
        replay(reader, Reading(), MONO, ReplayOptions(tmp_path / "out", progress=False))


def test_invalid_and_far_depth_is_stored_as_invalid(bag, tmp_path):
    class Odd(Reading):
        def estimate(self, frame):
            depth = super().estimate(frame)
            depth.depth[0, :5] = np.nan, np.inf, -np.inf, -1, 70
            return depth

    with BagRecording(bag) as reader:
        replay(reader, Odd(), MONO, ReplayOptions(tmp_path / "out", 1, progress=False))
    depth = open_recording(tmp_path / "out")[0].depth
    assert np.isnan(depth[0, :5]).all()
    assert np.isfinite(depth[0, 5:]).all()


def test_a_truncated_bag_is_replayed_as_far_as_it_is_intact(bag):
    file = bag / "bag.mcap"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    with BagRecording(bag) as reader:
        result = replay(reader, Reading(), MONO, QUIET)
    assert 5 <= result.frames < 12
    assert result.metrics
    assert "truncated or damaged" in result.damage
    assert "mcap recover" in result.damage


def test_errors_of_the_estimator_are_not_mistaken_for_damage(bag):
    class Failing(Reading):
        def estimate(self, frame):
            raise DepthRosError("no engine")

    with BagRecording(bag) as reader, pytest.raises(DepthRosError, match="no engine"):
        replay(reader, Failing(), MONO, QUIET)


def test_without_ground_truth_there_are_no_metrics(tmp_path):
    class Bare(Recording):
        def __getitem__(self, index):
            return Sample("", super().__getitem__(index).left)

    write_bag(Bare(), tmp_path / "bag")
    with BagRecording(tmp_path / "bag") as reader:
        result = replay(reader, Reading(), MONO, ReplayOptions(limit=3, progress=False))
    assert (result.frames, result.metrics, result.compared, result.protocol) == (3, None, 0, "")


def test_results_of_a_player_are_matched_with_their_frames(bag, tmp_path):
    """The player skips every third frame and returns results one frame late."""

    def play(views):
        late = None
        for number, (frame,) in enumerate(views):
            if late is not None:
                yield types.SimpleNamespace(stamp=late.stamp, image=late.depth, latency=0.025)
            late = Reading().estimate(frame) if number % 3 else None

    with BagRecording(bag) as reader:
        result = replay_through(reader, play, MONO, "metric", ReplayOptions(tmp_path / "out", progress=False))
    assert result.latencies == (25.0,) * result.frames
    folder = open_recording(tmp_path / "out")
    made = {Recording()[i].left.stamp: Reading().estimate(Recording()[i].left) for i in range(12) if i % 3}
    made.popitem()  # the last result is not waited for
    assert [sample.left.stamp for sample in folder] == list(made)
    for sample in folder:
        assert np.allclose(sample.depth, made[sample.left.stamp].depth, atol=5e-4)
        assert sample.left.camera.fx == 30.0


def test_a_stereo_model_needs_both_images(bag):
    with (
        BagRecording(bag) as reader,
        pytest.raises(DepthRosError, match="no right image beside the left one"),
    ):
        replay(reader, Reading(), STEREO, QUIET)


class Pairs(Recording):
    """Pairs of a wall with a disparity of 8 px; the camera_info of the right camera is `right_camera`."""

    contents = Contents(pairs=True)

    def __init__(self, right_camera: Camera, shift: int = 8) -> None:
        self.right_camera, self.shift = right_camera, shift

    def __getitem__(self, index: int) -> Sample:
        noise = np.random.default_rng(index).random((60, 90, 3), np.float32)
        wide = (
            (255 * cv2.resize(noise, (360, 240), interpolation=cv2.INTER_CUBIC)).clip(0, 255).astype(np.uint8)
        )
        stamp = self.stamps[index]
        left = Frame(stamp, "left", np.ascontiguousarray(wide[:, 20:340]), LEFT)
        right = np.ascontiguousarray(wide[:, 20 + self.shift : 340 + self.shift])
        return Sample("", left, Frame(stamp, "right", right, self.right_camera))


LEFT = Camera.pinhole(320, 240, 250.0, 250.0, 159.5, 119.5)
TURN = cv2.Rodrigues(np.array([0.0, 0.0, 0.08]))[0]


@pytest.mark.parametrize(
    "baseline, shift, change, warning",
    [
        (0.1, 8, {}, ""),
        (100.0, 8, {}, "the baseline is 100 m by camera_info"),
        (0.1, -8, {}, "left and right are swapped: the median disparity is -8 px"),
        (0.1, 8, {"R": TURN}, "the images are rectified already"),
    ],
)
def test_what_the_nodes_warn_of_is_logged(tmp_path, caplog, baseline, shift, change, warning):
    right = Camera.pinhole(320, 240, 250.0, 250.0, 159.5, 119.5, baseline)
    write_bag(Pairs(replace(right, **change), shift), tmp_path / "bag")
    estimator = StereoEstimator("semi_global", EngineSettings(), StereoSettings(disparity_range=64))
    with BagRecording(tmp_path / "bag") as reader:
        replay(reader, estimator, STEREO, ReplayOptions(progress=False, limit=1))
    messages = [record.getMessage() for record in caplog.records]
    assert [warning in message for message in messages] == ([True] if warning else [])


def test_depth_images_without_a_valid_pixel_are_counted(bag, caplog):
    with BagRecording(bag) as reader:
        replay(reader, Reading(np.nan), MONO, QUIET)
    assert caplog.records[-1].getMessage() == "12 of 12 depth images have no valid pixel"
