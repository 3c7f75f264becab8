"""Family planenet: published sizes, the contract, and a loss that does not depend on the order of planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_ros.networks import planenet
from depth_ros.networks.blocks.dense_crf import DenseCrf
from depth_ros.networks.blocks.planenet_output import resize_tf1
from depth_ros.networks.blocks.planenet_resnet101 import ConvNorm
from depth_ros.networks.blocks.planes import pixel_rays, plane_depths

K_SMALL = torch.tensor([[[60.0, 0, 31.5], [0, 60, 31.5], [0, 0, 1]]])


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_networks_have_the_published_number_of_parameters():
    with torch.device("meta"):
        resnet, drn = planenet.NETWORKS["resnet101"](), planenet.NETWORKS["drn_d_54"]()
    heads = (resnet.plane_fc, resnet.pools, resnet.segmentation_conv1, resnet.segmentation_conv2,
             resnet.non_plane_mask_conv2, resnet.non_plane_depth_conv2, resnet.non_plane_normal_conv2)  # fmt: skip
    assert sum(map(count, heads)) == 23_142_957 and count(resnet) - 23_142_957 == 42_502_256
    assert count(resnet) + count(DenseCrf(11)) == 65_645_576
    assert count(drn) == 40_300_506 and count(drn.drn) == 35_296_176


def test_padding_and_resizing_equal_those_of_tensorflow_1():
    layer = ConvNorm(1, 1, 3, stride=2).eval()
    with torch.no_grad():
        layer.conv.weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    # SAME with stride 2 on even sizes pads after the map only: the first window starts at the first pixel
    first = (x[0, 0, :3, :3] * layer.conv.weight[0, 0]).sum() / np.sqrt(1 + 1e-3)
    assert layer(x)[0, 0, 0, 0].item() == pytest.approx(first.item(), rel=1e-6)
    assert layer(x).shape[2:] == (2, 2)
    ramp = torch.tensor([[[[0.0, 1.0, 3.0]]]])
    assert resize_tf1(ramp, 2, 6)[0, 0, 0].tolist() == [0, 0.5, 1, 2, 3, 3]


@pytest.mark.parametrize("name", list(planenet.NETWORKS))
def test_output_shapes_of_the_networks(name):
    with torch.device("meta"):
        output = planenet.NETWORKS[name]()(torch.empty(2, 3, 192, 256), torch.empty(2, 3, 3))
    scale = 4 if name == "lite" else 8
    assert output.planes.shape == (2, 10, 3)
    assert output.logits.shape == (2, 11, 192 // scale, 256 // scale)
    assert output.depth.shape == (2, 192 // scale, 256 // scale)


def test_model_obeys_the_contract():
    torch.manual_seed(0)
    model = planenet.Model(planenet.Settings(network="lite", fitted=True)).eval()
    assert model.size_multiple == 64
    image = torch.randint(0, 256, (2, 64, 128, 3), dtype=torch.uint8)
    K = torch.tensor([[100.0, 0, 63.5], [0, 100, 31.5], [0, 0, 1]]).expand(2, 3, 3)
    depth, planes, labels = model(image, K)
    assert depth.shape == labels.shape == (2, 64, 128) and planes.shape == (2, 10, 4)
    assert depth.dtype == planes.dtype == torch.float32 and labels.dtype == torch.int32
    assert labels.min() >= -1 and labels.max() < 10 and (planes[..., 3] >= 0).all()
    torch.testing.assert_close(planes[..., :3].norm(dim=2), torch.ones(2, 10))


def batch_of(room, planes: int = 6) -> dict[str, torch.Tensor]:
    """A batch of the room with its first `planes` planes; all other pixels are non-planar."""
    labels = torch.where(room.labels < planes, room.labels, -1)
    image = torch.zeros(1, 96, 128, 3, dtype=torch.uint8)
    return {"image": image, "intrinsics": room.intrinsics, "depth": room.depth, "weight": torch.ones_like(room.depth),
            "planes": room.planes[:, :planes], "labels": labels}  # fmt: skip


class FixedModel(torch.nn.Module):
    """A model that returns a given prediction."""

    def __init__(self, prediction: planenet.Prediction, **settings) -> None:
        super().__init__()
        self.prediction, self.settings = prediction, planenet.Settings(planes=6, **settings)

    def predict(self, image, intrinsics):
        return self.prediction


def perfect_prediction(batch: dict[str, torch.Tensor], sharpness: float = 50.0) -> planenet.Prediction:
    labels = torch.where(batch["labels"] < 0, 6, batch["labels"]).long()
    logits = sharpness * torch.nn.functional.one_hot(labels, 7).permute(0, 3, 1, 2).float()
    return planenet.Prediction(batch["planes"], logits, batch["depth"], batch["planes"])


every_matching = pytest.mark.parametrize("matching", ["nearest", "hungarian", "masks"])


@every_matching
def test_loss_of_the_ground_truth_is_zero(room, matching):
    batch = batch_of(room)
    model = FixedModel(perfect_prediction(batch), matching=matching, max_depth=20.0)
    terms = planenet.loss(model, batch)
    assert terms["plane"] == 0 and terms["segmentation"] < 1e-6 and terms["depth"] < 1e-8
    assert terms.get("overlap", 0) < 1e-4 and terms.get("reach", 0) < 1e-2
    assert ("overlap" in terms and "reach" in terms) == (matching == "masks")


@every_matching
@pytest.mark.parametrize("fitted", [False, True])
def test_pixels_of_invalid_depth_do_not_contribute(room, matching, fitted):
    batch = batch_of(room)
    model = FixedModel(perfect_prediction(batch), matching=matching, fitted=fitted, max_depth=20.0)
    batch["depth"] = batch["depth"].clone()
    batch["depth"][:, :40] = torch.nan
    terms = planenet.loss(model, batch)
    assert terms["depth"] < 1e-4 and terms.get("branch", 0) < 1e-4 and terms.get("reach", 0) < 1e-2


@every_matching
def test_loss_does_not_depend_on_the_order_of_planes(room, matching):
    batch = batch_of(room)
    exact = perfect_prediction(batch)
    torch.manual_seed(1)
    noisy = exact._replace(
        prior=exact.prior + 0.02 * torch.randn(1, 6, 3),
        planes=exact.planes + 0.02 * torch.randn(1, 6, 3),
        logits=torch.randn(1, 7, 96, 128),
    )
    terms = planenet.loss(FixedModel(noisy, matching=matching), batch)
    order = torch.randperm(6)
    with_non_planar = torch.cat([order, torch.tensor([6])])
    reordered = planenet.Prediction(
        noisy.planes[:, order], noisy.logits[:, with_non_planar], noisy.depth, noisy.prior[:, order]
    )
    of_reordered = planenet.loss(FixedModel(reordered, matching=matching), batch)
    new_label = torch.cat([order.argsort(), torch.tensor([-1])])  # -1 stays -1
    other = {**batch, "planes": batch["planes"][:, order], "labels": new_label[batch["labels"].long()]}
    with_other_order = planenet.loss(FixedModel(noisy, matching=matching), other)
    for name, term in terms.items():
        assert term > 0
        assert of_reordered[name].item() == pytest.approx(term.item(), rel=1e-5), name
        assert with_other_order[name].item() == pytest.approx(term.item(), rel=1e-5), name


def test_overlap_and_reach_weight_a_small_plane_as_much_as_a_large_one(room):
    batch = batch_of(room)
    exact = perfect_prediction(batch)
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
        prediction = exact._replace(planes=planes, logits=logits)
        terms[wrong] = planenet.loss(FixedModel(prediction, matching="masks", max_depth=20.0), batch)
    valid = int(torch.isfinite(batch["planes"]).all(2).sum())
    for term in terms.values():
        assert term["overlap"].item() == pytest.approx(1 / valid, abs=0.01)
        assert term["reach"] > 0.5 / valid
    assert terms[large]["segmentation"] > 2 * terms[small]["segmentation"]


def test_overlap_and_reach_have_gradients_for_every_plane(room):
    batch = batch_of(room)
    exact = perfect_prediction(batch)
    torch.manual_seed(0)
    planes, logits = (1.1 * exact.planes).requires_grad_(), torch.randn(1, 7, 96, 128, requires_grad=True)
    prediction = exact._replace(planes=planes, logits=logits)
    terms = planenet.loss(FixedModel(prediction, matching="masks", max_depth=20.0), batch)
    valid = int(torch.isfinite(batch["planes"]).all(2).sum())
    for term, value in (("overlap", logits), ("reach", planes)):
        (gradient,) = torch.autograd.grad(terms[term], value, retain_graph=True)
        assert (gradient.abs().flatten(2).sum(2) > 0).sum() >= valid


def test_planes_get_gradients_from_their_own_pixels_only(room):
    batch = batch_of(room)
    exact = perfect_prediction(batch)
    planes = (exact.planes * 1.1).requires_grad_()
    depth = planenet.depth_layers(exact._replace(planes=planes), batch["intrinsics"], 20.0)
    segments = exact.logits.softmax(1)
    ((depth * segments).sum(1) - batch["depth"])[batch["labels"] == 2].square().sum().backward()
    size = planes.grad.norm(dim=2)[0]
    assert size[2] > 1 and size[[0, 1, 3, 4, 5]].max() < 1e-6 * size[2]


def test_mixed_precision_does_not_affect_crf_and_geometry():
    torch.manual_seed(0)
    settings = planenet.Settings(network="lite", fitted=True, crf_iterations=1, crf_stride=4)
    model = planenet.Model(settings).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.predict(image, K_SMALL)
        depths = planenet.depth_layers(mixed, K_SMALL, 10.0)
    assert {value.dtype for value in (*mixed, depths)} == {torch.float32}
    expected = plane_depths(mixed.planes, pixel_rays(K_SMALL, (64, 64)), 10.0)
    torch.testing.assert_close(depths[:, :-1], expected, rtol=1e-6, atol=1e-6)
    assert (mixed.logits - mixed.logits.bfloat16().float()).abs().max() > 0  # not rounded by the CRF


def test_folding_batch_norms_changes_the_prediction_little():
    torch.manual_seed(0)
    model = planenet.Model(planenet.Settings(network="lite", fitted=True, crf_iterations=0)).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    folded = planenet.finish(model)
    assert folded.settings.folded and not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    loaded = planenet.Model(folded.settings)
    loaded.load_state_dict(folded.state_dict(), strict=True)
    trained, deployed = model.predict(image, K_SMALL), loaded.eval().predict(image, K_SMALL)
    assert ((trained.depth - deployed.depth).abs() / trained.depth).median() < 0.01
    torch.testing.assert_close(trained.planes, deployed.planes, rtol=0.02, atol=0.02)


def test_a_few_steps_reduce_the_loss(room):
    torch.manual_seed(0)
    settings = planenet.Settings(network="lite", fitted=True, matching="hungarian", crf_iterations=0)
    model = planenet.Model(settings)
    batch = batch_of(room, 10)
    batch["image"] = torch.randint(0, 256, (1, 96, 128, 3), dtype=torch.uint8)
    crop = {"intrinsics": batch["intrinsics"], "planes": batch["planes"],
            **{key: batch[key][:, :64] for key in ("image", "depth", "weight", "labels")}}  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(10):
        terms = planenet.loss(model, crop)
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        losses.append(terms["loss"].item())
    assert losses[-1] < 0.6 * losses[0]
