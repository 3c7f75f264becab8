"""Frames of a topic of video packets, decoded by PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from depth_ros.messages.protocols import Image
from depth_ros.recordings.bags.parts import Bag, Message
from depth_ros.recordings.bags.tracks import Deserialize, Frames, Messages, Track
from depth_ros.recordings.bags.video_packets import VIDEO_KINDS, decoder_of, open_decoder, packet_from
from depth_ros.recordings.bags.video_track import AFTER_DAMAGE, Picture, VideoTrack
from depth_ros.recordings.bags.writer import COMPRESSED
from depth_ros.recordings.files import NS
from depth_ros.recordings.sample import DamagedFrame

if TYPE_CHECKING:
    from av import VideoCodecContext, VideoFrame

CODECS_OF_COMPRESSED = ("h264", "hevc", "libdav1d", "vp8", "vp9")
"""Decoders for which a CompressedImage is a packet of video, not an image."""
MAX_DELAY = 17
"""Packets after which a frame has come out of the decoder: H.264 and H.265 reorder at most 16 frames."""
KEPT_BEHIND = 2
"""Frames that are kept after they were read, because many readers ask for the last one again."""


def track_for(message: Message, deserialize: Deserialize) -> Track:
    """An empty track for messages like this one: a video track for packets of video."""
    is_video = message.kind in VIDEO_KINDS
    if message.kind == COMPRESSED:
        with contextlib.suppress(Exception):  # a damaged message
            is_video = decoder_of(deserialize(message.data, message.kind).format) in CODECS_OF_COMPRESSED
    return VideoTrack(message.topic, deserialize=deserialize) if is_video else Track(message.topic)


def frames_of(bag: Bag, track: Track, deserialize: Deserialize) -> Frames:
    """The messages of a complete track, or the frames of its video.

    Raises DepthRosError if the video cannot be decoded at all.
    """
    messages = Messages(bag, track, deserialize)
    if not isinstance(track, VideoTrack):
        return messages
    track.finish(f"{bag.path}, {track.topic}")
    return VideoFrames(messages, track)


class VideoFrames:
    """The frames of a video track by number. Reading on decodes one packet a frame; others are decoded from the last
    key frame before them.
    """

    def __init__(self, messages: Messages, track: VideoTrack) -> None:
        self._messages, self._track = messages, track
        self.stamps = track.stamps
        self._order = {number: index for index, number in enumerate(track.frames)}
        self._context: VideoCodecContext | None = None
        self._setup: tuple[str, tuple[bytes, ...]] = ("", ())
        self._begin = self._next = 0  # packets [begin, next) have been given to the decoder
        self._given: set[int] = set()  # frames that have come out since `begin`
        self._decoded: dict[int, VideoFrame] = {}
        self._failed = dict(track.problems)

    def message(self, index: int) -> Image:
        """An Image, rgb8. Raises DamagedFrame if it cannot be decoded, or would be wrong."""
        number = self._track.frames[index]
        if number not in self._failed and number not in self._decoded:
            self._decode(number)
        if number in self._failed:
            raise DamagedFrame(self._failed[number])
        for old in [each for each in self._decoded if self._order[each] < index - KEPT_BEHIND]:
            del self._decoded[old]
        return _image_of(self._decoded[number], self._track.pictures[number])

    def _decode(self, number: int) -> None:
        """Decode packets until the frame of one of them has come out, or has not when it should have."""
        key, count = self._track.key_before(number), len(self._track.pictures)
        if self._context is None or number in self._given or not self._begin <= key <= self._next:
            self._begin = self._next = key
            self._context, self._setup = None, ("", ())
            self._given.clear()
            self._decoded.clear()
        while not self._is_settled(number) and self._next < min(number + MAX_DELAY, count):
            self._feed(self._next)
        if not self._is_settled(number) and self._next == count:
            self._flush()
        if number not in self._decoded:
            self._failed.setdefault(number, "the decoder gives no image for it: packets are lost or damaged")

    def _is_settled(self, number: int) -> bool:
        return number in self._decoded or number in self._failed

    def _feed(self, number: int) -> None:
        """Give the next packet to the decoder, and keep the frames that come out."""
        import av

        self._next += 1
        picture = self._track.pictures[number]
        if picture.is_header or number in self._failed:
            return
        if self._setup != (picture.decoder, picture.headers):
            self._flush()
            self._setup = picture.decoder, picture.headers
            self._context = open_decoder(*self._setup)
        assert self._context
        try:
            data = packet_from(self._messages.message(number)).data
            packet = av.Packet(len(data))  # Packet(data) lacks the padding up to which decoders read
            packet.update(data)
            packet.pts = packet.dts = number
            self._keep(self._context.decode(packet))
        except Exception as error:  # of the decoder or of a damaged bag
            self._spoil(number, str(error))

    def _flush(self) -> None:
        if self._context:
            self._keep(self._context.decode(None))
        self._context = None

    def _keep(self, frames: Iterable[VideoFrame]) -> None:
        for frame in frames:
            if frame.pts is None:
                continue
            self._given.add(frame.pts)
            self._decoded[frame.pts] = frame
            if frame.is_corrupt:
                self._spoil(frame.pts, "the decoder finds it damaged")

    def _spoil(self, number: int, problem: str) -> None:
        """Give up a frame and those that are predicted from it."""
        self._failed.setdefault(number, problem)
        for later in self._track.predicted_from(number):
            self._failed.setdefault(later, AFTER_DAMAGE)


def _image_of(frame: VideoFrame, picture: Picture) -> Image:
    pixels = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
    height, width = pixels.shape[:2]
    seconds, nanoseconds = divmod(picture.stamp, NS)
    header = SimpleNamespace(
        stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=picture.frame_id
    )
    return SimpleNamespace(
        header=header, height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width,
        data=pixels.reshape(-1),
    )  # fmt: skip
