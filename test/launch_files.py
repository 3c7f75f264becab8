"""Launch files, parsed, and the module that completes their arguments, for the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

from node_tables import ROOT

LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.xml"))


def launch_module(name: str) -> ModuleType:
    """A Python file of the folder `launch`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"launch/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


arguments = launch_module("arguments")


class LaunchFile:
    """A parsed launch file. arguments: {name: default}."""

    def __init__(self, file: Path) -> None:
        self.root = ElementTree.parse(file).getroot()
        self.arguments = {each.get("name"): each.get("default") for each in self.root.iter("arg")}
        nodes = list(self.root.iter("node"))
        (self.node,) = (node for node in nodes if node.get("pkg") == "depth_ros")
        (self.rviz,) = (node for node in nodes if node.get("pkg") == "rviz2")

    @property
    def parameters(self) -> set[str]:
        """Arguments that are parameters of the node."""
        return set(self.arguments) - arguments.INPUTS - arguments.OTHERS

    def attributes(self) -> list[str]:
        """The values of all attributes in the file."""
        return [value for element in self.root.iter() for value in element.attrib.values()]

    def completed(self, **given: str) -> dict[str, str]:
        """All arguments after arguments.py, given these; without paths of parameter files."""
        values = self.arguments | given
        return values | arguments.resolved_topics(values, values, arguments.driver_of(values["driver"]))

    def remaps(self, **given: str) -> dict[str, str]:
        """Remaps of the node, given these arguments."""
        completed = self.completed(**given)
        remaps = {remap.get("from"): remap.get("to") for remap in self.node.iter("remap")}
        return {name: completed[target[len("$(var ") : -1]] for name, target in remaps.items()}

    def node_parameters(self, **given: str) -> dict[str, object]:
        """The parameters that arguments.py sets, given these arguments."""
        values = self.arguments | given
        return arguments.parameters_of(values, given, arguments.driver_of(values["driver"]))
