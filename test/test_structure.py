"""Structure of the repository: size of functions, repeated life-cycle code, layout of tests, documented tree."""

from __future__ import annotations

import ast
import difflib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import depth_ros

PACKAGE = Path(depth_ros.__file__).resolve().parent
ROOT = PACKAGE.parent
MAX_LINES, MAX_PARAMETERS = 60, 7
MAX_SHARED_LINES = 5
"""Number of successive identical lines that two node classes may have."""
Function = ast.FunctionDef | ast.AsyncFunctionDef

EXAMPLE_TREE = """\
# Contributing

## The tree

```
depth_ros/
  nodes/            imports rclpy; see messages/ for conversions
    <name>_node.py  one per node
    inputs/ outputs/
  engine/           one file per backend
  card.py errors.py
launch/ config/     files for ROS
```

## Other
    engine/store/
"""
EXAMPLE_NODE = """\
class {name}(LifecycleNode):
    def __init__(self):
        {first}
        self.a = 1
        self.b = [
            2, 3]  # a comment
        self.c = self.a

    def on_activate(self, state):
        '''{name}'''
        {last}
"""


def functions(source: str) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, Function))


def number_of_lines(function: Function) -> int:
    assert function.end_lineno
    return function.end_lineno - function.lineno + 1


def number_of_parameters(function: Function) -> int:
    """All parameters except self and cls; *args and **kwargs count as one each."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    if named and named[0].arg in ("self", "cls"):
        del named[0]
    return len(named) + sum(argument is not None for argument in (arguments.vararg, arguments.kwarg))


def excesses(folder: Path) -> list[str]:
    """Functions under `folder` that are too long or have too many parameters."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        for function in functions(file.read_text()):
            name = f"{file.relative_to(folder)}: {function.name}()"
            if (lines := number_of_lines(function)) > MAX_LINES and file.parts[
                len(folder.parts)
            ] != "networks":
                found.append(f"{name} has {lines} lines")
            if (parameters := number_of_parameters(function)) > MAX_PARAMETERS:
                found.append(f"{name} has {parameters} parameters")
    return found


def class_lines(source: str) -> list[str]:
    """The lines of the methods of all classes in a canonical format, without docstrings, comments and indentation."""
    lines: list[str] = []
    for each in ast.parse(source).body:
        for method in each.body if isinstance(each, ast.ClassDef) else []:
            if not isinstance(method, Function):
                continue
            for nested in (node for node in ast.walk(method) if isinstance(node, Function)):
                if ast.get_docstring(nested) is not None:
                    nested.body = nested.body[1:] or [ast.Pass()]
            lines += [line.strip() for line in ast.unparse(method).splitlines()]
    return lines


def longest_common_run(one: str, other: str) -> list[str]:
    """The longest sequence of successive lines that the classes of two modules share."""
    a, b = class_lines(one), class_lines(other)
    match = difflib.SequenceMatcher(None, a, b, autojunk=False).find_longest_match()
    return a[match.a : match.a + match.size]


def documented_tree(text: str) -> set[str]:
    """Paths named in the code block under `## The tree`: folders end with "/".

    Entries are the first words of a line, as long as they end with "/" or ".py"; indentation nests. Placeholders such
    as `<name>_node.py` are left out.
    """
    section = text.split("\n## The tree\n")[1].split("\n## ")[0]
    paths: set[str] = set()
    parents: list[tuple[int, str]] = []
    for line in section.split("```")[1].splitlines():
        indentation = len(line) - len(line.lstrip())
        parents = [(depth, path) for depth, path in parents if depth < indentation]
        prefix = parents[-1][1] if parents else ""
        names = list(itertools.takewhile(lambda word: word.endswith(("/", ".py")), line.split()))
        paths |= {prefix + name for name in names if "<" not in name}
        if len(names) == 1 and names[0].endswith("/"):
            parents.append((indentation, prefix + names[0]))
    return paths


def actual_tree() -> set[str]:
    """Folders and top-level modules of depth_ros, in the form of `documented_tree`."""
    folders = {f"{path.parent.relative_to(ROOT)}/" for path in PACKAGE.rglob("*.py")}
    return folders | {f"depth_ros/{path.name}" for path in PACKAGE.glob("*.py") if path.stem != "__init__"}


def test_functions_are_short_and_have_few_parameters():
    """At most 60 lines, except in networks/, where a layer per line is spelled out, and at most seven parameters."""
    assert excesses(PACKAGE) == []


def test_long_functions_and_long_parameter_lists_are_detected(tmp_path):
    body = "\n".join(["    x = 1"] * 59)
    for name, source in {
        "nodes/good.py": f"class A:\n    def f(self, a, b, c, d, *, e, f, g): pass\ndef f():\n{body}\n",
        "nodes/bad.py": f"def f(a, b, c, d, e, f, *args, **kwargs):\n{body}\n    return x\n",
        "networks/long.py": f"def f(a, b, c, d, e, f, g, h):\n{body}\n    return x\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    assert excesses(tmp_path) == [
        "networks/long.py: f() has 8 parameters",
        "nodes/bad.py: f() has 61 lines",
        "nodes/bad.py: f() has 8 parameters",
    ]


def test_nodes_do_not_repeat_life_cycle_code():
    sources = {path.stem: path.read_text() for path in sorted((PACKAGE / "nodes").glob("*_node.py"))}
    assert len(sources) == 7
    for one, other in itertools.combinations(sources, 2):
        run = longest_common_run(sources[one], sources[other])
        assert len(run) <= MAX_SHARED_LINES, f"{one} and {other} share:\n" + "\n".join(run)


def test_repeated_lines_are_found_regardless_of_format():
    one = EXAMPLE_NODE.format(name="A", first="super().__init__('a')", last="return SUCCESS")
    other = EXAMPLE_NODE.format(name="B", first="super().__init__('b')", last="return FAILURE")
    other = other.replace("[\n            2, 3]  # a comment", "[2, 3]")
    shared = ["self.a = 1", "self.b = [2, 3]", "self.c = self.a", "def on_activate(self, state):"]
    assert longest_common_run(one, other) == shared


def test_tree_in_contributing_is_the_tree_on_disk():
    documented = documented_tree((ROOT / "CONTRIBUTING.md").read_text())
    inside = {path for path in documented if path.startswith("depth_ros/")}
    missing = {path for path in documented - inside if not (ROOT / path).exists()}
    not_on_disk, not_documented = sorted(inside - actual_tree() | missing), sorted(actual_tree() - inside)
    assert not not_on_disk, f"CONTRIBUTING.md names {', '.join(not_on_disk)}, not on disk"
    assert not not_documented, f"CONTRIBUTING.md does not name {', '.join(not_documented)}"


def test_tree_is_read_from_indentation_and_leading_words():
    assert documented_tree(EXAMPLE_TREE) == {
        "depth_ros/", "depth_ros/nodes/", "depth_ros/nodes/inputs/", "depth_ros/nodes/outputs/", "depth_ros/engine/",
        "depth_ros/card.py", "depth_ros/errors.py", "launch/", "config/",
    }  # fmt: skip


def test_folders_of_tests_mirror_the_package_and_file_names_are_unique():
    """pytest imports test files by their base name."""
    tests = sorted((ROOT / "test").rglob("test_*.py"))
    folders = {str(path.parent.relative_to(ROOT / "test")) for path in tests}
    unknown = sorted(folder for folder in folders if not (PACKAGE / folder / "__init__.py").is_file())
    assert not unknown, f"test/{unknown[0]} has no counterpart in depth_ros/"
    assert len({path.name for path in tests}) == len(tests)


def test_documentation_names_existing_modules():
    """Paths such as `depth_ros/training/recipes.py`."""
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = file.read_text()
        paths = re.findall(r"\b(?:depth_ros|test|config|launch)/[\w/]+\.(?:py|yaml|xml|rviz)\b", text)
        assert [path for path in paths if not (ROOT / path).exists()] == [], file.name
