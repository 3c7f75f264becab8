"""README and documentation: what they name exists; a browser displays every page and report without errors."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browser import EXECUTABLE, Browser

import depth_ros
from depth_ros.card import cards
from depth_ros.cli import main, parser

ROOT = Path(depth_ros.__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TEXTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [str(path.relative_to(DOCS).with_suffix("")) for path in TEXTS[1:]]
WIDTHS = (400, 1280)
"""Width of a phone and of a laptop, px."""

texts = pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of all commands in fenced blocks; those joined by && count as several."""
    for block in re.findall(r"^ *```(?:bash|console|sh)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|;", line):
                if words := shlex.split(command.replace("<this repository>", "URL"), comments=True):
                    yield words


def inline_commands(text: str) -> list[str]:
    """Commands of depth_ros within sentences and tables, such as `depth_ros replay BAG`."""
    return re.findall(r"(?<!`)`(depth_ros [^`]+)`(?!`)", text.replace("\n", " "))


def subcommands() -> dict[str, ArgumentParser]:
    (group,) = (action for action in parser()._actions if hasattr(action, "choices") and action.choices)
    return dict(group.choices)


@pytest.fixture(scope="module")
def built_docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as HTML, built as `make docs` builds it."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: make setup")
    pytest.importorskip("rclpy")
    out = tmp_path_factory.mktemp("docs")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "-d",
        str(out / "doctrees"),
    ]
    result = subprocess.run([*command, str(DOCS), str(out / "html")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out / "html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not EXECUTABLE:
        pytest.skip("no browser is installed: sudo apt install chromium")
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def reports(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of every task of `depth_ros evaluate`."""
    folder = tmp_path_factory.mktemp("reports")
    clip, room = folder / "clip", folder / "room"
    assert main(["render", "street", str(clip), "--frames", "4"]) == 0
    assert main(["render", "room", str(room), "--frames", "2"]) == 0
    tasks = {
        "depth": ["depth", "--model", str(small_model), "--data", str(clip)],
        "stereo": ["depth", "--model", "semi_global", "--data", str(clip)],
        "odometry": ["odometry", "--data", str(clip)],
        "object_motion": ["object_motion", "--data", str(clip)],
        "planes": ["planes", "--model", str(small_model), "--data", str(room)],
        "joint": ["depth", "--model", str(small_model), "--data", str(clip), str(room)],
    }
    made = {name: folder / f"{name}.html" for name in tasks}
    for name, arguments in tasks.items():
        assert main(["evaluate", *arguments, "--backend", "eager", "--report", str(made[name])]) == 0
    return made


def test_readme_has_at_most_120_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@texts
def test_no_marker_of_a_merge_conflict_is_left(text: Path):
    assert not re.findall(r"^(?:<{7}|={7}|>{7})(?: |$)", text.read_text(), re.MULTILINE)


@texts
def test_commands_of_depth_ros_parse(text: Path):
    for words in command_lines(text.read_text()):
        if Path(words[0]).name == "depth_ros":
            parser().parse_args(words[1:])


@texts
def test_commands_within_sentences_exist_and_have_these_options(text: Path):
    for command in inline_commands(text.read_text()):
        name, *words = command.removeprefix("depth_ros ").split()
        assert name in subcommands(), command
        options = {option for action in subcommands()[name]._actions for option in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= options, command


@texts
def test_launch_files_exist_and_have_the_arguments(text: Path):
    for words in command_lines(text.read_text()):
        if words[:3] == ["ros2", "launch", "depth_ros"]:
            root = ElementTree.parse(ROOT / "launch" / words[3]).getroot()
            known = {argument.get("name") for argument in root.iter("arg")}
            assert {word.partition(":=")[0] for word in words[4:] if ":=" in word} <= known, words


@texts
def test_make_targets_exist(text: Path):
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    for words in command_lines(text.read_text()):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= set(targets), words


@pytest.mark.parametrize("text", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.stem)
def test_links_to_files_resolve(text: Path):
    """Those between pages of docs/ are checked by Sphinx."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text.read_text()) if "://" not in link]
    assert links == [link for link in links if (text.parent / link.partition("#")[0]).exists()]


def test_pictures_are_small_enough_for_a_repository():
    assert sum(path.stat().st_size for path in (DOCS / "images").iterdir()) < 3e6


def test_models_in_the_readme_have_the_metrics_and_licences_of_their_cards():
    rows = re.findall(r"^\| `(\w+)` \| .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    shipped = {card.name: card for card in cards() if card.path.parent == ROOT / "models"}
    assert set(rows) == set(shipped)
    for name, line in zip(rows, lines, strict=True):
        figures = [
            [f"{entry[part][error]:.{digits}f}", f"{100 * entry[part][ratio]:.1f} %"]
            for entry in shipped[name].metrics
            for error, ratio, digits in [("abs_rel", "delta1", 3), ("epe", "d1_all", 2)]
            if error in entry["metrics"] and ratio in entry["metrics"]
            for part in ("metrics", "baseline")
        ]
        pairs = [first + second for first, second in zip(figures[::2], figures[1::2], strict=True)]
        assert any(all(figure in line for figure in pair) for pair in pairs), line
        assert line.rstrip(" |").rpartition("| ")[2] in shipped[name].licence, line


def test_licence_note_of_monodepth_is_in_the_documentation(built_docs: Path):
    from depth_ros.networks.monodepth import LICENCE_NOTE

    text = html.unescape(re.sub(r"<[^>]+>", "", (built_docs / "families.html").read_text()))
    assert " ".join(LICENCE_NOTE.split()) in " ".join(text.split())


@pytest.mark.parametrize("page", PAGES)
def test_page_is_displayed_without_errors(page: str, built_docs: Path, browser: Browser):
    for width in WIDTHS:
        assert browser.open((built_docs / f"{page}.html").as_uri(), width).problems == (), width


@pytest.mark.parametrize("task", ["depth", "stereo", "odometry", "object_motion", "planes"])
def test_report_is_displayed_without_errors(task: str, reports: dict[str, Path], browser: Browser):
    for width in WIDTHS:
        assert browser.open(reports[task].as_uri(), width).problems == (), width


@pytest.mark.parametrize(
    "body, problem",
    [
        ("<script>console.error('broken', 7)</script>", "console: broken 7"),
        ("<script>undefined_function()</script>", "exception: ReferenceError"),
        ("<main><img src='missing.png'></main>", "image does not load: <img> missing.png"),
        ("<script src='missing.js'></script>", "does not load: net::ERR_FILE_NOT_FOUND"),
        ("<main><div style='width: 500px'>wide</div></main>", "page is 5"),
        ("<main style='overflow: hidden'><p style='width: 500px'>cut off</p></main>", "reaches 5"),
        ("<svg width='50' height='20'><text x='-9' y='12'>12 ms</text></svg>", "label of a plot is cut off"),
    ],
    ids=("error", "exception", "image", "script", "page", "element", "label"),
)
def test_problems_of_a_page_are_found(body: str, problem: str, browser: Browser, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><html><body>{body}</body></html>")
    found = browser.open(page.as_uri(), 400).problems
    assert any(each.startswith(problem) for each in found), found


def test_wide_table_inside_a_box_that_scrolls_is_no_problem(browser: Browser, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><main><div style='overflow-x: auto'><p style='width: 900px'>x</p></div></main>"
    )
    assert browser.open(page.as_uri(), 400).problems == ()
