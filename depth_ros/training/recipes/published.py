"""Recipes as published, at full width and length, for who has the data sets: see docs/systems for where to put them.

Optimiser, schedule, batch size, images and augmentation are those of the paper or of the released code; where the two
differ, the docstring says which. As published, the last weights are exported (`average_decay` is 0). What remains of
our loop: gradients are clipped to a norm of 5 and, where the processor is faster in it, bfloat16 is used.
"""

from __future__ import annotations

from pathlib import Path

from depth_ros.recordings import RecordingOptions
from depth_ros.training.crop import CropSettings
from depth_ros.training.data.clip import ClipSettings
from depth_ros.training.data.source import Source
from depth_ros.training.optimiser import Adam, Sgd
from depth_ros.training.recipes.recipe import Recipe
from depth_ros.training.schedule import Constant, PeriodicDecay, StepDecay
from depth_ros.training.supervision.depth import DepthSupervision
from depth_ros.training.supervision.planes import PlaneSupervision
from depth_ros.training.supervision.stereo_pairs import StereoPairSupervision
from depth_ros.training.supervision.video import VideoSupervision

KITTI_LICENCE = "CC BY-NC-SA 3.0 (weights, as the KITTI data); code Apache-2.0"
KITTI_TERMS = "Non-commercial: trained on KITTI (CC BY-NC-SA 3.0, Geiger et al. 2013)."
KITTI_SIZE = CropSettings(416, 128, zoom=1.15, mirror=False, colours="none", fit="stretch")
"""Whole images, stretched; both sides are enlarged by up to 15 %, independently of each other."""
ALL_CLIPS = VideoSupervision(ClipSettings(min_image_motion=0.0))
"""Clips of three frames. The lists of the authors have no frames of a stationary camera."""


def kitti(images: str, masks: str = "") -> Source:
    """The images of raw KITTI, in the folder kitti_raw, that a file lists."""
    return Source("kitti_raw", "all", options=RecordingOptions(image_list=Path(images), masks=masks))


def fcrn_nyu_published() -> Recipe:
    """FCRN on NYU Depth v2 (Laina et al. 2016, section 4.1).

    The paper takes 12,000 frames of the raw training scenes, evenly, and augments them to 95,000 once; here each frame
    is augmented anew whenever it is drawn. 20 epochs of 95,000; the learning rate is reduced every 6 to 8 epochs, here
    to a tenth every 7. The encoder starts from ImageNet weights: --encoder-weights.
    """
    return Recipe(
        name="fcrn_nyu_published",
        family="fcrn",
        crop=CropSettings(304, 228, zoom=1.5, max_roll=5.0, colours="gains", fit="crop"),
        sources=(Source("nyu_raw/train_scenes.txt", "all", every=20),),
        validation=(Source("nyu_depth_v2_labeled.mat", "held_out"),),
        description="FCRN (ResNet-50), trained on NYU Depth v2",
        licence="as the NYU Depth v2 data",
        terms="Trained on NYU Depth v2 (Silberman et al. 2012).",
        settings={"backbone": "resnet50", "stretched": True, "focal": 259.0},
        steps=118_750,
        batch_size=16,
        learning_rate=1e-2,
        weight_decay=0.0,
        optimiser=Sgd(momentum=0.9),
        schedule=PeriodicDecay(every=41_500, factor=0.1),
        average_decay=0.0,
        validate_every=6_000,
    )


def sfmlearner_kitti_published() -> Recipe:
    """SfMLearner on raw KITTI, as in the released code: without batch norm and without the mask.

    The lists are those that its data preparation writes. The paper's variant has the mask: `--set settings.explain=true
    loss_settings.explain_weight=0.2`.
    """
    return Recipe(
        name="sfmlearner_kitti_published",
        family="sfmlearner",
        crop=KITTI_SIZE,
        sources=(kitti("sfmlearner_train.txt"),),
        validation=(kitti("sfmlearner_val.txt"),),
        description="SfMLearner, learned from the video of a car without ground-truth depth, trained on KITTI",
        licence=KITTI_LICENCE,
        terms=KITTI_TERMS,
        loss_settings={"smoothness_weight": 0.5},
        supervision=ALL_CLIPS,
        steps=200_000,
        batch_size=4,
        learning_rate=2e-4,
        weight_decay=0.0,
        optimiser=Adam(),
        schedule=Constant(),
        average_decay=0.0,
        validate_every=5_000,
    )


def monodepth_kitti_published() -> Recipe:
    """monodepth on the KITTI split of Godard et al. (2017), as in the published description of the released code.

    50 epochs of 29,000 pairs; the learning rate is halved after 3/5 and 4/5 of them (30 and 40 epochs).
    For the Eigen split (22,600 pairs) use its files and 141,250 steps.
    """
    return Recipe(
        name="monodepth_kitti_published",
        family="monodepth",
        crop=CropSettings(512, 256, zoom=1.0, fit="stretch"),
        sources=(kitti("kitti_train_files.txt"),),
        validation=(kitti("kitti_val_files.txt"),),
        description="monodepth (VGG encoder), learned from stereo pairs without ground truth, trained on KITTI",
        licence="CC BY-NC-SA 3.0 (weights, as the KITTI data); see the note on patents",
        terms=KITTI_TERMS,
        supervision=StereoPairSupervision(),
        steps=181_250,
        batch_size=8,
        learning_rate=1e-4,
        weight_decay=0.0,
        optimiser=Adam(),
        schedule=StepDecay((0.6, 0.8), 0.5),
        average_decay=0.0,
        validate_every=5_000,
    )


def vid2depth_kitti_published() -> Recipe:
    """vid2depth on raw KITTI: schedule, batch and augmentation of the released code, weights of the losses as in the
    paper and in the example of the code (the default of the code has no alignment loss).

    The ICP is that of the code, point to point with 10 iterations, but not at full size, where it takes most time:
    `--set loss_settings.alignment_scale=0` adds it.
    """
    return Recipe(
        name="vid2depth_kitti_published",
        family="vid2depth",
        crop=CropSettings(416, 128, zoom=1.15, mirror=False, colours="exposure", fit="stretch"),
        sources=(kitti("sfmlearner_train.txt"),),
        validation=(kitti("sfmlearner_val.txt"),),
        description="vid2depth, learned from the video of a car without ground-truth depth, trained on KITTI",
        licence=KITTI_LICENCE,
        terms=KITTI_TERMS,
        loss_settings={"reverse_motion": "negated", "alignment_distance": "point", "alignment_steps": 10},
        supervision=ALL_CLIPS,
        steps=200_000,
        batch_size=4,
        learning_rate=2e-4,
        weight_decay=0.0,
        optimiser=Adam(),
        schedule=Constant(),
        average_decay=0.0,
        validate_every=5_000,
    )


def struct2depth_kitti_published() -> Recipe:
    """struct2depth on raw KITTI with instance masks, as in the released code, for as many steps as its model.

    The encoder starts from ImageNet weights: --encoder-weights. For the baseline without object motion, and without
    masks, `--set loss_settings.motion=false`.
    """
    return Recipe(
        name="struct2depth_kitti_published",
        family="struct2depth",
        crop=CropSettings(416, 128, zoom=1.0, colours="some", fit="stretch"),
        sources=(kitti("sfmlearner_train.txt", "kitti_raw_masks"),),
        validation=(kitti("sfmlearner_val.txt"),),
        description="struct2depth, learned from video with instance masks, without ground truth, trained on KITTI",
        licence=KITTI_LICENCE,
        terms=KITTI_TERMS,
        supervision=ALL_CLIPS,
        steps=199_160,
        batch_size=4,
        learning_rate=2e-4,
        weight_decay=0.0,
        optimiser=Adam(),
        schedule=Constant(),
        average_decay=0.0,
        validate_every=5_000,
    )


def struct2depth_cityscapes_published() -> Recipe:
    """struct2depth on Cityscapes, also of "Structure and semantics" (Casser et al. 2019, both papers).

    Columns 192 to 1856 and rows 256 to 768 of the images, as in the released code; the rest as on KITTI.
    """
    return Recipe(
        name="struct2depth_cityscapes_published",
        family="struct2depth",
        crop=CropSettings(
            416, 128, zoom=1.0, colours="some", fit="stretch",
            region=(192 / 2048, 256 / 1024, 1856 / 2048, 768 / 1024),
        ),
        sources=(
            Source(
                "cityscapes/leftImg8bit_sequence/train", "all", options=RecordingOptions(masks="cityscapes_masks")
            ),
        ),
        validation=(Source("cityscapes/leftImg8bit_sequence/val", "all"),),
        description="struct2depth, learned from video with instance masks, without ground truth, trained on Cityscapes",
        licence="as the Cityscapes data",
        terms="Non-commercial: trained on Cityscapes (Cordts et al. 2016).",
        supervision=ALL_CLIPS,
        steps=199_160,
        batch_size=4,
        learning_rate=2e-4,
        weight_decay=0.0,
        optimiser=Adam(),
        schedule=Constant(),
        average_decay=0.0,
        validate_every=5_000,
    )  # fmt: skip


def planenet_scannet_published() -> Recipe:
    """PlaneNet on ScanNet with the planes of its authors, as in the released code: ResNet-101, Adam at 3e-5, batches of
    8, up to 300,000 steps (the paper: 3e-4, 16, 50 epochs).

    Losses are a thousandth of those of the code, and so is the weight decay, which here also applies to batch norms and
    biases. Every 50th frame gives about the 50,000 images of the paper.
    """
    return Recipe(
        name="planenet_scannet_published",
        family="planenet",
        crop=CropSettings(256, 192, zoom=1.0, mirror=False, colours="none", fit="stretch"),
        sources=(Source("scannet/scannetv2_train.txt", "all", every=50),),
        validation=(Source("nyu_depth_v2_labeled.mat", "held_out"),),
        description="PlaneNet (ResNet-101), trained on ScanNet",
        licence="as the ScanNet data",
        terms="Non-commercial: trained on ScanNet (Dai et al. 2017).",
        settings={"network": "resnet101", "planes": 10},
        supervision=PlaneSupervision(10),
        steps=300_000,
        batch_size=8,
        learning_rate=3e-5,
        weight_decay=5e-7,
        optimiser=Adam(),
        schedule=Constant(),
        average_decay=0.0,
        validate_every=10_000,
    )


def mannequin_published() -> Recipe:
    """The two-view network with key points on the HDF5 files of the authors' code (Li et al. 2019).

    Adam at 4e-4, halved every 8 epochs of 136,000 images, and 20 epochs, as in the code; batches of 16, as in the paper
    (code: 8). The training code is not public: augmentation is unknown, and there is none here.
    """
    return Recipe(
        name="mannequin_published",
        family="mannequin",
        crop=CropSettings(512, 288, zoom=1.04, mirror=False, colours="none"),
        sources=(Source("mannequin_hdf5/train", "all"),),
        validation=(Source("mannequin_hdf5/validation", "all"),),
        description="mannequin (two views and key points), trained on MannequinChallenge",
        licence="CC BY 4.0",
        terms="Trained on MannequinChallenge (CC BY 4.0, Li et al. 2019).",
        settings={"inputs": "keypoints"},
        supervision=DepthSupervision("up_to_scale", ("people", "keypoints", "parallax", "confidence")),
        steps=170_000,
        batch_size=16,
        learning_rate=4e-4,
        weight_decay=0.0,
        optimiser=Adam(),
        schedule=PeriodicDecay(every=68_000, factor=0.5),
        average_decay=0.0,
        validate_every=8_500,
    )
