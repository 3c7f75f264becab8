"""Compressed images to images, as image_transport's subscriber does it, and damage that OpenCV decodes in silence.

`format` of a CompressedImage is "jpeg" or "png", or as compressed_image_transport writes it: the encoding of the
original image, the codec, and the encoding of what was compressed: "rgb8; jpeg compressed bgr8". A Bayer image is
compressed as it is ("bayer_rggb8; jpeg compressed ") or, since ROS 2, turned into a grey one first ("... mono8").
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import cv2
import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.messages.protocols import CompressedImage, Image

_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
"""Channels and depth as stored; camera_info does not take EXIF into account."""

_SOI, _EOI, _SOS, _DRI, _DHT = 0xD8, 0xD9, 0xDA, 0xDD, 0xC4
_OTHER_FRAMES = (*range(0xC2, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
"""Start of progressive, lossless and arithmetic-coded frames."""
_LUMINANCE_AC = 0x10
MAX_ZERO_RUN = 64
"""Bytes; a longer run of zeros in a JPEG is a lost packet, unless zeros are the code of a flat block."""
_BASELINE_FRAME = re.compile(rb"\xff[\xc0\xc1]\x00[\x0b\x11]\x08")
"""Start of a frame of one or three components with 8 bits."""
MCU, FILL_VALUE = 16, 128
"""px, largest size of the blocks of a JPEG, and the grey with which libjpeg fills those without data."""


def decompressed(message: CompressedImage) -> Image:
    """The image with its encoding: that of the Bayer pattern, mono or bgr. Raises DepthRosError if it is damaged."""
    if "compressedDepth" in message.format:
        raise DepthRosError(
            f"compressed image has format '{message.format}', which is a depth image; a colour image is required: "
            "check the topic remappings"
        )
    data = np.frombuffer(message.data, np.uint8)
    problem = damage(data)
    pixels = None if problem else cv2.imdecode(data, _FLAGS)
    if pixels is not None and _is_filled(pixels, data):
        problem = "the data of its last part are missing"
    if pixels is None or problem:
        raise DepthRosError(
            f"compressed image of {data.size} bytes with format '{message.format}' cannot be decoded: "
            + (problem or "it is damaged, or OpenCV does not support its format; use jpeg or png")
        )
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        header=message.header, height=height, width=width, encoding=_encoding(message.format, pixels),
        is_bigendian=0, step=pixels[0].nbytes, data=pixels.reshape(-1).view(np.uint8),
    )  # fmt: skip


def _encoding(format: str, pixels: np.ndarray) -> str:
    bits = 8 * pixels.itemsize
    if pixels.ndim == 3:
        return f"bgr{bits}"
    original, _, codec = format.partition(";")
    pattern = original.strip().rstrip("0123456789")
    if pattern.startswith("bayer_") and "mono" not in codec:
        return f"{pattern}{bits}"
    return f"mono{bits}"


def damage(data: np.ndarray) -> str:
    """What is missing of a JPEG or PNG image (N,) uint8; empty if nothing is, as far as its structure tells."""
    head = bytes(data[:8])
    if not data.size:
        return "it has no data"
    if head[:2] == bytes((0xFF, _SOI)):
        return _jpeg_damage(data)
    if head == b"\x89PNG\r\n\x1a\n":
        return _png_damage(data)
    return ""


def _png_damage(data: np.ndarray) -> str:
    """Walk along the chunks of a PNG; libpng checks their contents."""
    position, size = 8, len(data)
    while position + 12 <= size:
        length = int.from_bytes(data[position : position + 4].tobytes(), "big")
        is_last = data[position + 4 : position + 8].tobytes() == b"IEND"
        position += 12 + length
        if is_last and position <= size:
            return ""
    return "it is truncated: the end of the PNG (IEND) is missing"


def _jpeg_damage(data: np.ndarray) -> str:
    """Walk along the segments of a JPEG (ITU-T T.81, annex B)."""
    position, size = 2, len(data)
    has_restarts, zeros_are_possible = False, False
    while position + 2 <= size:
        if data[position] != 0xFF:
            return f"it is damaged: there is no JPEG marker at byte {position}"
        marker = int(data[position + 1])
        if marker == _EOI:
            return ""
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        segment = data[
            position + 4 : position + 2 + int.from_bytes(data[position + 2 : position + 4].tobytes(), "big")
        ]
        position += 4 + len(segment)
        if marker == _DRI:
            has_restarts = bool(segment.any())
        elif marker == _DHT:
            zeros_are_possible |= _codes_flat_blocks_as_zeros(segment)
        elif marker in _OTHER_FRAMES:
            zeros_are_possible = True
        elif marker == _SOS:
            scan = _scan(data[position:])
            position += len(scan)
            if problem := _scan_damage(scan, has_restarts, zeros_are_possible):
                return problem
    return "it is truncated: the end of the JPEG (EOI marker) is missing"


def _codes_flat_blocks_as_zeros(tables: np.ndarray) -> bool:
    """Whether the shortest code of the luminance's AC table, which is all zeros, ends the block, unlike in annex K."""
    while len(tables) > 17:
        count = int(tables[1:17].sum())
        if tables[0] == _LUMINANCE_AC:
            return bool(tables[17] == 0)
        tables = tables[17 + count :]
    return False


def _scan(data: np.ndarray) -> np.ndarray:
    """The entropy-coded part of `data`, with its restart markers, up to any other marker."""
    places = np.flatnonzero(data[:-1] == 0xFF)
    codes = data[places + 1]
    others = places[(codes != 0) & (codes != 0xFF) & ((codes < 0xD0) | (codes > 0xD7))]
    return data[: others[0]] if others.size else data


def _scan_damage(scan: np.ndarray, has_restarts: bool, zeros_are_possible: bool) -> str:
    """Restart markers that are out of sequence, or zeros that no encoder writes."""
    codes = scan[np.flatnonzero(scan[:-1] == 0xFF) + 1]
    restarts = codes[(codes >= 0xD0) & (codes <= 0xD7)] - 0xD0
    if not np.array_equal(restarts, np.arange(len(restarts)) % 8) or (len(restarts) and not has_restarts):
        return "it is damaged: the restart markers of the JPEG are out of sequence"
    if not zeros_are_possible and bytes(MAX_ZERO_RUN + 1) in scan.tobytes():
        return "it is damaged: a part of the JPEG is zero"
    return ""


def _is_filled(pixels: np.ndarray, data: np.ndarray) -> bool:
    """Whether libjpeg has filled the last blocks, for which the JPEG has no data, with grey.

    If the last one is of that grey, the image is decoded once more without its last bytes: they belong to the last
    blocks of an intact image, but otherwise to the last ones that are not filled. Progressive images are not checked.
    """
    if not (pixels[-4:, -4:] == FILL_VALUE).all():  # farther inside, colours of other blocks are interpolated
        return False
    bottom, right = ((size - 1) // MCU * MCU for size in pixels.shape[:2])
    stored = data.tobytes()
    if not _BASELINE_FRAME.search(stored):
        return False
    end = stored.rfind(b"\xff\xd9")
    shorter = cv2.imdecode(np.concatenate([data[: end - 4], data[end:]]), _FLAGS)
    if shorter is None:
        return False
    differs = shorter != pixels
    differs[max(0, bottom - 1) :, max(0, right - 2 * MCU - 1) :] = False
    return bool(differs.any())
