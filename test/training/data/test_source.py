"""Sources of training data and what the card of a model says about them."""

import pytest

from depth_ros.training.data.source import Source


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (Source("hall"), "hall: without the held-out part"),
        (
            Source("hall", part="all", right_view=True, stereo_weight=0.2),
            "hall: all frames, both views, semi-global stereo matches, weight 0.2, where there is no ground truth",
        ),
        (Source("world:room", count=5), "5 room scenes of the built-in renderer (exact depth)"),
        (
            Source("world:pairs", count=9),
            "9 generated stereo pairs per epoch, new in every epoch (exact disparity)",
        ),
    ],
)
def test_a_card_lists_each_source_with_its_options(source, line):
    assert source.description == line


def test_rendered_sources_need_no_folder():
    assert Source("world:street").is_rendered and Source("world:street").scene_kind == "street"
    assert not Source("street").is_rendered
