"""The path of images around engines on a GPU: on tensors of the CPU against OpenCV, and its transfers on a fake GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from fake_cuda import fake_gpu

from depth_ros.datatypes import Camera, Depth, Frame, Motion
from depth_ros.engine import EngineSettings, compile_check, pool
from depth_ros.engine.eager_backend import CudaGraph
from depth_ros.engine.image_path import ImagePath, OpenCvPath
from depth_ros.engine.torch_path import MAX_RECENT, TorchPath
from depth_ros.errors import DepthRosError
from depth_ros.estimators.depth import DepthEstimator
from depth_ros.estimators.object_motion.network import ObjectMotionNetwork
from depth_ros.estimators.odometry.pose_network import PoseNetwork
from depth_ros.estimators.stereo.estimator import StereoEstimator, StereoSettings
from depth_ros.estimators.stereo.pair import stereo_pair
from depth_ros.networks import families, family, struct2depth
from depth_ros.recordings import open_recording
from depth_ros.training.export import export
from depth_ros.training.recipes import CropSettings, Recipe, Source
from depth_ros.training.supervision.video import VideoSupervision
from depth_ros.world import World, WorldSettings

EAGER = EngineSettings(backend="eager", precision="float32", device="cpu")
K = np.array([[150.0, 0, 128], [0, 150, 64], [0, 0, 1]])
P = np.array([[120.0, 0, 128, 0], [0, 120, 64, 0], [0, 0, 1, 0]])
LENSES = {
    "plumb_bob": (-0.3, 0.1, 0.001, -0.001, 0.0),
    "rational_polynomial": (0.4, -0.2, 0.0, 0.001, 0.1, 0.7, -0.1, 0.05),
    "equidistant": (0.1, -0.05, 0.01, 0.0),
}


@pytest.fixture(scope="module")
def rendered():
    """A rendered stereo pair."""
    return World(WorldSettings(kind="street", frames=4, width=640, height=192))[0]


@pytest.fixture(params=["rendered", "kitti2015_stereo", "euroc_v1_01"])
def sample(request, rendered):
    """A stereo pair; that of EuRoC is distorted."""
    if request.param == "rendered":
        return rendered
    return open_recording(request.getfixturevalue("data_root") / request.param)[0]


DTYPES = (torch.float32, torch.float16)
"""Of resizing, on CPUs and on GPUs."""


HAS_GPU = torch.cuda.is_available()


@pytest.fixture(
    params=[*(("cpu", dtype) for dtype in DTYPES), *([("cuda", None)] if HAS_GPU else [])], ids=str
)
def path(request):
    """The path of a GPU on tensors of the CPU, and on a GPU if there is one."""
    return TorchPath(*request.param)


@contextlib.contextmanager
def serving(path: ImagePath) -> Iterator[None]:
    """All engines take their images from this path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("depth_ros.engine.engine.image_path", lambda device: path)
        yield


def compare(found: torch.Tensor, expected: np.ndarray, mean: float, largest: int) -> None:
    difference = np.abs(found.cpu().numpy().astype(int) - expected)
    assert difference.mean() < mean and difference.max() <= largest, (difference.mean(), difference.max())


def test_images_are_resized_as_by_opencv(sample, path):
    """Within 0.2 grey levels in the mean and 1 everywhere: down and up, odd sizes, and one axis down and one up."""
    camera = sample.left.camera.rectified()
    frame, host = replace(sample.left, camera=camera), OpenCvPath()
    width, height = camera.width, camera.height
    sizes = [(736, 224), (333, 101), (width + 7, height - 9), (320, 224), (width // 2, height // 2),
             (width + 101, height + 37), (width - 3, height + 5), (width, height - 1), (width - 1, height)]  # fmt: skip
    is_large = width * height > 640 * 192  # float16 is slow on CPUs
    for size in sizes[: 3 if is_large else None]:
        for method in (cv2.INTER_LINEAR, cv2.INTER_CUBIC):
            expected = host.resized(host.rectified(frame), *size, method)
            compare(path.resized(path.rectified(frame), *size, method), expected, 0.2, 1)


@pytest.mark.parametrize("model", LENSES)
def test_images_are_rectified_as_by_opencv(rendered, path, model):
    rotation = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    image = cv2.resize(rendered.left.image, (256, 128), interpolation=cv2.INTER_AREA)
    frame = Frame(0, "", image, Camera(256, 128, K, P, rotation, LENSES[model], model))
    compare(path.rectified(frame), OpenCvPath().rectified(frame), 0.02, 1)


def test_recorded_images_are_rectified_as_by_opencv(data_root, path):
    for frame in (
        open_recording(data_root / "euroc_v1_01")[20].left,
        open_recording(data_root / "euroc_v1_01")[0].right,
    ):
        assert not frame.camera.is_rectified
        compare(path.rectified(frame), OpenCvPath().rectified(frame), 0.02, 1)


def test_images_are_padded_and_stacked_as_by_opencv(rendered, path):
    frame, host = rendered.left, OpenCvPath()
    pair = [replace(frame, image=frame.image[::-1].copy()), frame]
    expected = [host.padded(host.rectified(each), 672, 224) for each in pair]
    found = [path.padded(path.rectified(each), 672, 224) for each in pair]
    np.testing.assert_array_equal(path.stacked(found).cpu().numpy(), host.stacked(expected))


def test_inputs_beside_the_image_are_uploaded_anew_for_every_frame(path):
    image = np.zeros((4, 6, 3), np.uint8)
    for value in (0.25, -3.5):
        maps = np.full((2, 4, 6), value)
        (found,) = path.run(lambda _, given: [2 * given], [image, maps])
        assert found.dtype == np.float32 and found.shape == (2, 4, 6) and (found == 2 * value).all()
    assert path._constant.cache_info().currsize == 0  # which keeps intrinsics only


def test_an_unsupported_lens_is_an_error_on_a_gpu_too(path):
    camera = Camera(256, 128, K, P, np.eye(3), (0.1, 0.0), "thin_prism")
    with pytest.raises(DepthRosError, match="distortion_model 'thin_prism' of camera_info is not supported"):
        path.rectified(Frame(0, "", np.zeros((128, 256, 3), np.uint8), camera))


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Median of the relative difference."""
    assert (np.isfinite(found) == np.isfinite(expected)).mean() > 0.999
    return float(np.nanmedian(np.abs(found - expected) / expected))


@pytest.mark.parametrize("model", ["mono_driving", "mono"])
def test_depth_is_that_of_the_path_through_opencv(sample, model, engine_cache):
    expected = DepthEstimator(model, EAGER).estimate(sample.left)
    for dtype in DTYPES:
        with serving(TorchPath("cpu", dtype)):
            found = DepthEstimator(model, EAGER).estimate(sample.left)
        assert difference(found.depth, expected.depth) < 0.005
        compare(torch.from_numpy(found.image), expected.image, 0.2, 2)
        assert (found.camera.K == expected.camera.K).all()


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.5])
def test_disparity_is_that_of_the_path_through_opencv(sample, engine_cache, scale):
    if sample.left.camera.is_rectified:
        frames = (replace(each, image=each.image[:150, :300], camera=replace(each.camera, width=300, height=150))
                  for each in (sample.left, sample.right))  # fmt: skip
    else:
        frames = (sample.left, sample.right)
    pair, settings = stereo_pair(*frames), StereoSettings(scale=scale)
    expected = StereoEstimator("stereo", EAGER, settings).estimate(pair)
    with serving(TorchPath("cpu", torch.float16)):
        found = StereoEstimator("stereo", EAGER, settings).estimate(pair)
    assert difference(found.disparity, expected.disparity) < 0.005
    assert difference(found.std, expected.std) < 0.05
    assert found.image.shape == expected.image.shape == pair.left.image.shape
    compare(torch.from_numpy(found.image), expected.image, 0.2, 4)
    assert found.camera.is_rectified and found.offset == expected.offset


@pytest.fixture()
def gpu(monkeypatch, engine_cache):
    """A machine with a fake GPU, as a process that has just started."""
    if HAS_GPU:
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(pool, "_pool", pool.EnginePool())
    with fake_gpu(monkeypatch) as made:
        made.path = TorchPath("cuda")
        with serving(made.path):
            yield made


GPU = EngineSettings(backend="eager", precision="float16", device="cuda")


def frames(count: int, size: tuple[int, int] = (256, 128), lens: tuple[float, ...] = ()):
    random, (width, height) = np.random.default_rng(1), size
    camera = (
        Camera(width, height, K, P, np.eye(3), lens) if lens else Camera.pinhole(*size, 150, 150, 127, 63)
    )
    for i in range(count):
        yield Frame(i, "camera", random.integers(0, 256, (height, width, 3), np.uint8), camera)


@pytest.mark.parametrize("lens", [(), LENSES["plumb_bob"]], ids=["rectified", "distorted"])
def test_a_frame_is_uploaded_once_and_waited_for_once(small_model, gpu, lens):
    """And no tensor is made in pageable memory. Depth and its image are downloaded."""
    estimator = DepthEstimator(str(small_model), GPU)
    first, *others = frames(4, lens=lens)
    estimator.estimate(first)
    assert estimator.engine_status.reason == "runs the module as it is, in a CUDA graph"
    gpu.events.clear()
    results = [estimator.estimate(frame) for frame in others]
    assert gpu.events == {
        "upload pinned": 3, "download pinned": 6, "pinned tensor": 9, "synchronisation": 3, "graph replay": 3,
    }  # fmt: skip
    with serving(OpenCvPath()):
        expected_results = [DepthEstimator(str(small_model), EAGER).estimate(frame) for frame in others]
    for result, expected in zip(results, expected_results, strict=True):
        assert difference(result.depth, expected.depth) < 0.01
        compare(torch.from_numpy(result.image), expected.image, 0.2, 2)


@pytest.mark.skipif(not HAS_GPU, reason="this machine has no GPU")
@pytest.mark.parametrize("lens", [(), LENSES["plumb_bob"]], ids=["rectified", "distorted"])
def test_depth_of_a_real_gpu_is_that_of_the_cpu(small_model, engine_cache, lens):
    """All results are held until the end."""
    images = list(frames(20, lens=lens))
    estimator, eager = DepthEstimator(str(small_model), GPU), DepthEstimator(str(small_model), EAGER)
    results = [estimator.estimate(frame) for frame in images]
    assert estimator.engine_status.reason == "runs the module as it is, in a CUDA graph"
    for frame, result in zip(images, results, strict=True):
        expected = eager.estimate(frame)
        assert difference(result.depth, expected.depth) < 0.01
        compare(torch.from_numpy(result.image), expected.image, 0.2, 2)


def test_results_that_are_held_do_not_change(small_model, gpu):
    estimator = DepthEstimator(str(small_model), GPU)
    held = [estimator.estimate(frame) for frame in frames(3)]
    arrays = [array for each in held for array in (each.depth, each.image)]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    assert not np.array_equal(held[0].depth, held[1].depth)


def test_a_pair_is_uploaded_once_and_waited_for_once(gpu):
    """The images are padded; the result contains the rectified left image."""
    estimator = StereoEstimator("stereo", GPU)
    (first, second), (third, fourth) = (tuple(frames(2, (96, 60))) for _ in range(2))
    right = Camera.pinhole(96, 60, 150, 150, 127, 63, 0.2)
    estimator.estimate(stereo_pair(first, replace(second, camera=right)))
    gpu.events.clear()
    found = estimator.estimate(stereo_pair(third, replace(fourth, camera=right)))
    assert found.disparity.shape == (60, 96) and (found.image == third.image).all()
    assert gpu.events == {
        "upload pinned": 2, "download pinned": 3, "pinned tensor": 5, "synchronisation": 1, "graph replay": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def video_model(tmp_path_factory):
    """Models of depth, ego-motion and object motion with random weights."""
    torch.manual_seed(0)
    recipe = Recipe(
        name="moved", family="struct2depth", crop=CropSettings(128, 64), sources=(Source("world:street", count=1),),
        validation=(), description="a test", licence="Apache-2.0", terms="", supervision=VideoSupervision(),
    )  # fmt: skip
    models = struct2depth.build_training_model(struct2depth.Settings(width_divisor=16, objects=3))
    return export(models, recipe, tmp_path_factory.mktemp("models") / "moved")


def test_engines_of_a_process_share_the_uploaded_image(video_model, gpu):
    """Depth, ego-motion and object motion of one camera: one upload of the image and one of the labels."""
    settings = replace(GPU, precision="float32")
    depth_model, odometry = (
        DepthEstimator(str(video_model), settings),
        PoseNetwork(f"{video_model}_ego_motion", settings),
    )
    objects = ObjectMotionNetwork(f"{video_model}_object_motion", engine=settings)
    labels = np.zeros((64, 128), np.int32)
    labels[10:40, 20:60] = 1
    previous: Depth | None = None
    for frame in frames(5):
        gpu.events.clear()
        depth = depth_model.estimate(frame)
        odometry.estimate(frame)
        if previous is not None:
            objects.estimate(previous, depth, Motion(previous.stamp, depth.stamp, np.eye(4)), labels)
        previous = depth
    assert gpu.events["upload pinned"] == 2 and gpu.events["synchronisation"] == 3
    assert gpu.events["graph replay"] == 3
    assert not [
        name for name in gpu.events if name in ("host tensor", "upload pageable", "download pageable")
    ]


def test_memory_that_a_driver_uses_again_is_another_image(small_model, gpu):
    estimator = DepthEstimator(str(small_model), GPU)
    first, second = frames(2)
    before = estimator.estimate(first).depth
    first.image[:] = second.image
    after = estimator.estimate(Frame(5, "camera", first.image, first.camera)).depth
    np.testing.assert_array_equal(after, estimator.estimate(second).depth)
    assert not np.array_equal(before, after)


def test_images_of_frames_that_are_gone_leave_the_gpu(small_model, gpu):
    estimator = DepthEstimator(str(small_model), GPU)
    for frame in frames(4):
        estimator.estimate(frame)
    assert len(gpu.path._recent) <= 3  # the last frame and its depth image, and the one before
    held = [estimator.estimate(frame) for frame in frames(2 * MAX_RECENT)]
    assert len(gpu.path._recent) <= MAX_RECENT < len(held)


def every_family():
    return [name for name in families() if family(name).NETWORKS]


@pytest.mark.parametrize("name", every_family())
def test_networks_make_no_tensor_on_the_host(name, gpu):
    """So a CUDA graph holds the whole network."""
    for case in compile_check.cases(name):
        with torch.inference_mode():
            model, inputs = case.model.to("cuda"), tuple(each.to("cuda") for each in case.inputs)
            model(*inputs)
            gpu.events.clear()
            graph = CudaGraph(model, inputs)
            assert not gpu.events, case.name
            graph(*inputs)
            assert gpu.events == {"graph replay": 1}
