"""Report of several recordings: the joint table, with links to the reports of the recordings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from depth_ros.evaluation.joint import Joint
from depth_ros.evaluation.report.html import write_document


def single_report(joint: Path, name: str) -> Path:
    """Where the report of a recording belongs: in the folder beside the joint report that has its name."""
    return joint.with_suffix("") / f"{name}.html"


def write_joint_report(path: Path, joint: Joint, title: str, facts: Mapping[str, str]) -> None:
    """Write the report. facts: rows of its last table."""
    parts = [
        f"<header><h1>{escape(title)}</h1>{_summary(joint)}</header>",
        _table(path, joint),
        _failed(joint),
        _facts(facts),
    ]
    write_document(path, title, parts)


def _summary(joint: Joint) -> str:
    main, count = joint.task.main, len(joint.recordings)
    text = f"{count} recordings" + (f", {len(joint.failed)} failed" if joint.failed else "")
    if main in joint.mean:
        text += f". Mean {main}: {joint.mean[main]:.3f}"
        text += f", pooled {joint.pooled[main]:.3f}" if main in joint.pooled else ""
        text += f"; worst first, by {main}"
    return f'<p class="summary">{escape(text)}.</p>'


def _table(path: Path, joint: Joint) -> str:
    columns, rows = joint.table()
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = ""
    for name, *cells in rows:
        shown = escape(name)
        if name in joint.recordings:
            target = os.path.relpath(single_report(path, name), path.parent)
            shown = f'<a href="{quote(target)}">{shown}</a>'
        body += f"<tr><th>{shown}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    note = (
        "Mean over recordings: every recording counts the same. Pooled: every image, or for ratios of objects every "
        "object, counts the same."
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section class="scroll"><h2>Recordings</h2>{table}</section><p class="note">{note}</p>'


def _failed(joint: Joint) -> str:
    if not joint.failed:
        return ""
    return f"<section><h2>Failed</h2>{_rows(joint.failed)}</section>"


def _facts(facts: Mapping[str, str]) -> str:
    return f"<section><h2>Model and command</h2>{_rows(facts)}</section>"


def _rows(rows: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f'<table class="facts"><tbody>{cells}</tbody></table>'
