"""Sphinx directives whose content comes from the package: topics, parameters, commands, models, networks.

Each directive writes Markdown, which MyST parses, so that no page holds a copy of a default or a description.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from xml.etree import ElementTree

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from depth_ros.card import Card, cards
from depth_ros.cli import parser

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from depth_ros.nodes.topics import Topic

ROOT = Path(__file__).resolve().parent.parent


def table(header: Sequence[str], rows: Iterable[Sequence[str]], style: str = "stacked") -> str:
    """A Markdown table with a CSS class."""
    cells = [header, ["---"] * len(header), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join([f"{{.{style}}}", *lines]) + "\n"


def topics(node: str) -> str:
    """Subscribed and published topics of `node`, from its TOPICS."""
    every = importlib.import_module(f"depth_ros.nodes.{node}").TOPICS
    return "".join(
        f"**{title}**\n\n{table(('Topic', 'Type', 'Description'), map(_topic_row, chosen))}\n"
        for title, direction in (("Subscribed topics", "in"), ("Published topics", "out"))
        if (chosen := [topic for topic in every if topic.direction == direction])
    )


def _topic_row(topic: Topic) -> tuple[str, str, str]:
    package, _, name = topic.type.__module__.partition(".msg")[0], "", topic.type.__name__
    when = f" Only with `{topic.condition}`." if topic.condition else ""
    return f"`{topic.name}`", f"`{package}/{name}`", topic.description + when


def parameters(node: str) -> str:
    """All parameters of `node`, from its SETTINGS."""
    kinds = importlib.import_module(f"depth_ros.nodes.{node}").SETTINGS
    return "**Parameters**\n\n" + settings_table(kinds)


def settings_table(kinds: Iterable[type], name: str = "Parameter") -> str:
    """The fields of settings dataclasses, those that may change at run time marked."""
    rows = (_setting_row(field) for kind in kinds for field in dataclasses.fields(kind))
    return table((name, "Default", "Description"), rows)


def _setting_row(field: dataclasses.Field) -> tuple[str, str, str]:
    about, unit = field.metadata, field.metadata["unit"]
    low, high = about["minimum"], about["maximum"]
    values = ""
    if about["choices"]:
        values = " One of " + ", ".join(f"`{choice}`" for choice in about["choices"]) + "."
    elif low is not None or high is not None:
        bounds = (f"at least {low:g}" if high is None else f"{low:g} to {high:g}") if low is not None else (
            f"at most {high:g}"
        )  # fmt: skip
        values = f" {bounds[0].upper()}{bounds[1:]}{f' {unit}' if unit else ''}."
    default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    shown = f"`{default}`" + (f" {unit}" if unit else "") if default else ""
    text = about["text"].rstrip(".") + "." + values
    return f"`{field.name}`", shown, text + (" *Dynamic.*" if about["dynamic"] else "")


def launch_arguments(file: str) -> str:
    """The arguments of a launch file."""
    title = f"**Arguments of `{file}`**\n\n"
    every = ElementTree.parse(ROOT / "launch" / file).getroot().iter("arg")
    rows = ((f"`{arg.get('name')}`", _argument_default(arg), arg.get("description", "")) for arg in every)
    return title + table(("Argument", "Default", "Description"), rows)


def drivers(_: str) -> str:
    """The camera drivers of config/drivers.yaml and their topics."""
    known = yaml.safe_load((ROOT / "config/drivers.yaml").read_text())
    columns = (("camera",), ("image",), ("left", "right"), ("depth",))
    rows = (
        (f"`{name}`", *(", ".join(f"`{driver[key]}`" for key in keys if key in driver) for keys in columns))
        for name, driver in known.items()
    )
    return table(("`driver`", *(", ".join(f"`{key}`" for key in keys) for keys in columns)), rows)


def _argument_default(argument: ElementTree.Element) -> str:
    default = argument.get("default")
    if default is None:
        return "required"
    return f"`{default.replace('$(find-pkg-share depth_ros)/', '')}`" if default else ""


def commands(_: str) -> str:
    """Every subcommand of `depth_ros` with its arguments, from the parser."""
    return "\n".join(map(_command, _subcommands(parser())))


def _subcommands(command: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The subcommands of a command, at any depth; itself if it has none."""
    groups = [each for each in command._actions if isinstance(each, argparse._SubParsersAction)]
    for each in (each for group in groups for each in group.choices.values()):
        yield from _subcommands(each)
    if not groups:
        yield command


def _command(command: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(command.prog)
    rows = [
        (f"`{_usage(action)}`", formatter._expand_help(action) if action.help else "")
        for action in command._actions
        if action.dest != "help"
    ]
    arguments = table(("Argument", "Description"), rows) if rows else ""
    return f"## {command.prog}\n\n{command.description}\n\n{arguments}"


def _usage(action: argparse.Action) -> str:
    """An argument as typed: `--limit LIMIT`, `--verbose`, `bag`, `{street,room}`."""
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    name = action.dest.upper() if action.option_strings else action.dest
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else name
    return " ".join([", ".join(action.option_strings), str(action.metavar or choices)]).strip()


def models(_: str) -> str:
    """The models of the repository."""
    rows = (
        (
            f"`{card.name}`",
            f"{card.description}.",
            f"{card.width}x{card.height}",
            f"{card.weights.stat().st_size / 1e6:.1f} MB",
            card.licence,
        )
        for card in _shipped()
    )
    return table(("Model", "Description", "Trained at", "Weights", "Licence"), rows)


METRICS = {
    "depth": {"abs_rel": ("AbsRel", 1, "", 3), "delta1": ("delta < 1.25", 100, " %", 1),
              "within_std": ("within std", 100, " %", 0), "within_2_std": ("within 1.96 std", 100, " %", 0)},
    "stereo_depth": {"epe": ("EPE", 1, " px", 2), "d1_all": ("D1-all", 100, " %", 1), "bad_1": ("bad-1", 100, " %", 1),
                     "bad_2": ("bad-2", 100, " %", 1)},
}  # fmt: skip
"""{task: {key in the card: (name, factor, unit, decimals)}} of the metrics shown."""


def model_metrics(_: str) -> str:
    """The metrics in the cards: one table a task."""
    shipped = _shipped()
    return "\n".join(
        _metrics_table([card for card in shipped if card.task == task], shown)
        for task, shown in METRICS.items()
        if any(card.task == task for card in shipped)
    )


def _metrics_table(chosen: list[Card], shown: dict[str, tuple[str, int, str, int]]) -> str:
    names = [name for name, *_ in shown.values()]
    rows = [
        (f"`{card.name}`", entry["data"], *_metric_cells(entry, shown))
        for card in chosen
        for entry in card.metrics
    ]
    return table(("Model", "Data", *names), rows, style="metrics")


def _metric_cells(entry: dict[str, Any], shown: dict[str, tuple[str, int, str, int]]) -> Iterator[str]:
    """The metrics `shown` of an entry of a card, with those of its baseline in brackets."""
    for key, (_, factor, unit, digits) in shown.items():
        value, baseline = (
            "" if metrics.get(key) is None else f"{metrics[key] * factor:.{digits}f}{unit}"
            for metrics in (entry["metrics"], entry.get("baseline", {}))
        )
        cell = f"{value} ({baseline})" if value and baseline else value or "-"
        yield cell.replace(" px", "\N{NO-BREAK SPACE}px").replace(" %", "\N{NO-BREAK SPACE}%")


def model_cards(_: str) -> str:
    """Training data, terms and the commands that repeat the metrics, of every model."""
    return "\n".join(map(_card_section, _shipped()))


def _card_section(card: Card) -> str:
    items = [f"- {each}" for each in card.training_data]
    commands = [command for entry in card.metrics for command in entry["command"].split("; ")]
    engines = ", ".join(dict.fromkeys(entry["engine"] for entry in card.metrics))
    return "\n".join(
        [
            f"### {card.name}\n",
            f"{card.description}. {card.terms}\n",
            f"Trained by `{card.recipe}` on:\n",
            *items,
            f"\nThe metrics, measured with {engines}, are repeated by:\n",
            "```bash",
            *dict.fromkeys(commands),
            "```\n",
        ]
    )


def _shipped() -> list[Card]:
    return [card for card in cards() if card.path.parent == ROOT / "models"]


def recipes(_: str) -> str:
    """The training recipes with their descriptions."""
    from depth_ros.training.recipes import find_recipe, recipe_names

    rows = (
        (f"`{recipe.name}`", f"`{recipe.family}`", recipe.description)
        for recipe in map(find_recipe, recipe_names())
    )
    return table(("Recipe", "Family", "Description"), rows)


def effect_settings(_: str) -> str:
    """What `depth_ros effect --set` accepts."""
    from depth_ros.effects.video import EffectSettings

    return settings_table([EffectSettings], "Key")


def network(arguments: str) -> str:
    """A drawing of a network. arguments: FAMILY TASK WIDTHxHEIGHT, and settings of the family as KEY=VALUE."""
    from network_drawing import draw, layers

    family, task, size, *pairs = arguments.split()
    settings = {key: yaml.safe_load(value) for key, value in (pair.split("=") for pair in pairs)}
    width, height = map(int, size.split("x"))
    title = " ".join(
        [
            family,
            task.replace("_", " "),
            *(str(settings[key]) for key in ("network", "encoder") if key in settings),
        ]
    )
    drawn, parameters = layers(family, task, (width, height), settings)
    return f'<div class="network">{draw(f"{title}, {size}", drawn, parameters)}</div>\n'


def licence_note(family: str) -> str:
    """The licence note of a family's module."""
    return importlib.import_module(f"depth_ros.networks.{family}").LICENCE_NOTE + "\n"


WRITERS: dict[str, Callable[[str], str]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        topics, parameters, launch_arguments, drivers, commands, models, model_metrics, model_cards, recipes,
        effect_settings, licence_note, network,
    )
}  # fmt: skip
"""{directive: function from its argument to Markdown}"""


class Reference(SphinxDirective):
    """A directive of WRITERS."""

    optional_arguments = 1
    final_argument_whitespace = True
    writer: ClassVar[Callable[[str], str]]

    def run(self) -> list[nodes.Node]:
        (argument,) = self.arguments or [""]
        text = type(self).writer(argument)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def stack_symptoms(app: Sphinx, document: nodes.document) -> None:
    """Show the tables of symptom, cause and remedy as blocks on a phone, like those of the directives."""
    for table_node in document.findall(nodes.table):
        if "Remedy" in next(iter(table_node.findall(nodes.row))).astext():
            table_node["classes"].append("stacked")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", stack_symptoms)
    for name, writer in WRITERS.items():
        app.add_directive(name, type(name, (Reference,), {"writer": staticmethod(writer)}))
    return {"parallel_read_safe": True}
