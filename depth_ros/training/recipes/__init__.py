"""Recipes: what is trained, on which data, for how long. One function each; folders are relative to the data folder."""

from __future__ import annotations

from pathlib import Path

from depth_ros.errors import DepthRosError
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.source import Source
from depth_ros.training.recipes import depth, planes, published, stereo, video
from depth_ros.training.recipes.changes import recipe_from_file
from depth_ros.training.recipes.recipe import Recipe

__all__ = ["CropSettings", "Recipe", "Source", "find_recipe", "recipe_names"]

_RECIPES = (
    depth.mono, depth.mono_driving_start, depth.mono_driving, depth.mono_indoor,
    published.fcrn_nyu_published, published.sfmlearner_kitti_published, published.monodepth_kitti_published,
    published.vid2depth_kitti_published, published.struct2depth_kitti_published,
    published.struct2depth_cityscapes_published, published.planenet_scannet_published, published.mannequin_published,
    planes.planes_indoor, planes.planes_room,
    stereo.monodepth_kitti, stereo.monodepth_resnet50_kitti, stereo.monodepth_stereo_kitti, stereo.stereo,
    stereo.stereo_driving_start, stereo.stereo_driving,
    video.sfmlearner_street_start, video.sfmlearner_street, video.sfmlearner_kitti,
    video.vid2depth_street, video.vid2depth_street_unaligned, video.vid2depth_street_narrow, video.vid2depth_kitti,
    video.struct2depth_street_start, video.struct2depth_street,
    video.struct2depth_street_still_start, video.struct2depth_street_still, video.struct2depth_kitti,
    depth.fcrn_indoor, depth.depth_anything, depth.mannequin_indoor, depth.mannequin_hdf5, depth.mannequin_one_view,
    depth.mannequin_two_views,
)  # fmt: skip


def recipe_names() -> list[str]:
    """The names of all recipes."""
    return [build.__name__ for build in _RECIPES]


def find_recipe(name: str) -> Recipe:
    """The recipe of that name, or of a .yaml or .py file. Raises DepthRosError with the known names."""
    if Path(name).suffix in (".yaml", ".yml", ".py"):
        return recipe_from_file(Path(name), find_recipe)
    for build in _RECIPES:
        if build.__name__ == name:
            return build()
    raise DepthRosError(f"unknown recipe '{name}'; known are {', '.join(recipe_names())}")
