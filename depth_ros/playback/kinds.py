"""What differs between replaying a single camera and a stereo pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from depth_ros.datatypes import Depth, Disparity, Frame, StereoFrame
from depth_ros.errors import DepthRosError
from depth_ros.recordings import Sample

if TYPE_CHECKING:
    from depth_ros.playback.play import Played

Result = Depth | Disparity


class ReplayKind(Protocol):
    """How samples become inputs and results become depth images."""

    def views_of(self, sample: Sample) -> tuple[Frame, ...]:
        """The frames that the node receives."""
        ...

    def input_of(self, sample: Sample) -> Frame | StereoFrame:
        """What the estimator takes."""
        ...

    def result_of(self, played: Played, sample: Sample) -> Result:
        """A result that came back from the node, with the camera and image of its sample."""
        ...

    def depth_of(self, result: Result) -> np.ndarray:
        """(H, W) m."""
        ...

    def doubts_about(self, sample: Sample) -> list[str]:
        """What looks wrong about the input, as the nodes warn of it."""
        ...


class MonoReplay:
    """One camera; results are depth images."""

    def views_of(self, sample: Sample) -> tuple[Frame, ...]:
        return (sample.left,)

    def input_of(self, sample: Sample) -> Frame:
        return sample.left

    def result_of(self, played: Played, sample: Sample) -> Depth:
        from depth_ros.evaluation.recorded import depth_of_frame

        return depth_of_frame(played.image, sample.left)

    def depth_of(self, result: Result) -> np.ndarray:
        assert isinstance(result, Depth)
        return result.depth

    def doubts_about(self, sample: Sample) -> list[str]:
        return []


class StereoReplay:
    """A stereo pair; results are disparities of the left image."""

    def views_of(self, sample: Sample) -> tuple[Frame, ...]:
        if sample.right is None:
            raise DepthRosError(
                "the recording has no right image beside the left one (topics .../left/... and .../right/...): a "
                "stereo model needs both"
            )
        return (sample.left, sample.right)

    def input_of(self, sample: Sample) -> StereoFrame:
        from depth_ros.estimators.stereo.pair import rectified_pair

        left, right = self.views_of(sample)
        return rectified_pair(left, right)

    def result_of(self, played: Played, sample: Sample) -> Disparity:
        from depth_ros.evaluation.recorded import disparity_of_pair

        return disparity_of_pair(played.image, self.input_of(sample))

    def depth_of(self, result: Result) -> np.ndarray:
        assert isinstance(result, Disparity)
        return result.depth().depth

    def doubts_about(self, sample: Sample) -> list[str]:
        from depth_ros.estimators.stereo.pair import baseline_doubt
        from depth_ros.estimators.stereo.rectification import pair_problem

        left, right = self.views_of(sample)
        pair = self.input_of(sample)
        are_rectified = left.camera.is_rectified and right.camera.is_rectified
        originals = None if are_rectified else (left.image, right.image)
        problems = (
            baseline_doubt(pair.baseline), pair_problem(pair.left.image, pair.right.image, originals)
        )  # fmt: skip
        return [problem for problem in problems if problem]


MONO, STEREO = MonoReplay(), StereoReplay()
