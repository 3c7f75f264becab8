"""Another model for a running node, over DDS: no frame is lost, and a model that is refused changes nothing."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from known_depth_node import NAP, PREPARE_SECONDS
from node_client import Client, camera, image_of, info_of, values_of
from rcl_interfaces.srv import GetParameters

from depth_ros.card import load_model, read_card
from depth_ros.messages.decode import depth_from, stamp_ns
from depth_ros.nodes import depth_node, odometry_node
from depth_ros.playback.play import node_process

SIZE = camera(64, 48)


@pytest.fixture(scope="module")
def models(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of several names, one of another task, one of another scale, one without weights."""
    root = tmp_path_factory.mktemp("several")
    for name in ("once", "twice", "unbuildable", "other_task", "other_scale", "no_weights"):
        shutil.copytree(small_model, root / name)
    for name, old, new in (("other_task", "task: depth", "task: ego_motion"),
                           ("other_scale", "scale: metric", "scale: up_to_scale")):  # fmt: skip
        card = root / name / "card.yaml"
        assert old in card.read_text()
        card.write_text(card.read_text().replace(old, new))
    (root / "no_weights/weights.safetensors").unlink()
    return root


def model_of(node: Client) -> str:
    request = GetParameters.Request(names=["model"])
    answer = node.call(GetParameters, f"{node.name}/get_parameters", request)
    return str(answer.values[0].string_value)


def second_column(node: Client) -> float:
    """Depth of a frame now; that of the known model is 1.5 m."""
    (depth,) = node.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")
    return float(depth_from(depth)[1, 1])


def test_another_model_takes_over_between_two_frames(node: Client, models: Path):
    assert second_column(node) == 1.5
    node.received["depth/image_rect"].clear()
    assert node.set_parameters(model=str(models / "twice"))[0].successful
    sent: list[int] = []

    def values() -> list[float]:
        return [float(depth_from(m)[1, 1]) for m in node.received["depth/image_rect"]]

    node.wait_until(
        lambda: values()[-3:] == [3.0] * 3, lambda: sent.append(node.publish(image_of(SIZE), info_of(SIZE)))
    )
    node.wait_until(lambda: stamp_ns(node.received["depth/image_rect"][-1].header) == sent[-1])
    assert [stamp_ns(m.header) for m in node.received["depth/image_rect"]] == sent
    assert set(values()) == {1.5, 3.0} and values() == sorted(values())
    assert values().count(1.5) > 4  # the old one served while the other was prepared, for 2 s
    node.statuses.clear()
    status = node.wait_until(lambda: next(iter(node.statuses), None))
    assert values_of(status)["model"] == model_of(node) == str(models / "twice")
    assert "prepares twice 64x48" in node.log.read_text()


def test_the_frame_that_is_estimated_when_the_new_model_is_ready_is_published(node: Client, models: Path):
    assert second_column(node) == 3.0
    assert node.set_parameters(model=str(models / "once"))[0].successful
    node.spin(PREPARE_SECONDS - 0.5)
    stamp = node.publish(image_of(SIZE, NAP), info_of(SIZE))  # takes a second
    node.wait_until(
        lambda: stamp in [stamp_ns(m.header) for m in node.received["depth/image_rect"]], timeout=10
    )
    node.wait_until(lambda: second_column(node) == 1.5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "no model '"), ("other_task", "is for task 'ego_motion'; needed: depth or planes"),
        ("no_weights", "weights.safetensors is missing"),
        ("other_scale", "has scale up_to_scale, the running one metric"),
    ],
)  # fmt: skip
def test_what_is_known_at_once_is_the_answer_of_the_service(node: Client, models: Path, name, words):
    before, value = model_of(node), second_column(node)
    result = node.set_parameters(model=str(models / name))[0]
    assert not result.successful and words in result.reason
    assert (model_of(node), second_column(node)) == (before, value)


def test_what_is_found_later_is_in_diagnostics_and_the_old_model_goes_on(node: Client, models: Path):
    before, value = model_of(node), second_column(node)
    assert node.set_parameters(model=str(models / "unbuildable"))[0].successful
    words = f"'{models / 'unbuildable'}' is refused, '{before}' goes on: no engine could be built"
    status = node.wait_for_status(DiagnosticStatus.WARN, words)
    assert values_of(status)["model"] == before and words in values_of(status)["model problem"]
    node.wait_until(lambda: model_of(node) == before)
    assert second_column(node) == value
    assert node.set_parameters(model=str(models / "once"))[0].successful
    node.wait_for_status(DiagnosticStatus.OK, "ok", lambda: node.publish(image_of(SIZE), info_of(SIZE)))
    node.wait_until(lambda: second_column(node) == 1.5)


def test_the_last_model_that_was_asked_for_wins(node: Client, models: Path):
    for name in ("twice", "once", "twice"):
        assert node.set_parameters(model=str(models / name))[0].successful
    node.wait_until(lambda: second_column(node) == 3.0)
    node.spin(2.5)
    assert second_column(node) == 3.0 and model_of(node) == str(models / "twice")


def test_cleanup_forgets_the_model_that_is_being_loaded(node: Client, models: Path):
    assert node.set_parameters(model=str(models / "twice"))[0].successful
    assert node.change_state("deactivate") and node.change_state("cleanup")
    assert node.set_parameters(model=str(models / "once"))[0].successful
    assert node.change_state("configure") and node.change_state("activate")
    node.spin(2.5)
    assert second_column(node) == 1.5 and model_of(node) == str(models / "once")


def test_odometry_of_the_same_process_does_not_compare_depth_of_two_models(models: Path, tmp_path: Path):
    log, size = tmp_path / "log", camera(160, 120)
    log.touch()
    script = str(Path(__file__).with_name("known_perception_node.py"))
    parameters = ["-p", "base_frame:=''", "-p", "flying_pixels:=0.0"]
    with (
        node_process([script, str(log), "--ros-args", *parameters]) as (_, namespace),
        closing(Client(namespace, depth_node, odometry_node, log=log)) as client,
    ):
        client.results_of(image_of(size), info_of(size), "depth/image_rect", "odom")
        key = "odometry starts"

        def starts() -> int:
            client.statuses.clear()
            return client.wait_until(
                lambda: next((int(values_of(s)[key]) for s in client.statuses if key in values_of(s)), None)
            )

        before = starts()
        assert client.set_parameters(model=str(models / "twice"))[0].successful
        client.wait_until(
            lambda: float(depth_from(client.received["depth/image_rect"][-1])[1, 1]) == 3.0,
            lambda: client.publish(image_of(size), info_of(size)),
        )
        assert client.wait_until(lambda: starts() == before + 1)


def test_the_real_estimator_gives_the_depth_of_the_new_model(small_model: Path, tmp_path: Path):
    """A trained model replaces the one in the same folder: its path is set again."""
    shutil.copytree(small_model, tmp_path / "m")
    other = retrained(small_model, tmp_path / "other")
    command = [
        "-m",
        "depth_ros.nodes.depth_node",
        "--ros-args",
        "-p",
        "backend:=eager",
        "-p",
        f"model:={tmp_path}/m",
    ]
    with node_process(command) as (_, namespace), closing(Client(namespace, depth_node)) as client:

        def depth() -> np.ndarray:
            return depth_from(client.results_of(image_of(SIZE), info_of(SIZE), "depth/image_rect")[0])

        first = depth()
        for file in other.iterdir():
            shutil.copy(file, tmp_path / "m")
        assert np.array_equal(depth(), first)
        assert client.set_parameters(model=f"{tmp_path}/m")[0].successful
        client.wait_until(lambda: not np.array_equal(depth(), first))
        second = depth()
        assert np.nanmedian(second) == pytest.approx(np.nanmedian(expected(other, second.shape)), rel=1e-4)
        (tmp_path / "m/weights.safetensors").write_bytes(b"cut")
        assert client.set_parameters(model=f"{tmp_path}/m")[0].successful
        client.wait_for_status(DiagnosticStatus.WARN, "weights.safetensors is damaged")
        assert np.array_equal(depth(), second)


def retrained(model: Path, folder: Path) -> Path:
    """The same network with other weights."""
    from safetensors.torch import load_file, save_file

    from depth_ros.card import checksum

    shutil.copytree(model, folder)
    card = read_card(folder)
    weights = {
        name: value * 1.05 if value.is_floating_point() else value
        for name, value in load_file(card.weights).items()
    }
    save_file(weights, card.weights)
    text = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(text.replace(card.sha256, checksum(card.weights)))
    return folder


def expected(model: Path, shape: tuple[int, int]) -> np.ndarray:
    image = torch.full((1, *shape, 3), 90, dtype=torch.uint8)
    K = torch.tensor(SIZE.resized(shape[1], shape[0]).K, dtype=torch.float32)[None]
    with torch.no_grad():
        result = load_model(read_card(model))(image, K)
    return (result[0] if isinstance(result, tuple) else result)[0].numpy()
