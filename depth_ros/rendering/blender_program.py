"""The program that runs in Blender, or in a Python with bpy: meshes and frames in, light and geometry out.

    python blender_program.py JOB        or        blender --background --python blender_program.py -- JOB

JOB is a folder with scene.json and the arrays that it names. Each line of standard input is a frame (JSON); its
results, `light_0.npy` (H, W, 3) linear RGB of each camera and `geometry.npy` (H, W, 3), distance from the first camera
(m, 0 = nothing), number of the instance (those of the scene from 1, then those of the frame) and of the plane in its
mesh, are in JOB when the line DONE is written. Poses are lists: one, or those at the start, the middle and the end of
the exposure of all rows. It imports nothing of depth_ros and is never imported by it: bpy has another licence (GPL),
and needs a Python of its own.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

DONE = "depth_ros: frame done"
READY = "depth_ros: ready"
OPTICAL_TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
PATTERN_PIXELS = 256


class Surface:
    """The material of a part: its texture or colour, which a frame may change."""

    def __init__(
        self, name: str, texture: str, colour: list[float], has_uv: bool, patterns: dict[str, Any]
    ) -> None:
        self._patterns, self._colour = patterns, (*colour, 1.0)
        self._own = bpy.data.images.load(texture, check_existing=True) if texture and has_uv else None
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        nodes, self._links = self.material.node_tree.nodes, self.material.node_tree.links
        self._shader = nodes["Principled BSDF"]
        self._coordinates, self._scale = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeMapping")
        self._image, self._hue = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeHueSaturation")
        self._mix = nodes.new("ShaderNodeMixRGB")
        self._image.projection_blend = 0.1
        self._links.new(self._scale.outputs["Vector"], self._image.inputs["Vector"])
        self._links.new(self._image.outputs["Color"], self._hue.inputs["Color"])
        self._links.new(self._hue.outputs["Color"], self._mix.inputs["Color1"])
        self._links.new(self._mix.outputs["Color"], self._shader.inputs["Base Color"])
        self.change({})

    def change(self, change: dict[str, Any]) -> None:
        """Apply a change of `appearance.draw_surfaces`; an empty one is the scene's own surface."""
        pattern = self._patterns.get(change.get("pattern", ""))
        self._image.image = pattern or self._own
        self._image.projection = "BOX" if pattern else "FLAT"
        output = self._coordinates.outputs["Object" if pattern else "UV"]
        self._links.new(output, self._scale.inputs["Vector"])
        self._scale.inputs["Scale"].default_value = 3 * (1 / change["size"] if pattern else 1.0,)
        plain = self._image.image is None
        cover = change.get("cover", 0.0)
        paint = (*change.get("paint", (0.5, 0.5, 0.5)), 1.0)
        self._mix.inputs["Fac"].default_value = 1.0 if plain else cover
        self._mix.inputs["Color2"].default_value = self._colour if plain and cover < 0.5 else paint
        self._hue.inputs["Hue"].default_value = change.get("hue", 0.5)
        self._hue.inputs["Saturation"].default_value = change.get("saturation", 1.0)
        self._hue.inputs["Value"].default_value = change.get("value", 1.0)
        self._shader.inputs["Roughness"].default_value = change.get("roughness", 0.6)
        self._shader.inputs["Metallic"].default_value = change.get("metallic", 0.0)


def generated_patterns() -> dict[str, Any]:
    """Images by name: planks, tiles, stripes, checks, blotches, speckle and bricks, which repeat."""
    n, rng = PATTERN_PIXELS, np.random.default_rng(7)
    y, x = np.mgrid[:n, :n] / n
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(n, 1 / n)]))
    blotches = np.real(np.fft.ifft2(np.fft.fft2(rng.random((n, n))) / (1 + frequency**1.3)))
    blotches = (blotches - blotches.min()) / np.ptp(blotches)
    row = np.floor(y * 8)
    joint = (np.abs(y * 8 % 1) < 0.05) | (np.abs((x * 2 + row * 0.37) % 1) < 0.012)
    mortar = (y * 8 % 1 < 0.1) | ((x * 4 + (row % 2) / 2) % 1 < 0.05)
    grey = {
        "planks": np.where(
            joint, 0.25, 0.5 + 0.1 * np.sin(row * 4.1) + 0.2 * np.sin(40 * y + 9 * blotches) * blotches
        ),
        "tiles": np.where((x * 4 % 1 < 0.04) | (y * 4 % 1 < 0.04), 0.35, 0.65 + 0.15 * blotches),
        "stripes": 0.5 + 0.25 * np.sign(np.sin(x * 16 * math.pi)) * (0.8 + 0.2 * blotches),
        "checks": 0.5 + 0.2 * np.sign(np.sin(x * 8 * math.pi) * np.sin(y * 8 * math.pi)),
        "blotches": blotches,
        "speckle": 0.55 + 0.15 * rng.standard_normal((n, n)),
        "bricks": np.where(mortar, 0.75, 0.4 + 0.2 * blotches),
    }
    images = {}
    for name, values in grey.items():
        tint = np.array([1.0, 0.9, 0.78]) if name in ("planks", "bricks") else np.ones(3)
        pixels = np.concatenate([np.clip(values, 0, 1)[..., None] * tint, np.ones((n, n, 1))], -1)
        images[name] = bpy.data.images.new(name, n, n)
        images[name].pixels.foreach_set(pixels.astype(np.float32).ravel())
        images[name].pack()
    return images


class Renderer:
    """The scene of a job in Blender."""

    def __init__(self, job: Path) -> None:
        self._job, self._content = job, json.loads((job / "scene.json").read_text())
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene = bpy.context.scene
        patterns = generated_patterns()
        self._surfaces: list[Surface] = []
        self._meshes = {}
        for key, parts in self._content["meshes"].items():
            self._meshes[key] = self._mesh(key, parts, patterns)
        for number, each in enumerate(self._content["instances"], 1):
            self._place(each["mesh"], each["T"], number)
        self._set_up()
        self._geometry_material = geometry_material()

    def _mesh(self, key: str, parts: list[dict[str, Any]], patterns: dict[str, Any]) -> Any:
        arrays = np.load(self._job / f"{key}.npz")
        corners = np.concatenate([arrays[f"corners_{k}"] for k in range(len(parts))]).reshape(-1, 3)
        mesh = bpy.data.meshes.new(key)
        mesh.from_pydata(corners.tolist(), [], np.arange(len(corners)).reshape(-1, 3).tolist())
        uv = [arrays[f"uv_{k}"] for k in range(len(parts))]
        mesh.uv_layers.new().data.foreach_set("uv", np.concatenate(uv).astype(np.float32).ravel())
        slots = []
        for k, part in enumerate(parts):
            surface = Surface(f"{key}_{k}", part["texture"], part["colour"], part["has_uv"], patterns)
            self._surfaces.append(surface)
            mesh.materials.append(surface.material)
            slots += [k] * len(arrays[f"corners_{k}"])
        mesh.polygons.foreach_set("material_index", np.array(slots, np.int32))
        planes = mesh.attributes.new("plane", "FLOAT", "FACE")
        planes.data.foreach_set("value", arrays["planes"].astype(np.float32))
        mesh.update()
        return mesh

    def _place(self, mesh: str, poses: list[list[list[float]]], number: int) -> Any:
        thing = bpy.data.objects.new(mesh, self._meshes[mesh])
        thing.pass_index = number
        move(thing, poses)
        self._scene.collection.objects.link(thing)
        return thing

    def _set_up(self) -> None:
        scene, content = self._scene, self._content
        scene.render.engine = "CYCLES"
        cycles = scene.cycles
        cycles.device, cycles.use_adaptive_sampling = "CPU", False
        cycles.denoiser, cycles.denoising_prefilter = "OPENIMAGEDENOISE", "FAST"
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 2
        cycles.sample_clamp_indirect = 3.0
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.use_fast_gi, cycles.fast_gi_method, cycles.ao_bounces_render = True, "REPLACE", 1
        if content["threads"]:
            scene.render.threads_mode, scene.render.threads = "FIXED", content["threads"]
        scene.render.use_persistent_data = True
        scene.render.image_settings.file_format = "OPEN_EXR"
        scene.render.image_settings.color_depth, scene.render.image_settings.color_mode = "32", "RGB"
        scene.render.resolution_x, scene.render.resolution_y = content["width"], content["height"]
        scene.world = bpy.data.worlds.new("sky")
        scene.world.use_nodes = True
        camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        camera.data.clip_start, camera.data.clip_end = (
            1e-5,
            1000.0,
        )  # rays start there, and their length counts from it
        camera.data.sensor_fit, camera.data.angle = "HORIZONTAL", content["angle"]
        scene.frame_set(1)
        scene.render.motion_blur_position = "CENTER"
        scene.collection.objects.link(camera)
        scene.camera = camera

    def render(self, frame: dict[str, Any]) -> None:
        """Write the results of a frame."""
        for surface, change in zip(self._surfaces, frame["surfaces"], strict=False):
            surface.change(change)
        first = len(self._content["instances"]) + 1
        temporary = [
            self._place(each["mesh"], each["T"], n) for n, each in enumerate(frame["objects"], first)
        ]
        temporary += [self._lamp(lamp) for lamp in frame["lamps"]]
        sky = self._scene.world.node_tree.nodes["Background"].inputs
        sky["Color"].default_value = (*frame["sky"]["colour"], 1.0)
        sky["Strength"].default_value = frame["sky"]["strength"]
        cycles, layer = self._scene.cycles, self._scene.view_layers[0]
        cycles.samples, cycles.use_denoising, cycles.seed = self._content["samples"], True, frame["seed"]
        cycles.pixel_filter_type, cycles.filter_width, layer.material_override = "BLACKMAN_HARRIS", 1.5, None
        cycles.sample_clamp_direct = 20.0
        exposure, readout = self._content["exposure"], self._content["readout"]
        self._expose(exposure, readout)
        for number, poses in enumerate(frame["cameras"]):
            np.save(self._job / f"light_{number}.npy", self._pixels(poses).astype(np.float32))
        cycles.samples, cycles.use_denoising = 1, False  # one ray through the centre of each pixel
        cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
        cycles.sample_clamp_direct = 0.0  # it limits the sum of distance and numbers
        layer.material_override = self._geometry_material
        sky["Strength"].default_value = 0.0
        self._expose(0.0, readout)
        np.save(self._job / "geometry.npy", self._pixels(frame["cameras"][0]))
        for thing in temporary:
            data = thing.data
            bpy.data.objects.remove(thing)
            if isinstance(data, bpy.types.Light):
                bpy.data.lights.remove(data)
        for action in list(bpy.data.actions):
            bpy.data.actions.remove(action)

    def _expose(self, exposure: float, readout: float) -> None:
        """Exposure time of a row and time from the first row to the last, s; poses span those of the job."""
        total = self._content["exposure"] + self._content["readout"]
        render, cycles = self._scene.render, self._scene.cycles
        render.use_motion_blur = exposure + readout > 0
        if render.use_motion_blur:
            render.motion_blur_shutter = (exposure + readout) / total
            cycles.rolling_shutter_type = "TOP" if readout else "NONE"
            cycles.rolling_shutter_duration = exposure / (exposure + readout)

    def _lamp(self, lamp: dict[str, Any]) -> Any:
        """A point light with a power and a position, or a light of SDF; see `appearance`."""
        light = bpy.data.lights.new("lamp", lamp.get("kind", "POINT"))
        light.color = lamp["colour"]
        thing = bpy.data.objects.new("lamp", light)
        if "kind" in lamp:
            thing.matrix_world, light.use_shadow = Matrix(lamp["T"]), lamp["shadows"]
        else:
            thing.location, light.energy = lamp["position"], lamp["power"]
        if light.type == "SUN":
            light.energy = math.pi  # a white surface reflects the colour of the light
        else:
            light.shadow_soft_size = lamp["radius"]
        if light.type == "SPOT":
            inner, outer = lamp["cone"]
            light.spot_size, light.spot_blend = outer, 1 - inner / max(outer, 1e-6)
        if "kind" in lamp and light.type != "SUN":
            light.energy = 4 * math.pi**2  # the same at 1 m
            attenuate(light, lamp["attenuation"], lamp["range"])
        thing.visible_camera = False
        self._scene.collection.objects.link(thing)
        return thing

    def _pixels(self, poses: list[list[list[float]]]) -> np.ndarray:
        """(H, W, 3) of the image of a camera at T_world_camera, linear."""
        scene = self._scene
        move(scene.camera, [(np.array(T) @ OPTICAL_TO_BLENDER).tolist() for T in poses])
        scene.render.filepath = str(self._job / "image.exr")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        width, height = image.size
        pixels = np.empty(height * width * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return pixels.reshape(height, width, -1)[::-1, :, :3]


def attenuate(light: Any, attenuation: list[float], reach: float) -> None:
    """Let a light fall by 1 / (constant + linear d + quadratic d^2) with the distance d, m, and end at `reach`."""
    light.use_nodes = True
    nodes, links = light.node_tree.nodes, light.node_tree.links

    def calculate(operation: str, *inputs: Any) -> Any:
        node = nodes.new("ShaderNodeMath")
        node.operation = operation
        for socket, value in zip(node.inputs, inputs, strict=False):
            if isinstance(value, float):
                socket.default_value = value
            else:
                links.new(value, socket)
        return node.outputs[0]

    constant, linear, quadratic = map(float, attenuation)
    distance = nodes.new("ShaderNodeLightPath").outputs["Ray Length"]
    square = calculate("MULTIPLY", distance, distance)
    divisor = calculate("MULTIPLY_ADD", distance, linear, constant)
    divisor = calculate("MULTIPLY_ADD", square, quadratic, divisor)
    strength = calculate("MULTIPLY", square, calculate("LESS_THAN", distance, float(reach)))
    links.new(calculate("DIVIDE", strength, divisor), nodes["Emission"].inputs["Strength"])


def move(thing: Any, poses: list[list[list[float]]]) -> None:
    """Put an object at a pose, or let it move through three in one frame, the shutter."""
    if len(poses) == 1:
        thing.matrix_world = Matrix(poses[0])
        return
    thing.rotation_mode = "QUATERNION"
    thing.animation_data_clear()
    previous = None
    for time, pose in zip((0.5, 1.0, 1.5), poses, strict=True):
        location, rotation, thing.scale = Matrix(pose).decompose()
        if previous is not None and previous.dot(rotation) < 0:
            rotation.negate()
        thing.location, thing.rotation_quaternion, previous = location, rotation, rotation
        thing.keyframe_insert("location", frame=time)
        thing.keyframe_insert("rotation_quaternion", frame=time)
    for curve in thing.animation_data.action.fcurves:
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    bpy.context.scene.frame_set(1)


def geometry_material() -> Any:
    """Emits the distance from the camera as red, the number of the instance as green and of the plane as blue.

    Distance instead of depth: it is that of the camera at the time of the ray, where "View Z Depth" is that of the
    camera at the middle of the shutter.
    """
    material = bpy.data.materials.new("geometry")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    ray, thing = nodes.new("ShaderNodeLightPath"), nodes.new("ShaderNodeObjectInfo")
    plane = nodes.new("ShaderNodeAttribute")
    plane.attribute_name = "plane"
    colour, emission = nodes.new("ShaderNodeCombineColor"), nodes.new("ShaderNodeEmission")
    output = nodes.new("ShaderNodeOutputMaterial")
    links.new(ray.outputs["Ray Length"], colour.inputs["Red"])
    links.new(thing.outputs["Object Index"], colour.inputs["Green"])
    links.new(plane.outputs["Fac"], colour.inputs["Blue"])
    links.new(colour.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


def main() -> None:
    """Render the frames on standard input."""
    renderer = Renderer(Path(sys.argv[-1]))
    print(READY, flush=True)  # noqa: T201
    for line in sys.stdin:
        renderer.render(json.loads(line))
        print(DONE, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
