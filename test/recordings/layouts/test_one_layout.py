"""Every made-up folder of a public data set has exactly one layout."""

from __future__ import annotations

import published_driving as driving
import published_stereo as stereo
import pytest
from test_independent_images import make_clip, make_diode, make_make3d
from test_public_layouts import DRIVE, make_raw
from test_rgbd_scenes import make_open3d, make_scannet, make_seven_scenes
from test_sequences_as_published import make_euroc, make_tum

from depth_ros.recordings.opening import known_layouts


def raw_with_annotation(root):
    return driving.kitti_annotated(make_raw(root), DRIVE.split("/")[1], [1])


FOLDERS = {
    "middlebury 2014": (stereo.middlebury_2014, "middlebury"),
    "MiddEval3": (stereo.midd_eval3, "middlebury"),
    "middlebury 2005": (stereo.middlebury_2005, "middlebury"),
    "middlebury 2003": (stereo.middlebury_2003, "middlebury"),
    "eth3d": (stereo.eth3d, "eth3d"),
    "kitti selection": (driving.kitti_selection, "kitti_depth"),
    "kitti annotated": (lambda root: driving.kitti_annotated(root, DRIVE.split("/")[1], [5]), "kitti_depth"),
    "kitti raw": (make_raw, "kitti_raw"),
    "kitti raw, annotated": (raw_with_annotation, "kitti_raw"),
    "sceneflow": (lambda root: driving.sceneflow(root, ("TRAIN/A/0000",)), "sceneflow"),
    "tartanair": (driving.tartanair, "tartanair"),
    "tartanair 2": (driving.tartanair_2, "tartanair"),
    "virtual kitti": (lambda root: driving.virtual_kitti(root, False), "virtual_kitti"),
    "virtual kitti, separate": (lambda root: driving.virtual_kitti(root, True), "virtual_kitti"),
    "7-Scenes": (make_seven_scenes, "seven_scenes"),
    "Open3D": (make_open3d, "open3d"),
    "ScanNet": (make_scannet, "scannet"),
    "Make3D": (make_make3d, "make3d"),
    "DIODE": (make_diode, "diode"),
    "MannequinChallenge": (make_clip, "mannequin_challenge"),
    "euroc": (make_euroc, "euroc"),
    "tum": (lambda root: make_tum(root / "freiburg1") and root / "freiburg1", "tum"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_exactly_one_layout_matches(tmp_path, name):
    make, expected = FOLDERS[name]
    path = make(tmp_path)
    matching = [layout.__name__.rsplit(".", 1)[-1] for layout in known_layouts() if layout.matches(path)]
    assert matching == [expected]
