"""Values of elements of SDF: numbers, poses, geometric shapes and lights."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from depth_ros.errors import DepthRosError
from depth_ros.geometry import matrix_from_quaternion
from depth_ros.rendering.meshes import primitives
from depth_ros.rendering.scene import Light


def numbers(text: str | None, default: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of a text, at least as many as in `default`, which stands for a missing one."""
    values = tuple(float(word) for word in text.split()) if text and text.strip() else default
    if len(values) < len(default):
        raise DepthRosError(f"SDF: '{text}' has {len(values)} numbers; {len(default)} are needed")
    return values


def pose_of(element: Element) -> np.ndarray:
    """(4, 4) of <pose>: x y z, then roll pitch yaw (rad, or degrees="true") or a quaternion; identity without it."""
    pose = element.find("pose")
    T = np.eye(4)
    if pose is None or not (pose.text or "").strip():
        return T
    if pose.get("rotation_format") == "quat_xyzw":
        values = np.array(numbers(pose.text, (0.0,) * 7))
        T[:3, :3], T[:3, 3] = matrix_from_quaternion(values[3:7]), values[:3]
        return T
    values = np.array(numbers(pose.text, (0.0,) * 6))
    angles = np.radians(values[3:6]) if pose.get("degrees") == "true" else values[3:6]
    (sr, sp, sy), (cr, cp, cy) = np.sin(angles), np.cos(angles)
    T[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    T[:3, 3] = values[:3]
    return T


def primitive(shape: Element) -> primitives.Triangles:
    """The triangles of a geometric shape. Raises DepthRosError for one that is not drawn."""

    def number(name: str, default: float) -> float:
        return float(shape.findtext(name) or default)

    if shape.tag == "plane":
        return primitives.plane(
            np.array(numbers(shape.findtext("size"), (1.0, 1.0))),
            np.array(numbers(shape.findtext("normal"), (0.0, 0.0, 1.0))),
        )
    if shape.tag == "box":
        return primitives.box(np.array(numbers(shape.findtext("size"), (1.0, 1.0, 1.0))))
    if shape.tag == "sphere":
        return primitives.sphere(np.full(3, number("radius", 1.0)))
    if shape.tag == "ellipsoid":
        return primitives.sphere(np.array(numbers(shape.findtext("radii"), (1.0, 1.0, 1.0))))
    radius, length = number("radius", 1.0), number("length", 1.0)
    if shape.tag == "cylinder":
        return primitives.cylinder(radius, radius, length)
    if shape.tag == "cone":
        return primitives.cylinder(radius, 0.0, length)
    if shape.tag == "capsule":
        return primitives.capsule(radius, length)
    raise DepthRosError(f"<{shape.tag}> is not drawn")


def light(element: Element, T: np.ndarray) -> Light:
    """A light whose frame is at T (4, 4)."""
    kind = element.get("type", "point")
    if kind not in ("point", "spot", "directional"):
        raise DepthRosError(f"SDF: a light of the type '{kind}'; types are point, spot and directional")

    def number(name: str, default: float) -> float:
        return float(element.findtext(name) or default)

    z = -np.array(numbers(element.findtext("direction"), (0.0, 0.0, -1.0))[:3])
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    T_light = np.eye(4)
    T_light[:3, :3] = np.stack([x, np.cross(z, x), z], 1)
    r, g, b = numbers(element.findtext("diffuse"), (1.0, 1.0, 1.0))[:3]
    intensity = number("intensity", 1.0)
    return Light(
        kind, T @ T_light, (intensity * r, intensity * g, intensity * b),
        (number("attenuation/constant", 1.0), number("attenuation/linear", 1.0), number("attenuation/quadratic", 0.0)),
        number("attenuation/range", 10.0), (number("spot/inner_angle", 0.0), number("spot/outer_angle", 0.0)),
        (element.findtext("cast_shadows") or "0").strip() in ("1", "true"),
    )  # fmt: skip
