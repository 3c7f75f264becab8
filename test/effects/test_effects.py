"""The three effects on images with known results, and as videos through the command line."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from depth_ros.card import find_card, load_model
from depth_ros.cli import main
from depth_ros.datatypes import Camera, Frame
from depth_ros.effects.clip import ClipImage, ClipOptions, open_clip, read_clip
from depth_ros.effects.defocus import MAX_RADIUS, defocus
from depth_ros.effects.inpaint import remove_people, splat
from depth_ros.effects.insert import free_distance, insert_object, place_crate
from depth_ros.effects.video import VideoOptions, with_depth
from depth_ros.engine import EngineSettings
from depth_ros.recordings.two_view_inputs import TwoViewInputs
from depth_ros.world import World, WorldSettings, write_folder

CAMERA = Camera.pinhole(64, 48, 50.0, 50.0, 31.5, 23.5)


def stripes() -> np.ndarray:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, ::2] = 200
    return image


def clip_image(image=None, depth=4.0, T=None, people=None) -> ClipImage:
    image = stripes() if image is None else image
    depth = np.full((48, 64), depth, np.float32) if np.isscalar(depth) else depth
    people = np.zeros((48, 64), bool) if people is None else people
    return ClipImage("0", Frame(0, "camera", image, CAMERA), people, np.eye(4) if T is None else T, depth)


def test_depth_in_focus_stays_sharp_and_the_rest_is_blurred():
    depth = np.full((48, 64), 2.0, np.float32)
    depth[:, 32:] = 8.0
    sharp = defocus(stripes(), depth, focus=2.0, aperture=20.0)  # 7.5 px at 8 m
    assert np.array_equal(sharp[:, :20], stripes()[:, :20])
    assert np.ptp(sharp[10:-10, 45:-10].astype(int)) < 25
    other = defocus(stripes(), depth, focus=8.0, aperture=20.0)
    assert np.array_equal(other[:, 48:], stripes()[:, 48:]) and np.ptp(other[10:-10, 10:20].astype(int)) < 25
    assert np.array_equal(defocus(stripes(), depth, focus=2.0, aperture=0.0), stripes())


def test_blur_grows_with_the_difference_of_inverse_depth():
    point = np.zeros((48, 64, 3), np.uint8)
    point[24, 32] = 255
    radii = []
    for z in (3.0, 6.0, 60.0):
        disc = defocus(point, np.full((48, 64), z, np.float32), focus=2.0, aperture=24.0)[..., 0] > 0
        radii.append(disc[24].sum() / 2)
    assert radii == pytest.approx([24 * abs(1 / z - 1 / 2) for z in (3.0, 6.0, 60.0)], abs=1.0)


def test_blur_radius_is_limited():
    step = np.zeros((97, 97, 3), np.uint8)
    step[:, 48:] = 255
    row = defocus(step, np.full((97, 97), 8.0, np.float32), focus=2.0, aperture=1000.0)[48, :, 0]
    assert MAX_RADIUS - 2 < np.count_nonzero((row > 0) & (row < 255)) / 2 < MAX_RADIUS + 2


def test_blurred_foreground_covers_sharp_background_but_not_the_reverse():
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:] = 255  # white wall right of a black post
    depth = np.full((48, 64), 8.0, np.float32)
    depth[:, :32] = 1.0
    # the blur of the post, 7 px, covers part of the wall
    near_blurred = defocus(image, depth, focus=8.0, aperture=8.0)
    far_blurred = defocus(image, depth, focus=1.0, aperture=8.0)
    assert 60 < near_blurred[24, 34, 0] < 220 and near_blurred[24, 44, 0] == 255
    assert not far_blurred[:, :31].any()


def test_hole_is_filled_from_another_image():
    """A person in front of a textured wall; the camera of the other image is 0.4 m to the right."""
    wall = np.random.default_rng(0).integers(0, 256, (48, 70, 3), np.uint8)
    people = np.zeros((48, 64), bool)
    people[15:30, 20:28] = True
    pixels = wall[:, :64].copy()
    pixels[people] = 7
    T = np.eye(4)
    T[0, 3] = 0.4  # at 4 m and 50 px: 5 px
    nobody = np.zeros_like(people)
    clip = [clip_image(pixels, people=people), clip_image(wall[:, 5:69].copy(), T=T, people=nobody)]
    image, filled = remove_people(clip, 0)
    assert filled == 1.0
    assert np.array_equal(image[:, :60], wall[:, :60])
    no_background = [clip[0], dataclasses.replace(clip[1], people=~nobody)]
    image, filled = remove_people(no_background, 0)
    assert filled == 0.0 and not (image[people] == 7).all()
    assert remove_people([clip[1]], 0)[1] == 1.0


def test_nearer_points_occlude_farther_ones():
    points = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.0, -1.0]])
    colours = np.array([[2, 2, 2], [1, 1, 1], [3, 3, 3], [9, 9, 9]], np.uint8)
    image, found = splat(points, colours, CAMERA, np.ones((48, 64), bool))
    assert found.sum() == 4 and (image[found] == 1).all() and found[23, 31]
    region = np.zeros((48, 64), bool)
    region[24, 31] = True
    assert np.array_equal(splat(points, colours, CAMERA, region)[1], region)


def test_object_is_occluded_by_nearer_surfaces():
    scene = place_crate(clip_image(), size=0.5, distance=2.0)
    image, visible = insert_object(clip_image(depth=4.0), scene)
    assert visible == 1.0
    changed = (image != stripes()).any(2)
    assert 10 * 10 < changed.sum() < 26 * 22  # 0.5 m at 2 m: 12.5 px, seen over an edge
    assert changed[23, 31]
    assert insert_object(clip_image(depth=1.0), scene)[1] == 0.0
    half = np.full((48, 64), 4.0, np.float32)
    half[:, 32:] = 1.0
    image, visible = insert_object(clip_image(depth=half), scene)
    assert visible == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(image[:, 32:], stripes()[:, 32:])
    assert insert_object(clip_image(depth=np.full((48, 64), np.nan, np.float32)), scene)[1] == 1.0


def test_object_is_placed_in_front_of_the_scene():
    half = np.full((48, 64), 4.0, np.float32)
    half[:, 32:] = 1.0
    half[24, 60] = 0.1  # noise
    for column, distance in ((0.2, 4.0), (0.9, 1.0)):
        assert free_distance(clip_image(depth=half), 0.4, column, 0.5) == pytest.approx(
            distance - 0.4 * 0.5**0.5
        )
    assert free_distance(clip_image(depth=half), 0.9, 0.9, 0.5) == 0.9
    invalid = np.full((48, 64), np.nan, np.float32)
    assert free_distance(clip_image(depth=invalid), 0.4, 0.5, 0.5) == pytest.approx(2.0 - 0.4 * 0.5**0.5)


def test_object_is_fixed_in_the_world():
    scene = place_crate(clip_image(), size=0.5, distance=2.0)
    T = np.eye(4)
    T[0, 3] = 0.4  # 10 px at 2 m
    centres = []
    for each in (clip_image(), clip_image(T=T)):
        image, _ = insert_object(each, scene)
        centres.append(np.nonzero((image != stripes()).any(2))[1].mean())
    assert centres[0] - centres[1] == pytest.approx(10, abs=1.0)
    T[0, 3] = 9.0
    image, visible = insert_object(clip_image(T=T), scene)
    assert np.isnan(visible) and np.array_equal(image, stripes())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Folder of a rendered room with masks of moving objects."""
    root = tmp_path_factory.mktemp("clip") / "room"
    write_folder(World(WorldSettings(kind="room", frames=5, width=96, height=72, moving_count=3)), root)
    return root


@pytest.mark.parametrize("effect", ["defocus", "remove", "insert"])
def test_video_from_the_command_line(effect, clip, tmp_path, capsys):
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


def test_missing_inputs_are_reported(clip, tmp_path, capsys):
    def error(*arguments):
        assert main(["effect", *arguments]) == 1
        return capsys.readouterr().err

    assert "must end with .mp4 or .avi" in error("defocus", str(clip), "--out", str(tmp_path / "x.mov"))
    assert "unknown key 'blur'" in error("defocus", str(clip), "--out", "x.avi", "--set", "blur=1")
    (tmp_path / "masks").mkdir()
    text = error("remove", str(clip), "--out", "x.avi", "--masks", str(tmp_path / "masks"))
    assert "no mask in" in text
    (clip / "poses.txt").rename(tmp_path / "poses.txt")
    try:
        assert "has poses for 0 of 5 images" in error("insert", str(clip), "--out", "x.avi")
    finally:
        (tmp_path / "poses.txt").rename(clip / "poses.txt")


def test_two_view_folder_can_be_read_back(clip, tmp_path, capsys):
    out = tmp_path / "inputs"
    assert main(["two_view", str(clip), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "5 images" in printed and "parallax" in printed and "si_full" in printed
    written, original = read_clip(out), read_clip(clip)
    assert [image.name for image in written] == [image.name for image in original]
    np.testing.assert_allclose(written[3].T_world_camera, original[3].T_world_camera, atol=1e-6)
    assert np.array_equal(written[3].people, original[3].people)
    confidence = cv2.imread(str(out / "confidence" / "000003.png"), cv2.IMREAD_UNCHANGED)
    assert ((confidence > 0) <= np.isfinite(written[3].depth)).all() and not confidence[
        written[3].people
    ].any()
    assert main(["two_view", str(clip), "--out", str(out)]) == 1
    assert "already exists" in capsys.readouterr().err


def test_bag_gives_the_same_clip_as_a_folder(clip, tmp_path):
    assert main(["bag", str(clip), str(tmp_path / "bag")]) == 0
    bag, folder = read_clip(tmp_path / "bag", ClipOptions(limit=3)), read_clip(clip)
    assert len(bag) == 3
    assert np.array_equal(bag[1].frame.image, folder[1].frame.image)
    np.testing.assert_allclose(bag[1].depth, folder[1].depth, rtol=1e-3)
    np.testing.assert_allclose(
        np.linalg.inv(bag[0].T_world_camera) @ bag[2].T_world_camera,
        np.linalg.inv(folder[0].T_world_camera) @ folder[2].T_world_camera,
        atol=1e-6,
    )


@pytest.fixture(scope="module")
def two_view_model(tmp_path_factory):
    """Folder of a model that takes people, parallax and confidence beside the image, with random weights."""
    from depth_ros.networks import mannequin
    from depth_ros.training.export import export
    from depth_ros.training.recipes import CropSettings, Recipe, Source
    from depth_ros.training.supervision.depth import DepthSupervision

    torch.manual_seed(0)
    recipe = Recipe(
        name="two", family="mannequin", crop=CropSettings(96, 64), sources=(Source("world:room", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="",
        supervision=DepthSupervision("up_to_scale"),
    )  # fmt: skip
    model = mannequin.Model(mannequin.Settings(inputs="parallax", width_divisor=16))
    model.network.seq[0].weight.data[:, 3:] *= 100  # that the result depends on them
    return export(model, recipe, tmp_path_factory.mktemp("model") / "two")


EAGER = ("--backend", "eager", "--precision", "float32", "--device", "cpu")


def test_two_view_prediction_of_a_model(clip, two_view_model, small_model, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["two_view", str(clip), "--limit", "3", *EAGER, "--model"]
    assert main([*command, str(two_view_model), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line for line in printed.splitlines()}
    assert lines["single view"].split("abs_rel")[1] != lines["two views"].split("abs_rel")[1]
    for file in sorted((out / "predicted").iterdir()):
        predicted, depth, confidence = (
            cv2.imread(str(out / folder / file.name), cv2.IMREAD_UNCHANGED).astype(float)
            for folder in ("predicted", "depth", "confidence")
        )
        valid = (confidence > 0) & (depth > 0)
        valid &= confidence >= np.median(confidence[valid])
        assert np.median(depth[valid] / predicted[valid]) == pytest.approx(1, abs=0.01)  # units of the poses
    assert len(list((out / "predicted").iterdir())) == 3
    assert main([*command, str(small_model), "--out", str(tmp_path / "other")]) == 1
    assert "takes the image alone" in capsys.readouterr().err


def test_effects_use_the_two_view_depth(clip, two_view_model):
    """The depth of the effect is that of the network with all inputs, in the units of the parallax."""
    options = VideoOptions(model=str(two_view_model), engine=EngineSettings("eager", "float32", "cpu"))
    recording, images = open_clip(clip)
    found = with_depth(images, recording, options)[3].depth
    two_view = TwoViewInputs(recording)
    frame, parallax = two_view[3].left, two_view.parallax(3)
    size, names = (80, 64), ("people", "parallax", "confidence")  # the network's size for images of 96x72
    extra = [
        cv2.resize(frame.extra_inputs[n], size, interpolation=cv2.INTER_NEAREST_EXACT)[None] for n in names
    ]
    image = torch.from_numpy(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA))[None]
    model = load_model(find_card(str(two_view_model)))
    expected = []
    for channels in (np.stack(extra, 1), np.zeros((1, 3, 64, 80), np.float32)):
        with torch.inference_mode():
            depth = model(image, torch.eye(3)[None], torch.from_numpy(channels))[0].numpy()
        depth = 1 / cv2.resize(1 / depth, (96, 72))
        confident = parallax.confidence >= np.median(parallax.confidence[parallax.confidence > 0])
        expected.append(depth * np.exp(np.median(np.log(parallax.depth[confident] / depth[confident]))))
    error, error_of_single_view = (np.median(np.abs(found / each - 1)) for each in expected)
    assert error < 0.003 and error_of_single_view > 0.01
