"""The proof for people with a GPU: what it ends with when commands do what is promised, and when one does not."""

from __future__ import annotations

import json
import sys

import pytest

from depth_ros.cli import proof
from depth_ros.engine import backend

STAND_IN = '''
"""Prints what `depth_ros` prints where everything works; BROKEN: a word of the command that fails."""
import json, os, sys
from pathlib import Path

words, cache = sys.argv[1:], Path(os.environ["DEPTH_ROS_CACHE"])
after = lambda option: words[words.index(option) + 1] if option in words else ""
if os.environ.get("BROKEN") in words:
    sys.exit(os.environ["SAID"])
if "--json" in words:
    metrics = {"abs_rel": float(os.environ["ABS_REL"]) if after("--backend") == "inductor" else 0.2}
    rows = [{"backend": "inductor", "precision": "float16", "speedup": float(os.environ["SPEEDUP"])}]
    Path(after("--json")).write_text(json.dumps({"engines": rows, "metrics": metrics}))
precision = after("--precision") or "float16"
cache.mkdir(parents=True, exist_ok=True)
stored = cache / f"{words[1] if len(words) > 1 else ''}-{precision}"
how = "from the cache" if stored.exists() else "built, because there was none in the cache"
if words[0] == "compile":
    stored.touch()
print({
    "doctor": "[ok] backend inductor: float16, int8",
    "compile": f"{words[1] if len(words) > 1 else ''}: inductor {precision} 320x224, {how}",
    "replay": "engine: inductor float16 320x224, from the cache\\n30 frames, median 1.0 ms",
}.get(words[0], ""))
if "--check-only" in words:
    print("compact depth: torch.export yes, inductor yes")
'''


@pytest.fixture()
def commands(tmp_path, monkeypatch):
    """Stand-ins of the commands, and of a backend with float16 and int8."""
    file = tmp_path / "stand_in.py"
    file.write_text(STAND_IN)
    monkeypatch.setattr(proof, "COMMAND", (sys.executable, str(file)))
    monkeypatch.setattr(backend("inductor"), "unavailable", lambda device: "")
    monkeypatch.setattr(backend("inductor"), "precisions", lambda device: ["float16", "int8"])
    monkeypatch.setenv("SPEEDUP", "5")
    monkeypatch.setenv("ABS_REL", "0.2001")
    return lambda: proof.main(
        ["--backend", "inductor", "--models", "mono", "stereo", "--out", str(tmp_path / "proof.json")]
    )


def test_all_commands_that_do_what_is_promised_are_a_proof(commands, capsys, tmp_path):
    assert commands() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "PROVED"
    report = json.loads((tmp_path / "proof.json").read_text())
    assert report["failures"] == [] and report["machine"]["torch"]
    assert report["figures"]["bench_stereo"]["engines"][0]["speedup"] == 5.0
    lines = [step["command"] for step in report["steps"]]
    assert "depth_ros compile mono --backend inductor --precision int8" in lines
    assert "depth_ros compile stereo --backend inductor --precision int8" not in lines  # see its card
    assert all(step["output"] is not None and step["seconds"] > 0 for step in report["steps"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"BROKEN": "int8", "SAID": "no"}, "!! depth_ros compile mono --backend inductor --precision int8: "
                                           "ended with status 1"),
        ({"BROKEN": "--through-ros", "SAID": "no"}, "--through-ros: ended with status 1"),
        ({"SPEEDUP": "0.9"}, "!! bench stereo: inductor is slower than eager float32"),
        ({"ABS_REL": "0.21"}, "!! abs_rel is 0.2100, with eager float32 0.2000"),
        ({"BROKEN": "bench", "SAID": "no"}, "!! bench mono: no row of inductor"),
    ],
)  # fmt: skip
def test_what_fails_is_named_and_is_no_proof(commands, capsys, monkeypatch, change, expected):
    for key, value in change.items():
        monkeypatch.setenv(key, value)
    assert commands() == 1
    *lines, written, last = capsys.readouterr().out.splitlines()
    assert last == "NOT PROVED" and written.startswith("written: ")
    assert any(expected in line for line in lines[-4:])


def test_a_compiler_that_leaves_a_family_out_is_no_proof(tmp_path, monkeypatch):
    """One line with yes must not hide another."""
    steps = proof.steps("inductor", ["float32"], ["mono"], tmp_path)
    check = next(step for step in steps if "--check-only" in step.arguments)
    code = "print('a: torch.export yes, inductor yes'); print('b: torch.export yes, inductor NO (broken)')"
    (tmp_path / "said.py").write_text(code)
    proof_of = proof.Step((str(tmp_path / "said.py"),), check.expected, check.forbidden)
    monkeypatch.setattr(proof, "COMMAND", (sys.executable,))
    assert proof.run(proof_of, {}).problem == "printed inductor NO"


def test_without_a_gpu_nothing_else_is_run(commands, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(backend("inductor"), "unavailable", lambda device: "it needs an NVIDIA GPU")
    monkeypatch.setenv("BROKEN", "doctor")
    monkeypatch.setenv("SAID", "no GPU")
    assert commands() == 1
    assert "!! nothing else was run: backend inductor: it needs an NVIDIA GPU" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "proof.json").read_text())["steps"]) == 1
