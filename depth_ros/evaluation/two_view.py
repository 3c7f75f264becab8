"""The recording that a model needs: the recorded one, or one with the inputs that the model takes beside the image."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from depth_ros.card import Card
from depth_ros.engine import EngineSettings
from depth_ros.evaluation.depth_source import open_source
from depth_ros.evaluation.odometry import DepthOdometry, default_settings, run_odometry
from depth_ros.parallax import MAX_FRAME_DISTANCE
from depth_ros.recordings import Recording
from depth_ros.recordings.two_view_inputs import TwoViewInputs

log = logging.getLogger("depth_ros.evaluation")


def prepared_for(
    card: Card | None,
    recording: Recording,
    settings: EngineSettings = EngineSettings(),  # noqa: B008 - frozen
    limit: int = 0,
) -> Recording:
    """The recording itself, or with what the model of the card takes beside the image. card: None = no network.

    limit: number of frames that are used, 0 = all.
    """
    if card is None or not card.extra_inputs:
        return recording
    return two_view_inputs(recording, card.extra_inputs, settings, limit)


def two_view_inputs(
    recording: Recording, names: Sequence[str], settings: EngineSettings, limit: int = 0
) -> TwoViewInputs:
    """The recording with the extra inputs of these names, as far as they can be made.

    Poses that a recording of consecutive frames lacks are estimated by odometry, with semi-global matching, recorded
    depth or a model of one image, whatever it allows.
    """
    contents = recording.contents
    if not contents.consecutive or contents.poses or set(names) <= {"people", "keypoints"}:
        return TwoViewInputs(recording)
    poses = odometry_poses(recording, settings, limit and limit + MAX_FRAME_DISTANCE)
    used = len(recording) if limit == 0 else min(limit, len(recording))
    log.warning(
        "no recorded poses: odometry gives %d poses for %d frames; --poses gives better ones",
        len(poses),
        used,
    )
    return TwoViewInputs(recording, poses)


def odometry_poses(recording: Recording, settings: EngineSettings, limit: int = 0) -> dict[int, np.ndarray]:
    """{stamp: T_world_camera} of the first `limit` frames (0 = all) by odometry, without those at which it is lost."""
    odometry = default_settings(recording)
    source = DepthOdometry(open_source("", recording, settings), odometry)
    run = run_odometry(source, recording, odometry, limit)
    return {stamp: T for stamp, T in zip(run.stamps, run.poses, strict=True) if np.isfinite(T).all()}
