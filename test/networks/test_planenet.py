"""PlaneNet: published sizes and names, exact geometry, order-agnostic losses, and a CRF that equals brute force."""

import itertools

import numpy as np
import pytest
import torch

from depth_ros.errors import DepthRosError
from depth_ros.geometry import rays
from depth_ros.networks import planenet
from depth_ros.networks.blocks import planes as geometry
from depth_ros.networks.blocks.dense_crf import DenseCrf
from depth_ros.world import World, WorldSettings


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts():
    with torch.device("meta"):
        resnet, drn = planenet.NETWORKS["resnet101"](), planenet.NETWORKS["drn_d_54"]()
    heads = (resnet.plane_fc, resnet.pools, resnet.segmentation_conv1, resnet.segmentation_conv2,
             resnet.non_plane_mask_conv2, resnet.non_plane_depth_conv2, resnet.non_plane_normal_conv2)  # fmt: skip
    assert sum(map(count, heads)) == 23_142_957 and count(resnet) - 23_142_957 == 42_502_256
    assert count(resnet) + count(DenseCrf(11)) == 65_645_576
    assert count(drn) == 40_300_506 and count(drn.drn) == 35_296_176


def test_released_names_and_layout():
    with torch.device("meta"):
        model = planenet.Model(planenet.Settings(network="resnet101"))
    names = {key: planenet.released_name(key) for key in model.state_dict() if "num_batches" not in key}
    assert len(set(names.values())) == len(names)
    assert {
        "degridding/conv1/weights", "degridding/bn1/gamma", "degridding/conv2_c/weights", "degridding/bn2c/beta",
        "degridding/conv3c/weights", "degridding/conv3b/weights", "degridding/bn3b/moving_mean",
        "res2a_branch1/weights", "res4b22_branch2c/weights", "bn2a_branch1/moving_variance", "res5d_pool1_conv/weights",
        "res5d_pool4_bn/gamma", "plane_fc/weights", "plane_fc/biases", "segmentation_conv1/weights",
        "segmentation_bn1/beta", "segmentation_conv2/biases", "non_plane_mask_conv2/weights",
        "non_plane_depth_conv2/weights", "non_plane_normal_conv2/biases", "crfrnn/spatial_ker_weights",
        "crfrnn/bilateral_ker_weights", "crfrnn/compatibility_matrix",
    } <= set(names.values())  # fmt: skip
    kernel = np.arange(4 * 3 * 5 * 7, dtype=np.float32).reshape(4, 3, 5, 7)

    class Part(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = torch.nn.ModuleDict(
                {
                    "segmentation_conv1": torch.nn.ModuleDict(
                        {"conv": torch.nn.Conv2d(5, 7, (4, 3), bias=False)}
                    )
                }
            )

    state = planenet.released_state(Part(), {"segmentation_conv1/weights": kernel})
    found = state["network.segmentation_conv1.conv.weight"]
    assert found[6, 4, 3, 2] == kernel[3, 2, 4, 6]
    with pytest.raises(DepthRosError, match="lacks 'segmentation_conv1/weights'"):
        planenet.released_state(Part(), {})
    with pytest.raises(DepthRosError, match=r"shape \(4, 3, 7, 5\)"):
        planenet.released_state(Part(), {"segmentation_conv1/weights": kernel.swapaxes(2, 3)})


def test_padding_and_enlarging_are_those_of_tensorflow_1():
    layer = planenet.Tf(1, 1, 3, stride=2).eval()
    with torch.no_grad():
        layer.conv.weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    # SAME with stride 2 on even sizes pads behind only: the first window starts at the first pixel
    first = (x[0, 0, :3, :3] * layer.conv.weight[0, 0]).sum() / np.sqrt(1 + 1e-3)
    assert layer(x)[0, 0, 0, 0].item() == pytest.approx(first.item(), rel=1e-6) and layer(x).shape[2:] == (
        2,
        2,
    )
    ramp = torch.tensor([[[[0.0, 1.0, 3.0]]]])
    assert planenet.enlarged_tf1(ramp, 2, 6)[0, 0, 0].tolist() == [0, 0.5, 1, 2, 3, 3]


@pytest.mark.parametrize("name", list(planenet.NETWORKS))
def test_networks_obey_the_contract(name):
    torch.manual_seed(0)
    if name == "lite":
        model = planenet.Model(planenet.Settings(network=name, fitted=True))
        assert model.size_multiple == 64
        image = torch.randint(0, 256, (2, 64, 128, 3), dtype=torch.uint8)
        K = torch.tensor([[100.0, 0, 63.5], [0, 100, 31.5], [0, 0, 1]]).expand(2, 3, 3)
        depth, planes, labels = model.eval()(image, K)
        assert depth.shape == labels.shape == (2, 64, 128) and planes.shape == (2, 10, 4)
        assert depth.dtype == planes.dtype == torch.float32 and labels.dtype == torch.int32
        assert labels.min() >= -1 and labels.max() < 10 and (planes[..., 3] >= 0).all()
        torch.testing.assert_close(planes[..., :3].norm(dim=2), torch.ones(2, 10))
    with torch.device("meta"):
        raw = planenet.NETWORKS[name]()(torch.empty(2, 3, 192, 256), torch.empty(2, 3, 3))
    scale = 4 if name == "lite" else 8
    assert raw.planes.shape == (2, 10, 3) and raw.logits.shape == (2, 11, 192 // scale, 256 // scale)
    assert raw.depth.shape == (2, 192 // scale, 256 // scale)


@pytest.fixture(scope="module")
def room():
    """A rendered room and its exact planes, as torch: intrinsics, rays, depth, vectors n d, labels."""
    world = World(WorldSettings(kind="room", seed=5, frames=1, width=128, height=96))
    found, camera = world.planes(0, smallest=1), world.cameras["left"]
    vectors = torch.tensor(-found.equations[:, :3] * found.equations[:, 3:], dtype=torch.float32)[None]
    intrinsics = torch.tensor(camera.K, dtype=torch.float32)[None]
    labels = torch.tensor(found.labels)[None]
    return intrinsics, torch.tensor(world.look(0).depth)[None], vectors, labels, rays(camera)


def test_depth_of_true_planes_is_that_of_the_rendered_room(room):
    intrinsics, depth, vectors, labels, numpy_rays = room
    directions = geometry.pixel_rays(intrinsics, (96, 128))
    np.testing.assert_allclose(directions[0].permute(1, 2, 0).numpy(), numpy_rays, atol=1e-6)
    depths = geometry.plane_depths(vectors, directions, 20.0)
    composed = depths.gather(1, labels[:, None].long())[:, 0]
    assert (composed - depth).abs().max() < 1e-4
    turned = planenet.to_optical(planenet.to_forward(vectors))
    assert torch.equal(turned, vectors)
    floor = planenet.to_optical(
        torch.tensor([0.0, 0.0, -1.4])
    )  # below the camera, in x right, y forward, z up
    assert floor.tolist() == pytest.approx([0.0, 1.4, 0.0])
    equations = geometry.equations(vectors)[0]
    points = torch.tensor(numpy_rays) * depth[0, ..., None]
    own = equations[labels[0].long()]
    assert ((points * own[..., :3]).sum(2) + own[..., 3]).abs().max() < 1e-4


def test_rays_of_cells_go_through_their_middles(room):
    intrinsics, *_ = room
    fine = geometry.pixel_rays(intrinsics, (96, 128))
    cells = torch.nn.functional.avg_pool2d(fine, 4)
    torch.testing.assert_close(geometry.pixel_rays(intrinsics, (24, 32), step=4), cells, atol=1e-6, rtol=1e-5)


def test_fit_finds_the_planes_of_exact_depth(room):
    intrinsics, depth, vectors, labels, _ = room
    directions = geometry.pixel_rays(intrinsics, (96, 128))
    share = torch.nn.functional.one_hot(labels.long(), vectors.shape[1]).permute(0, 3, 1, 2).float()
    large = share.sum((2, 3))[0] > 300
    prior = torch.tensor(planenet.ANCHORS).repeat(20, 1)[None, : vectors.shape[1]]
    found = geometry.fit(1 / depth, directions, share, prior, trust=1e-9)
    torch.testing.assert_close(found[0, large], vectors[0, large], atol=2e-3, rtol=2e-3)
    nothing = geometry.fit(1 / depth, directions, torch.zeros_like(share), prior)
    torch.testing.assert_close(nothing, prior, atol=1e-4, rtol=1e-4)


def batch_of(room, planes=6):
    intrinsics, depth, vectors, labels, _ = room
    labels = torch.where(labels < planes, labels, -1)
    image = torch.zeros(1, 96, 128, 3, dtype=torch.uint8)
    return {"image": image, "intrinsics": intrinsics, "depth": depth, "weight": torch.ones_like(depth),
            "planes": vectors[:, :planes], "labels": labels}  # fmt: skip


class Given(torch.nn.Module):
    """A model that says what it is told."""

    def __init__(self, prediction, **settings):
        super().__init__()
        self.prediction, self.settings = prediction, planenet.Settings(planes=6, **settings)

    def predict(self, image, intrinsics):
        return self.prediction


def perfect(batch, sharp=50.0):
    labels = torch.where(batch["labels"] < 0, 6, batch["labels"]).long()
    logits = sharp * torch.nn.functional.one_hot(labels, 7).permute(0, 3, 1, 2).float()
    return planenet.Prediction(batch["planes"], logits, batch["depth"], batch["planes"])


@pytest.mark.parametrize("matching", ["nearest", "hungarian", "masks"])
def test_loss_knows_no_order_and_is_zero_for_the_truth(room, matching):
    batch = batch_of(room)
    exact = perfect(batch)
    terms = planenet.loss(Given(exact, matching=matching, max_depth=20.0), batch)
    assert terms["plane"] == 0 and terms["segmentation"] < 1e-6 and terms["depth"] < 1e-8
    assert terms.get("overlap", 0) < 1e-4 and terms.get("reach", 0) < 1e-2
    assert ("overlap" in terms and "reach" in terms) == (matching == "masks")
    torch.manual_seed(1)
    off = exact._replace(
        prior=exact.prior + 0.02 * torch.randn(1, 6, 3),
        planes=exact.planes + 0.02 * torch.randn(1, 6, 3),
        logits=torch.randn(1, 7, 96, 128),
    )
    terms = planenet.loss(Given(off, matching=matching), batch)
    order = torch.randperm(6)
    with_rest = torch.cat([order, torch.tensor([6])])
    mixed = planenet.Prediction(
        off.planes[:, order], off.logits[:, with_rest], off.depth, off.prior[:, order]
    )
    again = planenet.loss(Given(mixed, matching=matching), batch)
    place = torch.cat([order.argsort(), torch.tensor([-1])])  # -1 stays -1
    other = {**batch, "planes": batch["planes"][:, order], "labels": place[batch["labels"].long()]}
    truth = planenet.loss(Given(off, matching=matching), other)
    for name, term in terms.items():
        assert term > 0
        assert again[name].item() == pytest.approx(term.item(), rel=1e-5), name
        assert truth[name].item() == pytest.approx(term.item(), rel=1e-5), name


def test_hungarian_is_the_best_of_all_assignments_and_nearest_may_share():
    torch.manual_seed(0)
    predicted, truth = torch.randn(3, 5, 3), torch.randn(3, 4, 3)
    truth[2, 3] = torch.nan
    index, valid = geometry.match(predicted, truth, "hungarian")
    assert valid.sum() == 11
    for b in range(3):
        n = int(valid[b].sum())
        cost = (truth[b, :n, None] - predicted[b]).square().sum(2)
        best = min(
            sum(cost[i, k] for i, k in enumerate(order)) for order in itertools.permutations(range(5), n)
        )
        chosen = index[b, :n].tolist()
        assert len(set(chosen)) == n
        assert sum(cost[i, k] for i, k in enumerate(chosen)) == pytest.approx(best.item())
    near, _ = geometry.match(
        torch.tensor([[[0.0, 0, 1], [0, 0, 9]]]), torch.tensor([[[0.0, 0, 2], [0, 0, 3]]]), "nearest"
    )
    assert near.tolist() == [[0, 0]]


def test_masks_decide_where_planes_do_not():
    """Two true planes one way off: by distance alone they would be exchanged; far planes all count alike."""
    predicted, truth = torch.tensor([[[0.0, 0, 2], [0, 0, 3]]]), torch.tensor([[[0.0, 0, 2.9], [0, 0, 2.1]]])
    assert geometry.match(predicted, truth, "hungarian")[0].tolist() == [[1, 0]]
    assert geometry.match(predicted, truth, "masks", torch.zeros(1, 2, 2))[0].tolist() == [[1, 0]]
    unlike = torch.tensor([[[0.1, 3.0], [3.0, 0.1]]])
    assert geometry.match(predicted, truth, "masks", unlike)[0].tolist() == [[0, 1]]
    far = torch.tensor([[[0.0, 0, 50], [0, 0, 90]]])
    assert geometry.match(far, truth, "masks", 0.01 * unlike)[0].tolist() == [[0, 1]]


def test_overlap_and_reach_count_a_small_plane_as_much_as_a_large_one(room):
    batch = batch_of(room)
    exact = perfect(batch)
    sizes = torch.bincount(batch["labels"][batch["labels"] >= 0].long().flatten(), minlength=6)
    large, small = int(sizes.argmax()), int(torch.where(sizes > 0, sizes, 10**9).argmin())
    assert sizes[large] > 2 * sizes[small] > 0
    terms = {}
    for wrong in (large, small):
        planes, logits = exact.planes.clone(), exact.logits.clone()
        planes[:, wrong] *= 1.5
        lost = logits[:, wrong].clone()
        logits[:, wrong] = logits[:, -1]
        logits[:, -1] = torch.maximum(lost, logits[:, -1])
        found = exact._replace(planes=planes, logits=logits)
        terms[wrong] = planenet.loss(Given(found, matching="masks", max_depth=20.0), batch)
    valid = int(torch.isfinite(batch["planes"]).all(2).sum())
    for term in terms.values():
        assert term["overlap"].item() == pytest.approx(1 / valid, abs=0.01)
        assert term["reach"] > 0.5 / valid
    assert terms[large]["segmentation"] > 2 * terms[small]["segmentation"]
    planes, logits = (1.1 * exact.planes).requires_grad_(), torch.randn(1, 7, 96, 128, requires_grad=True)
    found = exact._replace(planes=planes, logits=logits)
    learned = planenet.loss(Given(found, matching="masks", max_depth=20.0), batch)
    for term, value in (("overlap", logits), ("reach", planes)):
        (gradient,) = torch.autograd.grad(learned[term], value, retain_graph=True)
        assert (gradient.abs().flatten(2).sum(2) > 0).sum() >= valid
    masks, share = torch.rand(2, 3, 4, 5).round(), torch.rand(2, 6, 4, 5)
    common = (masks[1, 2] * share[1, 4]).sum()
    together = (masks[1, 2] + share[1, 4] - masks[1, 2] * share[1, 4]).sum()
    torch.testing.assert_close(geometry.overlaps(masks, share)[1, 2, 4], common / together)


def test_gradient_reaches_planes_through_their_own_pixels_only(room):
    batch = batch_of(room)
    exact = perfect(batch)
    planes = (exact.planes * 1.1).requires_grad_()
    depth = planenet.layers(exact._replace(planes=planes), batch["intrinsics"], 20.0)
    share = exact.logits.softmax(1)
    ((depth * share).sum(1) - batch["depth"])[batch["labels"] == 2].square().sum().backward()
    size = planes.grad.norm(dim=2)[0]
    assert size[2] > 1 and size[[0, 1, 3, 4, 5]].max() < 1e-6 * size[2]


def brute_force(crf, logits, image):
    """Every pair of pixels of one image in float64."""
    labels, height, width = logits.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(float)
    colour = image.reshape(-1, 3).astype(float)
    square = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    difference = ((colour[:, None] - colour) ** 2).sum(2)
    spatial = np.exp(-square / (2 * crf.theta_gamma**2))
    bilateral = np.exp(-square / (2 * crf.theta_alpha**2) - difference / (2 * crf.theta_beta**2))
    spatial, bilateral = (k / k.sum(1, keepdims=True) for k in (spatial, bilateral))
    ws, wb, c = (p.detach().double().numpy() for p in crf.parameters())
    u = logits.reshape(labels, -1).astype(float)
    q = u
    for _ in range(crf.iterations):
        Q = np.exp(q - q.max(0))
        Q /= Q.sum(0)
        q = u - c @ (ws @ Q @ spatial.T + wb @ Q @ bilateral.T)
    return q.reshape(logits.shape)


def toy(height=24, width=32):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (2, height, width, 3)).astype(np.uint8)
    image[:, :, width // 2 :] += 100
    return rng.normal(size=(2, 11, height, width)).astype(np.float32), image


def test_crf_equals_brute_force_on_a_toy():
    torch.manual_seed(0)
    crf = DenseCrf(11)
    for p in crf.parameters():
        torch.nn.init.normal_(p)
    logits, image = toy()
    with torch.no_grad():
        found = crf(torch.from_numpy(logits), torch.from_numpy(image)).numpy()
    for b in range(2):
        np.testing.assert_allclose(found[b], brute_force(crf, logits[b], image[b]), atol=1e-4)


def test_crf_without_kernels_returns_the_logits_and_with_them_it_cleans():
    logits, image = toy()
    logits *= 0.6
    left = np.where(np.arange(32) < 16, 1.5, 0.0).astype(np.float32)
    logits[:, 0] += left
    logits[:, 1] += 1.5 - left
    logits, image = torch.from_numpy(logits), torch.from_numpy(image)
    crf = DenseCrf(11)
    truth = torch.tensor(np.where(np.arange(32) < 16, 0, 1)).expand(2, 24, 32)
    before, after = ((x.argmax(1) == truth).float().mean() for x in (logits, crf(logits, image)))
    assert before < 0.85 and after > 0.95
    torch.nn.init.zeros_(crf.spatial_ker_weights)
    torch.nn.init.zeros_(crf.bilateral_ker_weights)
    assert torch.equal(crf(logits, image), logits)


def test_crf_learns_and_cells_come_near_the_exact_filter():
    logits, image = toy()
    image = torch.from_numpy(image)
    image[:, :, :16], image[:, :, 16:] = 0, 100  # two even halves: cells do not mix colours
    logits = torch.from_numpy(logits).requires_grad_()
    crf, cells = DenseCrf(11, iterations=2), DenseCrf(11, iterations=2, stride=4)
    exact, near = crf(logits, image), cells(logits, image)
    assert (exact - near).abs().max() < 0.02
    exact.softmax(1)[:, 0].mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in crf.parameters()) and logits.grad.abs().sum() > 0


def test_mixed_precision_of_training_stops_before_the_geometry():
    torch.manual_seed(0)
    settings = planenet.Settings(network="lite", fitted=True, crf_iterations=1, crf_stride=4)
    model = planenet.Model(settings).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    K = torch.tensor([[[60.0, 0, 31.5], [0, 60, 31.5], [0, 0, 1]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.predict(image, K)
        depths = planenet.layers(mixed, K, 10.0)
    assert {value.dtype for value in (*mixed, depths)} == {torch.float32}
    expected = geometry.plane_depths(mixed.planes, geometry.pixel_rays(K, (64, 64)), 10.0)
    torch.testing.assert_close(depths[:, :-1], expected, rtol=1e-6, atol=1e-6)
    assert (mixed.logits - mixed.logits.bfloat16().float()).abs().max() > 0  # the CRF did not round either


def test_folding_changes_little():
    torch.manual_seed(0)
    model = planenet.Model(planenet.Settings(network="lite", fitted=True, crf_iterations=0)).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    K = torch.tensor([[[60.0, 0, 31.5], [0, 60, 31.5], [0, 0, 1]]])
    folded = planenet.finish(model)
    assert folded.settings.folded and not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    again = planenet.Model(folded.settings)
    again.load_state_dict(folded.state_dict(), strict=True)
    one, other = model.predict(image, K), again.eval().predict(image, K)
    assert ((one.depth - other.depth).abs() / one.depth).median() < 0.01
    torch.testing.assert_close(one.planes, other.planes, rtol=0.02, atol=0.02)


def test_a_few_steps_learn_a_room(room):
    torch.manual_seed(0)
    settings = planenet.Settings(network="lite", fitted=True, matching="hungarian", crf_iterations=0)
    model = planenet.Model(settings)
    batch = batch_of(room, 10)
    batch["image"] = torch.randint(0, 256, (1, 96, 128, 3), dtype=torch.uint8)
    crop = {"image": batch["image"][:, :64], "intrinsics": batch["intrinsics"], "planes": batch["planes"],
            **{key: batch[key][:, :64] for key in ("depth", "weight", "labels")}}  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(10):
        terms = planenet.loss(model, crop)
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        losses.append(terms["loss"].item())
    assert losses[-1] < 0.6 * losses[0]
