"""`make check-tensorrt`: convert all models to TensorRT without a GPU, and write the table docs/tensorrt_check.md.

Torch-TensorRT 2.14 and 2.8 need environments of their own (6 GB each), which this script creates beside the
repository's; TensorRT-RTX is in the latter. A model that was converted with the same code and versions is skipped, so
an interrupted run continues. Arguments restrict it to models and families, and the table stays as it is. Exits with 1
if one does not convert.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from environment import ROOT, base_python, step

RESULTS = ROOT / "build/check_tensorrt"
TABLE = ROOT / "docs/tensorrt_check.md"
PROJECT = ["numpy<2.3", "opencv-python-headless<5", "PyYAML", "safetensors", "scipy", "tqdm", "pytest"]
BUILDER = ["tensorrt-rtx-cu13-bindings==1.6.1.120", "tensorrt-rtx-cu13-libs==1.6.1.120"]
ENVIRONMENTS = {
    "2.14": [["torch==2.14.1", "torch-tensorrt-rtx==2.14.0", *BUILDER, *PROJECT, "transformers==5.24.0"]],
    "2.8": [
        ["torch==2.8.0", "dllist", "packaging", *BUILDER, *PROJECT, "transformers==5.24.0"],
        ["--no-deps", "torch-tensorrt==2.8.0"],
    ],
}
"""Version of Torch-TensorRT -> arguments of each call of pip."""
COLUMNS = {"Torch-TensorRT 2.14": "2.14", "Torch-TensorRT 2.8": "2.8", "TensorRT-RTX": "rtx"}
"""Title -> name of the results."""
PAGE = """\
# TensorRT: what converts completely

`make check-tensorrt` converted models on {date}, on a machine without a GPU: the shipped ones, all tasks of every
family with random weights at 192x128 px or the next size that it takes, and a small network of every supported kind of
transformers. "yes": one TensorRT engine without operators of PyTorch and without uint8 inputs, for compute capability
8.9; then the size of the engine, and the time with the export on a machine under load. For TensorRT-RTX, the ONNX file
also reproduces eager float32 in ONNX Runtime, within the bounds of the check of all engines, where the weights give a
valid result. "not converted": the check was stopped before. The engines did not run: that takes a GPU.

{versions}

| Model | Precision | {titles} |
|---|---|{rules}
{rows}
"""


def main(names: list[str]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    for version, installs in ENVIRONMENTS.items():
        folder = ROOT / f".venv-tensorrt-{version}"
        create(folder, installs)
        convert(folder / "bin/python", version, names)
    convert(Path(sys.executable), "rtx", names)
    found = {title: latest(RESULTS / f"{name}.jsonl") for title, name in COLUMNS.items()}
    if not names:
        TABLE.write_text(page(found))
        print(TABLE.relative_to(ROOT))
    failed = [" ".join(key) for rows in found.values() for key, row in rows.items() if row["problem"]]
    sys.exit(f"not converted: {', '.join(failed)}" if failed else 0)


def create(folder: Path, installs: list[list[str]]) -> None:
    """An environment of Torch-TensorRT, without its own runtime: that needs the TensorRT of JetPack or a GPU."""
    ready = folder / ".ready"
    if ready.exists() and ready.read_text() == json.dumps(installs):
        return
    folder.mkdir(exist_ok=True)
    step(folder, "environment", [base_python(), "-m", "venv", "--clear", str(folder)])
    for arguments in installs:
        step(
            folder, " ".join(arguments[:2]), [str(folder / "bin/python"), "-m", "pip", "install", *arguments]
        )
    if folder.name.endswith("2.8"):
        for library in folder.glob("lib/python3*/site-packages/torch_tensorrt/lib/libtorchtrt*.so"):
            library.unlink()
    ready.write_text(json.dumps(installs))


def convert(python: Path, name: str, names: list[str]) -> None:
    """Convert what is not converted yet. Exits if the process does."""
    print(f"{name}:", flush=True)
    script = ROOT / ".ci/convert_to_tensorrt.py"
    subprocess.run([str(python), str(script), str(RESULTS / f"{name}.jsonl"), *names], check=True)


def latest(file: Path) -> dict[tuple[str, str], dict]:
    """The last result of each model and precision."""
    rows = map(json.loads, file.read_text().splitlines())
    return {(row["case"], row["precision"]): row for row in rows}


def page(found: dict[str, dict[tuple[str, str], dict]]) -> str:
    """The page with one row for each model and precision."""
    everything = [row for rows in found.values() for row in rows.values()]
    keys = dict.fromkeys(key for rows in found.values() for key in rows)
    lines = []
    for case, precision in keys:
        cells = [cell(rows.get((case, precision))) for rows in found.values()]
        lines.append(f"| {case} | {precision} | {' | '.join(cells)} |")
    versions = []
    for title, rows in found.items():
        used = {json.dumps(row["versions"]) for row in rows.values()}
        texts = (
            "; ".join(f"{name} {v}" for name, v in json.loads(each).items() if v != "none") for each in used
        )
        versions += [f"* {title}: {text}" for text in sorted(texts)]
    return PAGE.format(
        date=max(row["date"] for row in everything),
        versions="\n".join(versions),
        titles=" | ".join(found),
        rules="---|" * len(found),
        rows="\n".join(lines),
    )


def cell(row: dict | None) -> str:
    if row is None:
        return "not converted"
    return f"NO: {row['problem']}" if row["problem"] else f"yes, {row['megabytes']} MB, {row['seconds']} s"


if __name__ == "__main__":
    main(sys.argv[1:])
