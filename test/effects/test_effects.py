"""The three effects on images where the right answer is known, and as videos through the command line."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from depth_ros.cli import main
from depth_ros.datatypes import Camera, Frame
from depth_ros.effects.clip import Moment, read_clip
from depth_ros.effects.defocus import defocus
from depth_ros.effects.inpaint import splat, without_people
from depth_ros.effects.insert import in_front, place, with_object
from depth_ros.effects.parallax import channels
from depth_ros.errors import DepthRosError
from depth_ros.world import World, WorldSettings, write_folder

CAMERA = Camera.pinhole(64, 48, 50.0, 50.0, 31.5, 23.5)


def stripes() -> np.ndarray:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, ::2] = 200
    return image


def moment(image=None, depth=4.0, T=None, people=None) -> Moment:
    image = stripes() if image is None else image
    depth = np.full((48, 64), depth, np.float32) if np.isscalar(depth) else depth
    people = np.zeros((48, 64), bool) if people is None else people
    return Moment("0", Frame(0, "camera", image, CAMERA), people, np.eye(4) if T is None else T, depth)


def test_what_is_in_focus_stays_and_the_rest_blurs():
    depth = np.full((48, 64), 2.0, np.float32)
    depth[:, 32:] = 8.0
    sharp = defocus(stripes(), depth, focus=2.0, aperture=20.0)  # 7.5 px at 8 m
    assert np.array_equal(sharp[:, :20], stripes()[:, :20])
    assert np.ptp(sharp[10:-10, 45:-10].astype(int)) < 25
    other = defocus(stripes(), depth, focus=8.0, aperture=20.0)
    assert np.array_equal(other[:, 48:], stripes()[:, 48:]) and np.ptp(other[10:-10, 10:20].astype(int)) < 25
    assert np.array_equal(defocus(stripes(), depth, focus=2.0, aperture=0.0), stripes())


def test_blur_grows_with_the_difference_of_inverse_depth():
    dot = np.zeros((48, 64, 3), np.uint8)
    dot[24, 32] = 255
    wide = []
    for z in (3.0, 6.0, 60.0):
        spread = defocus(dot, np.full((48, 64), z, np.float32), focus=2.0, aperture=24.0)[..., 0] > 0
        wide.append(spread[24].sum() / 2)
    assert wide == pytest.approx([24 * abs(1 / z - 1 / 2) for z in (3.0, 6.0, 60.0)], abs=1.0)


def test_blurred_foreground_covers_sharp_background_and_not_the_other_way():
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:] = 255  # white wall right of a black post
    depth = np.full((48, 64), 8.0, np.float32)
    depth[:, :32] = 1.0
    near_blurred = defocus(
        image, depth, focus=8.0, aperture=8.0
    )  # the post's blur, 7 px, spills over the wall
    far_blurred = defocus(image, depth, focus=1.0, aperture=8.0)
    assert 60 < near_blurred[24, 34, 0] < 220 and near_blurred[24, 44, 0] == 255
    assert not far_blurred[:, :31].any()


def test_a_hole_is_filled_with_what_another_image_saw():
    """A person before a wall with a picture on it; the camera of the other image stands 0.4 m to the right."""
    wall = np.random.default_rng(0).integers(0, 256, (48, 70, 3), np.uint8)
    people = np.zeros((48, 64), bool)
    people[15:30, 20:28] = True
    here = wall[:, :64].copy()
    here[people] = 7
    T = np.eye(4)
    T[0, 3] = 0.4  # at 4 m and 50 px: 5 px
    other_people = np.zeros_like(people)
    moments = [moment(here, people=people), moment(wall[:, 5:69].copy(), T=T, people=other_people)]
    image, share = without_people(moments, 0)
    assert share == 1.0
    assert np.array_equal(image[:, :60], wall[:, :60])
    blind = [moments[0], dataclasses.replace(moments[1], people=~other_people)]
    image, share = without_people(blind, 0)
    assert share == 0.0 and not (image[people] == 7).all()
    assert without_people([moments[1]], 0)[1] == 1.0


def test_nearer_points_cover_farther_ones():
    points = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.0, -1.0]])
    colours = np.array([[2, 2, 2], [1, 1, 1], [3, 3, 3], [9, 9, 9]], np.uint8)
    image, found = splat(points, colours, CAMERA, np.ones((48, 64), bool))
    assert found.sum() == 4 and (image[found] == 1).all() and found[23, 31]
    wanted = np.zeros((48, 64), bool)
    wanted[24, 31] = True
    assert np.array_equal(splat(points, colours, CAMERA, wanted)[1], wanted)


def test_an_object_is_hidden_by_what_is_nearer():
    scene = place(moment(), size=0.5, distance=2.0)
    image, share = with_object(moment(depth=4.0), scene)
    assert share == 1.0
    changed = (image != stripes()).any(2)
    assert 10 * 10 < changed.sum() < 26 * 22  # half a metre at two: 12.5 px, seen over an edge
    assert changed[23, 31]
    _, hidden = with_object(moment(depth=1.0), scene)
    assert hidden == 0.0
    half = np.full((48, 64), 4.0, np.float32)
    half[:, 32:] = 1.0
    image, share = with_object(moment(depth=half), scene)
    assert share == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(image[:, 32:], stripes()[:, 32:])
    assert with_object(moment(depth=np.full((48, 64), np.nan, np.float32)), scene)[1] == 1.0


def test_an_object_is_put_in_front_of_what_is_there():
    half = np.full((48, 64), 4.0, np.float32)
    half[:, 32:] = 1.0
    half[24, 60] = 0.1  # noise
    for column, distance in ((0.2, 4.0), (0.9, 1.0)):
        assert in_front(moment(depth=half), 0.4, column, 0.5) == pytest.approx(distance - 0.4 * 0.5**0.5)
    assert in_front(moment(depth=half), 0.9, 0.9, 0.5) == 0.9
    unknown = np.full((48, 64), np.nan, np.float32)
    assert in_front(moment(depth=unknown), 0.4, 0.5, 0.5) == pytest.approx(2.0 - 0.4 * 0.5**0.5)


def test_an_object_stands_still_while_the_camera_moves():
    scene = place(moment(), size=0.5, distance=2.0)
    T = np.eye(4)
    T[0, 3] = 0.4  # 10 px at 2 m
    centres = []
    for each in (moment(), moment(T=T)):
        image, _ = with_object(each, scene)
        centres.append(np.nonzero((image != stripes()).any(2))[1].mean())
    assert centres[0] - centres[1] == pytest.approx(10, abs=1.0)
    T[0, 3] = 9.0
    image, share = with_object(moment(T=T), scene)
    assert np.isnan(share) and np.array_equal(image, stripes())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A rendered room with moving objects; their masks are recorded."""
    root = tmp_path_factory.mktemp("clip") / "room"
    write_folder(World(WorldSettings(kind="room", frames=5, width=96, height=72, moving=3)), root)
    return root


@pytest.mark.parametrize("effect", ["defocus", "remove", "insert"])
def test_videos_from_the_command_line(effect, clip, tmp_path, capsys):
    out = tmp_path / "video.avi"
    assert main(["effect", effect, str(clip), "--out", str(out), "--set", "aperture=30"]) == 0
    assert "5 images" in capsys.readouterr().out
    video = cv2.VideoCapture(str(out))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 5 and frames[0].shape == (72, 96, 3)
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(30, abs=1)
    original = cv2.cvtColor(read_clip(clip)[2].frame.image, cv2.COLOR_RGB2BGR)
    assert np.abs(frames[2].astype(int) - original).max() > 40


def test_what_is_missing_is_said(clip, tmp_path, capsys):
    def error(*arguments):
        assert main(["effect", *arguments]) == 1
        return capsys.readouterr().err

    assert "must end with .mp4 or .avi" in error("defocus", str(clip), "--out", str(tmp_path / "x.mov"))
    assert "unknown key 'blur'" in error("defocus", str(clip), "--out", "x.avi", "--set", "blur=1")
    (tmp_path / "masks").mkdir()
    text = error("remove", str(clip), "--out", "x.avi", "--masks", str(tmp_path / "masks"))
    assert "no readable mask for image '000000'" in text
    (clip / "poses.txt").rename(tmp_path / "poses.txt")
    try:
        assert "has poses for 0 of 5 images" in error("insert", str(clip), "--out", "x.avi")
    finally:
        (tmp_path / "poses.txt").rename(clip / "poses.txt")


def test_two_view_folder_can_be_read_again(clip, tmp_path, capsys):
    out = tmp_path / "inputs"
    assert main(["two_view", str(clip), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "5 images" in printed and "parallax" in printed and "si_full" in printed
    again, before = read_clip(out), read_clip(clip)
    assert [m.name for m in again] == [m.name for m in before]
    np.testing.assert_allclose(again[3].T_world_camera, before[3].T_world_camera, atol=1e-6)
    assert np.array_equal(again[3].people, before[3].people)
    confidence = cv2.imread(str(out / "confidence" / "000003.png"), cv2.IMREAD_UNCHANGED)
    assert ((confidence > 0) <= np.isfinite(again[3].depth)).all() and not confidence[again[3].people].any()
    assert main(["two_view", str(clip), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_bag_is_as_good_as_a_folder(clip, tmp_path):
    assert main(["bag", str(clip), str(tmp_path / "bag")]) == 0
    ours, theirs = read_clip(tmp_path / "bag", limit=3), read_clip(clip)
    assert len(ours) == 3
    assert np.array_equal(ours[1].frame.image, theirs[1].frame.image)
    np.testing.assert_allclose(ours[1].depth, theirs[1].depth, rtol=1e-3)
    np.testing.assert_allclose(
        np.linalg.inv(ours[0].T_world_camera) @ ours[2].T_world_camera,
        np.linalg.inv(theirs[0].T_world_camera) @ theirs[2].T_world_camera,
        atol=1e-6,
    )


def test_masks_and_joints_of_any_provider(clip, tmp_path):
    """Folders under other names are taken in order; joints are numbers."""
    for name in ("masks", "joints"):
        (tmp_path / name).mkdir()
    for i in range(5):
        picture = np.zeros((72, 96), np.uint8)
        picture[i, :] = 9
        for name in ("masks", "joints"):
            cv2.imwrite(str(tmp_path / name / f"frame_{i}.png"), picture)
    moments = read_clip(clip, masks=tmp_path / "masks", joints=tmp_path / "joints")
    assert moments[3].people[3].all() and moments[3].people.sum() == 96
    found = channels(("keypoints", "people"), moments[3], None)
    assert (found[0, 3] == 0.5).all() and found[0].sum() == 48 and found[1].sum() == 96
    cv2.imwrite(str(tmp_path / "masks" / "frame_2.png"), np.zeros((7, 9), np.uint8))
    with pytest.raises(DepthRosError, match="is 9x7, its image 96x72"):
        read_clip(clip, masks=tmp_path / "masks")


def test_a_network_sees_two_views(clip, tmp_path, capsys, monkeypatch):
    import torch

    from depth_ros.networks import mannequin
    from depth_ros.training.export import export
    from depth_ros.training.recipes import Recipe, Source

    torch.manual_seed(0)
    recipe = Recipe(
        name="two", family="mannequin", width=96, height=64, sources=(Source("world:room", count=1),), validation=(),
        description="a test", licence="Apache-2.0", terms="", scale="up_to_scale",
    )  # fmt: skip
    model = mannequin.Model(mannequin.Settings(inputs="parallax", narrow=16))
    path = export(model, recipe, tmp_path / "two")
    assert (
        main(["two_view", str(clip), "--out", str(tmp_path / "out"), "--model", str(path), "--limit", "3"])
        == 0
    )
    printed = capsys.readouterr().out
    assert "alone" in printed and "two views" in printed
    lines = {line.split("  ")[0].strip(): line for line in printed.splitlines()}
    assert lines["alone"].split("abs_rel")[1] != lines["two views"].split("abs_rel")[1]
    assert len(list((tmp_path / "out/predicted").iterdir())) == 3
    with pytest.raises(DepthRosError, match="two views need one of 'mannequin'"):
        from depth_ros.effects.inputs import TwoView

        other = dataclasses.replace(recipe, name="other", family="compact")
        from depth_ros.networks import compact

        TwoView(str(export(compact.Model(compact.Settings()), other, tmp_path / "other")))
