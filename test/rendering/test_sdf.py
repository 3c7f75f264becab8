"""Worlds and models of Gazebo."""

from __future__ import annotations

import numpy as np
import pytest

from depth_ros.errors import DepthRosError
from depth_ros.rendering.reading import read_scene
from depth_ros.rendering.scene import Scene, transformed
from depth_ros.rendering.uris import find_file

WORLD = """<sdf version="1.9"><world name="w">
  <include><uri>model://chair</uri><name>seat</name><pose>1 0 0 0 0 1.5707963267948966</pose></include>
  <model name="wrapper"><pose>0 5 0 0 0 0</pose><include><uri>model://chair</uri></include></model>
  <model name="lamp"><pose relative_to="shelf">0 0 1 0 0 0</pose>
    <link name="base"><pose>0 0 0.5 0 0 0</pose></link>
    <link name="bulb"><pose relative_to="base" degrees="true">0 0 0.5 90 0 0</pose>
      <visual name="v"><geometry><sphere><radius>0.1</radius></sphere></geometry>
        <material><diffuse>1 0.5 0.25 1</diffuse></material></visual></link>
    <model name="shade"><pose>0 0 2 0 0 0</pose><link name="l"><visual name="v">
      <geometry><heightmap/></geometry></visual></link></model></model>
  <frame name="shelf"><pose>7 0 0 0 0 0</pose></frame>
  <model name="ground"><link name="l"><visual name="v"><geometry><plane><size>100 100</size></plane></geometry></visual>
    </link></model>
</world></sdf>"""
CHAIR = """<sdf version="1.6"><model name="chair"><pose>9 9 9 0 0 0</pose><link name="l"><pose>0 0 1 0 0 0</pose>
  <visual name="v"><pose>1 0 0 0 0 0</pose><geometry><mesh><uri>model://chair/meshes/chair.stl</uri>
  <scale>2 1 1</scale></mesh></geometry></visual></link></model></sdf>"""
TRIANGLE = "vertex 0 0 0 vertex 1 0 0 vertex 0 1 0"


@pytest.fixture
def world(tmp_path, monkeypatch):
    chair = tmp_path / "resources/chair"
    (chair / "meshes").mkdir(parents=True)
    (chair / "model.config").write_text(
        '<model><sdf version="1.4">old.sdf</sdf><sdf version="1.10">new.sdf</sdf></model>'
    )
    (chair / "new.sdf").write_text(CHAIR)
    (chair / "meshes/chair.stl").write_text(TRIANGLE)
    (tmp_path / "w.world").write_text(WORLD)
    monkeypatch.delenv("GZ_SIM_RESOURCE_PATH", raising=False)
    return tmp_path / "w.world"


def corners(scene: Scene, name: str) -> np.ndarray:
    (each,) = (each for each in scene.instances if each.name == name)
    return transformed(scene.meshes[each.mesh][0].corners, each.T_world_mesh)


def test_models_are_at_their_poses(world, tmp_path, monkeypatch):
    monkeypatch.setenv("GZ_SIM_RESOURCE_PATH", f"/nowhere:{tmp_path / 'resources'}")
    scene = read_scene(world)
    assert scene.names() == {1: "seat", 2: "wrapper", 3: "lamp", 4: "ground"}
    # scaled by 2, shifted by 1 0 1, turned by 90 degrees, shifted by 1
    seat = [[1, 1, 1], [1, 3, 1], [0, 1, 1]]
    assert corners(scene, "seat")[0] == pytest.approx(np.array(seat))
    # an include without a pose has that of the model
    wrapped = [[10, 14, 10], [12, 14, 10], [10, 15, 10]]
    assert corners(scene, "wrapper")[0] == pytest.approx(np.array(wrapped))
    lamp = corners(scene, "lamp").reshape(-1, 3)
    assert (lamp.min(0) + lamp.max(0)) / 2 == pytest.approx([7, 0, 2], abs=1e-6)
    assert len(scene.meshes) == 3  # both chairs share theirs
    assert scene.meshes[scene.instances[2].mesh][0].material.colour == (1, 0.5, 0.25)
    assert scene.triangles(bounds_only=True)[..., 0].max() < 20 < scene.triangles()[..., 0].max()
    assert scene.left_out == ["lamp: <heightmap> is not drawn"]


def test_missing_models_are_listed_or_left_out(world, tmp_path):
    with pytest.raises(DepthRosError, match=r"model://chair.*GZ_SIM_RESOURCE_PATH.*Fuel.*--skip-missing"):
        read_scene(world)
    scene = read_scene(world, skip_missing=True)
    assert "model://chair: no such model" in scene.left_out and set(scene.names().values()) == {
        "lamp",
        "ground",
    }
    assert set(read_scene(world, [tmp_path / "resources"]).names().values()) >= {"seat", "wrapper"}
    assert read_scene(tmp_path / "resources/chair", [tmp_path / "resources"]).names() == {1: "chair"}


@pytest.mark.parametrize(("version", "found"), [("", "12"), ("/9", "9"), ("/tip", "12"), ("/10", None)])
def test_models_that_gazebo_has_downloaded(tmp_path, monkeypatch, version, found):
    monkeypatch.setenv("GZ_FUEL_CACHE_PATH", str(tmp_path))
    for number in ("9", "12"):
        folder = tmp_path / f"fuel.gazebosim.org/openrobotics/models/office chair/{number}/meshes"
        folder.mkdir(parents=True)
        (folder / "a.dae").touch()
    uri = f"https://fuel.gazebosim.org/1.0/OpenRobotics/models/Office%20Chair{version}"
    model, mesh = find_file(uri, tmp_path, []), find_file(f"{uri}/files/meshes/a.dae", tmp_path, [])
    assert (model and model.name, mesh and mesh.parents[1].name) == (found, found)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<urdf/>", "<urdf>"),
        ("<sdf", "cannot be read"),
        ('<sdf><world><model name="a"><pose relative_to="b"/></model></world></sdf>', "relative to 'b'"),
        ('<sdf><world><model name="a"><pose>1 2</pose></model></world></sdf>', "2 numbers"),
        ("<sdf><world/></sdf>", "nothing to draw"),
    ],
)
def test_scenes_that_cannot_be_read(tmp_path, content, problem):
    (tmp_path / "w.sdf").write_text(content)
    with pytest.raises(DepthRosError, match=problem):
        read_scene(tmp_path / "w.sdf")


def test_sun_and_ground_plane_come_with_gazebo(tmp_path):
    """By both their names; those of the folders are preferred."""
    uris = "https://fuel.gazebosim.org/1.0/OpenRobotics/models/Ground Plane", "model://sun"
    world = "".join(f"<include><uri>{uri}</uri></include>" for uri in uris)
    world = f"<sdf><world>{world}</world></sdf>"
    (tmp_path / "w.sdf").write_text(world)
    scene = read_scene(tmp_path / "w.sdf")
    ground, (sun,) = corners(scene, "Ground Plane"), scene.lights
    assert np.ptp(ground.reshape(-1, 3), axis=0) == pytest.approx([100, 100, 0])
    assert sun.kind == "directional" and sun.colour == (0.8, 0.8, 0.8)
    (tmp_path / "sun").mkdir()
    yellow = '<sdf><light name="sun" type="directional"><diffuse>1 1 0</diffuse></light></sdf>'  # alpha is optional
    (tmp_path / "sun/model.sdf").write_text(yellow)
    assert read_scene(tmp_path / "w.sdf").lights[0].colour == (1, 1, 0)


def test_lights_are_read_with_their_poses(tmp_path):
    world = """<sdf version="1.9"><world name="w"><scene><ambient>0.1 0.2 0.3 1</ambient></scene>
      <light name="sun" type="directional"><pose>0 0 10 0 1.5707963267948966 0</pose><direction>0 0 -1</direction>
      </light>
      <model name="lamp"><pose>1 2 0 0 0 0</pose><link name="l"><pose>0 0 1 0 0 0</pose><visual name="v"><geometry>
        <box/></geometry></visual><light name="bulb" type="spot"><pose>0 0 0.5 0 0 0</pose><diffuse>1 0.5 0 1</diffuse>
        <intensity>3</intensity><direction>1 0 0</direction><cast_shadows>true</cast_shadows><attenuation>
        <range>8</range>
        <constant>0.5</constant><linear>0.25</linear><quadratic>0.125</quadratic></attenuation>
        <spot><inner_angle>0.3</inner_angle><outer_angle>0.6</outer_angle></spot></light></link></model></world></sdf>"""
    (tmp_path / "w.sdf").write_text(world)
    scene = read_scene(tmp_path / "w.sdf")
    sun, bulb = scene.lights
    assert scene.ambient == (0.1, 0.2, 0.3)
    assert (sun.kind, sun.colour, sun.shadows) == ("directional", (1, 1, 1), False)
    assert -sun.T_world_light[:3, 2] == pytest.approx([-1, 0, 0])  # pitched by 90 degrees
    assert bulb.T_world_light[:3, 3] == pytest.approx([1, 2, 1.5])
    assert -bulb.T_world_light[:3, 2] == pytest.approx([1, 0, 0])
    assert np.linalg.det(bulb.T_world_light[:3, :3]) == pytest.approx(1)
    assert (bulb.colour, bulb.attenuation, bulb.range) == ((3, 1.5, 0), (0.5, 0.25, 0.125), 8)
    assert bulb.cone == (0.3, 0.6) and bulb.shadows
    (tmp_path / "w.sdf").write_text(world.replace('"spot"', '"laser"'))
    with pytest.raises(DepthRosError, match="a light of the type 'laser'"):
        read_scene(tmp_path / "w.sdf")


def test_an_object_that_flew_off_is_left_out(tmp_path):
    visual = "<visual name='v'><geometry><box/></geometry></visual>"
    box = "<model name='{}'><pose>{} 0 0 0 0 0</pose><link name='l'>" + visual + "</link></model>"
    for far, names in ((343582, {1: "a", 2: "b"}), (400, {1: "a", 2: "b", 3: "book"})):
        models = box.format("a", 0) + box.format("b", 5) + box.format("book", far)
        (tmp_path / "w.sdf").write_text(f"<sdf><world>{models}</world></sdf>")
        scene = read_scene(tmp_path / "w.sdf")
        assert scene.names() == names
    (tmp_path / "w.sdf").write_text(f"<sdf><world>{models.replace('400', '343582')}</world></sdf>")
    assert read_scene(tmp_path / "w.sdf").left_out == ["book: 343577 m from the other objects"]
