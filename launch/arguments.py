"""Arguments of the launch files: refuses unknown ones, completes them for the camera driver and resolves the topics.

Every launch file includes this one after its <arg> elements. Afterwards `namespace` and all input topics are absolute,
and `arguments` is a parameter file with those arguments that are parameters of the node. An argument that was not
given is not in it, so that the file of `config` can set the parameter. DDS carries large images.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import yaml

if TYPE_CHECKING:
    from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

SHARE = Path(__file__).parent.parent
OUTPUTS = "depth_ros"
"""Namespace of the node and its outputs, below that of the camera: no driver publishes in it."""
DEFAULT_TOPICS = {
    "image": "image_raw",
    "left": "left/image_raw",
    "right": "right/image_raw",
    "imu": "/imu/data",
}
"""Topics that neither an argument nor the driver gives."""
CAMERA_INFOS = {"image": "camera_info", "left": "left_info", "right": "right_info", "depth": "depth_info"}
"""Argument with the camera_info of each image."""
INPUTS = {*CAMERA_INFOS, *CAMERA_INFOS.values(), "imu", "labels", "wheel_odom"}
"""Arguments that are topics, relative to the namespace of the camera."""
OTHERS = {"driver", "camera", "namespace", "config", "odom", "bag", "rviz", "fixed_frame"}
"""The other arguments that are not parameters of the node."""
OF_ROS2_LAUNCH = {"launch-prefix", "launch-prefix-filter"}
"""Arguments that `ros2 launch` adds."""


DDS_PROFILE = "config/fastdds_large_images.xml"
DDS_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Environment variables that select a profile of Fast DDS 3, and of Fast DDS 2 (Humble and Jazzy)."""


class ArgumentError(Exception):
    """An argument that does not exist, or a value that is not allowed."""


def unknown_arguments(given: Iterable[str], declared: Iterable[str]) -> str:
    """Error message for given arguments that are not declared; empty if there are none."""
    names = sorted(set(given) - set(declared) - OF_ROS2_LAUNCH)
    if not names:
        return ""
    similar = {each for name in names for each in difflib.get_close_matches(name, declared, 2)}
    advice = (
        f"did you mean {' or '.join(sorted(similar))}?" if similar else "ros2 launch --show-args lists all."
    )
    return f"unknown argument {', '.join(names)}: {advice} The file of config:=FILE can set all parameters of the node."


def missing_file(values: dict[str, str]) -> str:
    """Error message if the bag or the parameter file does not exist; otherwise empty."""
    missing = [name for name in ("bag", "config") if values[name] and not Path(values[name]).exists()]
    return "; ".join(f"{name} is '{values[name]}', which does not exist" for name in missing)


def driver_of(name: str) -> dict[str, Any]:
    """The entry of config/drivers.yaml; empty if no driver is given."""
    drivers = yaml.safe_load((SHARE / "config/drivers.yaml").read_text())
    if name and name not in drivers:
        raise ArgumentError(f"driver is '{name}'; allowed: {', '.join(drivers)}")
    return drivers.get(name, {})


def resolved_topics(
    declared: Iterable[str], values: dict[str, str], driver: dict[str, Any], root: str = "/"
) -> dict[str, str]:
    """The namespaces of camera and node, and all input topics, as absolute names.

    declared: names of all arguments. values: their values; empty = not given. driver: the entry of config/drivers.yaml.
    root: namespace of the group that includes the launch file, in which its driver is, too.
    """
    names = {"camera": camera_namespace(values, driver, root)}
    names["namespace"] = absolute(names["camera"], values["namespace"] or OUTPUTS)
    defaults = DEFAULT_TOPICS | {"depth": f"{names['namespace']}/depth/image_rect"} | driver
    main = main_image(values)
    if driver and not values.get(main) and main not in driver and main != "depth":
        single = ", or a model of one image, e.g. model:=mono_driving" if "image" in values else ""
        raise ArgumentError(
            f"driver '{values['driver']}' has no topic for '{main}': give {main}:=TOPIC{single}"
        )
    if main == "depth" and not values["image"]:  # planes of depth images
        defaults["image"] = defaults["depth"]
    for name in INPUTS.intersection(declared):
        if name not in CAMERA_INFOS.values():
            names[name] = absolute(names["camera"], values[name] or defaults[name])
    for image, name in CAMERA_INFOS.items():
        if name in declared:
            beside = posixpath.join(posixpath.dirname(names[image]), "camera_info")
            names[name] = absolute(names["camera"], values[name] or beside)
    return names


def camera_namespace(values: dict[str, str], driver: dict[str, Any], root: str) -> str:
    """The namespace of the camera: given, that of the driver, or that which all given absolute image topics share."""
    if values["camera"]:
        return absolute(root, values["camera"])
    if driver:
        return absolute(root, driver["camera"].lstrip("/"))
    topics = [values[name] for name in CAMERA_INFOS if values.get(name, "").startswith("/")]
    if topics:
        return absolute("/", posixpath.commonpath([posixpath.dirname(topic) for topic in topics]))
    raise ArgumentError(
        "which camera? Give its driver (driver:=realsense), its namespace (camera:=/camera), or topics that begin with "
        "a slash (image:=/camera/image_raw)"
    )


def parameters_of(values: dict[str, str], given: Iterable[str], driver: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the node: the given arguments that are parameters, and those that driver and bag imply."""
    parameters: dict[str, Any] = {"use_sim_time": bool(values["bag"]) or values["driver"] == "gazebo"}
    if main_image(values) in driver.get("rectified", ()):
        parameters["rectified"] = True
    for name in set(given) - INPUTS - OTHERS:
        parameters[name] = yaml.safe_load(values[name]) if values[name] else ""
    return parameters


def main_image(values: dict[str, str]) -> str:
    """The image from which the node starts: image, left, or depth."""
    if values.get("source") == "depth":
        return "depth"
    if "left" not in values:
        return "image"
    return "left" if "image" not in values or is_stereo(values["model"]) else "image"


def is_stereo(model: str) -> bool:
    """Whether a model works on pairs of images; False if it does not exist."""
    for folder in (Path(model), SHARE / "models" / model):
        if (folder / "card.yaml").is_file():
            return yaml.safe_load((folder / "card.yaml").read_text())["task"] == "stereo_depth"
    return model == "semi_global"


def absolute(namespace: str, name: str) -> str:
    """A topic or namespace relative to `namespace`, unless it starts with a slash. Raises ArgumentError."""
    result = posixpath.normpath("/" + posixpath.join(namespace, name).lstrip("/"))
    if not re.fullmatch(r"/|(/[A-Za-z_]\w*)+", result, re.ASCII):
        raise ArgumentError(f"'{name}' is not a valid name of a topic or namespace")
    return result


def given_arguments(context: LaunchContext, file: str) -> set[str] | None:
    """Names of the arguments with which `ros2 launch` or another launch file includes the launch file `file`.

    None if that cannot be seen, because the include is the result of a function.
    """
    from launch.actions import IncludeLaunchDescription
    from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

    root = getattr(context.get_locals_as_dict().get("event"), "launch_description", None)
    pending: list[LaunchDescriptionEntity] = [root] if root else []
    names: set[str] | None = None
    while pending:
        entity = pending.pop()
        pending += entity.describe_sub_entities()
        pending += [each for _, entities in entity.describe_conditional_sub_entities() for each in entities]
        if not isinstance(entity, IncludeLaunchDescription):
            continue
        if os.path.realpath(entity.launch_description_source.location) == file:
            parts = [normalize_to_list_of_substitutions(name) for name, _ in entity.launch_arguments]
            names = (names or set()) | {perform_substitutions(context, each) for each in parts}
    return names


def complete(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check the arguments of the including launch file and set its launch configurations."""
    from launch.actions import SetLaunchConfiguration

    file = os.path.realpath(context.launch_configurations["launch_file"])
    declared = {each.get("name", ""): each.get("default", "") for each in ElementTree.parse(file).iter("arg")}
    values = {name: os.path.expanduser(context.launch_configurations[name]) for name in declared}
    given = given_arguments(context, file) or set()
    if problem := unknown_arguments(given, declared) or missing_file(values):
        raise ArgumentError(problem)
    driver = driver_of(values["driver"])
    changed = given | {name for name in declared if values[name] != declared[name]}
    parameters = parameters_of(values, changed, driver)
    with tempfile.NamedTemporaryFile("w", prefix="depth_ros_", suffix=".yaml", delete=False) as arguments:
        yaml.safe_dump({"/**": {"ros__parameters": parameters}}, arguments)
    default = SHARE / "config" / os.path.basename(file).replace(".launch.xml", ".yaml")
    root = context.launch_configurations.get("ros_namespace", "/")
    results = resolved_topics(declared, values, driver, root) | {
        "arguments": arguments.name,
        "config": values["config"] or (str(default) if default.is_file() else arguments.name),
        "bag": values["bag"],
        "has_bag": str(bool(values["bag"])).lower(),
        "use_sim_time": str(parameters["use_sim_time"]).lower(),
    }
    return [SetLaunchConfiguration(name, value) for name, value in results.items()]


def transports(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that select transports for large images, most of which Fast DDS loses otherwise. Empty if
    the user has selected some. The camera driver needs them, too."""
    if any(environment.get(name) for name in (*DDS_PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    is_version_2 = environment.get("ROS_DISTRO") in ("humble", "jazzy")
    return dict.fromkeys(
        DDS_PROFILE_VARIABLES if is_version_2 else DDS_PROFILE_VARIABLES[:1], str(SHARE / DDS_PROFILE)
    )


def select_transports(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Set the variables of `transports` for all processes that are started from now on."""
    from launch.actions import SetEnvironmentVariable

    return [SetEnvironmentVariable(*each) for each in transports(context.environment).items()]


def generate_launch_description() -> LaunchDescription:
    import launch

    functions = (complete, select_transports)
    return launch.LaunchDescription([launch.actions.OpaqueFunction(function=each) for each in functions])
