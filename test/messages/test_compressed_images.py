"""Compressed images: every `format` of compressed_image_transport and of drivers, and damaged data."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from rosbags_messages import TYPES, header, image

from depth_ros.errors import DepthRosError
from depth_ros.messages.compressed import damage
from depth_ros.messages.decode import decode_image


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth colour image, 32 x 24, different in every channel."""
    v, u = np.mgrid[0:24, 0:32]
    return np.stack([40 + 5 * u, 200 - 3 * v, 90 + 2 * u + 2 * v], axis=-1).astype(np.uint8)


@pytest.fixture
def scene() -> np.ndarray:
    """A textured colour image, 320 x 240."""
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2)


def message(format: str, data: bytes | np.ndarray):
    data = np.frombuffer(bytes(data), np.uint8)
    return TYPES["sensor_msgs/msg/CompressedImage"](header(), format, data)


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def mosaic(rgb: np.ndarray, pattern: str = "rggb") -> np.ndarray:
    index = np.array(["rgb".index(colour) for colour in pattern]).reshape(2, 2)
    v, u = np.mgrid[0 : rgb.shape[0], 0 : rgb.shape[1]]
    return rgb[v, u, index[v % 2, u % 2]]


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_compressed_images_are_decoded(rgb, kind):
    data = cv2.imencode(f".{kind}", rgb[..., ::-1])[1].ravel()
    message = TYPES["sensor_msgs/msg/CompressedImage"](header(), f"rgb8; {kind} compressed bgr8", data)
    got = decode_image(message)
    assert np.abs(got.astype(int) - rgb).max() <= (0 if kind == "png" else 12)


@pytest.mark.parametrize(
    "format, data, message_part",
    [
        ("jpeg", b"", "0 bytes"),
        ("jpeg", b"no image", "damaged"),
        ("16UC1; compressedDepth png", b"x", "depth image"),
    ],
)
def test_errors_name_what_is_wrong_with_a_compressed_image(format, data, message_part):
    message = TYPES["sensor_msgs/msg/CompressedImage"](header(), format, np.frombuffer(data, np.uint8))
    with pytest.raises(DepthRosError, match=message_part):
        decode_image(message)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_compressed_bayer_mosaic_is_what_the_raw_one_is(rgb, pattern, bits):
    pixels = mosaic(rgb, pattern).astype(f"<u{bits // 8}") * (257 if bits == 16 else 1)
    encoding = f"bayer_{pattern}{bits}"
    raw = decode_image(image(32, 24, encoding, pixels.tobytes()))
    png = cv2.imencode(".png", pixels)[1]
    assert np.array_equal(decode_image(message(f"{encoding}; png compressed ", png)), raw)
    assert np.ptp(raw[12, 16].astype(int)) > 20  # it is coloured


@pytest.mark.parametrize(
    "format, is_coloured",
    [
        ("bayer_rggb8; jpeg compressed ", True),
        ("bayer_rggb8; jpeg compressed bayer_rggb8", True),
        ("bayer_rggb8;jpeg", True),
        ("bayer_rggb8; jpeg compressed mono8", False),  # debayered to grey by the publisher of ROS 2
        ("mono8; jpeg compressed mono8", False),
        ("jpeg", False),
    ],
)
def test_one_channel_is_a_mosaic_if_the_format_says_so(rgb, format, is_coloured):
    got = decode_image(message(format, jpeg(mosaic(rgb), cv2.IMWRITE_JPEG_QUALITY, 100)))
    assert (np.ptp(got.astype(int), axis=-1).max() > 20) == is_coloured


@pytest.mark.parametrize(
    "format",
    ["rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", "rgba8; jpeg compressed bgr8", "jpeg", "jpg", "",
     "bayer_rggb8; jpeg compressed bgr8", "rgb8; jpeg compressed rgb8", "rgb8; jpeg compressed"],
)  # fmt: skip
def test_colours_of_a_jpeg_are_those_of_the_jpeg_whatever_its_format_says(rgb, format):
    got = decode_image(message(format, jpeg(rgb[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 98)))
    assert np.abs(got.astype(int) - rgb).max() <= 12


def test_16_bits_and_transparency_of_a_png_are_dropped(rgb):
    wide = cv2.imencode(".png", rgb[..., ::-1].astype(np.uint16) * 257)[1]
    bgra = cv2.imencode(".png", np.dstack([rgb[..., ::-1], rgb[..., :1]]))[1]
    assert np.array_equal(decode_image(message("rgb16; png compressed bgr16", wide)), rgb)
    assert np.array_equal(decode_image(message("rgba8; png compressed bgr8", bgra)), rgb)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["jpg", "jpg with restart markers", "progressive jpg", "png"])
def test_truncated_images_are_refused(scene, kind, fraction):
    options = {"jpg with restart markers": (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
               "progressive jpg": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)}.get(kind, ())  # fmt: skip
    data = cv2.imencode(".png" if kind == "png" else ".jpg", scene, options)[1].tobytes()
    assert decode_image(message(kind, data)).shape == scene.shape
    with pytest.raises(DepthRosError, match=r"it is truncated: the end of the .* is missing"):
        decode_image(message(kind, data[: int(fraction * len(data))]))


@pytest.mark.parametrize("padding", [b"", bytes(1), bytes(4096), b"\xff\xff", b"\xd9"])
def test_data_after_the_end_of_a_jpeg_do_no_harm(scene, padding):
    """MJPEG cameras send buffers of a fixed size."""
    assert decode_image(message("jpeg", jpeg(scene) + padding)).shape == scene.shape


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image(scene):
    thumbnail = jpeg(scene[::8, ::8])
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = jpeg(scene)
    data = data[:2] + segment + data[2:]
    assert decode_image(message("jpeg", data)).shape == scene.shape
    with pytest.raises(DepthRosError, match="truncated"):
        decode_image(message("jpeg", data[: len(segment) + 1000]))


@pytest.mark.parametrize(
    "cut, reason",
    [
        (lambda d: d[: len(d) // 2] + b"\xff\xd9", "the data of its last part are missing"),
        (lambda d: d[: len(d) // 3] + d[2 * len(d) // 3 :], "the data of its last part are missing"),
        (lambda d: d[: len(d) // 2] + bytes(300) + d[len(d) // 2 + 300 :], "a part of the JPEG is zero"),
        (lambda d: d[:10] + d[40:], "there is no JPEG marker at byte"),
    ],
    ids=["end added", "middle lost", "packet of zeros", "header lost"],
)
def test_jpegs_with_a_lost_part_are_refused(scene, cut, reason):
    with pytest.raises(DepthRosError, match=reason):
        decode_image(message("jpeg", cut(jpeg(scene))))


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("sampling", [0x111111, 0x211111, 0x221111])
def test_a_packet_of_1_kb_that_is_lost_anywhere_is_noticed(scene, place, sampling):
    """The decoder reads on in the wrong place, and what is missing shows in the last blocks."""
    data = jpeg(scene, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_QUALITY, 80)
    start = 700 + int(place * (len(data) - 1800))
    with pytest.raises(DepthRosError, match="the data of its last part are missing"):
        decode_image(message("jpeg", data[:start] + data[start + 1000 :]))


def test_a_lost_restart_interval_is_noticed(scene):
    data = jpeg(scene, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    assert damage(np.frombuffer(data, np.uint8)) == ""
    start, end = data.index(b"\xff\xd3"), data.index(b"\xff\xd4")
    with pytest.raises(DepthRosError, match="restart markers of the JPEG are out of sequence"):
        decode_image(message("jpeg", data[:start] + data[end:]))


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_OPTIMIZE, 1), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("value", [0, 64, 128, 255])
def test_flat_images_are_not_taken_for_damaged_ones(options, value):
    """With Huffman tables of their own their data are nearly all zero."""
    pixels = np.full((480, 640, 3), value, np.uint8)
    pixels[100:140, 200:260] = 200
    assert decode_image(message("jpeg", jpeg(pixels, *options))).shape == pixels.shape


def test_a_bit_error_in_a_png_is_refused(scene):
    data = bytearray(cv2.imencode(".png", scene)[1].tobytes())
    data[len(data) // 2] ^= 0x10
    with pytest.raises(DepthRosError, match="cannot be decoded"):
        decode_image(message("png", bytes(data)))
