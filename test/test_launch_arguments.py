"""Arguments of the launch files: camera drivers, topics, namespaces, parameters, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from camera_drivers import DRIVERS
from launch_files import LAUNCH_FILES, LaunchFile, arguments
from node_tables import ROOT, console_scripts, table_of

FILES = {file.name.removesuffix(".launch.xml"): file for file in LAUNCH_FILES}
WITHOUT_PAIR = ("usb_cam", "v4l2")
"""Drivers of one camera."""
CASES = [
    (name, driver) for name in FILES for driver in DRIVERS
    if name not in ("stereo_depth", "perception") or driver not in WITHOUT_PAIR
]  # fmt: skip
COMMAND = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
service = LaunchService(argv=sys.argv[2:], noninteractive=True)
given = [tuple(argument.split(":=", 1)) for argument in sys.argv[2:]]
source = AnyLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)]))
sys.exit(service.run())
"""
"""What `ros2 launch FILE ARGUMENTS` does."""
STUB = """#!{python}
import json, os, sys
from pathlib import Path
files = [Path(sys.argv[i + 1]).read_text() for i, word in enumerate(sys.argv) if word == "--params-file"]
call = {{"name": Path(sys.argv[0]).name, "words": sys.argv[1:], "files": files, "environment": dict(os.environ)}}
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(call) + "\\n")
"""
"""An executable that writes down how it was started."""

needs_launch = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None,
    reason="launch_ros is not installed: source a ROS distribution",
)


@pytest.mark.parametrize(("name", "driver"), CASES)
def test_inputs_are_topics_of_the_driver(name: str, driver: str):
    launch = LaunchFile(FILES[name])
    types = {
        topic.name: topic.type
        for topic in table_of(launch.node.get("exec")).topics
        if topic.direction == "in"
    }
    published = DRIVERS[driver].topics
    remaps = launch.remaps(driver=driver)
    main = ["left/image", "right/image"] if "left/image" in remaps else ["image"]
    for source in main:
        folder = source.rpartition("/")[0]
        info = f"{folder}/camera_info" if folder else "camera_info"
        assert published[remaps[source]] is types[source]
        assert remaps[info] == DRIVERS[driver].stream(remaps[source]).camera_info


@pytest.mark.parametrize(("name", "driver"), CASES)
def test_no_output_is_a_topic_of_the_driver(name: str, driver: str):
    launch = LaunchFile(FILES[name])
    completed, remaps = launch.completed(driver=driver), launch.remaps(driver=driver)
    table = table_of(launch.node.get("exec"))
    outputs = {remaps.get(topic.name, topic.name) for topic in table.topics if topic.direction == "out"}
    absolute = {os.path.join(completed["namespace"], each) for each in outputs} - {"/tf"}
    assert absolute and not absolute & set(DRIVERS[driver].topics)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ["odometry", "object_motion"])
def test_depth_is_that_of_the_driver_or_else_of_our_depth_node(name: str, driver: str):
    depth = LaunchFile(FILES[name]).remaps(driver=driver)["depth/image_rect"]
    own = LaunchFile(FILES["depth"]).completed(driver=driver)["namespace"] + "/depth/image_rect"
    registered = [stream for stream in DRIVERS[driver].streams if stream.encoding in ("16UC1", "32FC1")]
    assert depth in ({stream.topic for stream in registered} or {own})
    image = DRIVERS[driver].stream(LaunchFile(FILES[name]).remaps(driver=driver)["image"])
    if registered:
        assert DRIVERS[driver].stream(depth).frame_id == image.frame_id


@pytest.mark.parametrize(("name", "driver"), CASES)
def test_rectified_is_what_the_driver_publishes(name: str, driver: str):
    launch = LaunchFile(FILES[name])
    remaps = launch.remaps(driver=driver)
    stream = DRIVERS[driver].stream(remaps.get("left/image") or remaps["image"])
    rectified = launch.node_parameters(driver=driver).get("rectified", False)
    assert not (rectified and stream.distorted)
    assert rectified == ("rect" in stream.topic)


def test_model_selects_the_images_of_which_rectified_holds():
    launch = LaunchFile(FILES["perception"])
    assert launch.node_parameters(driver="oak")["rectified"] is True
    assert "rectified" not in launch.node_parameters(driver="oak", model="mono_driving")
    assert launch.node_parameters(driver="oak", model="semi_global")["rectified"] is True


@pytest.mark.parametrize("camera", ["/", "/camera", "camera", "/robot/front"])
def test_topics_are_relative_to_the_namespace_of_the_camera(camera: str):
    root = "" if camera == "/" else "/" + camera.strip("/")
    completed = LaunchFile(FILES["odometry"]).completed(camera=camera)
    assert completed["namespace"] == f"{root}/depth_ros"
    assert completed["image"] == f"{root}/image_raw"
    assert completed["camera_info"] == f"{root}/camera_info"
    assert completed["depth"] == f"{root}/depth_ros/depth/image_rect"
    assert completed["depth_info"] == f"{root}/depth_ros/depth/camera_info"
    assert (completed["imu"], completed["wheel_odom"]) == ("/imu/data", "/wheel_odom")


def test_absolute_topics_need_no_camera():
    completed = LaunchFile(FILES["depth"]).completed(image="/any/topic")
    assert (completed["image"], completed["camera_info"]) == ("/any/topic", "/any/camera_info")
    assert completed["namespace"] == "/any/depth_ros"
    completed = LaunchFile(FILES["depth"]).completed(image="/image", camera_info="/calibration")
    assert (completed["camera_info"], completed["namespace"]) == ("/calibration", "/depth_ros")
    completed = LaunchFile(FILES["stereo_depth"]).completed(left="/rig/left/image", right="/rig/right/image")
    assert (completed["namespace"], completed["right_info"]) == ("/rig/depth_ros", "/rig/right/camera_info")


def test_relative_namespaces_are_in_the_group_that_includes_the_launch_file():
    launch = LaunchFile(FILES["depth"])

    def namespace(**given: str) -> str:
        values = launch.arguments | given
        driver = arguments.driver_of(values["driver"])
        return arguments.resolved_topics(values, values, driver, "robot1")["namespace"]

    assert namespace(camera="front") == "/robot1/front/depth_ros"
    assert namespace(camera="/front") == "/front/depth_ros"
    assert namespace(driver="zed") == "/robot1/zed/zed_node/depth_ros"
    assert namespace(driver="usb_cam") == "/robot1/depth_ros"


def test_arguments_override_the_driver():
    completed = LaunchFile(FILES["depth"]).completed(driver="realsense", camera="/front", namespace="/out")
    assert (completed["image"], completed["namespace"]) == ("/front/color/image_raw", "/out")
    completed = LaunchFile(FILES["depth"]).completed(driver="zed", image="rgb/image_rect_color")
    assert completed["camera_info"] == "/zed/zed_node/rgb/camera_info"
    assert LaunchFile(FILES["depth"]).node_parameters(driver="zed", rectified="false")["rectified"] is False


def test_planes_of_depth_images_take_the_depth_of_the_driver():
    launch = LaunchFile(FILES["planes"])
    assert launch.remaps(driver="zed", source="depth") == {
        "image": "/zed/zed_node/depth/depth_registered", "camera_info": "/zed/zed_node/depth/camera_info",
    }  # fmt: skip
    assert launch.remaps(driver="v4l2", source="depth")["image"] == "/depth_ros/depth/image_rect"
    assert launch.remaps(camera="/c", source="depth", image="d/i")["image"] == "/c/d/i"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("depth", {}, "which camera? Give its driver"),
        ("depth", {"image": "image_raw"}, "which camera? Give its driver"),
        (
            "depth",
            {"driver": "kinect"},
            "driver is 'kinect'; allowed: usb_cam, v4l2, realsense, zed, oak, gazebo",
        ),
        ("stereo_depth", {"driver": "usb_cam"}, "driver 'usb_cam' has no topic for 'left': give left:=TOPIC"),
        ("perception", {"driver": "usb_cam"}, "or a model of one image, e.g. model:=mono_driving"),
        ("depth", {"camera": "/my camera"}, "'/my camera' is not a valid name of a topic or namespace"),
        ("depth", {"camera": "/c", "image": "2/image"}, "'2/image' is not a valid name"),
    ],
)
def test_impossible_arguments_are_refused(name: str, given: dict[str, str], message: str):
    with pytest.raises(arguments.ArgumentError) as error:
        LaunchFile(FILES[name]).completed(**given)
    assert message in str(error.value)


def test_unknown_arguments_are_named_with_similar_ones():
    declared = LaunchFile(FILES["depth"]).arguments
    assert arguments.unknown_arguments(["image", "launch-prefix"], declared) == ""
    problem = arguments.unknown_arguments(["image", "imagee", "modle"], declared)
    assert problem.startswith("unknown argument imagee, modle: did you mean image or model?")


@pytest.mark.parametrize(
    ("distribution", "names"),
    [
        ("humble", ["FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"]),
        ("kilted", ["FASTDDS_DEFAULT_PROFILES_FILE"]),
        ("", ["FASTDDS_DEFAULT_PROFILES_FILE"]),
    ],
)
def test_transports_for_large_images_are_selected_unless_the_user_has_selected_some(
    distribution: str, names: list[str]
):
    environment = {"ROS_DISTRO": distribution}
    selected = arguments.transports(environment)
    assert list(selected) == names and set(selected.values()) == {
        str(ROOT / "config/fastdds_large_images.xml")
    }
    for name in ("FASTDDS_BUILTIN_TRANSPORTS", *arguments.DDS_PROFILE_VARIABLES):
        assert arguments.transports(environment | {name: "own"}) == {}


def test_parameters_are_the_given_arguments_with_their_types():
    launch = LaunchFile(FILES["odometry"])
    given = {"camera": "/c", "publish_tf": "true", "camera_height": "0.4", "base_frame": "", "odom": "/odom"}
    assert launch.node_parameters(**given) == {
        "use_sim_time": False, "publish_tf": True, "camera_height": 0.4, "base_frame": "",
    }  # fmt: skip
    assert launch.node_parameters(camera="/c", bag="x")["use_sim_time"] is True
    assert launch.node_parameters(driver="gazebo")["use_sim_time"] is True
    assert launch.node_parameters(driver="gazebo", use_sim_time="false")["use_sim_time"] is False


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of this package and of RViz whose executables write down how they were started."""
    folder = tmp_path_factory.mktemp("prefix")
    for package, executables in (("depth_ros", list(console_scripts())), ("rviz2", ["rviz2"])):
        marker = folder / "share/ament_index/resource_index/packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        for executable in executables:
            write_stub(folder / "lib" / package / executable)
    write_stub(folder / "bin/ros2")
    (folder / "share/depth_ros").mkdir()
    for name in ("launch", "config", "models"):
        (folder / "share/depth_ros" / name).symlink_to(ROOT / name)
    return folder


def write_stub(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(STUB.format(python=sys.executable))
    file.chmod(0o755)


def launched(prefix: Path, folder: Path, file: Path, *given: str) -> tuple[dict[str, dict], str, int]:
    """Calls of the executables by name, output and status of the real `ros2 launch`."""
    calls = folder / "calls.txt"
    calls.touch()
    paths = os.pathsep.join([str(prefix), os.environ.get("AMENT_PREFIX_PATH", "")])
    users = {
        name: value for name, value in os.environ.items() if not name.startswith(("FASTDDS_", "FASTRTPS_"))
    }
    environment = users | {
        "CALLS": str(calls), "AMENT_PREFIX_PATH": paths, "ROS_LOG_DIR": str(folder / "log"),
        "PATH": os.pathsep.join([str(prefix / "bin"), os.environ["PATH"]]),
    }  # fmt: skip
    command = [sys.executable, "-c", COMMAND, str(file), *given]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in calls.read_text().splitlines()]
    return {line["name"]: line for line in lines}, run.stdout + run.stderr, run.returncode


def rules_of(call: dict) -> dict[str, str]:
    """Remap rules of a started executable."""
    words = call["words"]
    rules = [words[i + 1] for i, word in enumerate(words) if word == "-r"]
    return dict(rule.split(":=", 1) for rule in rules)


@needs_launch
@pytest.mark.parametrize(("name", "driver"), CASES)
def test_ros2_launch_starts_the_node_with_the_topics_of_the_driver(prefix, tmp_path, name: str, driver: str):
    file = prefix / f"share/depth_ros/launch/{name}.launch.xml"
    launch = LaunchFile(file)
    bag = tmp_path / "the robot's bag"
    bag.mkdir()
    given = (f"driver:={driver}", f"bag:={bag}", "rviz:=true", "backend:=eager"[: 15 * (name != "odometry")])
    calls, output, status = launched(prefix, tmp_path, file, *filter(None, given))
    assert status == 0, output
    node, rviz = calls[launch.node.get("exec")], calls["rviz2"]
    completed, rules = launch.completed(driver=driver), rules_of(node)
    assert rules.pop("__ns") == completed["namespace"]
    assert rules.pop("__node", launch.node.get("exec")) == launch.node.get("exec")
    assert rules == launch.remaps(driver=driver)
    assert node["environment"]["FASTDDS_DEFAULT_PROFILES_FILE"] == str(
        prefix / "share/depth_ros/config/fastdds_large_images.xml"
    )
    parameters = {}
    for text in node["files"]:
        parameters |= yaml.safe_load(text)["/**"]["ros__parameters"]
    expected = launch.node_parameters(driver=driver, bag="x")
    assert parameters.items() >= expected.items()
    assert parameters.get("backend", "eager") == "eager"
    assert calls["ros2"]["words"] == ["bag", "play", "--clock", "100", str(bag)]
    assert rules_of(rviz)["__ns"] == completed["namespace"]
    config = Path(rviz["words"][rviz["words"].index("-d") + 1])
    shown = yaml.safe_load(config.read_text())["Visualization Manager"]["Displays"]
    assert {each["Topic"]["Value"] for each in shown if "Topic" in each} <= set(rules_of(rviz))


@needs_launch
def test_ros2_launch_lets_the_configuration_file_set_what_is_not_given(prefix, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "/**: {ros__parameters: {publish_tf: true, camera_height: 0.5, when_lost: extrapolate}}"
    )
    file = prefix / "share/depth_ros/launch/odometry.launch.xml"
    given = ("camera:=/c", f"config:={config}", "camera_height:=0.7", "when_lost:=stop")
    calls, output, _ = launched(prefix, tmp_path, file, *given)
    parameters = {}
    for text in calls["odometry_node"]["files"]:
        parameters |= yaml.safe_load(text)["/**"]["ros__parameters"]
    assert parameters == {
        "publish_tf": True, "camera_height": 0.7, "when_lost": "stop", "use_sim_time": False,
    }, output  # fmt: skip


@needs_launch
@pytest.mark.parametrize("name", FILES)
def test_ros2_launch_refuses_unknown_arguments(prefix, tmp_path, name: str):
    file = prefix / f"share/depth_ros/launch/{name}.launch.xml"
    calls, output, status = launched(prefix, tmp_path, file, "camera:=/c", "camra:=/c")
    assert status == 1 and calls == {}
    assert "unknown argument camra: did you mean camera" in output


@needs_launch
def test_ros2_launch_names_files_that_do_not_exist(prefix, tmp_path):
    file = prefix / "share/depth_ros/launch/depth.launch.xml"
    calls, output, status = launched(prefix, tmp_path, file, "camera:=/c", "bag:=clip", "config:=/x.yaml")
    assert status == 1 and calls == {}
    assert "bag is 'clip', which does not exist; config is '/x.yaml', which does not exist" in output


TWO_CAMERAS = """
<launch>
  <include file="{file}"><arg name="driver" value="realsense"/></include>
  <group>
    <push-ros-namespace namespace="robot1"/>
    <include file="{file}"><arg name="driver" value="zed"/><arg name="model" value="mono"/></include>
  </group>
</launch>
"""


@needs_launch
def test_two_cameras_in_one_launch_file_keep_their_topics(prefix, tmp_path):
    parent = tmp_path / "robot.launch.xml"
    parent.write_text(TWO_CAMERAS.format(file=prefix / "share/depth_ros/launch/depth.launch.xml"))
    _, output, status = launched(prefix, tmp_path, parent)
    assert status == 0, output
    calls = [json.loads(line) for line in (tmp_path / "calls.txt").read_text().splitlines()]
    rules = {rules_of(call)["__ns"]: rules_of(call)["image"] for call in calls}
    assert rules == {
        "/camera/camera/depth_ros": "/camera/camera/color/image_raw",
        "/robot1/zed/zed_node/depth_ros": "/robot1/zed/zed_node/rgb/color/rect/image",
    }


PARENT = """
<launch>
  <arg name="robot" default="/robot"/>
  <arg name="image_topic" default="front/image_raw"/>
  <group>
    <include file="{file}">
      <arg name="camera" value="$(var robot)"/>
      <arg name="{argument}" value="$(var image_topic)"/>
    </include>
  </group>
</launch>
"""


@needs_launch
def test_arguments_of_an_including_launch_file_are_checked_but_not_its_own(prefix, tmp_path):
    file = prefix / "share/depth_ros/launch/depth.launch.xml"
    parent = tmp_path / "robot.launch.xml"
    parent.write_text(PARENT.format(file=file, argument="image"))
    calls, output, status = launched(prefix, tmp_path, parent, "robot:=/r", "image_topic:=rear/image_raw")
    assert status == 0, output
    assert rules_of(calls["depth_node"])["image"] == "/r/rear/image_raw"
    (tmp_path / "calls.txt").unlink()
    parent.write_text(PARENT.format(file=file, argument="imagee"))
    calls, output, status = launched(prefix, tmp_path, parent)
    assert status == 1 and calls == {} and "unknown argument imagee: did you mean image?" in output
