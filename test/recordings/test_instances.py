"""Instance masks from folders and bags, and one id per object over the frames of a clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from depth_ros.errors import DepthRosError
from depth_ros.recordings import RecordingOptions, open_recording
from depth_ros.recordings.bags.writer import IMAGE, MessageWriter, SampleWriter
from depth_ros.recordings.instances import InstanceIds, align_instances, clip_instances
from depth_ros.world import World, WorldSettings, write_folder


def box(left: int, width: int, number: int, top: int = 4, height: int = 10) -> np.ndarray:
    image = np.zeros((32, 64), np.int32)
    image[top : top + height, left : left + width] = number
    return image


def test_objects_are_matched_through_all_frames_by_their_overlap():
    """A car moves by 3 of 10 px: IoU 7 / 13; another by 6: IoU 4 / 16 is too little; a third one disappears."""
    frames = [
        box(5, 10, 26001) + box(30, 10, 26002) + box(50, 8, 24001),
        box(8, 10, 26007) + box(30, 10, 26001, 10) + box(50, 8, 24001),
        box(11, 10, 26002) + box(30, 10, 26009, 16),
    ]
    assert 7 / 13 > 0.3 > 4 / 16
    found = align_instances(frames)
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(
        found.labels, [frame == n for frame, n in zip(frames, (26001, 26007, 26002))]
    )
    assert found.categories[1] == 26 and not found.categories[2:].any()


def test_of_two_candidates_the_larger_overlap_wins_and_a_mask_is_used_once():
    first = box(10, 10, 1) + box(21, 4, 2)
    second = box(8, 4, 5) + box(12, 9, 6)
    third = second.copy()
    found = align_instances([first, second, third])
    np.testing.assert_array_equal(found.labels[0] > 0, first == 1)
    np.testing.assert_array_equal(found.labels[1] > 0, second == 6)


def test_two_masks_that_merge_are_one_object():
    """Both overlap with the merged mask by more than 0.3, 8 / 19 and 9 / 18: the lower id takes it."""
    apart, merged = box(10, 10, 1) + box(20, 10, 2), box(12, 17, 5)
    found = align_instances([apart, merged, merged])
    np.testing.assert_array_equal(found.labels, [apart == 1, merged > 0, merged > 0])
    tracker = InstanceIds()
    tracker.update(apart)
    np.testing.assert_array_equal(tracker.update(merged), merged > 0)


def test_no_instances_give_background_only():
    frames = [np.zeros((4, 6), np.int32)] * 3
    assert not align_instances(frames).labels.any()


def test_ids_last_as_long_as_masks_overlap():
    tracker = InstanceIds()
    first = tracker.update(box(5, 10, 9) + box(30, 10, 4))
    np.testing.assert_array_equal(first, box(30, 10, 1) + box(5, 10, 2))
    second = tracker.update(box(8, 10, 3) + box(31, 10, 8) + box(50, 5, 1))  # and a new one
    np.testing.assert_array_equal(second, box(31, 10, 1) + box(8, 10, 2) + box(50, 5, 3))
    third = tracker.update(box(14, 10, 3) + box(31, 10, 1))  # 6 of 10 px further: another object
    np.testing.assert_array_equal(third, box(31, 10, 1) + box(14, 10, 4))


@pytest.fixture
def street(tmp_path):
    world = World(WorldSettings(kind="street", seed=2, frames=3, width=64, height=32, moving_count=3))
    return write_folder(world, tmp_path / "street")


def test_masks_of_a_folder_belong_to_the_images_of_their_names(street, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    names = open_recording(street).names
    frames = [box(5 + i, 10, 26001).astype(np.uint16) for i in range(3)]
    for name, frame in zip(names[:2], frames):
        cv2.imwrite(str(masks / f"{name}.png"), frame)
    recording = open_recording(street, RecordingOptions(masks=str(masks)))
    assert recording.contents.instances and len(recording) == 3
    np.testing.assert_array_equal(recording[1].instances, frames[1])
    assert recording[2].instances is None
    road = np.where(frames[2] > 0, frames[2], 7).astype(
        np.uint16
    )  # Cityscapes: 7 is the road, without instances
    cv2.imwrite(str(masks / f"{names[2]}_gtFine_instanceIds.png"), road)
    cv2.imwrite(str(masks / f"{names[2]}_gtFine_labelIds.png"), road)
    recording = open_recording(street, RecordingOptions(masks=str(masks)))
    np.testing.assert_array_equal(recording[2].instances, frames[2])
    assert clip_instances([recording[i] for i in range(3)]).categories[1] == 26
    cv2.imwrite(str(masks / f"{names[0]}.png"), np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(DepthRosError, match="3 channels"):
        open_recording(street, RecordingOptions(masks=str(masks)))[0]


def test_masks_of_another_recording_and_missing_folders_are_rejected(street, tmp_path):
    (tmp_path / "other").mkdir()
    cv2.imwrite(str(tmp_path / "other/strange.png"), np.zeros((32, 64), np.uint8))
    with pytest.raises(DepthRosError, match=r"no mask in .*other belongs to an image"):
        open_recording(street, RecordingOptions(masks=str(tmp_path / "other")))
    with pytest.raises(DepthRosError, match="a topic can be given for bags only"):
        open_recording(street, RecordingOptions(masks="/masks"))


def test_without_masks_the_moving_objects_of_the_recording_are_used(street):
    samples = [open_recording(street)[i] for i in range(3)]
    found = clip_instances(samples)
    np.testing.assert_array_equal(found.labels, [sample.moving_objects for sample in samples])


def test_masks_of_a_bag_are_the_label_images_of_a_topic(street, tmp_path):
    frames = [box(5 + i, 10, 26001) for i in range(3)]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        messages = MessageWriter(writer)
        bag = SampleWriter(messages, compressed=False)
        for sample, frame in zip([open_recording(street)[i] for i in range(3)], frames):
            bag.write(sample)
            labels = messages.message(IMAGE, sample.left.stamp, sample.left.frame_id)
            labels.height, labels.width, labels.encoding, labels.step = 32, 64, "mono16", 128
            labels.data = frame.astype("<u2").view(np.uint8).ravel()
            messages.add("/segmentation/labels", sample.left.stamp, labels)
    recording = open_recording(tmp_path / "bag", RecordingOptions(masks="/segmentation/labels"))
    assert recording.contents.instances and not open_recording(tmp_path / "bag").contents.instances
    np.testing.assert_array_equal([recording[i].instances for i in range(3)], frames)
    with pytest.raises(
        DepthRosError,
        match=r"has no label images on '/other'; its topics of images: .*, /segmentation/labels",
    ):
        open_recording(tmp_path / "bag", RecordingOptions(masks="/other"))
