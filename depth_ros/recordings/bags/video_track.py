"""The video packets of one topic: which frames they are, which of them can be decoded, and from where."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.recordings.bags.h264 import H264Sequence, is_h265_key_frame
from depth_ros.recordings.bags.parts import Message
from depth_ros.recordings.bags.tracks import Deserialize, Track
from depth_ros.recordings.bags.video_packets import Packet, open_decoder, packet_from, republish_text

BEFORE_KEY = "it precedes the first key frame, without which video cannot be decoded"
NO_HEADERS = "the three header packets of Theora are missing before it"
AFTER_LOSS = (
    "video packets are lost before it: it would be wrong, as would be all others up to the next key frame"
)
AFTER_DAMAGE = "an image before it, from which it is predicted, is damaged"
MAX_COUNTER_JUMP = 1000
"""Packets; if the counter jumps farther, the encoder has been started again."""
LONG_GAP = 1.9
"""Times the usual interval of the frames: as long as that of two."""

log = logging.getLogger("depth_ros.recordings")


@dataclass(frozen=True)
class Picture:
    """What the index knows of a packet. headers: those of Theora that hold from here on."""

    stamp: int
    frame_id: str
    decoder: str
    is_key: bool
    is_header: bool
    counter: int
    headers: tuple[bytes, ...]


@dataclass
class VideoTrack(Track):
    """The packets of one topic in the order in which they are decoded.

    frames: numbers of the packets of the frames in order of time, which is another one if there are B frames.
    problems: why a frame cannot be decoded, by number of its packet. Both are found by `finish`.
    """

    deserialize: Deserialize = lambda data, kind: None
    pictures: list[Picture] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    _sequence: H264Sequence = field(default_factory=H264Sequence)
    _headers: dict[int, bytes] = field(default_factory=dict)
    _losses: list[int] = field(default_factory=list)  # numbers of packets before which others are lost

    @property
    def stamps(self) -> list[int]:
        return [self.entries[number].stamp for number in self.frames]

    def add(self, part: int, message: Message, stamp: int) -> None:
        """Add a packet. Damaged messages are added, too, because `Messages` counts them."""
        try:
            packet = packet_from(self.deserialize(message.data, message.kind))
        except Exception:  # whatever damaged data causes
            packet = Packet(stamp, "", "", "", b"", is_key=False)
        self._check(packet, message.kind)
        number = len(self.entries)
        is_key, is_lost = packet.is_key, False
        if packet.decoder == "h264":
            is_key, is_lost = self._sequence.add(packet.data)
        elif packet.decoder == "hevc":
            is_key = is_h265_key_frame(packet.data)
        if packet.is_header:
            self._headers = {**self._headers, packet.data[0]: packet.data}
        if is_lost:
            self._losses.append(number)
        if not (packet.data and packet.decoder):
            self.problems[number] = f"a packet of {len(packet.data)} bytes of '{packet.encoding}'"
        super().add(part, message, packet.stamp or message.time)
        self.pictures.append(self._picture(packet, is_key, packet.stamp or message.time))

    def _check(self, packet: Packet, kind: str) -> None:
        """Raise DepthRosError if the codec of the first packet cannot be decoded here."""
        if self.pictures or not packet.encoding:
            return
        try:
            if not packet.decoder:
                raise DepthRosError(f"its encoding '{packet.encoding}' is not supported")
            open_decoder(packet.decoder)
        except DepthRosError as error:
            raise DepthRosError(
                f"{self.topic} has video packets: {error}; or {republish_text(self.topic, kind)}"
            ) from error

    def _picture(self, packet: Packet, is_key: bool, stamp: int) -> Picture:
        headers = tuple(data for _, data in sorted(self._headers.items()))
        if self.pictures and self.pictures[-1].headers == headers:
            headers = self.pictures[-1].headers
        return Picture(
            stamp, packet.frame_id, packet.decoder, is_key, packet.is_header, packet.counter, headers
        )

    def key_before(self, number: int) -> int:
        """The packet at which to begin to decode another; -1 if there is none.

        A frame that is shown before the key frame in front of it (of an open GOP) needs the one before that.
        """
        stamp = self.pictures[number].stamp
        while number >= 0 and not (self.pictures[number].is_key and self.pictures[number].stamp <= stamp):
            number -= 1
        return number

    def predicted_from(self, number: int) -> list[int]:
        """The packets after one whose frames may be predicted from it: the rest of its GOP, and leading frames."""
        end, count = number + 1, len(self.pictures)
        while end < count and not self.pictures[end].is_key:
            end += 1
        stop = end + 1
        while stop < count and self.pictures[stop].stamp < self.pictures[end].stamp:
            stop += 1
        return [*range(number + 1, end), *range(end + 1, min(stop, count))]

    def finish(self, name: str) -> None:
        """Find the frames and what is missing, once all packets are added. name: of the topic, for what is logged."""
        numbers = [number for number, each in enumerate(self.pictures) if not each.is_header]
        self.frames = sorted(numbers, key=lambda number: self.pictures[number].stamp)
        if not any(self.pictures[number].is_key for number in numbers):
            raise DepthRosError(
                f"{name}: none of its {len(numbers)} video packets is a key frame, so none can be decoded: record it "
                "again from its beginning, or with a shorter interval of key frames (gop_size)"
            )
        early = [number for number in numbers if self.key_before(number) < 0]
        self.problems |= dict.fromkeys(early, BEFORE_KEY)
        self.problems |= {n: NO_HEADERS for n in numbers if self._lacks_headers(n)}
        if early:
            log.warning(
                "%s: %d of %d video packets precede the first key frame and cannot be decoded",
                name, len(early), len(numbers),
            )  # fmt: skip
        self._mark_losses(name)
        self._warn_of_gaps(name)

    def _lacks_headers(self, number: int) -> bool:
        picture = self.pictures[number]
        return picture.decoder == "theora" and len(picture.headers) < 3

    def _mark_losses(self, name: str) -> None:
        keys = [number for number, each in enumerate(self.pictures) if each.is_key]
        lost = 0
        for begin, end in itertools.pairwise([*keys, len(self.pictures)]):
            missing, first = self._missing(begin, end)
            jumps = [number for number in self._losses if begin < number < end]
            lost += max(missing, len(jumps))
            if missing or jumps:
                spoiled = self.predicted_from(min([first, *jumps]) - 1)
                self.problems |= {each: AFTER_LOSS for each in spoiled if each not in self.problems}
        if lost:
            left_out = sum(text == AFTER_LOSS for text in self.problems.values())
            log.warning(
                "%s: at least %d video packets are lost; %d frames, up to the next key frames, are left out",
                name, lost, left_out,
            )  # fmt: skip

    def _missing(self, begin: int, end: int) -> tuple[int, int]:
        """Number of packets that are lost in a GOP, [begin, end), by their counters, and the first that this spoils."""
        numbers = [number for number in range(begin, end) if not self.pictures[number].is_header]
        counters = np.array([self.pictures[number].counter for number in numbers])
        gaps = np.diff(np.sort(counters))
        if not len(gaps) or np.median(gaps) != 1 or gaps.max() > MAX_COUNTER_JUMP or gaps.min() < 1:
            return 0, end
        missing = int(gaps.sum() - len(gaps))
        if not missing:
            return 0, end
        is_reordered = self.frames != sorted(self.frames)
        first = 1 if is_reordered else int(np.argmax(np.diff(counters) > 1)) + 1
        return missing, numbers[first]

    def _warn_of_gaps(self, name: str) -> None:
        """Codecs other than H.264 and H.265 do not show that packets are lost: long intervals are named."""
        pictures = [self.pictures[number] for number in self.frames]
        if len(pictures) < 3 or pictures[0].counter >= 0 or pictures[0].decoder in ("h264", "hevc"):
            return
        intervals = np.diff([picture.stamp for picture in pictures])
        is_long = intervals > LONG_GAP * np.median(intervals)
        gaps = int((is_long & ~np.array([picture.is_key for picture in pictures[1:]])).sum())
        if gaps:
            log.warning(
                "%s: %d gaps between the stamps of its video packets: if packets are lost there, the images after them "
                "are wrong up to the next key frame, which %s does not show",
                name, gaps, pictures[0].decoder.removeprefix("lib"),
            )  # fmt: skip
