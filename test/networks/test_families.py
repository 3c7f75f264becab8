"""Every family's module has the names that the package documents and imports no other family."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest
import torch

from depth_ros.errors import DepthRosError
from depth_ros.networks import families, family, model_class

REQUIRED = ("TASK", "NETWORKS", "Settings", "Model", "loss", "initialise")
every_family = pytest.mark.parametrize("name", families())


@every_family
def test_required_names_are_defined(name):
    module = family(name)
    assert [each for each in REQUIRED if not hasattr(module, each)] == []
    assert dataclasses.is_dataclass(module.Settings)
    module.Settings()  # every option has a default


@every_family
def test_every_setting_has_a_description(name):
    module = family(name)
    for settings in filter(None, (module.Settings, getattr(module, "LossSettings", None))):
        for field in dataclasses.fields(settings):
            text = field.metadata["text"]
            assert text[:1].isupper() and text.endswith("."), field.name


@every_family
def test_no_family_imports_another(name):
    tree = ast.parse(Path(inspect.getfile(family(name))).read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "depth_ros.networks":
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("depth_ros.networks."):
            imported.add(str(node.module).split(".")[2])
    assert imported <= {"blocks"}


@pytest.mark.parametrize("name", [name for name in families() if family(name).NETWORKS])
def test_models_state_the_multiple_of_their_image_size(name):
    module = family(name)
    for task in getattr(module, "MODELS", None) or [module.TASK]:
        with torch.device("meta"):
            model = model_class(name, task)(module.Settings())
        assert model.size_multiple in (2, 16, 32, 64, 128)


def test_unknown_families_and_tasks_are_rejected():
    with pytest.raises(DepthRosError, match="unknown family 'dispnet'; available: compact, fcrn"):
        family("dispnet")
    with pytest.raises(
        DepthRosError, match="family 'compact' has no model for task 'planes'; its tasks: depth"
    ):
        model_class("compact", "planes")
