"""The same mesh in every format, and the geometric shapes of SDF."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.rendering.meshes import primitives, read_mesh, stored_up
from depth_ros.rendering.scene import transformed

POINTS = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]], float)
UV = np.array([[0, 0], [1, 0], [1, 0.5], [0, 0.5]], float)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
SHIFT = np.array([0, 0, 3.0])
"""Translation of the node, where the format has nodes."""
PNG = b"\x89PNG not a whole image"


def obj(folder: Path) -> Path:
    (folder / "wood.png").write_bytes(PNG)
    (folder / "a.mtl").write_text("newmtl oak\nKd 0.1 0.2 0.3\nmap_Kd wood.png\n")
    lines = [f"v {x} {y} {z + 3}" for x, y, z in POINTS] + [f"vt {u} {v}" for u, v in UV]
    (folder / "a.obj").write_text(
        "\n".join(["mtllib a.mtl", *lines, "usemtl oak", "f 1/1 2/2 3/3 -1/-1  # a quad"])
    )
    return folder / "a.obj"


def stl(folder: Path) -> Path:
    rows = [struct.pack("<12fH", 0, 0, 1, *(POINTS[face] + SHIFT).ravel(), 0) for face in FACES]
    (folder / "a.stl").write_bytes(b"solid".ljust(80) + struct.pack("<I", 2) + b"".join(rows))
    return folder / "a.stl"


def ascii_stl(folder: Path) -> Path:
    corners = [f"vertex {x} {y} {z}" for x, y, z in (POINTS[FACES] + SHIFT).reshape(-1, 3)]
    (folder / "b.stl").write_text("solid\n" + "\n".join(corners) + "\nendsolid\n")
    return folder / "b.stl"


def glb(folder: Path) -> Path:
    index, uv = FACES.astype("<u2").tobytes(), (UV * [1, -1] + [0, 1]).astype("<f4").tobytes()
    blobs = [POINTS.astype("<f4").tobytes(), uv, index, PNG]
    starts = np.cumsum([0, *map(len, blobs)])
    document = {
        "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"children": [1]}, {"mesh": 0, "translation": list(SHIFT)}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 4},
            {"bufferView": 1, "componentType": 5126, "type": "VEC2", "count": 4},
            {"bufferView": 2, "componentType": 5123, "type": "SCALAR", "count": 6},
        ],
        "bufferViews": [{"buffer": 0, "byteOffset": int(s), "byteLength": len(b)} for s, b in zip(starts, blobs)],
        "materials": [{"pbrMetallicRoughness": {
            "baseColorFactor": [0.1, 0.2, 0.3, 1], "baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}], "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "buffers": [{"byteLength": int(starts[-1])}],
    }  # fmt: skip
    text, binary = json.dumps(document).encode(), b"".join(blobs)
    chunks = b"".join(
        struct.pack("<I4s", len(c), kind) + c for kind, c in ((b"JSON", text), (b"BIN\0", binary))
    )
    (folder / "a.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return folder / "a.glb"


COLLADA = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit meter="0.01"/><up_axis>Y_UP</up_axis></asset>
<library_images><image id="picture"><init_from>elsewhere\\wood.png</init_from></image></library_images>
<library_effects><effect id="e"><profile_COMMON>
  <newparam sid="s"><surface><init_from>picture</init_from></surface></newparam>
  <newparam sid="t"><sampler2D><source>s</source></sampler2D></newparam>
  <technique sid="c"><lambert><diffuse><texture texture="t" texcoord="0"/></diffuse></lambert></technique>
</profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
  <source id="p"><float_array count="12">{points}</float_array>
    <technique_common><accessor count="4" stride="3"/></technique_common></source>
  <source id="u"><float_array count="8">{uv}</float_array>
    <technique_common><accessor count="4" stride="2"/></technique_common></source>
  <vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
  <polylist count="0" material="x"><input semantic="VERTEX" source="#v" offset="0"/><vcount/><p/></polylist>
  <!-- a comment --><polylist count="1" material="x">
    <input semantic="VERTEX" source="#v" offset="0"/><input semantic="TEXCOORD" source="#u" offset="1"/>
    <vcount>4</vcount><p>0 0 1 1 2 2 3 3</p></polylist>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="w"><node><translate>0 0 100</translate><node><matrix>
  1 0 0 0 0 1 0 0 0 0 1 200 0 0 0 1</matrix>
  <instance_geometry url="#g"><bind_material><technique_common>
    <instance_material symbol="x" target="#m"/></technique_common></bind_material></instance_geometry>
</node></node></visual_scene></library_visual_scenes></COLLADA>"""


def dae(folder: Path) -> Path:
    (folder / "textures").mkdir()
    (folder / "textures/wood.png").write_bytes(PNG)
    numbers = {"points": POINTS * 100, "uv": UV}
    text = {name: " ".join(map(str, values.ravel())) for name, values in numbers.items()}
    (folder / "a.dae").write_text(COLLADA.format(**text))
    return folder / "a.dae"


@pytest.mark.parametrize("write", [obj, stl, ascii_stl, glb, dae])
def test_the_same_mesh_in_every_format(tmp_path, write):
    file = write(tmp_path)
    (part,) = read_mesh(file)
    assert part.corners == pytest.approx(POINTS[FACES] + SHIFT)
    if write in (obj, glb, dae):
        assert part.uv == pytest.approx(UV[FACES])
        texture = part.material.texture
        assert (texture if isinstance(texture, bytes) else texture.read_bytes()) == PNG
    if write in (obj, glb):
        assert part.material.colour == pytest.approx((0.1, 0.2, 0.3))
    upright = [0, 0, 1] if write in (glb, dae) else [0, 1, 0]  # y up in glTF and in this COLLADA file
    assert transformed(np.array([0, 1.0, 0]), stored_up(file)) == pytest.approx(upright)


def test_meshes_that_cannot_be_read_are_named(tmp_path):
    file = tmp_path / "a.dae"
    for content, problem in (("<COLLADA/>", "no triangles"), ("<COLLADA", "cannot be read")):
        file.write_text(content)
        with pytest.raises(DepthRosError, match=problem):
            read_mesh(file)
    with pytest.raises(DepthRosError, match=r"\.dae, \.glb"):
        read_mesh(tmp_path / "a.step")


SHAPES = {
    "box": (primitives.box(np.array([1.0, 2.0, 3.0])), 6.0),
    "sphere": (primitives.sphere(np.array([1.0, 2.0, 1.0])), 8 / 3 * np.pi),
    "cylinder": (primitives.cylinder(1.0, 1.0, 2.0), 2 * np.pi),
    "cone": (primitives.cylinder(1.0, 0.0, 3.0), np.pi),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_closed_and_face_outwards(name):
    """The signed volume is that of the shape, less what the 32 sides cut off."""
    (corners, uv), volume = SHAPES[name]
    signed = np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert signed == pytest.approx(volume, rel=0.02)
    assert uv.shape == (len(corners), 3, 2)


def test_a_plane_faces_along_its_normal():
    corners, uv = primitives.plane(np.array([4.0, 2.0]), np.array([0.0, 0.0, 2.0]))
    assert np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] == pytest.approx(
        [8, 8]
    )
    assert corners.reshape(-1, 3).max(0) == pytest.approx([2, 1, 0]) and uv.max() == 4
