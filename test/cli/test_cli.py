"""The command line as a user types it, run in this process with real models, recordings and engines."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from depth_ros.cli import main, parser
from depth_ros.networks import families
from depth_ros.recordings import open_recording


@pytest.fixture(autouse=True)
def environment(shared_engine_cache, monkeypatch, small_model):
    monkeypatch.setenv("DEPTH_ROS_MODELS", str(small_model.parent))


def test_models_are_listed_as_json(capsys, engine_cache):
    assert main(["models", "--json", "-"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["small"]["family"] == "compact" and rows["small"]["engine"] == "not compiled"
    assert rows["small"]["width"] == 128 and rows["small"]["megabytes"] == pytest.approx(6.7, abs=0.1)


def test_families_are_listed_with_their_parameter_counts(capsys, tmp_path):
    assert main(["models", "--families", "--json", str(tmp_path / "f.json")]) == 0
    rows = json.loads((tmp_path / "f.json").read_text())
    assert [row["family"] for row in rows] == families()
    counts = next(row for row in rows if row["family"] == "monodepth")["parameters"]
    assert counts["vgg"] == 31_600_072 and counts["resnet50"] == 58_452_008


def test_compile_then_models_shows_the_engine(capsys):
    assert main(["compile", "small", "--backend", "openvino", "--device", "cpu"]) == 0
    assert "small: openvino" in capsys.readouterr().out
    assert main(["models"]) == 0
    assert "128x64 openvino" in capsys.readouterr().out


def test_an_unknown_model_is_reported_in_one_line(capsys):
    assert main(["compile", "nothing"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("depth_ros: no model 'nothing'; available models: ") and error.count("\n") == 1


def test_render_bag_replay_evaluate(capsys, tmp_path):
    """First steps of a new user: render a folder, convert it to a bag, replay the bag, evaluate the folder."""
    clip, bag = str(tmp_path / "clip"), str(tmp_path / "bag")
    assert main(["render", "room", clip, "--frames", "3", "--rate", "5"]) == 0
    assert open_recording(Path(clip)).rate == 5
    assert main(["bag", clip, bag]) == 0
    assert (
        main(["replay", bag, "--model", "small", "--backend", "eager", "--out", str(tmp_path / "out")]) == 0
    )
    printed = capsys.readouterr().out
    assert "3 frames" in printed and "abs_rel" in printed and "times real time" in printed
    assert len(list((tmp_path / "out/depth").iterdir())) == 3
    assert main(["replay", bag, "--model", "stereo", "--backend", "eager", "--scale", "0.5"]) == 0
    assert "160x128" in capsys.readouterr().out  # half of 320x240, in multiples of 32
    command = ["evaluate", "depth", "--model", "small", "--data", clip, "--backend", "eager", "--json", "-"]
    assert main([*command, "--report", str(tmp_path / "report.html")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) >= {
        "model",
        "data",
        "protocol",
        "images",
        "metrics",
        "baseline",
        "engine",
        "ms_per_image",
    }
    assert result["images"] == 3 and set(result["metrics"]) == set(result["baseline"])
    expected = "abs_rel sq_rel rmse rmse_log log10 delta1 delta2 delta3 silog d1_all epe"
    assert set(expected.split()) <= set(result["metrics"])
    assert "<html" in (tmp_path / "report.html").read_text()


def test_a_card_of_an_unknown_family_is_reported(capsys, small_model, tmp_path, monkeypatch):
    copy = shutil.copytree(small_model, tmp_path / "models/small")
    content = yaml.safe_load((copy / "card.yaml").read_text())
    (copy / "card.yaml").write_text(yaml.safe_dump({**content, "family": "unheard_of"}))
    assert main(["evaluate", "depth", "--model", str(copy), "--data", str(tmp_path)]) == 1
    assert "unknown family 'unheard_of'" in capsys.readouterr().err


def test_doctor_reports_every_backend_ros_transport_cache_and_models(capsys, monkeypatch):
    monkeypatch.delenv("FASTDDS_BUILTIN_TRANSPORTS", raising=False)
    main(["doctor"])
    printed = capsys.readouterr().out
    for word in (
        "torch",
        "backend eager",
        "backend torch_tensorrt",
        "ROS 2",
        "DDS",
        "engines:",
        "model small",
    ):
        assert word in printed


def test_bench_compares_all_backends_in_one_run(capsys, tmp_path):
    target = str(tmp_path / "bench.json")
    assert main(["bench", "--model", "small", "--rounds", "2", "--no-ros", "--json", target]) == 0
    result = json.loads((tmp_path / "bench.json").read_text())
    eager = next(r for r in result["engines"] if (r["backend"], r["precision"]) == ("eager", "float32"))
    assert eager["speedup"] == 1.0 and eager["difference"] == 0.0
    assert all(row["difference"] < 0.01 for row in result["engines"])
    assert len(result["engines"]) >= 3
    assert result["roofline"]["gflop"] > 0.05 and result["roofline"]["tflop_per_s"]["float32"] > 1e-4
    for row in result["engines"]:
        assert row["roofline"] == pytest.approx(row["ms_roofline"] / row["ms_network"])
    assert any(each == "torch_tensorrt: it needs an NVIDIA GPU" for each in result["missing"])
    printed = capsys.readouterr().out
    assert "% of the roofline" in printed and "not measured: torch_tensorrt" in printed


def test_bench_times_the_forms_of_a_family(capsys, monkeypatch):
    from depth_ros.networks import fcrn

    def forms():
        torch.manual_seed(0)
        plain, fast = fcrn.UpProjection(8, 4, fcrn.PlainUp), fcrn.UpProjection(8, 4, fcrn.FastUp)
        fast.load_state_dict(fcrn.fast_state(plain.state_dict()))
        return {"plain": plain, "fast": fast}, torch.rand(1, 8, 4, 6)

    monkeypatch.setattr(fcrn, "forms", forms)
    monkeypatch.setattr(fcrn, "ablations", lambda: {"other": fcrn.Deconvolution(8, 4)})
    assert main(["bench", "--family", "fcrn", "--rounds", "2", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["form"] for row in result["forms"]] == ["plain", "fast", "other"]
    assert result["size"] == "6x4" and result["forms"][2]["parameters"] == 8 * 4 * 2 * 2 + 2 * 4
    assert result["forms"][0]["speedup"] == 1.0 and result["forms"][1]["difference"] < 1e-5
    assert result["forms"][2]["difference"] is None
    assert main(["bench", "--family", "fcrn", "--rounds", "1"]) == 0
    assert "times the first" in capsys.readouterr().out
    assert main(["bench", "--family", "compact"]) == 1
    assert "no equivalent forms to time; families with forms: fcrn" in capsys.readouterr().err


COMMANDS = (
    "demo", "replay", "bench", "models", "compile", "import", "evaluate", "train", "bag", "render", "effect",
    "two_view", "predict", "doctor",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_describes_all_its_options(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0 and f"usage: depth_ros {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate --data a b depth", "train --on a mono_indoor"])
def test_a_positional_argument_after_an_option_of_several_values_is_explained(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    option, missing = ("--data", "task") if "evaluate" in command else ("--on", "recipe")
    last = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2 and f"are required: {missing}; put it before" in last and option in last
    with pytest.raises(SystemExit):
        main(["evaluate", "depth"])
    assert capsys.readouterr().err.endswith("are required: --data\n")


def test_the_list_of_commands_is_complete():
    assert set(parser()._subparsers._group_actions[0].choices) == set(COMMANDS)
