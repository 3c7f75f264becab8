"""`depth_ros predict` on images, a folder, a video and a bag; without ROS."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.card import find_card
from depth_ros.cli import main
from depth_ros.datatypes import Camera, Depth
from depth_ros.playback.predict import scale_text, side_by_side, write_ply
from depth_ros.recordings import open_recording
from depth_ros.recordings.bags import write_bag
from depth_ros.world import World, WorldSettings, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four rendered frames of a room with their calibration."""
    world = World(WorldSettings(kind="room", frames=4, width=160, height=128, seed=5))
    return write_folder(world, tmp_path_factory.mktemp("clip") / "room")


def predict(*arguments) -> int:
    return main(["predict", *map(str, arguments), "--backend", "eager", "--device", "cpu"])


def read_ply(file) -> np.ndarray:
    """(N, 6): x y z red green blue, by the format's description."""
    header, _, body = file.read_bytes().partition(b"end_header\n")
    count = int(header.split(b"element vertex ")[1].split()[0])
    rows = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert len(rows) == count
    return np.hstack([rows["xyz"], rows["rgb"]])


def test_one_photograph(folder, tmp_path, capsys):
    image = next((folder / "left").glob("*"))
    assert predict(image, "--out", tmp_path / "out", "--fov", 60, "--model", "mono") == 0
    said = capsys.readouterr().out
    assert "scale: metres: mono predicts metric depth" in said
    stored = np.load(tmp_path / f"out/metres/{image.stem}.npz")
    millimetres = cv2.imread(str(tmp_path / f"out/depth/{image.stem}.png"), cv2.IMREAD_UNCHANGED)
    valid = np.isfinite(stored["depth"])
    assert valid.mean() > 0.9
    assert np.abs(millimetres[valid] / 1000 - stored["depth"][valid]).max() < 6e-4
    cloud = read_ply(tmp_path / f"out/points/{image.stem}.ply")
    assert len(cloud) == valid.sum()
    assert np.allclose(np.sort(cloud[:, 2]), np.sort(stored["depth"][valid]), rtol=1e-5)
    width = stored["depth"].shape[1]
    assert width / 2 / stored["K"][0, 0] == pytest.approx(np.tan(np.radians(30)), rel=1e-3)
    colours = cv2.imread(str(tmp_path / f"out/colour/{image.stem}.png"))
    assert colours.shape == (128, 320, 3)
    assert not list((tmp_path / "out").glob("*.mp4"))


def test_assumed_field_of_view_is_said(folder, tmp_path, capsys):
    assert predict(next((folder / "left").glob("*")), "--out", tmp_path / "out") == 0
    assert "60 degrees, which is assumed" in capsys.readouterr().out


def test_folder_becomes_pictures_and_a_video_and_no_ground_truth(folder, tmp_path, capsys):
    pytest.importorskip("av")
    assert predict(folder, "--out", tmp_path / "out", "--limit", 3) == 0
    assert len(list((tmp_path / "out/colour").iterdir())) == 3
    video = open_recording(tmp_path / "out/side_by_side.mp4")
    assert len(video) == 3
    left = video[2].left.image[:, :160].astype(int)
    assert np.abs(left - open_recording(folder)[2].left.image).mean() < 8
    contents = open_recording(tmp_path / "out").contents
    assert (contents.depth, contents.predicted_depth) == (False, True)
    evaluate = ["evaluate", "depth", "--model", "mono", "--data", str(tmp_path / "out")]
    assert main([*evaluate, "--backend", "eager"]) == 0
    assert "no ground truth to compare with" in capsys.readouterr().out


def test_stereo_bag(folder, tmp_path, capsys):
    write_bag(open_recording(folder), tmp_path / "bag")
    assert predict(tmp_path / "bag", "--out", tmp_path / "out", "--model", "semi_global", "--limit", 1) == 0
    assert "scale: metres, from the focal length and baseline" in capsys.readouterr().out
    (file,) = (tmp_path / "out/metres").iterdir()
    depth, exact = np.load(file)["depth"], open_recording(folder)[0].depth
    both = np.isfinite(depth) & np.isfinite(exact)
    assert np.median(np.abs(depth - exact)[both] / exact[both]) < 0.05


def test_a_baseline_in_millimetres_is_warned_about(folder, tmp_path, caplog):
    clip = Path(shutil.copytree(folder, tmp_path / "clip"))
    camera = (clip / "camera.yaml").read_text()
    (clip / "camera.yaml").write_text(camera.replace("baseline: 0.1", "baseline: 100"))
    assert predict(clip, "--out", tmp_path / "out", "--model", "semi_global", "--limit", 2) == 0
    assert caplog.text.count("was the calibration in millimetres?") == 1


def test_a_stereo_model_needs_calibrated_pairs(folder, tmp_path, capsys):
    assert (
        predict(next((folder / "left").glob("*")), "--out", tmp_path / "out", "--model", "semi_global") == 1
    )
    assert "has no calibrated stereo pairs" in capsys.readouterr().err


def test_damaged_images_are_left_out_and_counted(folder, tmp_path, capsys):
    for file in (folder / "left").iterdir():
        data = file.read_bytes()
        (tmp_path / file.name).write_bytes(data[:500] if "2" in file.stem else data)
    assert predict(tmp_path, "--out", tmp_path / "out", "--fov", 70) == 0
    assert "1 damaged frames were left out" in capsys.readouterr().out
    assert len(list((tmp_path / "out/depth").iterdir())) == 3


def test_it_runs_without_ros(folder, tmp_path):
    """In a Python process that cannot import rclpy or message packages."""
    program = (
        "import sys\n"
        "for name in ('rclpy', 'sensor_msgs', 'std_msgs', 'geometry_msgs'): sys.modules[name] = None\n"
        "from depth_ros.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    image = next((folder / "left").glob("*"))
    options = ["--out", str(tmp_path / "out"), "--fov", "60", "--backend", "eager"]
    command = [sys.executable, "-c", program, "predict", str(image), *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "scale: metres" in run.stdout


@pytest.mark.parametrize(("scale", "expected"), [
    ("metric", "metres: mono predicts metric depth"), ("up_to_scale", "no unit.*unknown factor,"),
    ("affine_inverse", "no unit.*factor and shift"),
])  # fmt: skip
def test_scale_is_explained(scale, expected):
    import dataclasses
    import re

    card = dataclasses.replace(find_card("mono"), scale=scale)
    assert re.search(expected, scale_text(card, "camera.yaml"))


def test_point_cloud_is_in_the_frame_of_the_camera(tmp_path):
    depth = np.full((3, 4), np.nan, np.float32)
    depth[2, 3] = 2.0
    image = np.zeros((3, 4, 3), np.uint8)
    image[2, 3] = 10, 20, 30
    write_ply(tmp_path / "c.ply", Depth(1, "cam", depth, Camera.pinhole(4, 3, 2.0, 2.0, 1.0, 1.0), image))
    assert read_ply(tmp_path / "c.ply").tolist() == [[2.0, 1.0, 2.0, 10, 20, 30]]


def test_pictures_have_even_sides_for_the_encoder():
    picture = side_by_side(np.zeros((101, 3001, 3), np.uint8), np.zeros((10, 20, 3), np.uint8))
    assert picture.shape[0] % 2 == 0 and picture.shape[1] == 1280
