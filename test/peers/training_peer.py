"""Training steps of ours and of SfMLearner's PyTorch port (ClementPinard/SfmLearner-Pytorch), interleaved in one run.

    git clone https://github.com/ClementPinard/SfmLearner-Pytorch port
    .venv/bin/python test/peers/training_peer.py port --size 416x128 --batch 4

Both do the whole step: forward, the same three losses, backward, optimiser. Ours also has the moving average of the
weights. One thread each and the processor's own time, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from depth_ros.networks import sfmlearner
from depth_ros.training.loop import moving_average, train_step
from depth_ros.training.objective import Objective
from depth_ros.training.optimiser import build_optimiser, keep_freed_memory
from depth_ros.training.recipes import find_recipe


def ours(batch: dict[str, Tensor]) -> Callable[[], None]:
    """A step of our loop with networks of the published width."""
    plan = find_recipe("sfmlearner_street")
    settings = dataclasses.replace(sfmlearner.Settings(), explain=True)
    model = sfmlearner.build_training_model(settings).to(memory_format=torch.channels_last)
    sfmlearner.initialise(model)
    optimiser = build_optimiser(plan.optimiser, model.parameters(), plan.learning_rate, plan.weight_decay)
    average = AveragedModel(model, multi_avg_fn=moving_average(plan.average_decay), use_buffers=True)
    objective = Objective(sfmlearner, model)

    def step() -> None:
        train_step(objective, optimiser, batch, 0)
        average.update_parameters(model)

    return step


def ports(checkout: Path, batch: dict[str, Tensor]) -> Callable[[], None]:
    """A step as in the train.py of the port, with its explainability mask."""
    sys.path.insert(0, str(checkout))
    import loss_functions  # type: ignore[import-not-found]

    import models  # type: ignore[import-not-found]

    depth_net = models.DispNetS()
    pose_net = models.PoseExpNet(nb_ref_imgs=2, output_exp=True)
    depth_net.init_weights()
    pose_net.init_weights()
    optimiser = torch.optim.Adam([*depth_net.parameters(), *pose_net.parameters()], lr=2e-4)
    planes = (batch["images"].permute(0, 1, 4, 2, 3).float() / 255 - 0.5) / 0.5
    older, target, newer = (planes[:, i].contiguous() for i in range(3))

    def step() -> None:
        disparities = depth_net(target)
        masks, pose = pose_net(target, [older, newer])
        depths = [1 / disparity for disparity in disparities]
        photometric, _, _ = loss_functions.photometric_reconstruction_loss(
            target, [older, newer], batch["intrinsics"], depths, masks, pose
        )
        explained = loss_functions.explainability_loss(masks)
        loss = photometric + 0.2 * explained + 0.1 * loss_functions.smooth_loss(depths)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkout", type=Path, help="where the port was cloned to")
    parser.add_argument("--size", default="416x128")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10)
    wanted = parser.parse_args()
    width, height = (int(side) for side in wanted.size.split("x"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    K = torch.tensor([[0.6 * width, 0, 0.5 * width], [0, 0.6 * width, 0.5 * height], [0, 0, 1.0]])
    batch = {
        "images": torch.randint(0, 256, (wanted.batch, 3, height, width, 3), dtype=torch.uint8),
        "intrinsics": K.expand(wanted.batch, 3, 3).contiguous(),
    }
    steps = {"depth_ros": ours(batch), "port": ports(wanted.checkout, batch)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(-2, wanted.rounds):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if round_number >= 0:
                times[name].append(1e3 * (time.process_time() - start))
    for name, found in times.items():
        sys.stdout.write(f"{name:10} {median(found):7.1f} ms a step (least {min(found):.1f})" + "\n")
    ratios = sorted(b / a for a, b in zip(times["depth_ros"], times["port"], strict=True))
    sys.stdout.write(
        f"the port takes {median(ratios):.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})" + "\n"
    )


if __name__ == "__main__":
    main()
