"""Chains of static transforms."""

from types import SimpleNamespace

import numpy as np

from depth_ros.messages.transform_tree import TransformTree


def transform(parent: str, child: str, x: float) -> SimpleNamespace:
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(x=x, y=0.0, z=0.0),
            rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
        ),
    )


def test_ancestors_are_followed_to_the_root():
    tree = TransformTree()
    tree.add([transform("/base", "mast", 1.0), transform("mast", "camera", 2.0)])
    assert tree.ancestors("/camera") == ["camera", "mast", "base"] and tree.ancestors("") == [""]
    T = tree.between("base", "camera")
    assert T is not None and np.allclose(T[:3, 3], [3, 0, 0])


def test_a_loop_ends():
    tree = TransformTree()
    tree.add([transform("a", "b", 1.0), transform("b", "a", 1.0), transform("c", "c", 0.0)])
    assert tree.ancestors("a") == ["a", "b"] and tree.ancestors("c") == ["c"]
    assert tree.between("a", "c") is None
