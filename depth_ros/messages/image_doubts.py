"""What looks wrong about the pixels of an image."""

from __future__ import annotations

import numpy as np

from depth_ros.messages.protocols import CompressedImage, Image

CROP = 256
"""px, size of the part in the centre of an image that is examined."""
MOSAIC_RATIO = 1.15
"""Neighbouring pixels of a Bayer mosaic differ more than those of the same colour by at least this; those of an image
differ less."""
MAX_OF_12_BITS = round(4095 / 257)
"""Largest value of 12 bits in an image of 16 bits that has been reduced to 8."""
MAX_DEPTH, MIN_DEPTH = 500.0, 0.02
"""m, plausible medians of a depth image."""


def doubt_about_image(message: Image | CompressedImage, image: np.ndarray) -> str:
    """What is doubtful about an image and its pixels (H, W, 3) uint8 RGB; empty if nothing is."""
    text = message.format if isinstance(message, CompressedImage) else f"{message.encoding};"
    encoding, _, codec = text.rpartition(";")  # "jpeg" alone: of an unknown encoding
    if encoding == "16UC1":
        return "the encoding 16UC1 is usually that of a depth image: check the topic remappings"
    if encoding.startswith("bayer") and "mono" in codec:
        return (
            f"compressed_image_transport has made the Bayer image '{text}' grey: "
            "publish a debayered image for better depth"
        )
    sample = image[::8, ::8]
    for value, name in ((0, "black"), (255, "white")):
        if (sample == value).all() and (image == value).all():
            return f"the image is {name}: every pixel is {value}; check the camera"
    if encoding.endswith("16") and sample.max() <= MAX_OF_12_BITS:
        return (
            f"the values of the image, '{encoding}', use 12 of 16 bits at most, so that it is nearly black: have the "
            "driver scale them to 16 bits, or send 8 bits"
        )
    is_grey = "mono" in encoding or encoding.endswith("C1") or not encoding
    if is_grey and looks_like_mosaic(image[..., 0]):
        return (
            f"the image is a Bayer mosaic but its encoding is '{encoding or text}', so that it is read as "
            "grey: set the encoding in the camera driver to bayer_rggb8 or whatever its pattern is"
        )
    return ""


def looks_like_mosaic(grey: np.ndarray) -> bool:
    """Whether (H, W) uint8 is a Bayer mosaic of a coloured scene: its pixels alternate in both directions."""
    top, left = (max(0, (size - CROP) // 2) for size in grey.shape)
    part = grey[top : top + CROP, left : left + CROP].astype(np.int16)
    for pixels in (part, part.T):
        neighbours, same_colour = np.abs(pixels[1:] - pixels[:-1]), np.abs(pixels[2:] - pixels[:-2])
        if len(pixels) < 3 or neighbours.mean() <= MOSAIC_RATIO * same_colour.mean():
            return False
    return True


def doubt_about_depth(depth: np.ndarray) -> str:
    """What is doubtful about the values of a depth image (H, W), m; empty if nothing is."""
    valid = depth[::4, ::4]
    valid = valid[np.isfinite(valid)]
    if not valid.size:
        return (
            ""
            if np.isfinite(depth).any()
            else "the depth image has no valid pixel: all are zero, NaN or infinite"
        )
    median = float(np.median(valid))
    if not MIN_DEPTH <= median <= MAX_DEPTH:
        return f"the median of the depth image is {median:g} m: 32FC1 has to be in metres, 16UC1 and mono16 in mm"
    return ""
