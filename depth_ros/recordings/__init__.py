"""Recordings: anything frames can be read from. All kinds are read as a sequence of samples.

`open_recording(path)` finds out what the path is: a bag, a folder in a published layout or in our own, a folder of
images, a video, or one image.
"""

from depth_ros.recordings.opening import open_recording
from depth_ros.recordings.options import RecordingOptions
from depth_ros.recordings.sample import Contents, DamagedFrame, Recording, Sample, readable

__all__ = [
    "Contents",
    "DamagedFrame",
    "Recording",
    "RecordingOptions",
    "Sample",
    "open_recording",
    "readable",
]
