"""Messages with one packet of encoded video each: of ffmpeg_image_transport, theora_image_transport, Foxglove, and
CompressedImage with a video format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from depth_ros.errors import DepthRosError
from depth_ros.messages.decode import stamp_ns

if TYPE_CHECKING:
    from av import VideoCodecContext
    from rosbags.typesys.store import Typestore

FFMPEG, FOXGLOVE = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "foxglove_msgs/msg/CompressedVideo"
THEORA = "theora_image_transport/msg/Packet"
VIDEO_KINDS = {FFMPEG: "ffmpeg", FOXGLOVE: "foxglove", THEORA: "theora"}
"""Message types of video packets -> their image_transport."""

_DEFINITIONS = {
    FFMPEG: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
            "bool is_bigendian\nuint8[] data\n",
    FOXGLOVE: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
    THEORA: "std_msgs/Header header\nuint8[] data\nint32 b_o_s\nint32 e_o_s\nint64 granulepos\nint64 packetno\n",
}  # fmt: skip
"""Fields of the messages; rosbags knows only those of the ROS distribution."""

_DECODERS = {
    "h264": "h264", "x264": "h264", "openh264": "h264", "avc": "h264",
    "h265": "hevc", "hevc": "hevc", "x265": "hevc",
    "av1": "libdav1d", "svtav1": "libdav1d", "aom-av1": "libdav1d", "rav1e": "libdav1d",
    "vp8": "vp8", "vpx": "vp8", "vp9": "vp9", "vpx-vp9": "vp9",
    "mpeg4": "mpeg4", "xvid": "mpeg4", "theora": "theora", "ffv1": "ffv1", "mjpeg": "mjpeg",
}  # fmt: skip
"""Names of codecs, and of FFmpeg's encoders without lib and hardware -> FFmpeg's decoder."""
_KEY_FLAG = 1
"""AV_PKT_FLAG_KEY, of FFMPEGPacket.flags."""
_THEORA_HEADER, _THEORA_INTER = 0x80, 0x40
"""Bits of the first byte of a Theora packet (Theora specification, 6.1 and 7.1)."""


@dataclass(frozen=True)
class Packet:
    """One packet. stamp: ns. counter: number of its picture in order of time, -1 if the message has none.

    decoder: of FFmpeg; empty if the codec is not known. is_key: whether the message says that decoding can begin here;
    for H.264 and H.265 their data say it better, see `h264`. is_header: it has no picture.
    """

    stamp: int
    frame_id: str
    encoding: str
    decoder: str
    data: bytes
    is_key: bool
    is_header: bool = False
    counter: int = -1


def register(types: Typestore) -> None:
    """Add the message types to those that rosbags knows."""
    from rosbags.typesys import get_types_from_msg

    for kind, text in _DEFINITIONS.items():
        types.register(get_types_from_msg(text, kind))


def packet_from(message: Any) -> Packet:
    """The packet of a message of one of the kinds, or of a CompressedImage with a video format."""
    data = bytes(message.data)
    if message.__msgtype__ == FOXGLOVE:
        stamp = message.timestamp.sec * 1_000_000_000 + message.timestamp.nanosec
        return _keyless(stamp, message.frame_id, message.format, data)
    stamp, frame_id = stamp_ns(message.header), message.header.frame_id
    if message.__msgtype__ == THEORA:
        is_header = bool(data) and bool(data[0] & _THEORA_HEADER)
        is_key = bool(data) and not data[0] & (_THEORA_HEADER | _THEORA_INTER)
        return Packet(stamp, frame_id, "theora", "theora", data, is_key, is_header)
    if message.__msgtype__ == FFMPEG:
        encoding, is_key = message.encoding, bool(message.flags & _KEY_FLAG)
        return Packet(stamp, frame_id, encoding, decoder_of(encoding), data, is_key, counter=int(message.pts))
    return _keyless(stamp, frame_id, message.format, data)


def _keyless(stamp: int, frame_id: str, encoding: str, data: bytes) -> Packet:
    """A packet whose message does not say whether it is a key frame."""
    decoder = decoder_of(encoding)
    is_key = _is_key_frame(decoder, data)
    return Packet(stamp, frame_id, encoding, decoder, data, is_key)


def _is_key_frame(decoder: str, data: bytes) -> bool:
    """Whether a packet of AV1, VP8 or VP9 is a key frame.

    AV1: it has a sequence header, as Foxglove demands of key frames (AV1 specification, 5.3); VP8: RFC 6386, 9.1;
    VP9: show_existing_frame and frame_type of the uncompressed header (VP9 specification, 6.2).
    """
    if not data:
        return False
    if decoder == "libdav1d":
        return 1 in _obu_types(data)
    if decoder == "vp8":
        return not data[0] & 1
    if decoder == "vp9":
        profile = (data[0] >> 5 & 1) | (data[0] >> 4 & 1) << 1
        return data[0] >> 6 == 2 and not data[0] >> (2 if profile == 3 else 3) & 1 and not data[0] & 4
    return decoder in ("mjpeg", "ffv1")


def _obu_types(data: bytes) -> set[int]:
    """Types of the open bitstream units of a temporal unit."""
    found, position = set(), 0
    while position < len(data):
        header = data[position]
        found.add(header >> 3 & 15)
        position += 2 if header & 4 else 1
        if not header & 2:  # without a size it is the last
            break
        size = shift = 0
        while position < len(data):
            byte = data[position]
            position, size, shift = position + 1, size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        position += size
    return found


def decoder_of(encoding: str) -> str:
    """FFmpeg's decoder for a codec, or for what an encoder such as h264_nvenc or libx264 writes; empty: none.

    Newer versions of ffmpeg_image_transport add pixel formats: "h264;yuv420p;bgr8;bgr8". Bayer patterns among them
    are not supported: their colours would be wrong.
    """
    name, *formats = encoding.lower().replace(".", "").split(";")
    if any("bayer" in each for each in formats):
        return ""
    name = name.strip().removeprefix("lib").removesuffix("rgb")
    return _DECODERS.get(name) or _DECODERS.get(name.partition("_")[0], "")


def open_decoder(decoder: str, headers: tuple[bytes, ...] = ()) -> VideoCodecContext:
    """A decoder of FFmpeg without delay by threads. headers: the three of Theora.

    Raises DepthRosError if PyAV is not installed or lacks the decoder.
    """
    try:
        import av
    except ImportError:
        raise DepthRosError("to decode video: pip install av") from None
    try:
        context = cast("VideoCodecContext", av.CodecContext.create(decoder, "r"))
    except Exception as error:  # the class differs between versions of PyAV
        raise DepthRosError(f"PyAV {av.__version__} cannot decode {decoder}: {error}") from error
    context.thread_count = 1
    if headers:
        context.extradata = b"".join(len(header).to_bytes(2, "big") + header for header in headers)
    return context


def republish_text(topic: str, kind: str) -> str:
    """The command that decodes a topic to images."""
    if kind not in VIDEO_KINDS:
        return f"decode {topic} to sensor_msgs/Image in the camera driver"
    transport = VIDEO_KINDS[kind]
    base = topic.removesuffix(f"/{transport}")
    return (
        "decode them to images first: play the bag, and run "
        f"`ros2 run image_transport republish --ros-args -p in_transport:={transport} "
        f"-p out_transport:=raw -r in/{transport}:={topic} -r out:={base}/decoded` beside `ros2 bag record`"
    )
