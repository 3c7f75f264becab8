"""Made-up folders of stereo data sets, true to their official descriptions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

CALIB = """cam0=[{f} 0 30; 0 {f} 23.5; 0 0 1]
cam1=[{f} 0 {cx1}; 0 {f} 23.5; 0 0 1]
doffs={doffs}
baseline=160
width=64
height=48
ndisp=40
"""
SIZE = (64, 48)


def write_image(file: Path, value: float, size: tuple[int, int] = SIZE, kind: type = np.uint8) -> Path:
    """An image of one value."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size[::-1], 3) if file.suffix == ".ppm" else size[::-1]
    assert cv2.imwrite(str(file), np.full(shape, value, kind))
    return file


def write_pfm(file: Path, values: np.ndarray, scale: float = -1.0) -> Path:
    """A portable float map; a negative scale means little endian."""
    file.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    pixels = values[::-1].astype("<f4" if scale < 0 else ">f4").tobytes()
    file.write_bytes(f"Pf\n{width} {height}\n{scale}\n".encode() + pixels)
    return file


def disparity(value: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A disparity map of one value, unknown at the first pixel of the first row, 2 px more in the last row."""
    values = np.full(size[::-1], value, np.float32)
    values[0, 0] = np.inf
    values[-1] += 2
    return values


def write_calibrated_scene(folder: Path, doffs: float = 0.0, calib: str = "") -> None:
    """im0, im1 and calib.txt: 500 px, 160 mm."""
    write_image(folder / "im0.png", 10)
    write_image(folder / "im1.png", 20)
    (folder / "calib.txt").write_text(CALIB.format(f=500, cx1=30 + doffs, doffs=doffs) + calib)


def middlebury_2014(root: Path) -> Path:
    for name in ("Adirondack-perfect", "Pipes-perfect"):
        write_calibrated_scene(root / name, doffs=4.0, calib="isint=0\nvmin=31\nvmax=37\n")
        write_pfm(root / name / "disp0.pfm", disparity(16), -0.003922)
        write_pfm(root / name / "disp0y.pfm", disparity(1))
        write_image(root / name / "disp0-n.pgm", 3)
    return root


def midd_eval3(root: Path) -> Path:
    for name in ("Adirondack", "ArtL"):
        write_calibrated_scene(root / name, calib="isint=0\nvmin=31\nvmax=37\n")
        write_pfm(root / name / "disp0GT.pfm", disparity(20), -0.025)
        write_image(root / name / "mask0nocc.png", 255)
    return root


def middlebury_2005(root: Path, width: int = 417) -> Path:
    full = round(1252 / width)
    for name in ("Art", "Books"):
        folder, size = root / name, (width, 37)
        write_image(folder / "view1.png", 10, size)
        write_image(folder / "view5.png", 20, size)
        write_image(folder / "disp1.png", 12 * full, size)
        (folder / "dmin.txt").write_text("200\n")
    return root


def middlebury_2003(root: Path, width: int = 450, suffixes: tuple[str, str] = (".png", ".png")) -> Path:
    image, stored = suffixes
    for name in ("cones", "teddy"):
        folder, size = root / name, (width, 37)
        write_image(folder / f"im2{image}", 10, size)
        write_image(folder / f"im6{image}", 20, size)
        write_image(folder / f"disp2{stored}", 12 * 1800 // width, size)
    return root


def eth3d(root: Path) -> Path:
    for name in ("delivery_area_1l", "playground_1l"):
        folder = root / "two_view_training" / name
        write_calibrated_scene(folder)
        (folder / "cameras.txt").write_text("# Camera list\n0 PINHOLE 64 48 500 500 30 23.5\n")
        (folder / "images.txt").write_text("# Image list\n")
        ground_truth = root / "two_view_training_gt" / name
        write_pfm(ground_truth / "disp0GT.pfm", disparity(20))
        write_image(ground_truth / "mask0nocc.png", 255)
    return root
