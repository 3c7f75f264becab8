"""Rate limit of the clouds."""

from depth_ros.nodes.outputs.clouds import RateLimit


def due(stamps: list[int], rate: float) -> list[bool]:
    limit = RateLimit()
    return [limit.is_due(stamp, rate) for stamp in stamps]


def test_frames_of_30_hz_are_limited_to_10_hz():
    stamps = [10**18 + round(i / 30 * 1e9) for i in range(30)]
    assert due(stamps, 10.0) == [i % 3 == 0 for i in range(30)]
    assert all(due(stamps, 0.0))


def test_zero_stamps_and_a_clock_that_is_set_back_do_not_end_the_output():
    assert due([0, 0, 0], 10.0) == [True, True, True]
    assert due([10**18, 5 * 10**17, 5 * 10**17 + 10**7], 10.0) == [True, True, False]
