"""training.csv: losses and validation metrics by step."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from torch import nn

from depth_ros.training.crop import CropSettings
from depth_ros.training.curves import plot_curves
from depth_ros.training.supervision import HeldOut, Item, Supervision

TABLE, CURVES = "training.csv", "training.svg"
Row = dict[str, str]


def read_table(file: Path) -> list[Row]:
    """The rows of a table, empty if it does not exist; what a row lacks is empty."""
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def add_row(file: Path, row: Mapping[str, float]) -> None:
    """Add a row with its "step". Rows from this step on, of a run that was killed, are replaced."""
    earlier = [each for each in read_table(file) if float(each["step"]) < row["step"]]
    rows = [*earlier, {key: f"{value:.5g}" for key, value in row.items()}]
    temporary = file.with_suffix(".new")
    with temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(dict.fromkeys(key for each in rows for key in each)))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, file)


@dataclass(frozen=True)
class TrainingTable(Generic[Item, HeldOut]):
    """Validates a model during training and keeps its metrics in training.csv and, as curves, training.svg."""

    folder: Path
    supervision: Supervision[Item, HeldOut]
    held_out: dict[str, HeldOut]
    crop: CropSettings

    def add(self, model: nn.Module, row: Mapping[str, float]) -> None:
        """Validate the model and add its metrics to a row that has the step and the losses."""
        metrics = self.supervision.validate(model, self.held_out, self.crop)
        add_row(self.folder / TABLE, {**row, **metrics})
        plot_curves(self.folder / TABLE, self.folder / CURVES)


def change_lines(folder: Path) -> list[str]:
    """One line a metric: its value before the first step of fine-tuning, and at the end."""
    rows = read_table(folder / TABLE)
    if not rows or rows[0]["step"] != "0":
        return []
    before, after = rows[0], rows[-1]
    metrics = [key for key, value in before.items() if value and key != "step"]
    return [f"{key}: {before[key]} before, {after[key]} after {after['step']} steps" for key in metrics]
