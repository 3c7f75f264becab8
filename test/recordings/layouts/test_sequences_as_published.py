"""EuRoC (ASL), TUM RGB-D and KITTI stereo in the published folders, made up at small sizes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.recordings import RecordingOptions, open_recording, readable
from depth_ros.recordings.imu import imu_of

SENSOR = """%YAML:1.0
sensor_type: camera
T_BS:
  cols: 4
  rows: 4
  data: [1.0, 0.0, 0.0, {x}, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
rate_hz: 20
resolution: [64, 48]
camera_model: pinhole
intrinsics: [50.0, 50.0, 32.0, 24.0]
distortion_model: radial-tangential
distortion_coefficients: [0.0, 0.0, 0.0, 0.0]
"""
NS = 1403715273262142976


def write(file: Path, value: float, size: tuple[int, int] = (64, 48), kind=np.uint8) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full(size[::-1], value, kind))


def make_euroc(root: Path, cameras: int = 2) -> Path:
    for number in range(cameras):
        (root / f"mav0/cam{number}").mkdir(parents=True)
        (root / f"mav0/cam{number}/sensor.yaml").write_text(SENSOR.format(x=0.11 * number))
        for index in range(4):
            write(root / f"mav0/cam{number}/data/{NS + index * 50_000_000}.png", 10 * index + number)
    truth = root / "mav0/state_groundtruth_estimate0/data.csv"
    truth.parent.mkdir()
    rows = (f"{NS + index * 50_000_000},{index},0,0,1,0,0,0,0,0,0\n" for index in range(4))
    truth.write_text("#timestamp, p_RS_R_x [m], ...\n" + "".join(rows))
    return root


@pytest.mark.parametrize("inside", ["", "mav0"])
def test_euroc_asl(tmp_path, inside):
    recording = open_recording(make_euroc(tmp_path / "V1_01_easy") / inside)
    assert recording.layout == "euroc"
    assert recording.contents.pairs and recording.contents.poses
    sample = recording[2]
    assert (sample.left.image[0, 0, 0], sample.right.image[0, 0, 0], sample.left.stamp) == (
        20,
        21,
        NS + 100_000_000,
    )
    assert sample.right.camera.baseline == pytest.approx(0.11)
    assert np.allclose(sample.T_world_camera[:3, 3], [2, 0, 0])
    assert "cam0/sensor.yaml" in recording.camera_source


def test_imu_of_euroc_asl(tmp_path):
    path = make_euroc(tmp_path)
    assert not open_recording(path).contents.imu and imu_of(open_recording(path)) is None
    (path / "mav0/imu0").mkdir()
    rows = (f"{NS + index * 5_000_000},0.1,0.2,{index},9.8,-0.5,0.6\n" for index in range(20))
    (path / "mav0/imu0/data.csv").write_text("#timestamp [ns],w_RS_S_x [rad s^-1], ...\n" + "".join(rows))
    turned = (
        "T_BS:\n  data: [0.0, -1.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]\n"
    )
    (path / "mav0/imu0/sensor.yaml").write_text(turned)
    recording = open_recording(path)
    imu = imu_of(recording)
    assert recording.contents.imu and imu.frame_id == "imu0"
    assert imu.stamps.tolist() == [NS + index * 5_000_000 for index in range(20)]
    assert np.array_equal(imu.angular_velocity[7], [0.1, 0.2, 7])
    assert np.array_equal(imu.linear_acceleration[7], [9.8, -0.5, 0.6])
    assert np.allclose(imu.T_camera_imu @ [1, 0, 0, 1], [0.3, 1, 0, 1])
    calibrated = open_recording(path, RecordingOptions(fov=70))
    assert calibrated.contents.imu and len(imu_of(calibrated).stamps) == 20


def test_euroc_asl_of_one_camera(tmp_path):
    recording = open_recording(make_euroc(tmp_path, cameras=1))
    assert not recording.contents.pairs
    assert recording[3].right is None and recording[3].left.camera.fx == 50.0


def make_tum(root: Path, size: tuple[int, int] = (640, 480)) -> Path:
    """Three colour images, two depth images 10 ms later, and a trajectory."""
    stamps = ["1305031102.100000", "1305031102.133000", "1305031102.166000"]
    for index, stamp in enumerate(stamps):
        write(root / f"rgb/{stamp}.png", 10 * index, size)
    depths = ["1305031102.110000", "1305031102.176000"]
    for index, stamp in enumerate(depths):
        write(root / f"depth/{stamp}.png", 5000 * (index + 1), size, np.uint16)
    for name, listed in (("rgb", stamps), ("depth", depths)):
        rows = "".join(f"{stamp} {name}/{stamp}.png\n" for stamp in listed)
        (root / f"{name}.txt").write_text(f"# {name} maps\n# file: 'rgbd.bag'\n# timestamp filename\n{rows}")
    (root / "groundtruth.txt").write_text(
        "# ground truth trajectory\n1305031102.0900 0 0 0 0 0 0 1\n1305031102.1900 1 0 0 0 0 0 1\n"
    )
    return root


def test_tum_as_published_has_the_calibration_of_its_name(tmp_path):
    recording = open_recording(make_tum(tmp_path / "rgbd_dataset_freiburg3_long_office_household"))
    assert recording.camera_source == "published for freiburg3"
    assert [None if s.depth is None else float(s.depth[0, 0]) for _, s in readable(recording)] == [
        1.0,
        None,
        2.0,
    ]
    assert recording[0].left.camera.fx == 535.4
    assert recording[1].T_world_camera[0, 3] == pytest.approx(0.43)
    assert (
        open_recording(make_tum(tmp_path / "rgbd_dataset_freiburg1_xyz"))[0].left.camera.distortion[0]
        == 0.2624
    )


def test_tum_of_unknown_origin_needs_a_calibration(tmp_path):
    path = make_tum(tmp_path / "mine", (64, 48))
    with pytest.raises(DepthRosError, match=r"no calibration, and its name.*freiburg3: give --camera FILE"):
        open_recording(path)
    assert open_recording(path, RecordingOptions(fov=90.0))[0].left.camera.fx == pytest.approx(32)
    (tmp_path / "c.yaml").write_text("width: 64\nheight: 48\nfx: 60\nfy: 60\ncx: 31.5\ncy: 23.5\n")
    assert open_recording(path, RecordingOptions(cameras=(tmp_path / "c.yaml",)))[0].left.camera.fx == 60.0


@pytest.mark.parametrize("order", ["rgb first", "depth first"])
def test_tum_associations_in_either_order(tmp_path, order):
    path = make_tum(tmp_path / "freiburg3", (640, 480))
    rgb, depth = (
        "1305031102.133000 rgb/1305031102.133000.png",
        "1305031102.110000 depth/1305031102.110000.png",
    )
    row = f"{rgb} {depth}" if order == "rgb first" else f"{depth} {rgb}"
    (path / "associations.txt").write_text(f"# comment\n{row}\n")
    recording = open_recording(path)
    assert list(recording.names) == ["1305031102.133000"]
    assert recording[0].left.image[0, 0, 0] == 10 and recording[0].depth[0, 0] == 1.0
    (path / "associations.txt").write_text("1305031102.1 rgb/a.png\n")
    with pytest.raises(
        DepthRosError, match="line 1: 2 words; it must be: seconds rgb/FILE seconds depth/FILE"
    ):
        open_recording(path)


@pytest.mark.parametrize("year", [2015, 2012])
def test_kitti_stereo(tmp_path, year):
    folders = {2015: ("image_2", "image_3", "disp_occ_0"), 2012: ("colored_0", "colored_1", "disp_occ")}[year]
    root = tmp_path / "training"
    for number in (0, 7):
        for folder, value in zip(folders, (number + 1, number + 2, 20 * 256), strict=True):
            write(
                root / f"{folder}/{number:06d}_10.png",
                value,
                kind=np.uint16 if "disp" in folder else np.uint8,
            )
        write(root / f"{folders[0]}/{number:06d}_11.png", 99)
        P = "50 0 32 {} 0 50 24 0 0 0 1 0"
        calibration = root / ("calib_cam_to_cam" if year == 2015 else "calib") / f"{number:06d}.txt"
        calibration.parent.mkdir(exist_ok=True)
        keys = ("P_rect_02", "P_rect_03") if year == 2015 else ("P2", "P3")
        calibration.write_text(
            "calib_time: 09-Jan-2012 13:57:47\n"
            + "".join(f"{key}: {P.format(tx)}\n" for key, tx in zip(keys, (2, -23)))
        )
    if year == 2015:
        write(root / "obj_map/000007_10.png", 3)
    for path in (tmp_path, root):
        recording = open_recording(path)
        assert recording.layout == "kitti_stereo"
        assert list(recording.names) == ["000000", "000007"]
        sample = recording[1]
        assert (sample.left.image[0, 0, 0], sample.right.image[0, 0, 0]) == (8, 9)
        assert sample.right.camera.baseline == pytest.approx(0.5)
        assert sample.depth[5, 5] == pytest.approx(50 * 0.5 / 20)
        assert (sample.moving_objects is not None) == (year == 2015)
        assert not recording.contents.consecutive


def test_kitti_raw_with_short_timestamps_takes_the_rate(tmp_path, caplog):
    drive = tmp_path / "2011_09_26/2011_09_26_drive_0001_sync"
    for index in range(3):
        write(drive / f"image_02/data/{index:010d}.png", index)
    (drive / "image_02/timestamps.txt").write_text("2011-09-26 13:02:25.594360375\n\n")
    P = "50 0 32 0 0 50 24 0 0 0 1 0"
    (drive.parent / "calib_cam_to_cam.txt").write_text(
        "R_rect_00: 1 0 0 0 1 0 0 0 1\n"
        + "".join(f"S_rect_{n}: 64 48\nP_rect_{n}: {P}\n" for n in ("02", "03"))
    )
    (drive.parent / "calib_velo_to_cam.txt").write_text("R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n")
    recording = open_recording(tmp_path)
    assert np.diff(recording.stamps).tolist() == [10**8, 10**8]
    assert "has no time for each of the 3 images" in caplog.text
