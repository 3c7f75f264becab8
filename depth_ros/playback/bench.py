"""`depth_ros bench`: all backends interleaved in one run, and the node over real DDS; equivalent forms of a network.

Machines are noisy, so compare ratios within one run: the engines take turns, some calls each, and the median of each
is divided by that of eager float32.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from typing import Any

import numpy as np
import torch

from depth_ros.card import Card, deployed_model, find_card
from depth_ros.engine import BACKENDS, Engine, EngineSettings, backend, open_engine, pick_device
from depth_ros.engine.check import check_inputs
from depth_ros.engine.precision import lowered
from depth_ros.engine.store import device_name
from depth_ros.errors import DepthRosError
from depth_ros.estimators.stereo.semi_global import SGBM_MODES, SemiGlobalMatcher
from depth_ros.networks import families, family
from depth_ros.playback.roofline import Roofline, layers_of, measure, seconds

WARM_UP = 3
BLOCK = 10
"""Calls of one engine in a row: idle threads of the previous engine spin for a while and would slow a single call."""


def bench(model: str, rounds: int, ros: bool = True) -> dict[str, Any]:
    """{"model", "device", "size", "roofline", "engines": [{backend, precision, ms_*, ...}], "missing", "node"}.

    speedup: relative to eager float32. difference: median relative difference of the depth from that of eager float32
    on the check image. Of an engine, not of OpenCV: ms_network is the time without copies between arrays and the
    device, ms_roofline the shortest possible, roofline their ratio (see depth_ros.playback.roofline). missing: backends
    and engines that cannot be used here, each with the reason.
    """
    card, device = find_card(model), pick_device("auto")
    engines, missing = engines_of(card, device)
    roofline = roofline_of(card, device, {engine.precision for engine in engines})
    others = classical() if card.task == "stereo_depth" else []
    result: dict[str, Any] = {
        "model": card.name,
        "device": device_name(device),
        "size": f"{card.width}x{card.height}",
        "roofline": roofline.summary(),
        "engines": engine_rows(card, [*engines, *others], rounds, roofline),
        "missing": missing,
    }
    if ros and card.task == "depth" and importlib.util.find_spec("rclpy") is not None:
        result["node"] = node_rows(model)
    return result


def bench_forms(name: str, rounds: int) -> dict[str, Any]:
    """{"family", "device", "size", "forms": [{form, ms_*, speedup, difference}]} of the equivalent forms of a network.

    Eager float32 with random weights, one image, in turns; the first form is the reference. parameters: their number.
    difference: largest difference of an output value, relative to the largest output; None for the networks that the
    authors compare theirs with (`ablations`), which compute something else.
    """
    module = family(name)
    if not hasattr(module, "forms"):
        available = ", ".join(each for each in families() if hasattr(family(each), "forms"))
        raise DepthRosError(
            f"family '{name}' has no equivalent forms to time; families with forms: {available}"
        )
    device = pick_device("auto")
    networks, x = module.forms()
    equivalent = set(networks)
    networks |= getattr(module, "ablations", dict)()
    networks, x = {key: network.to(device).eval() for key, network in networks.items()}, x.to(device)
    times: dict[str, list[float]] = {key: [] for key in networks}
    with torch.inference_mode():
        outputs = {key: network(x) for key, network in networks.items()}
        for _ in range(rounds):
            for key, network in networks.items():
                start = time.perf_counter()
                network(x).sum().item()  # waits for the device
                times[key].append(1000 * (time.perf_counter() - start))
    first, *_ = networks
    rows = [
        {
            "form": key,
            "parameters": sum(parameter.numel() for parameter in networks[key].parameters()),
            "ms_median": float(np.median(taken)),
            "ms_min": float(np.min(taken)),
            "speedup": float(np.median(times[first]) / np.median(taken)),
            "difference": float((outputs[key] - outputs[first]).abs().max() / outputs[first].abs().max())
            if key in equivalent
            else None,
        }
        for key, taken in times.items()
    ]
    return {
        "family": name,
        "device": device_name(device),
        "size": f"{x.shape[3]}x{x.shape[2]}",
        "forms": rows,
    }


def median_difference(depth: np.ndarray, reference: np.ndarray) -> float:
    """Median of the relative difference of the pixels that are finite in both."""
    valid = np.isfinite(depth) & np.isfinite(reference)
    return float(np.median(np.abs(depth[valid] / reference[valid] - 1)))


def engines_of(card: Card, device: str) -> tuple[list[Engine], list[str]]:
    """All engines that this machine can run and that pass the check, eager float32 first, and why others are missing.

    Eager PyTorch on a GPU appears twice: launched kernel by kernel, and as one CUDA graph, as engines run it.
    """
    engines = plain_eager(card, device) if device == "cuda" else []
    missing = []
    for name in reversed(BACKENDS):
        module = backend(name)
        if reason := module.unavailable(device):
            missing.append(f"{name}: {reason}")
            continue
        for precision in module.precisions(device):
            settings = EngineSettings(backend=name, precision=precision, device=device)
            engine = open_engine(card, card.width, card.height, settings)
            if (engine.backend, engine.precision) != (name, precision):
                missing.append(f"{name} {precision}: {engine.reason}")
            elif device == "cuda" and name == "eager":
                engines.append(dataclasses.replace(engine, backend="CUDA graph"))
            else:
                engines.append(engine)
    return engines, missing


def plain_eager(card: Card, device: str) -> list[Engine]:
    """The module of a model, in float32 and float16."""
    model, inputs = deployed_model(card, device), check_inputs(card, card.width, card.height, device)
    return [
        Engine("eager", precision, device, card.width, card.height, "", lowered(model, precision, inputs))
        for precision in ("float32", "float16")
    ]


def classical() -> list[Engine]:
    """OpenCV's semi-global matching in all modes, for comparison with stereo networks."""
    modes = ((mode, SemiGlobalMatcher(mode=mode)) for mode in SGBM_MODES)
    return [Matching("OpenCV SGM", mode, "cpu", 0, 0, "", run) for mode, run in modes]


class Matching(Engine):
    """An engine that takes and returns arrays instead of tensors."""

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Disparity (H, W)."""
        return self.run(*inputs)


def roofline_of(card: Card, device: str, precisions: set[str]) -> Roofline:
    """The roofline of a model at the size of its card."""
    inputs = check_inputs(card, card.width, card.height, device)
    return Roofline(layers_of(deployed_model(card, device), inputs), measure(device, precisions))


def engine_rows(card: Card, engines: list[Engine], rounds: int, roofline: Roofline) -> list[dict[str, Any]]:
    """Time the engines in turns; the result is sorted by speed. The first of `engines` is the reference."""
    inputs = [each[0].numpy() for each in check_inputs(card, card.width, card.height, "cpu")]
    depths = [engine(*inputs) for engine in engines]
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(max(1, rounds // BLOCK)):
        for engine, taken in zip(engines, times, strict=True):
            for turn in range(WARM_UP + min(BLOCK, rounds)):
                start = time.perf_counter()
                engine(*inputs)
                if turn >= WARM_UP:
                    taken.append(1000 * (time.perf_counter() - start))
    rows: list[dict[str, Any]] = [
        {
            "backend": engine.backend,
            "precision": engine.precision,
            "ms_median": float(np.median(taken)),
            "ms_min": float(np.min(taken)),
            "ms_p95": float(np.percentile(taken, 95)),
            "speedup": float(np.median(times[0]) / np.median(taken)),
            "difference": median_difference(depth, depths[0]),
            **network_times(card, engine, roofline),
        }
        for engine, taken, depth in zip(engines, times, depths, strict=True)
    ]
    return sorted(rows, key=lambda row: row["ms_median"])


def network_times(card: Card, engine: Engine, roofline: Roofline) -> dict[str, float | None]:
    """ms_network, ms_roofline and roofline of an engine, the latter two None where the peak is unknown."""
    if isinstance(engine, Matching):
        return {}
    inputs = check_inputs(card, card.width, card.height, engine.device)
    with torch.inference_mode():
        network = seconds(lambda: engine.run(*inputs), engine.device)
    shortest = roofline.shortest(engine.precision)
    return {
        "ms_network": 1000 * network,
        "ms_roofline": shortest and 1000 * shortest,
        "roofline": shortest and shortest / network,
    }


def node_rows(model: str) -> list[dict[str, Any]]:
    """1280x720 at 30 Hz through the real node: with the model, and with an inference of 200 ms."""
    from depth_ros.playback.latency import LatencyOptions, node_latency

    return [
        {"case": "the model", **node_latency(model=model)},
        {"case": "200 ms of inference", **node_latency(options=LatencyOptions(inference_ms=200.0))},
    ]


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    lines = [f"{result.get('model') or result['family']} {result['size']} on {result['device']}"]
    for row in result.get("forms", []):
        line = "  {form:<15} {millions:5.1f} M parameters {ms_median:7.1f} ms  {speedup:5.2f} times the first"
        if row["difference"] is not None:
            line += ", difference {difference:.0e} of the largest value"
        lines.append(line.format(**row, millions=row["parameters"] / 1e6))
    for row in result.get("steps", []):
        points = f", {row['points']} points" if row["points"] else ""
        lines.append("  {step:<30} {ms_cpu_median:6.2f} ms of CPU time".format(**row) + points)
    if roofline := result.get("roofline"):
        peaks = ", ".join(f"{name} {value:.3g}" for name, value in roofline["tflop_per_s"].items())
        lines.append(
            "  {gflop:.3g} GFLOP; ".format(**roofline)
            + f"measured TFLOP/s: {peaks}; copy {roofline['gb_per_s']:.3g} GB/s"
        )
    for row in result.get("engines", []):
        lines.append(
            "  {backend:<14} {precision:<9} {ms_median:7.1f} ms  {speedup:5.1f} times eager float32, "
            "median difference {percent:.2f} %".format(**row, percent=100 * row["difference"])
        )
        if row.get("roofline"):
            lines[-1] += ", network {ms_network:.2f} ms, {fraction:.0f} % of the roofline".format(
                **row, fraction=100 * row["roofline"]
            )
    lines += [f"  not measured: {each}" for each in result.get("missing", [])]
    for row in result.get("node", []):
        lines.append(
            "  node, 1280x720 at 30 Hz, {case}: {processed} of {sent} processed, {stale} stale, backlog {backlog}, "
            "latency of the node itself {own_median:.1f} ms (p95 {own_p95:.1f})".format(**row)
        )
    return "\n".join(lines)
